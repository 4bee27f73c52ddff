"""Tables in parts against the same table whole."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import in_parts

from cupel.operators.frames import Frames, InMemory, Order

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "", None]), st.none() | st.integers(0, 5), st.floats(0, 1)), max_size=40
)
SCHEMA = {"word": pl.String, "number": pl.Int64, "share": pl.Float64}
SIZES = st.sampled_from([(1, 1 << 20), (1, 64), (3, 100), (5, 400)])
ORDER = Order(columns=("word", "number", "place"), descending=(True, False, False))


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").with_row_index("place")


@given(ROWS, SIZES)
def test_a_shuffle_brings_equal_values_together_and_loses_nothing(rows: list[tuple], size: tuple[int, int]) -> None:
    table = frame(rows)
    shuffled = in_parts(table, *size).shuffle(["word", "number"])
    assert shuffled.collect().sort("place").equals(table)
    assert shuffled.rows == table.height
    where: dict[tuple, int] = {}
    for i, bag in enumerate(shuffled.bags):
        for word, number in pl.concat([piece.read() for piece in bag]).select("word", "number").rows():
            assert where.setdefault((word, number), i) == i


@given(ROWS, SIZES)
def test_arranged_rows_are_those_of_one_sort(rows: list[tuple], size: tuple[int, int]) -> None:
    table = frame(rows)
    arranged = in_parts(table, *size).arrange(ORDER)
    assert arranged.collect().equals(ORDER.sort(table))


def test_arranged_parts_are_of_like_size() -> None:
    values = np.random.default_rng(1).permutation(40_000)
    table = pl.DataFrame({"word": values // 1000, "number": values, "place": values})
    parts = in_parts(table, 4, table.estimated_size() // 8).arrange(ORDER)
    sizes = [sum(piece.rows for piece in bag) for bag in parts.bags]
    assert parts.parts == 8
    assert max(sizes) < 1.5 * 40_000 / 8


def test_tables_are_joined_part_by_part() -> None:
    left = in_parts(pl.DataFrame({"n": range(100), "a": range(100)}), 3, 200)
    right = in_parts(pl.DataFrame({"n": range(0, 200, 2), "b": range(100)}), 2, 200)
    joined = left.shuffle(["n"], into=5).map(lambda a, b: a.join(b, on="n"), right.shuffle(["n"], into=5))
    assert joined.collect().sort("n").rows() == [(n, n, n // 2) for n in range(0, 100, 2)]


def test_tables_of_other_parts_are_refused() -> None:
    rows = in_parts(pl.DataFrame({"n": range(4)}), 2)
    with pytest.raises(ValueError, match="argument 2 is (longer|shorter)"):
        rows.map(lambda a, b: a, in_parts(pl.DataFrame({"n": range(4)}), 3))


def test_a_missing_column_is_null_below_others() -> None:
    exchange = InMemory()
    both = exchange.frames(pl.DataFrame({"a": [1]})).with_rows_of(exchange.frames(pl.DataFrame({"a": [2], "b": [3]})))
    assert isinstance(both, Frames)
    assert both.collect().rows() == [(1, None), (2, 3)]
