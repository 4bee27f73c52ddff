"""Thumbnails: of the right picture, made by us, whatever the source, however many ask, and never of what is blocked."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder, write_jsonl
from PIL import Image

from cupel import Recipe, run
from cupel.operators.source.images import PieceImages
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.pictures import thumbnails as module
from cupel.pipeline.inspect.pictures.thumbnails import (
    SIDES_PX,
    NoPicture,
    Pictures,
    Thumbnail,
)

pytestmark = pytest.mark.usefixtures("ray_session")
COUNT = 20


def made(folder: Path, place: Path, *steps: object, **rest: object) -> Pictures:
    run(Recipe.model_validate({"name": "r", "steps": list(steps) or ["image.size"], **rest}), place, out=folder / "c")
    return Pictures(open_cut(str(folder / "c")))


def opened(found: Thumbnail | NoPicture) -> Image.Image:
    assert isinstance(found, Thumbnail), found
    image = Image.open(io.BytesIO(found.data))
    assert (image.format, image.size) == ("WEBP", (found.width, found.height))
    assert found.media_type == "image/webp"
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the pixels, 0 to 255; two of our drawn pictures differ by 50 and more."""
    pair = [np.asarray(image.convert("RGB").resize((24, 24)), float) for image in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean())


def tars(folder: Path) -> Path:
    folder.mkdir()
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for i in range(number * 10, number * 10 + 10):
                for suffix, data in (("jpg", encoded(picture(i))), ("txt", f"number {i}".encode())):
                    info = tarfile.TarInfo(f"{i:04d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def parquet(folder: Path) -> Path:
    folder.mkdir()
    images = pa.array([encoded(picture(i)) for i in range(COUNT)], pa.binary())
    table = pa.table({"image": images, "text": [f"number {i}" for i in range(COUNT)]})
    pq.write_table(table, folder / "a.parquet", row_group_size=7)
    return folder / "a.parquet"


def paths(folder: Path) -> Path:
    write_folder(folder, COUNT)
    names = [f"p{i:04d}.jpg" for i in range(COUNT)]
    return write_jsonl(folder / "a.jsonl", [f"number {i}" for i in range(COUNT)], image=names)


def captions(folder: Path) -> Path:
    """A picture with two captions each: two rows."""
    folder.mkdir()
    images = pa.array([encoded(picture(i // 2)) for i in range(0, COUNT, 2)], pa.binary())
    texts = [[f"number {i}", f"again {i}"] for i in range(0, COUNT, 2)]
    pq.write_table(pa.table({"image": images, "text": texts}), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize("write", [lambda folder: write_folder(folder, COUNT), tars, parquet, paths, captions])
def test_rows_have_their_own_pictures_whatever_the_source(tmp_path, write):
    pictures = made(tmp_path, write(tmp_path / "in"))
    addresses = [(0, shard.id, row) for shard in pictures._cut.shards for row in range(shard.rows)]
    assert len(addresses) == COUNT
    for i, found in enumerate(pictures.thumbnails(addresses[::-1], 96)):
        at = COUNT - 1 - i
        assert difference(opened(found), picture(at // 2 if write is captions else at)) < 6


@pytest.mark.parametrize(("write", "reader"), [(parquet, "parquet"), (tars, "samples")])
def test_shards_that_are_read_in_many_batches(tmp_path, monkeypatch, write, reader):
    pictures = made(tmp_path, write(tmp_path / "in"))
    monkeypatch.setattr(f"cupel.operators.source.{reader}.BATCH_ROWS", 3)
    addresses = [(0, shard.id, row) for shard in pictures._cut.shards for row in range(shard.rows)]
    for at in (COUNT - 1, 4, *range(COUNT)):  # backwards, too
        assert difference(opened(pictures.thumbnail(*addresses[at], 96)), picture(at)) < 6


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Pictures of every kind in one folder, by name."""
    folder = tmp_path_factory.mktemp("odd")
    whole = picture(0, 400, 100)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "SECRET"  # to be turned; a description
    frames = [picture(seed, 120, 90) for seed in (1, 2, 3)]
    files = {
        "turned.jpg": encoded(whole, exif=exif),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "small.png": encoded(picture(4, 40, 30), "PNG"),
        "thin.png": encoded(Image.new("RGB", (3000, 2)), "PNG"),
        "large.webp": encoded(picture(5, 1500, 1200), "WEBP"),
        "script.jpg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "cut.jpg": encoded(picture(6))[:900],
        "nothing.jpg": b"",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    names = [*files, "missing.jpg", None]
    write_jsonl(folder / "a.jsonl", ["some words"] * len(names), image=names)
    pictures = made(folder, folder / "a.jsonl")
    return lambda name, side_px=256: pictures.thumbnail(0, 0, names.index(name), side_px)


@pytest.mark.parametrize(
    ("name", "side_px", "size"),
    [
        ("turned.jpg", 256, (64, 256)),
        ("moving.gif", 96, (96, 72)),
        ("small.png", 256, (40, 30)),
        ("thin.png", 256, (256, 1)),
        *(("large.webp", side, (side, side * 4 // 5)) for side in SIDES_PX if side % 5 == 0),
        ("large.webp", 1024, (1024, 819)),
    ],
)
def test_sizes(odd, name, side_px, size):
    assert opened(odd(name, side_px)).size == size


def test_what_is_sent_is_ours_and_nothing_but_pixels(odd):
    found = odd("turned.jpg")
    image = opened(found)
    assert b"SECRET" not in found.data and not image.getexif() and not image.info.get("icc_profile")
    assert difference(image, picture(0, 400, 100).transpose(Image.Transpose.ROTATE_270)) < 6


def test_of_an_animation_the_first_frame_is_shown(odd):
    image = opened(odd("moving.gif"))
    assert getattr(image, "n_frames", 1) == 1
    assert difference(image, picture(1, 120, 90)) < 12


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("script.jpg", "svg"), ("cut.jpg", "truncated"), ("nothing.jpg", "empty")),
        *(("missing.jpg", "missing_file"), (None, "no_image")),
    ],
)
def test_why_there_is_no_picture(odd, name, kind):
    found = odd(name)
    assert isinstance(found, NoPicture) and (found.kind, bool(found.why)) == (kind, True)


def test_only_some_sizes_are_made(odd):
    with pytest.raises(ValueError, match="side_px is one of 96"):
        odd("small.png", 97)


@pytest.mark.parametrize("address", [(0, 0, 99), (0, 0, -1), (0, 7, 0), (3, 0, 0), (-1, 0, 0)])
def test_addresses_that_lead_nowhere(tmp_path, address):
    pictures = made(tmp_path, write_folder(tmp_path / "in", 3))
    assert pictures.thumbnail(*address) == NoPicture(kind="no_row", why="there is no such row")


# Versions, and rows that were made


def test_the_version_that_is_written_is_shown(tmp_path):
    pictures = made(tmp_path, write_folder(tmp_path / "in", 3), "test.invert")
    negative = Image.eval(picture(2), lambda value: 255 - value)
    assert difference(opened(pictures.thumbnail(0, 0, 2)), negative) < 6


def test_children_with_pictures_of_their_own(tmp_path):
    pictures = made(tmp_path, write_folder(tmp_path / "in", 3), "test.crops")
    right = picture(1).crop((120, 0, 240, 220))
    assert difference(opened(pictures.thumbnail(1, 0, 3)), right) < 6
    assert difference(opened(pictures.thumbnail(0, 0, 1)), picture(1)) < 6


@pytest.mark.parametrize("before", [[], ["test.invert"]])
def test_children_that_inherit_their_parents_pictures(tmp_path, before):
    pictures = made(tmp_path, write_folder(tmp_path / "in", 3, "one two {i}"), *before, "test.words")
    expected = [Image.eval(picture(i), lambda v: 255 - v if before else v) for i in range(3)]
    found = pictures.thumbnails([(1, 0, row) for row in range(9)])
    assert all(difference(opened(found[row]), expected[row // 3]) < 6 for row in range(9))


def test_pictures_that_were_fetched(tmp_path):
    urls = ["7", "gone", "200", "90"]
    place = write_jsonl(tmp_path / "a.jsonl", ["some words"] * 4, image_url=urls)
    pictures = made(tmp_path, place, "test.brings")
    found = pictures.thumbnails([(0, 0, row) for row in range(4)])
    assert [f.kind if isinstance(f, NoPicture) else np.asarray(opened(f)).mean().round() for f in found] == [
        *(7, "no_image", 200, 90),
    ]


# Who asks, and how often


def test_a_blocked_picture_is_not_even_read(tmp_path, monkeypatch):
    place = write_folder(tmp_path / "in", 6)
    (tmp_path / "list.txt").write_text(hashlib.sha256((place / "p0002.jpg").read_bytes()).hexdigest())
    pictures = made(tmp_path, place, {"image.blocklist": {"lists": [str(tmp_path / "list.txt")]}})
    read = list[int]()
    load = PieceImages.load
    monkeypatch.setattr(PieceImages, "load", lambda self, slots: read.extend(slots) or load(self, slots))
    found = pictures.thumbnails([(0, 0, row) for row in range(6)])
    assert [isinstance(f, NoPicture) for f in found] == [False, False, True, False, False, False]
    assert found[2].kind == "blocked" and sorted(read) == [0, 1, 3, 4, 5]


def test_many_threads_share_one_reader(tmp_path, monkeypatch):
    pictures = made(tmp_path, tars(tmp_path / "in"))
    opened_shards, decoding, lock = list[object](), set[int](), threading.Lock()
    rows, decode = module.ShardPictures, module.decode

    def watched(*arguments):
        with lock:
            decoding.add(threading.get_ident())
        return decode(*arguments)

    monkeypatch.setattr(module, "decode", watched)
    monkeypatch.setattr(module, "ShardPictures", lambda *a: opened_shards.append(a[-2:]) or rows(*a))
    wanted = [(0, shard.id, row) for shard in pictures._cut.shards for row in range(shard.rows)] * 3
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda address: pictures.thumbnail(*address, 96), wanted))
    assert sorted(opened_shards) == [(0, 0), (0, 1)]
    assert len(decoding) == 1 and threading.get_ident() not in decoding
    for i, thumbnail in enumerate(found):
        assert difference(opened(thumbnail), picture(i % COUNT)) < 6


def test_what_was_made_is_kept_within_bounds(tmp_path, monkeypatch):
    made(tmp_path, write_folder(tmp_path / "in", 8)).close()
    cut = open_cut(str(tmp_path / "c"))
    size = max(len(found.data) for found in Pictures(cut).thumbnails([(0, 0, row) for row in range(8)]))
    pictures, made_of = Pictures(cut, cache_bytes=3 * size), list[int]()
    make = module.thumbnail_of
    monkeypatch.setattr(module, "thumbnail_of", lambda *a: made_of.append(len(a[0])) or make(*a))
    for row in (0, 1, 2, 0, 1, 2):
        pictures.thumbnail(0, 0, row)
    assert len(made_of) == 3
    pictures.thumbnail(0, 0, 0)
    for row in (3, 4):  # 1 and 2 were used before 0 was
        pictures.thumbnail(0, 0, row)
    made_of.clear()
    pictures.thumbnail(0, 0, 0)
    assert made_of == []
    pictures.thumbnail(0, 0, 1)
    assert len(made_of) == 1


def test_pictures_may_be_prepared_before_they_are_asked_for(tmp_path, monkeypatch):
    pictures, made_of = made(tmp_path, write_folder(tmp_path / "in", 4)), list[int]()
    make = module.thumbnail_of
    monkeypatch.setattr(module, "thumbnail_of", lambda *a: made_of.append(1) or make(*a))
    pictures.prepare([(0, 0, row) for row in range(4)])
    assert all(isinstance(found, Thumbnail) for found in pictures.thumbnails([(0, 0, row) for row in range(4)]))
    assert len(made_of) == 4


def test_the_reader_survives_what_nobody_foresaw(tmp_path, monkeypatch):
    pictures = made(tmp_path, write_folder(tmp_path / "in", 2))
    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", lambda *a: 1 / 0)
        assert pictures.thumbnail(0, 0, 0) == NoPicture(kind="ZeroDivisionError", why="division by zero")
    assert isinstance(pictures.thumbnail(0, 0, 0), Thumbnail)


# An input that is not there any more


def test_kept_rows_are_shown_when_the_input_has_moved(tmp_path):
    read = {"read": {"webdataset": str(tmp_path / "in")}}
    steps = ["text.length", {"keep": {"characters": {"min": 9}}}]  # number 10 and later
    place = tars(tmp_path / "in")
    pictures = made(tmp_path, None, *steps, **read)
    before = pictures.thumbnails([(0, 1, row) for row in range(10)])
    (place / "1.tar").rename(tmp_path / "1.tar")
    moved = Pictures(open_cut(str(tmp_path / "c")))
    assert moved.thumbnails([(0, 1, row) for row in range(10)]) == before
    (place / "0.tar").rename(tmp_path / "0.tar")
    gone = Pictures(open_cut(str(tmp_path / "c"))).thumbnail(0, 0, 3)
    assert isinstance(gone, NoPicture) and gone.kind == "unreadable_input" and "0.tar" in gone.why


def test_a_file_that_has_changed_is_told(tmp_path):
    """Of a row that was dropped; what was kept is taken from where it was written."""
    steps = ["text.length", {"keep": {"characters": {"min": 9}}}]
    pictures = made(tmp_path, parquet(tmp_path / "in"), *steps)
    file = tmp_path / "in" / "a.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    found = pictures.thumbnail(0, 0, 0)
    assert isinstance(found, NoPicture) and "changed since it was scanned" in found.why
    assert difference(opened(pictures.thumbnail(0, 0, 15)), picture(15)) < 6


def test_blocked_rows_stay_hidden_when_the_input_has_moved(tmp_path):
    place = tars(tmp_path / "in")
    (tmp_path / "list.txt").write_text(hashlib.md5(encoded(picture(12))).hexdigest())
    blocklist = {"image.blocklist": {"lists": [str(tmp_path / "list.txt")]}}
    made(tmp_path, None, blocklist, read={"webdataset": str(place)}).close()
    (place / "1.tar").unlink()
    found = Pictures(open_cut(str(tmp_path / "c"))).thumbnails([(0, 1, row) for row in range(10)])
    assert [f.kind if isinstance(f, NoPicture) else "" for f in found] == [*("", "", "blocked"), *[""] * 7]
    assert all(difference(opened(found[row]), picture(10 + row)) < 6 for row in range(10) if row != 2)


def test_real_pictures(shared_data, tmp_path):
    """All of COCO's samples: none is lost, each looks as Pillow's own thumbnail does."""
    folder = shared_data / "pairs" / "coco-mini"
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()][:40]
    names = [line["file"] for line in lines]
    rows = [{"key": str(i), "image": name, "text": "a photo"} for i, name in enumerate(names)]
    table = tmp_path / "a.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pictures = made(tmp_path, None, read={"table": str(table), "image": "image", "root": str(folder)})
    for name, found in zip(names, pictures.thumbnails([(0, 0, i) for i in range(len(names))]), strict=True):
        expected = Image.open(folder / name).convert("RGB")
        expected.thumbnail((256, 256))
        assert opened(found).size == expected.size
        assert difference(opened(found), expected) < 4
