"""select.decontaminate: the nearest reference, whatever kind the reference is; nothing passed over in silence."""

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

from cupel.operators.select.decontaminate import Decontaminate

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "phash": pl.UInt64}
HASHES = st.lists(st.integers(0, 255) | st.sampled_from([2**64 - 1, 2**63]), min_size=1, max_size=20)


def corpus(hashes: list[int | None]) -> pl.DataFrame:
    return pl.DataFrame([(0, row, "k", value) for row, value in enumerate(hashes)], schema=SCHEMA, orient="row")


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def phash(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


@given(HASHES, HASHES, st.integers(0, 8))
def test_the_nearest_by_distance_then_name(
    tmp_path_factory, hashes: list[int], known: list[int], distance: int
) -> None:
    path = tmp_path_factory.mktemp("reference") / "eval.parquet"
    keys = [f"key{len(known) - i:02}" for i in range(len(known))]
    pl.DataFrame({"phash": known, "key": keys}, schema_overrides={"phash": pl.UInt64}).write_parquet(path)
    found = found_by(Decontaminate(reference=str(path), max_distance=distance), corpus([None, *hashes]))
    expected = []
    for row, value in enumerate(hashes, start=1):
        apart, key = min(((value ^ other).bit_count(), key) for other, key in zip(known, keys, strict=True))
        expected += [(0, row, key, apart)] if apart <= distance else []
    assert found.rows() == expected
    assert found.schema["contaminated_by"] == pl.String
    assert found.schema["contaminated_distance"] == pl.Int8


def test_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for seed, name in enumerate(["b.png", "val/a.webp", "val/no_suffix"]):
        noise(seed).save(tmp_path / name, format="PNG")
    noise(0).save(tmp_path / "val" / "copy.png")
    for name in ("labels.csv", "README.md", ".gitkeep", ".hidden.jpg"):
        (tmp_path / name).write_text("file,label\n")
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "empty").touch()
    rows = corpus([phash(noise(seed)) for seed in (2, 1, 0, 9)])
    found = found_by(Decontaminate(reference=str(tmp_path)), rows)
    assert found.rows() == [(0, 0, "val/no_suffix", 0), (0, 1, "val/a.webp", 0), (0, 2, "b.png", 0)]


def test_hex_hashes_without_a_key(tmp_path: Path) -> None:
    path = tmp_path / "coyo.parquet"
    pl.DataFrame({"phash": ["f000000000000000", "00000000000000FF"]}).write_parquet(path)
    found = found_by(Decontaminate(reference=str(path), max_distance=1), corpus([0xFE, 0xF << 60, 0]))
    assert found.rows() == [(0, 0, "coyo.parquet:1", 1), (0, 1, "coyo.parquet:0", 0)]


def test_files_enter_the_fingerprint(tmp_path: Path) -> None:
    noise(1).save(tmp_path / "b.png")
    noise(2).save(tmp_path / "a.png")
    assert Decontaminate(reference=str(tmp_path)).files == (tmp_path / "a.png", tmp_path / "b.png")
    assert Decontaminate(reference=str(tmp_path / "a.png")).files == (tmp_path / "a.png",)


def run(reference: Path) -> pl.DataFrame:
    return found_by(Decontaminate(reference=str(reference)), corpus([1]))


def test_no_such_reference(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a folder of images nor a Parquet file"):
        run(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [None, "file,label\n"])
def test_a_folder_without_images(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(ValueError, match="holds no image: nothing would be decontaminated"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.png", "truncated"),
        ("no_suffix", "truncated"),
        ("page.jpg", b"<!doctype html><p>gone"),
        ("empty.jpg", b""),
        ("scan.tif", b"II*\0"),
        ("noise.gif", b"what is this"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes | str) -> None:
    noise(1).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / name).write_bytes(whole[:2000] if isinstance(data, str) else data)
    with pytest.raises(ValueError, match=f"{name} cannot be read .*; mend it or take it out"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"hash": [1]}, "has no column 'phash'; it has hash"),
        ({"phash": [1]}, "holds Int64; uint64 or 16 hex digits are read"),
        ({"phash": ["00000000000000ff", "ff", None]}, "2 rows have no usable phash, first row 1: 'ff'"),
        ({"phash": pl.Series([1, None], dtype=pl.UInt64)}, "1 rows have no usable phash, first row 1: None"),
        ({"phash": pl.Series([], dtype=pl.UInt64)}, "holds no hash"),
    ],
)
def test_a_parquet_file_that_will_not_do(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "eval.parquet")
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "eval.parquet")


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "eval.parquet").write_text("no")
    with pytest.raises(ValueError, match="is no readable Parquet file"):
        run(tmp_path / "eval.parquet")
