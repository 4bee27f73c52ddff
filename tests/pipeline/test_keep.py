"""Decisions against plain Python, ranks against counting by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.keep import decide, rank, rules_of
from cupel.schemas.recipe import Keep

numbers = st.one_of(st.none(), st.integers(-5, 5), st.floats(-5, 5), st.just(math.nan))


def holds(value, min=None, max=None):
    return value is not None and (min is None or value >= min) and (max is None or value <= max)


@given(st.lists(numbers, min_size=1), st.integers(-5, 5), st.floats(-5, 5), st.booleans())
def test_bounds_are_those_of_python(values, low, high, keep_null):
    keep = Keep.model_validate({"x": {"min": low, "max": high, **({"null": "keep"} if keep_null else {})}})
    alive = np.ones(len(values), bool)
    found = decide(keep, {"x": pa.array(values, pa.float64(), from_pandas=False)}, {}, alive)
    expected = [holds(v, low, high) or (v is None and keep_null) for v in values]
    assert found.stays.tolist() == expected
    assert ((found.blame >= 0) == ~found.stays).all()


def test_integers_compare_exactly_with_fractions():
    keep = Keep.model_validate({"x": {"min": 2.5}})
    assert decide(keep, {"x": pa.array([2, 3, 2**53 + 1])}, {}, np.ones(3, bool)).stays.tolist() == [False, True, True]


def test_the_first_failed_rule_is_blamed_and_the_dead_are_not():
    keep = Keep.model_validate({"w": {"min": 3, "max": 5}, "lang": {"in": ["en", "no"]}})
    columns = {"w": pa.array([1, 9, 4, 4, None]), "lang": pa.array(["de", "de", "de", "en", "en"])}
    found = decide(keep, columns, {}, np.array([True, True, True, True, False]))
    assert [rule.text for rule in rules_of(keep)] == ["min 3", "max 5", "in ['en', 'no']"]
    assert found.blame.tolist() == [0, 1, 2, -1, -1]
    assert found.stays.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (None, [False, True, False]),
        ({"not_in": ["a"]}, [False, False, True]),
        ({"not_in": ["a"], "null": "keep"}, [False, True, True]),
        ({"in": ["a"], "null": "keep"}, [True, True, False]),
    ],
)
def test_nulls(bound, expected):
    keep = Keep.model_validate({"x": bound})
    assert decide(keep, {"x": pa.array(["a", None, "b"])}, {}, np.ones(3, bool)).stays.tolist() == expected


def test_any_needs_one_whole_alternative():
    keep = Keep.model_validate({"any": [{"a": {"min": 1}, "b": {"min": 1}}, {"c": {"min": 1}}]})
    columns = {name: pa.array(values) for name, values in {"a": [1, 1, 0], "b": [1, 0, 0], "c": [0, 0, 1]}.items()}
    found = decide(keep, columns, {}, np.ones(3, bool))
    assert found.stays.tolist() == [True, False, True]
    assert found.rules[found.blame[1]].column == "a, b, c"


def frame(values, by=None, keys=None):
    return pl.LazyFrame(
        {
            "shard": pl.Series([0] * len(values), dtype=pl.Int32),
            "row": pl.Series(range(len(values)), dtype=pl.Int32),
            "key": keys or [str(i) for i in range(len(values))],
            "x": values,
            "by": by or ["a"] * len(values),
        }
    )


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True), st.integers(0, 3).map(float)), min_size=1),
    st.sampled_from([0.1, 0.3, 0.5, 1.0]),
)
def test_top_selects_exactly_the_share(values, share):
    found = rank(frame([*values, 0.5]), Keep.model_validate({"x": {"top": share}}))
    real = sorted((v for v in [*values, 0.5] if v is not None and not math.isnan(v)), reverse=True)
    count = math.ceil(round(share * len(real), 9))
    chosen = [v for v, s in zip([*values, 0.5], found.get_column(found.columns[2]), strict=True) if s]
    assert sorted(chosen, reverse=True) == real[:count]


def test_shares_are_exact_decimals():
    found = rank(frame([float(i) for i in range(30)]), Keep.model_validate({"x": {"top": 0.1}}))
    assert found.get_column(found.columns[2]).sum() == 3  # 0.1 * 30 is 3.0000000000000004 in binary


@pytest.mark.parametrize("rows", [0, 1, 100_000])
def test_a_share_of_many_digits_is_taken_as_it_is_written(rows):
    """Python writes 0.1 + 0.2 with 17 digits."""
    frame = pl.DataFrame({"shard": [0] * rows, "row": range(rows), "key": ["k"] * rows, "x": range(rows)})
    keep = Keep.model_validate({"x": {"top": 0.1 + 0.2}})
    selected = rank(frame.lazy(), keep).to_series(2)
    assert selected.sum() == math.ceil(Fraction("0.30000000000000004") * rows)


def test_ties_go_by_key_and_groups_are_ranked_alone():
    keep = Keep.model_validate({"x": {"top": {"share": 0.5, "by": "by"}, "bottom": 0.25}})
    found = rank(frame([1.0, 1.0, 5.0, 6.0], by=["a", "a", "b", "b"], keys=["z", "y", "x", "w"]), keep)
    assert found.get_column("top(x, 0.5, by=by)").to_list() == [False, True, False, True]
    assert found.get_column("bottom(x, 0.25)").to_list() == [False, True, False, False]


def test_unsigned_and_large_integers_keep_their_order():
    big = pl.Series([2**63, 2**63 + 1, 5], dtype=pl.UInt64)
    found = rank(frame(big), Keep.model_validate({"x": {"top": 0.3}}))
    assert found.get_column(found.columns[2]).to_list() == [False, True, False]
