"""Folders of images with texts beside them."""

from __future__ import annotations

import json
import os

import pytest

from cupel.operators.source.base import SourceError


@pytest.fixture
def folder(tmp_path, draw):
    (tmp_path / "b").mkdir()
    for i, name in enumerate(["a.JPG", "b/c.png", "b/d.v2.webp", "b/a.jpeg", "e.gif"]):
        (tmp_path / name).write_bytes(draw(i))
    (tmp_path / "a.txt").write_text("\ufeff a caption\nof two lines \n")
    (tmp_path / "b/c.json").write_text(json.dumps({"caption": "in json", "url": "http://x", "n": 1, "o": {"p": [2]}}))
    (tmp_path / "b/d.v2.txt").write_text("text wins")
    (tmp_path / "b/d.v2.json").write_text(json.dumps({"caption": "in json", "n": 2.5}))
    (tmp_path / "e.json").write_text("[]")
    (tmp_path / "README.txt").write_text("no sample")
    (tmp_path / ".hidden").mkdir()
    for name in (".hidden/x.jpg", ".x.jpg", "notes.md"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_images_and_what_is_beside_them(folder, read_all, draw):
    for read in ({"folder": str(folder)}, {"input": f"{folder}/"}):
        whole = read_all(**read)
        assert whole.schema.names == ["key", "text", "image_url", "image", "n", "o"]
        assert whole.column("key") == ["a", "b/a", "b/c", "b/d.v2", "e"]
        assert whole.column("text") == ["a caption\nof two lines", None, "in json", "text wins", None]
        assert whole.column("image") == [draw(0), draw(3), draw(1), draw(2), draw(4)]
        assert whole.column("n") == [None, None, 1.0, 2.5, None]
        assert whole.column("o") == [None, None, '{"p": [2]}', None, None]
        assert {e for e in whole.errors if e[0] == 4} == {
            (4, c, "invalid_json") for c in ("text", "image_url", "n", "o")
        }
        assert len(whole.errors) == 4


@pytest.mark.parametrize("shard_rows", [1, 256, 500, 10_000])
def test_any_cut_gives_the_same_rows(tmp_path, read_all, shard_rows):
    names = [f"{i % 7}/{i}" for i in range(900)]
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(b"%d" % i)
        (tmp_path / f"{name}.json").write_text(json.dumps({"captions": [str(i)] * (i % 3), "id": i}))
    whole = read_all(shard_rows, folder=str(tmp_path))
    by_path = sorted(range(900), key=lambda i: f"{names[i]}.jpg")
    expected = [i for i in by_path for _ in range(max(i % 3, 1))]
    assert whole.column("key") == [str(i) for i in expected]
    assert whole.column("image") == [b"%d" % i for i in expected]
    assert whole.column("text") == [str(i) if i % 3 else None for i in expected]


def test_files_that_change_later(folder, read_all):
    whole = read_all(folder=str(folder), images=False)
    (folder / "a.JPG").write_bytes(b"another")
    (folder / "e.gif").unlink()
    (folder / "a.txt").write_text("another text")
    rows = next(whole.source.rows(whole.shards[0], whole.schema, ["text"]))
    kinds = [getattr(image, "kind", None) for image in rows.images.load(range(5))]
    assert kinds == ["unreadable_file", None, None, None, "missing_file"]
    assert rows.errors["text"][0].kind == "unreadable_file"
    assert whole.source.scan(str(folder)).digest != whole.scans[0].digest


def test_links_are_followed_once(tmp_path, read_all, draw):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.jpg").write_bytes(draw(0))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/up").symlink_to("..")
    os.mkfifo(tmp_path / "in/pipe.jpg")
    assert read_all(folder=str(tmp_path / "in")).column("key") == ["link/a"]


def test_no_folder(tmp_path, read_all):
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    with pytest.raises(SourceError, match="is no folder"):
        read_all(folder=str(tmp_path / "a.jpg"))
    with pytest.raises(SourceError, match="no images in"):
        read_all(folder=str(tmp_path / "texts"))
