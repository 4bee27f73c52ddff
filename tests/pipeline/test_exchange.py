"""Barriers on a real Ray: many parts in files give what one part in memory gives, and clean up behind them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.operators.frames import Frames, InHand
from cupel.pipeline.crew import RunError
from cupel.pipeline.exchange import OnWorkers
from cupel.pipeline.run import Engine

pytestmark = pytest.mark.usefixtures("ray_session")

WORDS = [
    "a red boat on the lake",
    "a grey cat sleeps in the sun",
    "two dogs run after one ball",
    "snow lies on the roof",
]
TEXTS = [f"{WORDS[i % 4]} number {i % 250} of the set" for i in range(1500)]
STEPS = [
    "text.minhash",
    {"dedup.near_text": {"prefer": {"lowest": "key"}}},
    {"dedup.exact": {"columns": ["text"]}},
    {"select.frequency": {"column": "text"}},
    {"keep": {"near_text_of": None, "exact_of": None, "frequency": {"min": 0}}},
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_many_parts_give_the_bytes_of_one(tmp_path, monkeypatch):
    source = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    whole = run(Recipe(name="r", steps=STEPS), source, out=tmp_path / "whole")
    monkeypatch.setattr(Engine, "part_bytes", 20_000)
    parts = run(Recipe(name="r", steps=STEPS), source, out=tmp_path / "parts")
    assert contents(Path(parts.cut)) == contents(Path(whole.cut))
    assert 0 < parts.kept < len(TEXTS)
    assert not (Path(parts.cut) / "work").exists()


def test_a_call_that_raises_ends_the_run_in_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(Engine, "part_bytes", 5_000)
    source = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    steps = [{"dedup.near_images": {"column": "text"}}, {"keep": {"near_image_of": None}}]
    with pytest.raises(RunError, match="column 'text' holds String, not 64-bit hashes"):
        run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")


@pytest.fixture
def exchange(tmp_path):
    return OnWorkers(str(tmp_path), "work", part_bytes=4000)


def test_pieces_lie_in_files_a_row_group_each(exchange, tmp_path):
    table = pl.DataFrame({"n": range(2000), "m": [i % 7 for i in range(2000)]})
    shuffled = Frames(exchange, [[InHand(table[:900])], [InHand(table[900:])]]).shuffle(["m"])
    assert shuffled.parts == 8
    assert shuffled.collect().sort("n").equals(table)
    files = sorted((tmp_path / "work").glob("*.parquet"))
    assert [pq.read_metadata(file).num_row_groups for file in files] == [8, 8]


def test_a_flipped_bit_in_between_is_noticed(exchange, tmp_path):
    table = pl.DataFrame({"n": range(5000)})
    mapped = Frames(exchange, [[InHand(table)]]).map(lambda frame: frame)
    (file,) = (tmp_path / "work").glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises((OSError, pa.ArrowInvalid)):
        mapped.collect()


def test_large_frames_at_hand_are_not_sent_with_every_call(exchange, tmp_path):
    small = exchange.frames(pl.DataFrame({"n": [1]}))
    large = exchange.frames(pl.DataFrame({"n": range(1 << 18)}))
    assert isinstance(small.bags[0][0], InHand)
    assert not isinstance(large.bags[0][0], InHand)
    assert large.collect()["n"].sum() == sum(range(1 << 18))
