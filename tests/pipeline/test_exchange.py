"""Barriers on a real Ray: many parts in files give what one part in memory gives, and clean up behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, RecipeError, run
from cupel.operators.frames import Frames, InHand
from cupel.pipeline.exchange import OnWorkers
from cupel.pipeline.read import RunError
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


GREEDY = [
    {"dedup.near_images": {"prefer": {"highest": "score"}}},
    {"dedup.semantic": {"column": "vector", "clusters": 3, "prefer": {"highest": "score"}}},
    {"select.sample": {"by": "kind"}},
    {"select.concept_quota": {"column": "semantic_cluster"}},
    {"select.near_reference": {"column": "vector", "reference": "reference.npy", "clusters": 5}},
    {"keep": {"near_image_of": None, "semantic_of": None}},
]


@pytest.mark.parametrize("against", [False, True])
def test_sorted_parts_and_blocks_on_workers(tmp_path, monkeypatch, against):
    """Ranks, greedy grouping in blocks, k-means, and an existing corpus: as in one part."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 8))[rng.integers(0, 40, 1200)] + 0.1 * rng.normal(size=(1200, 8))
    rows = pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(1200)],
            "phash": pl.Series(rng.integers(0, 2**40, 1200, np.uint64)),
            "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, 8)),
            "score": rng.random(1200).round(2),
            "kind": rng.integers(0, 3, 1200),
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    rows[:150].rename({"text": "key"}).write_parquet(tmp_path / "old.parquet")
    np.save(tmp_path / "reference.npy", vectors[:5].astype(np.float32))
    steps = [dict(step) for step in GREEDY]
    steps[4] = {
        "select.near_reference": {**steps[4]["select.near_reference"], "reference": str(tmp_path / "reference.npy")}
    }
    if against:
        for step in steps[:2]:
            (name,) = step
            step[name] = {**step[name], "against": str(tmp_path / "old.parquet")}
    made = Recipe(name="r", steps=steps)
    whole = run(made, tmp_path / "rows.parquet", out=tmp_path / "whole")
    monkeypatch.setattr(Engine, "part_bytes", 10_000)
    parts = run(made, tmp_path / "rows.parquet", out=tmp_path / "parts")
    assert contents(Path(parts.cut)) == contents(Path(whole.cut))
    assert 0 < parts.kept < 1200


def test_columns_named_like_a_place_are_refused(tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f'{{"text": "t{i % 3}", "row": 5}}\n' for i in range(20)))
    steps = [{"dedup.exact": {"columns": ["text"], "prefer": {"highest": "row"}}}, {"keep": {"exact_of": None}}]
    with pytest.raises(RecipeError, match="dedup.exact cannot read a column named 'row'"):
        run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")
    with pytest.raises(RecipeError, match="keep cannot read a column named 'row'"):
        run(Recipe(name="r", steps=[{"keep": {"row": {"top": 0.5}}}]), source, out=tmp_path / "c")


def test_a_call_that_raises_ends_the_run_in_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(Engine, "part_bytes", 5_000)
    source = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    steps = [{"dedup.near_images": {"column": "text"}}, {"keep": {"near_image_of": None}}]
    with pytest.raises(RunError, match="column 'text' holds String, not 64-bit hashes"):
        run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")
    assert not list((tmp_path / "c").rglob("exchange/*")), "what stood between the calls is gone"


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
