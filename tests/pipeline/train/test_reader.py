"""The reader: one stream for any number of ranks and threads, from any position, whatever the files hold."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture
from parquet_pairs import images, write_pairs, write_table
from PIL import Image

from cupel.operators.source.base import ShardError
from cupel.pipeline.run import run
from cupel.pipeline.train.errors import TrainError
from cupel.pipeline.train.reader import Dataset, Reader, making, open_dataset, windows
from cupel.pipeline.train.reader.decoding import decode_into
from cupel.pipeline.train.reader.reader import FEW_BAD_ROWS
from cupel.schemas.recipe import Recipe

ROWS, BATCH, SIDE = 60, 8, 16
STEPS = 20  # 160 positions: two epochs and more
LIVE, KEPT = {"cache_mb": 0}, {"cache_mb": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    return open_dataset(str(write_pairs(tmp_path_factory.mktemp("pairs"), ROWS)))


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("cupel-")]


@dataclass(kw_only=True)
class Seen:
    """A global batch, put together from all ranks."""

    images: np.ndarray
    texts: list[str]
    tokens: np.ndarray
    rows: np.ndarray
    epochs: np.ndarray

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Seen)
        arrays = all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("images", "tokens", "rows", "epochs")
        )
        return arrays and self.texts == other.texts


def tokenize(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), ord(text[-1])] for text in texts])


def see(
    data: Dataset, steps: int = STEPS, *, world: int = 1, start: int = 0, batch: int = BATCH, **options
) -> list[Seen]:
    """Global batches `start` to `steps`, as all ranks together have them."""
    options = {"side_px": SIDE, "window_rows": 25, "tokenize": tokenize, "threads": 2, **LIVE, **options}
    with ExitStack() as stack:
        readers = [
            stack.enter_context(Reader(data, batch=batch, rank=rank, world=world, start=start, **options))
            for rank in range(world)
        ]
        found = []
        for number in range(start, steps):
            parts = [next(reader) for reader in readers]
            assert {part.number for part in parts} == {number}
            assert all(part.images.dtype == np.uint8 and part.images.flags.c_contiguous for part in parts)
            assert all(len(part.images) == len(part.texts) == batch // world for part in parts)
            joined = {
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("images", "tokens", "rows", "epochs")
            }
            found.append(Seen(texts=[text for part in parts for text in part.texts], **joined))
        assert {reader.taken for reader in readers} == {steps}
    return found


@pytest.fixture(scope="module")
def stream(data) -> list[Seen]:
    return see(data)


def rows(seen: list[Seen]) -> list[int]:
    return np.concatenate([each.rows for each in seen]).tolist()


def test_every_row_comes_once_an_epoch_with_its_own_pixels(stream):
    order = rows(stream)
    assert sorted(order[:ROWS]) == sorted(order[ROWS : 2 * ROWS]) == list(range(ROWS))
    assert order[:ROWS] != order[ROWS : 2 * ROWS]
    assert np.concatenate([each.epochs for each in stream]).tolist() == [i // ROWS for i in range(STEPS * BATCH)]
    expected = np.zeros((ROWS, SIDE, SIDE, 3), np.uint8)
    for image, out in zip(images(ROWS), expected, strict=True):
        decode_into(image, out, "shortest")
    for each in stream:
        np.testing.assert_array_equal(each.images, expected[each.rows])
        assert each.texts == [f"picture {row}" for row in each.rows]
        np.testing.assert_array_equal(each.tokens, tokenize(each.texts))


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
@pytest.mark.parametrize(("world", "threads"), [(1, 1), (1, 4), (2, 1), (2, 3), (4, 2), (8, 1)])
def test_the_stream_is_the_same_for_any_ranks_and_threads_live_or_kept(data, stream, world, threads, kept):
    assert see(data, world=world, threads=threads, **kept) == stream


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
def test_it_goes_on_from_every_batch(data, stream, kept):
    for start in range(1, STEPS):
        assert see(data, start=start, world=1 + start % 2, **kept) == stream[start:]


def test_a_position_far_away_is_reached_at_once(data, stream, monkeypatch):
    """Row groups that are read, not seconds: of one window, and what is ahead of it."""
    read = []
    load = windows.read_rows
    monkeypatch.setattr(windows, "read_rows", lambda *args: read.append(args[1]) or load(*args))
    far = 10**9
    with Reader(data, batch=BATCH, side_px=SIDE, start=far, window_rows=25, ahead_mb=0, **LIVE) as reader:
        batch = next(reader)
    assert batch.number == far
    assert set(batch.epochs) <= {far * BATCH // ROWS, far * BATCH // ROWS + 1}
    assert len(read) <= len(data.parts)


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
@pytest.mark.parametrize("batch", [ROWS, 100, 144])
def test_a_batch_may_be_larger_than_the_dataset(data, stream, batch, kept):
    seen = see(data, 3, batch=batch, world=2, **kept)
    assert rows(seen)[: STEPS * BATCH] == rows(stream)[: 3 * batch]
    pixels = np.concatenate([each.images for each in seen])[: STEPS * BATCH]
    np.testing.assert_array_equal(pixels, np.concatenate([each.images for each in stream])[: len(pixels)])


def test_seeds_differ_and_a_folder_will_do(data, stream):
    assert rows(see(data, seed=1)) != rows(stream)
    with Reader(data.place, batch=BATCH, side_px=SIDE, window_rows=25) as reader:
        assert next(reader).rows.tolist() == stream[0].rows.tolist()
        assert next(reader).tokens is None


def test_squashed(data):
    with Reader(data, batch=ROWS, side_px=SIDE, resize="squash") as reader:
        batch = next(reader)
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    decode_into(images(ROWS)[2], out, "squash")
    np.testing.assert_array_equal(batch.images[batch.rows.tolist().index(2)], out)


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
def test_some_rows_only(data, kept):
    chosen = np.arange(1, ROWS, 3)
    seen = see(data.take(chosen), 10, world=2, **kept)
    assert sorted(rows(seen)[:20]) == sorted(rows(seen)[20:40]) == chosen.tolist()
    assert all(each.texts == [f"picture {row}" for row in each.rows] for each in seen)


# Rows that cannot be read

BAD = {3: b"<html>gone", 11: None, 12: encoded(picture(12), "JPEG")[:300], 40: b""}
NO_TEXT = {20: None}
WHY = {3: "html", 11: "no_image", 12: "truncated", 20: "no_text", 40: "empty"}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> Dataset:
    return open_dataset(str(write_pairs(tmp_path_factory.mktemp("bad"), ROWS, replaced=BAD, texts=NO_TEXT)))


def with_stand_ins(order: list[int]) -> list[int]:
    """Each bad row replaced by the next good one of the order."""
    return [next(row for row in order[i:] if row not in WHY) for i in range(len(order) - ROWS)]


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
@pytest.mark.parametrize("world", [1, 2, 8])
def test_the_next_row_stands_in_for_a_bad_one(damaged, world, kept):
    clean = Reader(damaged, batch=BATCH, side_px=SIDE, window_rows=25)
    order = [clean._order.row_at(position) for position in range(STEPS * BATCH + ROWS)]
    seen = see(damaged, world=world, **kept)
    assert rows(seen) == with_stand_ins(order)
    assert all(each.texts == [f"picture {row}" for row in each.rows] for each in seen)


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
def test_bad_rows_are_noted_once(damaged, kept):
    with Reader(damaged, batch=BATCH, side_px=SIDE, threads=4, **kept) as reader:
        for _ in range(3 * ROWS // BATCH):
            next(reader)
        assert {skip.row: skip.kind for skip in reader.skips} == WHY
        assert len(reader.skips) == len(WHY)


@pytest.mark.parametrize(("bad", "share", "ends"), [(FEW_BAD_ROWS, 0, False), (11, 0.001, True), (11, 0.2, False)])
def test_too_many_bad_rows_end_it(tmp_path, bad, share, ends):
    replaced = dict.fromkeys(range(bad), b"no image")
    data = open_dataset(str(write_pairs(tmp_path, ROWS, replaced=replaced)))
    with Reader(data, batch=ROWS, side_px=SIDE, max_bad_share=share) as reader:
        if not ends:
            next(reader)
            return
        with pytest.raises(TrainError, match=r"11 of 60 rows cannot be trained on \(the last: row \d+, not_an_image"):
            next(reader)


def test_what_cannot_be_decoded_is_dropped_as_the_error_says(ray_session, tmp_path):
    """Half of each of 12 files is missing: headers are sound, pixels are not."""
    table = pq.read_table(write_pairs(tmp_path / "in", ROWS))
    cut = [image[: len(image) // 2] if i < 12 else image for i, image in enumerate(table.column("image").to_pylist())]
    place = tmp_path / "cut.parquet"
    pq.write_table(table.set_column(table.column_names.index("image"), "image", pa.array(cut)), place)
    with (
        Reader(str(place), batch=ROWS, side_px=SIDE) as reader,
        pytest.raises(TrainError, match=r"by `image.quality` and `keep: \{sharpness: \{min: 0\}\}`"),
    ):
        next(reader)
    recipe = Recipe(name="whole", steps=["image.quality", {"keep": {"sharpness": {"min": 0}}}])
    kept = run(recipe, place, out=tmp_path / "c").cut
    with Reader(str(kept), batch=ROWS - 12, side_px=SIDE) as reader:
        next(reader)
        assert reader.skips == [] and reader.data.rows == ROWS - 12


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resize": "squish"}, "resize is 'squish'; allowed are shortest and squash"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads 0"),
    ],
)
def test_options_that_cannot_be_are_told(data, options, told):
    with pytest.raises(TrainError, match=told):
        Reader(data, batch=BATCH, side_px=SIDE, **options)


@pytest.mark.parametrize("kept", [LIVE, KEPT], ids=["live", "kept"])
def test_where_nothing_can_be_read_it_ends(tmp_path, kept):
    data = open_dataset(str(write_pairs(tmp_path, 5, replaced=dict.fromkeys(range(5), b"no image"))))
    with Reader(data, batch=2, side_px=SIDE, **kept) as reader, pytest.raises(TrainError, match="no row of 5 can be"):
        next(reader)


def test_text_that_is_no_utf8_is_a_bad_row(tmp_path):
    texts = pa.array([b"picture", b"pictur\xff", b"picture"])
    unchecked = pa.StringArray.from_buffers(3, texts.buffers()[1], texts.buffers()[2])
    write_table(tmp_path / "a.parquet", pa.table({"image": images(3), "text": unchecked}))
    with Reader(str(tmp_path), batch=3, side_px=SIDE) as reader:
        assert next(reader).texts == ["picture"] * 3
        assert [(skip.row, skip.kind) for skip in reader.skips] == [(1, "invalid_utf8")]


# Threads


def test_a_damaged_page_is_told(tmp_path):
    path = write_pairs(tmp_path, ROWS, files=1) / "00000000.parquet"
    content = bytearray(path.read_bytes())
    at = content.index(images(ROWS)[30]) + 100
    content[at] ^= 1
    path.write_bytes(content)
    with Reader(str(tmp_path), batch=ROWS, side_px=SIDE) as reader, pytest.raises(ShardError, match="CRC|checksum"):
        next(reader)


def test_what_goes_wrong_in_a_thread_comes_out(data):
    def tokenize(texts):
        raise KeyError("a word")

    with Reader(data, batch=BATCH, side_px=SIDE, tokenize=tokenize) as reader:
        with pytest.raises(KeyError, match="a word"):
            next(reader)
        with pytest.raises(ValueError, match="the reader is closed"):
            next(reader)


def test_closing_does_not_wait_for_what_has_not_begun(data, monkeypatch):
    begun = []
    make = making.Maker.make

    def slow(self, task):
        begun.append(task.position)
        time.sleep(0.02)
        return make(self, task)

    monkeypatch.setattr(making.Maker, "make", slow)
    with Reader(data, batch=BATCH, side_px=SIDE, threads=1) as reader:
        next(reader)
    assert len(begun) < 10  # of 64 batches that were handed out


def test_memory_ahead_is_bounded(data, monkeypatch):
    """At most a window and half of `ahead` encoded, and the other half decoded."""
    held = []
    upto = windows.Supply.upto
    monkeypatch.setattr(
        windows.Supply,
        "upto",
        lambda self, *args: (upto(self, *args), held.append(sum(w.left_bytes for w in self._windows)))[0],
    )
    with Reader(data, batch=BATCH, side_px=SIDE, window_rows=14, ahead_mb=0, **LIVE) as reader:
        for _ in range(STEPS):
            next(reader)
            assert len(reader._flying) == 1
    largest = max(part.bytes for part in data.parts)
    assert 0 < max(held) <= 4 * largest  # two windows of two row groups, where a batch lies in both


def test_ctrl_c_ends_it_at_once(data):
    script = (
        "import sys, time\n"
        "from cupel.pipeline.train.reader import Reader\n"
        "def tokenize(texts):\n"
        "    print('reading', flush=True)\n"
        "    time.sleep(0.2)\n"
        "for _ in Reader(sys.argv[1], batch=30, side_px=16, tokenize=tokenize, threads=2): pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, data.place], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert error.strip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(("ranks", "threads"), [("1", 6), ("4", 1), ("16", 1)])
def test_ranks_of_a_machine_share_its_cores(data, monkeypatch, ranks, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    with Reader(data, batch=BATCH, side_px=SIDE) as reader:
        for _ in range(STEPS):
            next(reader)
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("cupel-decode")]
        assert 1 <= len(names) <= threads


# Places


def test_s3(s3, data, stream, tmp_path):
    for number in range(3):
        name = f"{number:08d}.parquet"
        s3.upload_file(f"{data.place}/{name}", "corpus", f"some/pairs/{name}")
    remote = open_dataset("s3://corpus/some/pairs")
    assert (remote.rows, remote.digest) == (ROWS, data.digest)
    assert see(remote, world=2) == stream
    assert remote.column("key").to_pylist() == [f"k{i}" for i in range(ROWS)]
    s3.delete_object(Bucket="corpus", Key="some/pairs/00000001.parquet")
    with Reader(remote, batch=ROWS, side_px=SIDE) as reader, pytest.raises(ShardError, match="00000001.*gone"):
        next(reader)


def test_real_photographs_look_as_pillow_makes_them(shared_data, tmp_path):
    folder = shared_data / "pairs" / "coco-mini"
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()][:48]
    rows = [{"image": (folder / line["file"]).read_bytes(), "text": line["captions"][0]} for line in lines]
    write_table(tmp_path / "a.parquet", pa.Table.from_pylist(rows), 20)
    with Reader(str(tmp_path), batch=len(rows), side_px=112, resize="squash") as reader:
        batch = next(reader)
    for row, pixels, text in zip(batch.rows.tolist(), batch.images, batch.texts, strict=True):
        image = Image.open(io.BytesIO(rows[row]["image"])).convert("RGB").resize((112, 112), Image.Resampling.BICUBIC)
        apart = np.asarray(image).astype(float) - pixels
        assert 10 * np.log10(255**2 / np.mean(apart**2)) > 28
        assert text == rows[row]["text"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"batch": 9, "world": 2}, "a batch of 9 rows cannot be shared by 2 ranks"),
        ({"batch": 0}, "batch is 0; allowed is 1 or more"),
        ({"rank": 2, "world": 2}, "rank is 2; allowed are 0 to 1"),
        ({"start": -1}, "start is -1"),
    ],
)
def test_what_makes_no_sense_is_told(data, given, told):
    with pytest.raises(TrainError, match=told):
        Reader(data, **{"batch": 8, "side_px": SIDE, **given})
