"""Ranked in memory as `keep.rank` ranks them, for all rows alive and where not all is known."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.inspect.thresholds.perhaps import Perhaps
from cupel.pipeline.inspect.thresholds.ranking import Ranking
from cupel.pipeline.keep import rank
from cupel.schemas.recipe import Keep

FLOATS = [None, math.nan, -math.inf, -1.5, -0.0, 0.0, 0.25, 3.0, math.inf]
DECIMALS = ["-1", "0.000000000001", "12345678901234567.000000000001", "12345678901234567.000000000002"]
VALUES = {
    "float32": (pa.float32(), FLOATS),
    "float64": (pa.float64(), FLOATS),
    "int8": (pa.int8(), [None, -128, -1, 0, 3, 127]),
    "uint64": (pa.uint64(), [None, 0, 2**63 - 1, 2**63, 2**64 - 1]),
    "decimal": (pa.decimal128(30, 12), [None, *map(Decimal, DECIMALS)]),
}
GROUPS = {
    "none": (pa.null(), [None]),
    "text": (pa.string(), [None, "", "de", "en"]),
    "float": (pa.float32(), [None, math.nan, -0.0, 0.0, 2.0]),
    "flag": (pa.bool_(), [None, True, False]),
}


@st.composite
def ranked(draw):
    """Columns of a few rows, and a `top` or `bottom`."""
    kind, values = VALUES[draw(st.sampled_from(sorted(VALUES)))]
    by, groups = GROUPS[draw(st.sampled_from(sorted(GROUPS)))]
    rows = draw(st.lists(st.tuples(*map(st.sampled_from, (values, groups, [None, "a", "b", "é"]))), max_size=40))
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [pa.array(column, t) for column, t in zip(columns, (kind, by, pa.string()), strict=True)]
    share = draw(st.sampled_from([0.1, 0.3, 1 / 3, 0.5, 0.999999, 1.0]))
    return *arrays, share, draw(st.booleans()), draw(st.integers(0, 2**32))


def really(values, groups, keys, share, top, alive) -> np.ndarray:
    """What `keep.rank` selects of the rows alive."""
    rows = np.arange(len(values), dtype=np.int32)
    columns = {"x": values, "by": groups, "key": keys}
    frame = pl.DataFrame({"shard": rows // 7, "row": rows % 7, **{n: pl.from_arrow(c) for n, c in columns.items()}})
    by = {} if pa.types.is_null(groups.type) else {"by": "by"}
    keep = Keep.model_validate({"x": {"top" if top else "bottom": {"share": share, **by}}})
    found = rank(frame.filter(alive).lazy(), keep).to_series(2).to_numpy()
    selected = np.zeros(len(values), bool)
    selected[alive] = found
    return selected


def ranking(values, groups, keys, top) -> Ranking:
    return Ranking(values, None if pa.types.is_null(groups.type) else groups, top=top, keys=lambda: keys)


@given(ranked())
def test_as_keep_ranks(case):
    values, groups, keys, share, top, seed = case
    alive = np.random.default_rng(seed).random(len(values)) < 0.8
    found = ranking(values, groups, keys, top).select(Perhaps.of(alive), share)
    assert found.certain
    assert found.sure.tolist() == really(values, groups, keys, share, top, alive).tolist()


@given(ranked())
def test_whatever_is_unknown_turns_out_to_be(case):
    values, groups, keys, share, top, seed = case
    random = np.random.default_rng(seed)
    n = len(values)
    possible, sure, unknown = random.random(n) < 0.9, random.random(n) < 0.8, random.random(n) < 0.2
    found = ranking(values, groups, keys, top).select(Perhaps(possible & sure, possible), share, unknown)
    assert not (found.sure & ~found.possible).any()
    for _ in range(5):
        alive = possible & (sure | (random.random(n) < 0.5))
        other = np.where(unknown, random.permutation(n), np.arange(n))
        real = really(values.take(pa.array(other)), groups.take(pa.array(other)), keys, share, top, alive)
        assert not (found.sure & alive & ~real).any()
        assert not (real & ~found.possible).any()


@pytest.mark.parametrize("top", [True, False])
def test_few_unknown_rows_leave_most_known(top):
    values = pa.array(np.random.default_rng(0).permutation(1000))
    unknown = np.zeros(1000, bool)
    unknown[:20] = True
    found = Ranking(values, None, top=top, keys=lambda: pa.nulls(1000)).select(
        Perhaps.of(np.ones(1000, bool)), 0.3, unknown
    )
    assert 280 <= found.sure.sum() <= 300 <= found.possible.sum() <= 340


def test_of_rows_that_were_never_made_nothing_is_known():
    values = pa.array([1.0, None, 3.0])
    found = Ranking(values, None, top=True, keys=lambda: pa.nulls(3)).select(
        Perhaps.of(np.ones(3, bool)), 0.5, unmade=True
    )
    assert (found.sure.tolist(), found.possible.tolist()) == ([False] * 3, [True, False, True])


def test_places_beside_the_border():
    order = Ranking(pa.array([5, 1, 4, 2, None]), None, top=True, keys=lambda: pa.nulls(5))
    rows, behind = order.beside(np.array([True, True, True, False, True]), 0.5)
    assert dict(zip(rows.tolist(), behind.tolist(), strict=True)) == {0: -2, 2: -1, 1: 0}
