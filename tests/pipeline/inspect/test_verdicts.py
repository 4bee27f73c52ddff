"""One keep over rows of which not all is known: whatever turns out to be, `keep.decide` is within what was said."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupel.pipeline.inspect.thresholds.perhaps import Perhaps
from cupel.pipeline.inspect.thresholds.verdicts import At, Verdicts
from cupel.pipeline.keep import Nodes, decide, rank
from cupel.pipeline.plan import KeepStep
from cupel.schemas.recipe import Keep

ABOUT = {"words": "text", "width": "image"}  # `score` is of all nodes
KEEPS = [
    {"words": {"min": 2}},
    {"words": {"min": 2}, "on": "document"},
    {"words": {"min": 1, "max": 3, "null": "keep"}, "width": {"max": 3}, "on": "document"},
    {"any": [{"words": {"min": 2}}, {"width": {"min": 2}, "score": {"min": 1}}]},
    {"any": [{"words": {"min": 3, "null": "keep"}}, {"score": {"max": 1}}], "score": {"min": 1}},
    {"any": [{"words": {"min": 3}}, {"words": {"max": 1}, "score": None}], "on": "document"},
    {"score": {"top": 0.5, "null": "keep", "min": 1}},
    {"any": [{"score": {"bottom": {"share": 0.4, "by": "words"}}}, {"width": None}]},
    {"score": {"top": 0.7}, "words": {"max": 3}, "on": "document"},
]
COLUMNS = ("words", "width", "score")


@dataclass
class Rows:
    """What a decision asks of rows in memory."""

    table: pa.Table
    document: np.ndarray
    index: int = 0

    def __len__(self) -> int:
        return self.table.num_rows

    @cached_property
    def columns(self) -> pa.Schema:
        return self.table.schema

    @property
    def documents(self) -> int:
        return int(self.document.max(initial=-1)) + 1

    def column(self, name: str) -> pa.Array:
        return self.table.column(name).combine_chunks()


@st.composite
def nodes(draw) -> Rows:
    values, kinds = st.sampled_from([None, 0, 1, 2, 3, 4]), st.sampled_from(["text", "image"])
    found = draw(st.lists(st.tuples(values, values, values, kinds, st.booleans()), max_size=30))
    columns = list(zip(*found, strict=True)) if found else [()] * 5
    table = pa.table({name: pa.array(column, pa.int64()) for name, column in zip(COLUMNS, columns, strict=False)})
    table = table.append_column("kind", pa.array(columns[3], pa.string()))
    table = table.append_column("key", pa.array([f"k{i % 3}" for i in range(len(found))], pa.string()))
    return Rows(table, np.maximum(np.cumsum(np.array(columns[4], int)) - 1, 0) if found else np.zeros(0, int))


def really(keep: Keep, rows: Rows, columns: dict[str, pa.Array], alive: np.ndarray) -> np.ndarray:
    """What the engine decides."""
    place = pa.array(np.arange(len(rows)), pa.int32())
    frame = pl.from_arrow(pa.table({"shard": place, "row": place, "key": rows.column("key"), **columns})).filter(alive)
    found = rank(frame.lazy(), keep)
    ranks = {name: np.zeros(len(rows), bool) for name in found.columns[2:]}
    for name, mask in ranks.items():
        mask[alive] = found[name].to_numpy()
    read = Nodes(kind=rows.column("kind"), document=rows.document, about=ABOUT)
    return decide(keep, columns, ranks, alive, read).stays


@pytest.mark.parametrize("keep", KEEPS, ids=str)
@settings(max_examples=40)
@given(rows=nodes(), seed=st.integers(0, 2**32), known=st.booleans())
def test_the_engine_decides_within_what_is_said(keep, rows, seed, known):
    keep = Keep.model_validate(keep)
    random, n = np.random.default_rng(seed), len(rows)
    sure, possible = random.random(n) < 0.8, random.random(n) < 0.9
    unknown = {name: random.random(n) < 0.15 for name in COLUMNS}
    alive = Perhaps.of(possible) if known else Perhaps(sure & possible, possible)
    step = KeepStep(index=0, label="keep", keep=keep, reads={name: name for name in COLUMNS}, about=ABOUT)
    verdicts = Verdicts(None, rows)
    found = verdicts.stays(step, keep, At(alive=alive, unknown=(lambda _: None) if known else unknown.get))
    assert found.certain or not known
    assert not (found.sure & ~found.possible).any()
    for _ in range(4):
        there = alive.sure | (alive.possible & (random.random(n) < 0.5))
        columns = {name: rows.column(name) for name in COLUMNS}
        for name, mask in ({} if known else unknown).items():
            other = np.where(mask, random.integers(max(n, 1), size=n), np.arange(n))
            columns[name] = columns[name].take(pa.array(other))
        real = really(keep, rows, columns, there)
        assert not (found.sure & there & ~real).any()
        assert not (real & ~found.possible).any()


def test_a_node_that_may_be_there_and_fails_goes_alone_if_it_is_not():
    table = pa.table({"words": [0, 5, 5], "kind": ["text"] * 3})
    possible = np.ones(3, bool)
    at = At(alive=Perhaps(np.array([False, True, True]), possible), unknown=lambda _: None)
    step = KeepStep(index=0, label="keep", keep=Keep.model_validate(KEEPS[1]), reads={"words": "words"}, about=ABOUT)
    found = Verdicts(None, Rows(table, np.array([0, 0, 1]))).stays(step, step.keep, at)
    assert (found.sure.tolist(), found.possible.tolist()) == ([False, False, True], [False, True, True])
