"""What other programs read: tars with tarfile and webdataset, uids with NumPy as DataComp defines them."""

from __future__ import annotations

import datetime
import gc
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cupel import Recipe, run
from cupel.pipeline.export import _halves, export_cut
from cupel.pipeline.members import suffix_of
from cupel.pipeline.read import CorpusError
from cupel.pipeline.store import TEMPORARY, open_store

IMAGES = [encoded(picture(i), format) for i, format in enumerate(["JPEG", "PNG", "WEBP", "GIF"] * 10)]
ROWS = [
    {
        "key": f"{i:032x}",
        "text": None if i == 5 else f"picture {i} \N{SNOWMAN}",
        "image": None if i == 6 else image,
        "date": datetime.date(2024, 1, 2),
        "hash": b"\0\xff",
        "tags": [{"a": float("nan")}],
    }
    for i, image in enumerate(IMAGES)
]


@pytest.fixture(scope="module")
def cut(ray_session, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("made")
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")
    made = Recipe(name="r", steps=["image.size"], write={"shard_rows": 15})
    return str(run(made, folder / "a.parquet", out=folder / "c").cut)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tars_hold_every_row_in_order(cut, tmp_path):
    counts = export_cut(cut, "webdataset", str(tmp_path / "out"))
    assert counts == {"rows": 40, "files": 3, "without_image": 1, "without_text": 1}
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted((tmp_path / "out").iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                assert suffix not in samples.setdefault(key, {})
                samples[key][suffix] = tar.extractfile(member).read()
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.tar", "00001.tar", "00002.tar"]
    assert list(samples) == sorted(samples)
    for sample, row, suffix in zip(samples.values(), ROWS, ["jpg", "png", "webp", "gif"] * 10, strict=True):
        assert sample.get(suffix) == row["image"]
        assert sample.get("txt") == (row["text"].encode() if row["text"] else None)
        about = json.loads(sample["json"], parse_constant=pytest.fail)
        assert about["key"] == row["key"]
        assert (about["date"], about["hash"], about["tags"]) == ("2024-01-02", "00ff", [{"a": None}])
        assert about["image_bytes"] == (len(row["image"]) if row["image"] else None)


def test_the_same_cut_gives_the_same_bytes(cut, tmp_path):
    for place in "ab":
        export_cut(cut, "webdataset", str(tmp_path / place))
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_loader_of_open_clip_reads_them(cut, tmp_path):
    """The pipeline of open_clip's training/data.py, without augmentation and tokenizer."""
    wds = pytest.importorskip("webdataset")
    export_cut(cut, "webdataset", str(tmp_path))

    def has_both(sample):
        return "txt" in sample and any(suffix in sample for suffix in ("png", "jpg", "jpeg", "webp"))

    pipeline = wds.DataPipeline(
        wds.SimpleShardList(str(tmp_path / "{00000..00002}.tar")),
        wds.tarfile_to_samples(),
        wds.select(has_both),
        wds.decode("pilrgb"),
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.to_tuple("image", "text"),
    )
    found = list(pipeline)
    del pipeline
    gc.collect()  # it leaves files open: the warnings belong to this test
    expected = [row for i, row in enumerate(ROWS) if i not in (5, 6) and i % 4 != 3]
    assert [text for _, text in found] == [row["text"] for row in expected]
    for (image, _), row in zip(found, expected, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB")))


def test_our_own_reader_reads_them(cut, tmp_path):
    export_cut(cut, "webdataset", str(tmp_path / "tars"))
    again = run(Recipe(name="r", steps=["text.length"]), tmp_path / "tars", out=tmp_path / "c")
    rows = pq.read_table(Path(again.cut, "curated")).to_pylist()
    assert [(row["key"], row["text"], row["image"]) for row in rows] == [
        (row["key"], row["text"], row["image"]) for row in ROWS
    ]


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"RIFF\x10\n\0\0WEBPVP8 ", "webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "bin"),
        (b"\0\0\0\x1cftypavif", "avif"),
        (b"\0\0\0\x1cftypheic", "bin"),
        (b"<html>", "bin"),
        (b"", "bin"),
    ],
)
def test_suffixes_tell_what_the_bytes_are(data, suffix):
    assert suffix_of(data) == suffix


def test_parquet_is_what_was_curated(cut, tmp_path):
    assert export_cut(cut, "parquet", str(tmp_path)) == {"rows": 40, "files": 3}
    assert content(tmp_path) == content(Path(cut, "curated"))


def test_a_damaged_cut_is_not_handed_on(cut, tmp_path):
    subprocess.run(["cp", "-r", cut, tmp_path / "cut"], check=True)
    path = tmp_path / "cut" / "curated" / "00000001.parquet"
    data = bytearray(path.read_bytes())
    data[data.index(IMAGES[16]) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorpusError, match="has changed since it was written"):
        export_cut(str(tmp_path / "cut"), "parquet", str(tmp_path / "a"))
    with pytest.raises(OSError, match="CRC"):
        export_cut(str(tmp_path / "cut"), "webdataset", str(tmp_path / "b"))
    assert list(content(tmp_path / "a")) == ["00000000.parquet"]
    assert list(content(tmp_path / "b")) == ["00000.tar"]


# Places


def test_a_folder_with_other_files_is_refused(cut, tmp_path):
    (tmp_path / "00007.tar").write_bytes(b"of another export")
    with pytest.raises(CorpusError, match=r"holds other files \(00007.tar\); give an empty folder"):
        export_cut(cut, "webdataset", str(tmp_path))
    assert list(content(tmp_path)) == ["00007.tar"]


def test_an_export_that_was_killed_leaves_whole_files_only_and_can_be_repeated(cut, tmp_path):
    code = f"""
import os, sys
from cupel.pipeline import export
add, calls = export.add, []
def deadly(*args):
    calls.append(1)
    if len(calls) == 80:
        os._exit(9)
    add(*args)
export.add = deadly
export.export_cut({cut!r}, "webdataset", sys.argv[1])
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False).returncode == 9
    left = sorted(content(tmp_path / "a"))
    assert left[0].startswith(TEMPORARY)
    assert left[1:] == ["00000.tar"]
    export_cut(cut, "webdataset", str(tmp_path / "a"))
    export_cut(cut, "webdataset", str(tmp_path / "b"))
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("to", ["webdataset", "parquet"])
def test_to_s3(cut, s3, tmp_path, to):
    export_cut(cut, to, "s3://corpus/out")
    export_cut(cut, to, str(tmp_path))
    there = open_store("s3://corpus/out")
    assert {name: there.read(name) for name in there.files("")} == content(tmp_path)


def test_which_cut(cut, tmp_path, ray_session):
    with pytest.raises(CorpusError, match="neither a finished cut nor a corpus folder"):
        export_cut(str(tmp_path), "parquet", str(tmp_path / "out"))
    source = write_jsonl(tmp_path / "t.jsonl", ["one"])
    run(Recipe(name="r", steps=["text.length"]), source, out=tmp_path / "c", write=False)
    with pytest.raises(CorpusError, match="--no-write"):
        export_cut(str(tmp_path / "c"), "parquet", str(tmp_path / "out"))
    run(Recipe(name="s", steps=["text.length"]), source, out=tmp_path / "c")
    with pytest.raises(CorpusError, match=r"2 finished cuts \(r-\w{8}, s-\w{8}\); give one"):
        export_cut(str(tmp_path / "c"), "parquet", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# DataComp


def datacomp(uids: list[str]) -> np.ndarray:
    """mlfoundations/datacomp, baselines/apply_filter.py: halves of the hexadecimal uid, sorted."""
    uids = np.array([(int(uid[:16], 16), int(uid[16:32], 16)) for uid in uids], np.dtype("u8,u8"))
    uids.sort()
    return uids


@given(st.lists(st.integers(0, 2**128 - 1).map(lambda i: f"{i:032x}")))
def test_halves_are_those_of_datacomp(uids):
    found = _halves(pa.array(uids, pa.string()))
    assert [tuple(pair) for pair in found.tolist()] == [(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids]


@pytest.mark.parametrize("write", [True, False])
def test_uids_are_those_of_datacomp(tmp_path, ray_session, write):
    random = np.random.default_rng(0)
    uids = [random.bytes(16).hex() for _ in range(600)]
    uids += [uids[3], uids[3], "f" * 32, "0" * 32, "0" * 16 + "f" * 16, uids[5].upper()]
    pq.write_table(pa.table({"uid": uids, "text": ["a"] * len(uids)}), tmp_path / "t.parquet")
    run(Recipe(name="r", steps=["text.length"]), tmp_path / "t.parquet", out=tmp_path / "c", write=write)
    assert export_cut(str(tmp_path / "c"), "uids", str(tmp_path / "uids.npy")) == {"rows": 606, "files": 1}
    found = np.load(tmp_path / "uids.npy", allow_pickle=False)
    assert found.dtype == np.dtype("u8,u8")
    assert np.array_equal(found, datacomp(uids))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "t.parquet", "uids.npy"]


def test_no_rows_give_no_uids(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", ["one"])
    run(Recipe(name="r", steps=["text.length", {"keep": {"words": {"min": 9}}}]), source, out=tmp_path / "c")
    export_cut(str(tmp_path / "c"), "uids", str(tmp_path / "uids.npy"))
    assert np.load(tmp_path / "uids.npy", allow_pickle=False).shape == (0,)
    assert export_cut(str(tmp_path / "c"), "webdataset", str(tmp_path / "out")) == {"rows": 0, "files": 0}


@pytest.mark.parametrize("key", ["k0", "g" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n", "", None])
def test_keys_that_are_no_uids_are_refused(key):
    with pytest.raises(
        CorpusError, match=r"is no 32-digit hexadecimal uid; name the uid column with `read: {key: uid}`"
    ):
        _halves(pa.array(["0" * 32, key]))


def test_uids_need_a_file_name(cut, tmp_path):
    with pytest.raises(CorpusError, match="is a folder; give the name of a file"):
        export_cut(cut, "uids", str(tmp_path))
