"""select.frequency against collections.Counter."""

from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by

from cupel.operators.select.frequency import Frequency

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "text": pl.String}


@given(
    st.lists(st.sampled_from(["cat", "Cat", "cat ", "", None, "e\u0301", "\u00e9"]), max_size=40), st.integers(0, 99)
)
def test_equals_a_counter_in_any_order(texts: list[str | None], seed: int) -> None:
    rows = [(i // 5, i % 5, "k", text) for i, text in enumerate(texts)]
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row").sample(fraction=1, shuffle=True, seed=seed)
    found = found_by(Frequency(column="text"), table)
    count = Counter(texts)
    assert dict(found.schema) == {"shard": pl.Int32, "row": pl.Int32, "frequency": pl.Int64}
    assert found.rows() == [(shard, row, count[text]) for shard, row, _, text in rows if text is not None]


def test_reads_its_columns() -> None:
    assert Frequency(column="image_url").reads == ("image_url",)
    assert Frequency(column=("domain", "text")).reads == ("domain", "text")


def test_values_of_several_columns_are_counted_together() -> None:
    rows = [(0, i, "k", *pair) for i, pair in enumerate([("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"), (None, "x")])]
    table = pl.DataFrame(rows, schema=[*SCHEMA, "domain"], orient="row")
    found = found_by(Frequency(column=("text", "domain")), table)
    assert found["frequency"].to_list() == [2, 1, 1, 2]
