"""dedup.exact against a dictionary."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by
from pydantic import ValidationError

from cupel.operators.dedup.exact import Exact
from cupel.schemas.corpus import row_name

SCHEMA = {
    "shard": pl.Int32,
    "row": pl.Int32,
    "key": pl.String,
    "text": pl.String,
    "phash": pl.UInt64,
    "score": pl.Float64,
}
ROW = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["", "cat", "Cat", "cat ", None]),
    st.sampled_from([0, 1, 2**64 - 1, None]),
    st.sampled_from([0.1, 0.2, None]),
)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(i // 3, i % 3, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def first_in_a_dictionary(rows: pl.DataFrame) -> dict[tuple[int, int], str]:
    """Rows by descending score, then key, shard, row; the first with a (phash, text) is the keeper."""
    rank = [(r["score"] is None, -(r["score"] or 0), r["key"] is None, r["key"] or "") for r in rows.to_dicts()]
    keepers: dict[tuple, tuple[int, int]] = {}
    of = {}
    for _, row in sorted(zip(rank, rows.rows(), strict=True), key=lambda item: (item[0], item[1][:2])):
        if row[3] is not None and row[4] is not None:
            keeper = keepers.setdefault((row[4], row[3]), row[:2])
            if keeper != row[:2]:
                of[row[:2]] = row_name(*keeper)
    return of


@given(st.lists(ROW, max_size=30), st.integers(0, 2**32))
def test_equals_a_dictionary_in_any_order(rows: list[tuple], seed: int) -> None:
    table = frame(rows)
    operator = Exact(columns=("phash", "text"), prefer={"highest": "score"})
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
    found = found_by(operator, shuffled)
    assert found.schema == {"shard": pl.Int32, "row": pl.Int32, "exact_of": pl.String}
    assert {row[:2]: row[2] for row in found.rows()} == first_in_a_dictionary(table)
    assert found.rows() == sorted(found.rows())


@pytest.mark.parametrize(
    "values",
    [
        [b"x", b"y", b"x"],
        [[1, 2], [1], [1, 2]],
        [1.5, 2.5, 1.5],
        [True, False, True],
        [float("nan"), 0.0, float("nan")],
    ],
)
def test_columns_of_any_type(values: list[object]) -> None:
    table = frame([("k", None, None, None)] * 3).with_columns(pl.Series("sha256", values))
    found = found_by(Exact(columns=("sha256",)), table)
    assert found.rows() == [(0, 2, "00000000:0")]


def test_reads_what_it_prefers_by() -> None:
    assert Exact(columns=["text"], prefer={"lowest": "score"}).reads == ("text", "score")
    with pytest.raises(ValidationError):
        Exact(columns=())
