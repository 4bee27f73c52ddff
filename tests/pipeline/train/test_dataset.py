"""Datasets: what a cut, a corpus and plain Parquet have in them, and when two are the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_folder
from parquet_pairs import images, write_pairs, write_table

from cupel import Recipe, run
from cupel.operators.source.base import ShardError
from cupel.pipeline.read import CorpusError
from cupel.pipeline.train.reader import open_dataset
from cupel.pipeline.train.reader.dataset import read_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "a")


def numbers(data) -> list[str]:
    return data.column("key").to_pylist()


def test_rows_are_numbered_along_the_files(folder):
    data = open_dataset(str(folder))
    assert data.rows == data.all_rows == 60
    assert [part.rows for part in data.parts] == [7, 7, 6] * 3
    assert data.starts.tolist()[:5] == [0, 7, 14, 20, 27]
    assert numbers(data) == [f"k{i}" for i in range(60)]
    made = images(60)
    found = [pair for part in data.parts for pair in read_rows(data, part, np.arange(part.rows))]
    assert found == [(image, f"picture {i}".encode()) for i, image in enumerate(made)]
    encoded = sum(len(image) for image in made)
    assert encoded < sum(part.bytes for part in data.parts) < 1.5 * encoded


def test_the_digest_is_that_of_the_content_not_of_the_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "b")
    data, copy = open_dataset(str(folder)), open_dataset(f"{tmp_path}/b/")
    assert copy.digest == data.digest
    one = "00000001.parquet"
    assert open_dataset(str(folder / one)).digest == open_dataset(str(tmp_path / "b" / one)).digest != data.digest
    (tmp_path / "b" / "00000002.parquet").unlink()
    assert open_dataset(str(tmp_path / "b")).digest != data.digest
    shutil.rmtree(tmp_path / "b")
    other = write_pairs(tmp_path / "b", texts={30: "picture 31"})
    assert open_dataset(str(other)).digest != data.digest


def test_a_single_file_and_a_pattern(folder):
    assert numbers(open_dataset(str(folder / "00000001.parquet"))) == [f"k{i}" for i in range(20, 40)]
    assert numbers(open_dataset(f"{folder}/*[02].parquet")) == [f"k{i}" for i in [*range(20), *range(40, 60)]]


def test_take_chooses_rows_of_the_whole(folder):
    data = open_dataset(str(folder))
    some = data.take(np.arange(3, 60, 5))
    assert numbers(some) == [f"k{i}" for i in range(3, 60, 5)]
    assert (some.rows, some.all_rows) == (12, 60)
    assert some.counts.sum() == 12
    assert len({data.digest, some.digest, data.take(np.arange(3, 58, 5)).digest}) == 3
    again = some.take(np.array([0, 59]))
    assert numbers(again) == ["k0", "k59"]
    assert again.digest == data.take(np.array([0, 59])).digest


@pytest.mark.parametrize("rows", [[], [3, 2], [2, 2], [-1], [60]])
def test_take_refuses_other_rows(folder, rows):
    with pytest.raises(CorpusError, match=r"no row is chosen|ascend within 0 to 59"):
        open_dataset(str(folder)).take(np.array(rows))


def test_images_as_hugging_face_writes_them(folder, tmp_path):
    """struct<bytes, path>, views and dictionaries of strings: the same rows."""
    tables = [pq.read_table(path) for path in sorted(folder.iterdir())]
    whole = pa.concat_tables(tables)
    image = whole.column("image").combine_chunks()
    struct = pa.StructArray.from_arrays([image, pa.array([f"{i}.jpg" for i in range(60)])], ["bytes", "path"])
    write_table(tmp_path / "a.parquet", pa.table({"jpg": struct, "caption": whole.column("text").cast("large_string")}))
    plain, hugging = open_dataset(str(folder)), open_dataset(str(tmp_path), image="jpg", text="caption")
    assert read_rows(hugging, hugging.parts[8], np.array([1, 3])) == read_rows(
        plain, plain.parts[8], np.array([4 - 1, 5])
    )


def test_a_cut_and_its_corpus(ray_session, tmp_path):
    source = write_folder(tmp_path / "in", 30)
    recipe = Recipe(name="r", steps=["image.size"], write={"shard_rows": 12})
    cut = str(run(recipe, source, out=tmp_path / "c").cut)
    data = open_dataset(cut)
    assert data.rows == 30
    assert {name.rpartition("/")[2] for name in (part.file for part in data.parts)} == {
        f"0000000{i}.parquet" for i in range(3)
    }
    assert open_dataset(str(tmp_path / "c")).digest == data.digest
    assert open_dataset(str(tmp_path / "c")).place == data.place == cut
    assert numbers(data) == pq.read_table(f"{cut}/curated", columns=["key"]).column("key").to_pylist()
    newer = Recipe(name="s", steps=["image.size", {"keep": {"width_px": {"min": 1}}}])
    other = str(run(newer, source, out=tmp_path / "c").cut)
    assert open_dataset(str(tmp_path / "c")).parts[0].file.startswith(other)
    bare = Recipe(name="t", steps=["image.size"])
    unwritten = str(run(bare, source, out=tmp_path / "d", write=False).cut)
    with pytest.raises(CorpusError, match="--no-write"):
        open_dataset(unwritten)
    with pytest.raises(CorpusError, match="no column 'caption'; it has key"):
        open_dataset(cut, text="caption")


def empty_corpus(folder):
    (folder / "corpus.json").write_text(json.dumps({"format_version": 1}))


def documents(folder):
    nodes = pa.array([[{"kind": "text", "text": "a", "image": None}]])
    pq.write_table(pa.table({"key": ["a"], "nodes": nodes}), folder / "a.parquet")


def paths(folder):
    pq.write_table(pa.table({"image": ["a.jpg"], "text": ["a"]}), folder / "a.parquet")


def captions(folder):
    pq.write_table(pa.table({"image": [b"a"], "text": [["a", "b"]]}), folder / "a.parquet")


def no_rows(folder):
    pq.write_table(
        pa.table({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string())}), folder / "a.parquet"
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: None, "no files in"),
        (lambda folder: (folder / "a.txt").write_text("a"), "holds no .parquet file"),
        (empty_corpus, "no finished cut"),
        (documents, "holds documents, and the trainer takes pairs"),
        (paths, "'image' is string; allowed are the images' bytes"),
        (captions, "'text' is list<.*; allowed is one string a row"),
        (no_rows, "has no rows"),
    ],
)
def test_what_is_nothing_to_train_on_is_told(tmp_path, make, told):
    make(tmp_path)
    with pytest.raises(CorpusError, match=told):
        open_dataset(str(tmp_path))


def test_no_such_place(tmp_path):
    with pytest.raises(CorpusError, match="no such file or folder.*give a cut, a corpus, or Parquet files"):
        open_dataset(str(tmp_path / "nowhere"))


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not at all PAR1")
    with pytest.raises(ShardError, match=r"a\.parquet: "):
        open_dataset(str(tmp_path))
