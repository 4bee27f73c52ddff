"""dedup.near_images against its definition, and on images with ground truth."""

from __future__ import annotations

from pathlib import Path

import imagehash
import numpy as np
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
LAYOUTS = st.none() | st.sampled_from([0, 1, 8, 2**63, 200 << 56, 100 << 24, 2**64 - 1])
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), HASHES, st.sampled_from([1, 2, None])), max_size=40)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(i // 7, i % 7, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def coloured(rows: list[tuple]) -> pl.DataFrame:
    layouts = pl.Series("colour_layout", [row[3] for row in rows], pl.UInt64)
    return frame([row[:3] for row in rows]).with_columns(layouts)


def by_definition(rows: pl.DataFrame, distance: int, colours: int = 255) -> list[tuple[int, int, str, int]]:
    """Lowest `words` first, nulls last, then key, shard, row; one by one against the keepers so far."""
    with_hash = [row for row in rows.rows() if None not in row[3:4] + row[5:]]
    with_hash.sort(key=lambda row: (row[4] is None, row[4] or 0, row[2] is None, row[2] or "", row[:2]))
    keepers: list[tuple] = []
    found = []
    for row in with_hash:
        alike = [keeper for keeper in keepers if differ(keeper[5:], row[5:]) <= colours]
        near = [(keeper, (keeper[3] ^ row[3]).bit_count()) for keeper in alike]
        first = next(((keeper, apart) for keeper, apart in near if apart <= distance), None)
        if first is None:
            keepers.append(row)
        elif first[1] or row[2] is None or row[2] != first[0][2]:  # else: another caption of the keeper's image
            found.append((*row[:2], row_name(*first[0][:2]), first[1]))
    return sorted(found)


def differ(one: tuple, other: tuple) -> int:
    """The greatest difference of the bytes of two layouts; 0 without layouts."""
    pairs = [zip(a.to_bytes(8, "big"), b.to_bytes(8, "big"), strict=True) for a, b in zip(one, other, strict=True)]
    return max((abs(a - b) for pair in pairs for a, b in pair), default=0)


@given(ROWS, st.integers(0, 16), st.integers(0, 2**32), st.sampled_from([(1, 1 << 27), (3, 400), (2, 1500)]))
def test_as_defined_for_any_parts_and_order(rows: list[tuple], distance: int, seed: int, size: tuple) -> None:
    table = frame(rows)
    operator = NearImages(max_distance=distance, prefer={"lowest": "words"})
    found = found_by(operator, table.sample(fraction=1, shuffle=True, seed=seed), *size)
    assert dict(found.schema) == OUT
    assert found.rows() == by_definition(table, distance)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), HASHES, st.sampled_from([1, 2, None]), LAYOUTS), max_size=40),
    st.integers(0, 8),
    st.sampled_from([0, 1, 8, 100, 255]),
    st.sampled_from([(1, 1 << 27), (3, 400), (2, 1500)]),
)
def test_as_defined_with_colours(rows: list[tuple], distance: int, colours: int, size: tuple) -> None:
    table = coloured(rows)
    operator = NearImages(
        max_distance=distance, colours="colour_layout", max_colour_difference=colours, prefer={"lowest": "words"}
    )
    assert found_by(operator, table, *size).rows() == by_definition(table, distance, colours)


def test_one_hash_and_other_colours(tmp_path: Path) -> None:
    """The second is blue where the first is red; of an earlier corpus only the image with its colours is named."""
    red, blue, other = (int.from_bytes(bytes(pair) * 4, "big") for pair in ((85, 255), (255, 107), (85, 246)))
    rows = coloured([("a", 7, 1, red), ("b", 7, 2, blue), ("c", 7, 3, red - 8), ("d", 7, 4, other), ("e", 7, 5, None)])
    operator = NearImages(colours="colour_layout")
    assert found_by(operator, rows).rows() == [(0, 2, "00000000:0", 0)]
    assert found_by(NearImages(), rows).height == 4
    pl.DataFrame({"key": ["old", "new"], "phash": [7, 5], "colour_layout": [1, blue]}).cast(
        {"phash": pl.UInt64, "colour_layout": pl.UInt64}
    ).write_parquet(tmp_path / "a.parquet")
    against = NearImages(colours="colour_layout", against=str(tmp_path))
    assert found_by(against, rows).rows() == [(0, 1, "new", 1), (0, 2, "00000000:0", 0)]
    pl.DataFrame({"phash": [7]}, schema={"phash": pl.UInt64}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column 'colour_layout'; it has phash"):
        _ = against.files


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
    with pytest.raises(ValueError, match=r"'words' holds Int32.*image\.colour_layout adds such a column"):
        found_by(NearImages(colours="words"), frame([]))


@pytest.mark.parametrize("colours", [None, "colour_layout"])
def test_textbook_editions(shared_data: Path, colours: str | None) -> None:
    """At distance 4, figures that two editions share are found, and none whose picture was replaced."""
    folder = shared_data / "neardup" / "textbook-editions"
    pairs = pl.read_csv(folder / "pairs.csv").filter(pl.col("label").is_in(["near-duplicate", "different"]))
    found = {"near-duplicate": 0, "different": 0}
    for pair in pairs.iter_rows(named=True):
        rows = []
        for side in ("file_a", "file_b"):
            with Image.open(folder / pair[side]) as image:
                quarters = image.convert("RGB").resize((2, 2), Image.Resampling.BOX).convert("YCbCr")
                layout = np.asarray(quarters)[..., 1:].tobytes()
                rows.append((side, int(str(imagehash.phash(image)), 16), 1, int.from_bytes(layout, "big")))
        found[pair["label"]] += found_by(NearImages(max_distance=4, colours=colours), coloured(rows)).height
    assert found["near-duplicate"] >= 70
    assert found["different"] == 0
