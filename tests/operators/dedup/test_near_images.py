"""dedup.near_images against its definition, and on images with ground truth."""

from __future__ import annotations

from pathlib import Path

import imagehash
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by
from PIL import Image
from pydantic import ValidationError

from cupel.operators.dedup.near_images import NearImages
from cupel.schemas.corpus import row_name

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "phash": pl.UInt64, "words": pl.Int32}
OUT = {"shard": pl.Int32, "row": pl.Int32, "near_image_of": pl.String, "near_image_distance": pl.Int8}
HASHES = st.none() | st.integers(0, 63) | st.sampled_from([2**64 - 1, 2**64 - 2, 2**63, 0xF0F0F0F0F0F0F0F0])
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), HASHES, st.sampled_from([1, 2, None])), max_size=40)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(i // 7, i % 7, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def by_definition(rows: pl.DataFrame, distance: int) -> list[tuple[int, int, str, int]]:
    """Lowest `words` first, nulls last, then key, shard, row; one by one against the keepers so far."""
    with_hash = [row for row in rows.rows() if row[3] is not None]
    with_hash.sort(key=lambda row: (row[4] is None, row[4] or 0, row[2] is None, row[2] or "", row[:2]))
    keepers: list[tuple] = []
    found = []
    for row in with_hash:
        near = [(keeper, (keeper[3] ^ row[3]).bit_count()) for keeper in keepers]
        first = next(((keeper, apart) for keeper, apart in near if apart <= distance), None)
        if first is None:
            keepers.append(row)
        elif first[1] or row[2] is None or row[2] != first[0][2]:  # else: another caption of the keeper's image
            found.append((*row[:2], row_name(*first[0][:2]), first[1]))
    return sorted(found)


@given(ROWS, st.integers(0, 16), st.integers(0, 2**32), st.sampled_from([(1, 1 << 27), (3, 400), (2, 1500)]))
def test_as_defined_for_any_parts_and_order(rows: list[tuple], distance: int, seed: int, size: tuple) -> None:
    table = frame(rows)
    operator = NearImages(max_distance=distance, prefer={"lowest": "words"})
    found = found_by(operator, table.sample(fraction=1, shuffle=True, seed=seed), *size)
    assert dict(found.schema) == OUT
    assert found.rows() == by_definition(table, distance)


def test_no_chains() -> None:
    found = found_by(NearImages(max_distance=1), frame([("a", 0b00, 1), ("b", 0b01, 1), ("c", 0b11, 1)]))
    assert found.rows() == [(0, 1, "00000000:0", 1)]


def test_two_hundred_thousand_equal_hashes() -> None:
    rows = pl.DataFrame({"row": range(200_000)}, schema={"row": pl.Int32}).with_columns(
        pl.lit(0, pl.Int32).alias("shard"), pl.lit(None, pl.String).alias("key"), pl.lit(5, pl.UInt64).alias("phash")
    )
    found = found_by(NearImages(), rows)
    assert found.height == 199_999
    assert found["near_image_of"].unique().to_list() == ["00000000:0"]


def test_captions_of_one_image_share_its_fate() -> None:
    """Three captions of one picture, then two of a copy of it under another key."""
    found = found_by(NearImages(), frame([("a", 7, 1), ("a", 7, 2), ("a", 7, 3), ("b", 5, 4), ("b", 5, 5)]))
    assert found.rows() == [(0, 3, "00000000:0", 1), (0, 4, "00000000:0", 1)]


@pytest.mark.parametrize("size", [(1, 1 << 27), (2, 300)])
def test_images_of_an_existing_corpus_come_first(tmp_path: Path, size: tuple[int, int]) -> None:
    """Two files: the first keeper within the distance is named, by its key or its place; no row of it is reported."""
    hashes = {"phash": pl.Series([0b111, None, 0xFF00], dtype=pl.UInt64)}
    pl.DataFrame({"key": ["old", None, None], **hashes}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(hashes).write_parquet(tmp_path / "b.parquet")
    rows = [("x", 0b011, 1), ("old", 0b111, 2), ("y", 0xFF01, 3), ("z", 0xFF << 32, 4), ("w", 0xFE << 32, 5)]
    found = found_by(NearImages(max_distance=1, against=str(tmp_path)), frame(rows), *size)
    assert [row[1:] for row in found.rows()] == [
        (0, "old", 1),
        (1, "old", 0),
        (2, "a.parquet:2", 1),
        (3, "00000000:4", 1),
    ]


@pytest.mark.parametrize("distance", [-1, 17])
def test_refuses_distances(distance: int) -> None:
    with pytest.raises(ValidationError):
        NearImages(max_distance=distance)


def test_refuses_other_columns() -> None:
    with pytest.raises(ValueError, match="'key' holds String, not 64-bit hashes"):
        found_by(NearImages(column="key"), frame([]))


def test_textbook_editions(shared_data: Path) -> None:
    """At distance 4, figures that two editions share are found, and none whose picture was replaced."""
    folder = shared_data / "neardup" / "textbook-editions"
    pairs = pl.read_csv(folder / "pairs.csv").filter(pl.col("label").is_in(["near-duplicate", "different"]))
    found = {"near-duplicate": 0, "different": 0}
    for pair in pairs.iter_rows(named=True):
        hashes = []
        for side in ("file_a", "file_b"):
            with Image.open(folder / pair[side]) as image:
                hashes.append((side, int(str(imagehash.phash(image)), 16), 1))
        found[pair["label"]] += found_by(NearImages(max_distance=4), frame(hashes)).height
    assert found["near-duplicate"] >= 70
    assert found["different"] == 0
