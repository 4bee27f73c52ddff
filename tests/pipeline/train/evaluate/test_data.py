"""Data in all its forms: the same images with the same captions, however they are stored; and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder

from cupel import Recipe, run
from cupel.operators.decode import RowError
from cupel.operators.source.base import SourceError
from cupel.pipeline.read import CorpusError
from cupel.pipeline.train.evaluate.data import ClassFolder, Pairs, open_data

PICTURES = [encoded(picture(seed, 32, 24), "PNG") for seed in range(3)]
CAPTIONS = [["one", "first"], ["two"], ["three", "third", "last"]]
FLAT = [(i, text) for i, texts in enumerate(CAPTIONS) for text in texts]


def files(folder: Path) -> None:
    (folder / "images").mkdir()
    for i, data in enumerate(PICTURES):
        (folder / f"images/{i}.png").write_bytes(data)


def jsonl_lists(folder: Path) -> Path:
    files(folder)
    lines = [json.dumps({"file": f"images/{i}.png", "captions": texts}) for i, texts in enumerate(CAPTIONS)]
    (folder / "c.jsonl").write_text("\n".join(lines))
    return folder / "c.jsonl"


def folder_with_a_table(folder: Path) -> Path:
    return jsonl_lists(folder).parent


def csv_rows(folder: Path) -> Path:
    files(folder)
    with (folder / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "caption"), *((f"images/{i}.png", text) for i, text in FLAT)])
    return folder / "c.csv"


def parquet_repeated(folder: Path) -> Path:
    table = pa.table({"image": [PICTURES[i] for i, _ in FLAT], "text": [text for _, text in FLAT]})
    pq.write_table(table, folder / "c.parquet", row_group_size=2)
    return folder


def parquet_lists(folder: Path) -> Path:
    pq.write_table(pa.table({"jpg": PICTURES, "captions": CAPTIONS}), folder / "c.parquet")
    return folder / "c.parquet"


def tar(folder: Path) -> Path:
    with tarfile.open(folder / "c.tar", "w") as file:
        for i, (image, texts) in enumerate(zip(PICTURES, CAPTIONS, strict=True)):
            for suffix, data in (("png", image), ("json", json.dumps({"caption": texts}).encode())):
                member = tarfile.TarInfo(f"{i}.{suffix}")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    return folder / "c.tar"


def folder_of_texts(folder: Path) -> Path:
    """Copies of a picture, one for each caption."""
    for n, (i, text) in enumerate(FLAT):
        (folder / f"{n}.png").write_bytes(PICTURES[i])
        (folder / f"{n}.txt").write_text(text)
    return folder


FORMS = [jsonl_lists, folder_with_a_table, csv_rows, parquet_repeated, parquet_lists, tar, folder_of_texts]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_pairs_in_every_form(form: Callable[[Path], Path], tmp_path: Path) -> None:
    data = open_data(str(form(tmp_path)))
    assert isinstance(data, Pairs)
    assert list(data.images()) == list(enumerate(PICTURES))
    assert list(zip(data.image_of_text, data.texts, strict=True)) == FLAT
    assert not data.left_out


def test_a_cut_and_its_corpus(tmp_path: Path, ray_session: None) -> None:
    recipe = Recipe(name="mine", steps=["text.length", {"keep": {"characters": {"min": 12}}}])
    source = write_folder(tmp_path / "in", 4)
    cut = run(recipe, source, out=tmp_path / "corpus").cut
    for place in (cut, tmp_path / "corpus"):
        data = open_data(str(place))
        assert isinstance(data, Pairs)
        assert [number for number, _ in data.images()] == [0, 1, 2, 3]
        assert data.texts[2] == "a picture of number 2 and its colours"
    bare = run(Recipe(name="bare", steps=["text.length"]), source, out=tmp_path / "corpus", write=False).cut
    with pytest.raises(CorpusError, match="was run with --no-write"):
        open_data(str(bare))


def test_rows_that_lack_something_are_counted(tmp_path: Path) -> None:
    rows = [("0.png", "a"), ("0.png", " "), ("", "b"), ("0.png", "a"), ("gone.png", "c"), ("gone.png", "d")]
    (tmp_path / "0.png").write_bytes(PICTURES[0])
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"file": f, "text": t}) + "\n" for f, t in rows))
    data = open_data(str(tmp_path / "c.jsonl"))
    assert isinstance(data, Pairs)
    images = list(data.images())
    assert images[0] == (0, PICTURES[0])
    assert isinstance(images[1][1], RowError)
    assert len(images) == 2  # the missing file is told once
    assert (data.texts, data.image_of_text) == (["a", "c", "d"], [0, 1, 1])
    assert data.left_out == {"no caption": 1, "no image": 1, "the same pair again": 1}


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for name in ("car_side", "grand-piano"):
        (tmp_path / name / "deeper").mkdir(parents=True)
        shutil.copy(write_folder(tmp_path / ".tmp", 1) / "p0000.jpg", tmp_path / name / "1.jpg")
        (tmp_path / name / "deeper" / "2.png").write_bytes(PICTURES[0])
    (tmp_path / "labels.csv").write_text("file,class\ncar_side/1.jpg,car\n")  # a table without captions
    (tmp_path / "top.png").write_bytes(PICTURES[0])  # of no class
    data = open_data(str(tmp_path))
    assert isinstance(data, ClassFolder)
    assert (data.names, data.labels.tolist(), data.trains) == (("car side", "grand piano"), [0, 0, 1, 1], None)
    assert [number for number, _ in data.images()] == [0, 1, 2, 3]
    (tmp_path / "names.yaml").write_text("car_side: a car from the side\n")
    named = open_data(str(tmp_path), tmp_path / "names.yaml")
    assert isinstance(named, ClassFolder)
    assert named.names == ("a car from the side", "grand piano")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("car: a car", "names 'car', and the folders are a, b"),
        ("- a\n- b", "must hold a line a class, `folder: name`"),
        ("a: 1", "must hold a line a class"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_wrong_file_of_names(text: str, told: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(PICTURES[0])
    (tmp_path / "names.yaml").write_text(text)
    with pytest.raises(CorpusError, match=told):
        open_data(str(tmp_path), tmp_path / "names.yaml")


def only_images(folder: Path) -> Path:
    files(folder)
    return folder


def only_texts(folder: Path) -> Path:
    (folder / "t.csv").write_text("caption,n\nwords,1\n")
    return folder / "t.csv"


def addresses(folder: Path) -> Path:
    (folder / "u.csv").write_text("caption,url\nwords,http://example.org/a.png\n")
    return folder / "u.csv"


def nothing(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (only_images, "is nothing to evaluate on: .* two folders of images"),
        (only_texts, "has no image column; it has"),
        (addresses, "holds addresses of images; `cupel run` with crawl.images fetches them first"),
        (nothing, "no files in"),
        (lambda folder: folder / "gone", "no such file or folder"),
    ],
)
def test_what_cannot_be_evaluated_on(form: Callable[[Path], Path], told: str, tmp_path: Path) -> None:
    with pytest.raises((CorpusError, SourceError), match=told):
        open_data(str(form(tmp_path)))
