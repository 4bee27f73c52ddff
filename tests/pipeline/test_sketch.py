"""Pieces of a summary: parts in any order add up to what a plain count of all rows gives."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.summary import frequent, grouped, spread
from cupel.pipeline.summary.frequent import Coded, Frequent, site_of
from cupel.pipeline.summary.grouped import Grouped
from cupel.pipeline.summary.picks import Picks, least
from cupel.pipeline.summary.sketch import Beside, Drawn, Merger
from cupel.pipeline.summary.spread import Spread, begin_of, bucket_of

NUMBERS = (
    st.floats(width=64) | st.integers(-300, 300).map(float) | st.sampled_from([0.0, -0.0, 5e-324, -1e-30, 1.7e308])
)
ROWS = st.lists(st.tuples(NUMBERS, st.integers(0, 2)), max_size=60)


def spread_of(rows: list[tuple[float, int]]) -> Spread:
    return Spread.of(np.array([v for v, _ in rows], np.float64), np.array([f for _, f in rows], np.int64))


def same(one: Spread, two: Spread) -> bool:
    ends = [(s.coarse, s.nulls, s.infinite, s.least, s.most) for s in (one, two)]
    return ends[0] == ends[1] and np.array_equal(one.buckets, two.buckets) and np.array_equal(one.counts, two.counts)


def plainly(rows: list[tuple[float, int]], edges: np.ndarray, ends: np.ndarray) -> list[list[int]]:
    """Rows in each bucket by fate, one by one; the largest number of all belongs to the bucket that ends with it."""
    last = np.finfo(np.float64).max
    return [
        [
            sum(edge <= v and (v < end or v == end == last) and f == fate for v, f in rows if np.isfinite(v))
            for fate in range(3)
        ]
        for edge, end in zip(edges.tolist(), ends.tolist(), strict=True)
    ]


@given(ROWS, ROWS, ROWS)
def test_spreads_of_parts_add_up_to_that_of_all(a, b, c):
    whole = spread_of(a + b + c)
    assert same(spread_of(a) + spread_of(b) + spread_of(c), whole)
    assert same(spread_of(c) + (spread_of(b) + spread_of(a)), whole)
    rows = a + b + c
    finite = [v for v, _ in rows if np.isfinite(v)]
    assert plainly(rows, whole.edges, whole.ends) == whole.counts.tolist()
    assert (whole.nulls, whole.infinite) == (sum(np.isnan(v) for v, _ in rows), sum(np.isinf(v) for v, _ in rows))
    assert whole.counts.sum() == len(finite)
    told = [v for v, _ in rows if not np.isnan(v)]
    assert (whole.least, whole.most) == (min(told, default=None), max(told, default=None))
    assert (np.diff(whole.edges) > 0).all() and (whole.ends > whole.edges).all()


@given(ROWS, ROWS)
def test_wider_buckets_lose_no_row(a, b):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread, "MAX_BUCKETS", 5)
        parts = spread_of(a) + spread_of(b)
        assert same(parts, spread_of(a + b))
    assert len(parts.buckets) <= 5
    assert plainly(a + b, parts.edges, parts.ends) == parts.counts.tolist()
    assert parts.counts.sum() == sum(np.isfinite(v) for v, _ in a + b)


@given(ROWS, st.integers(4, 12))
def test_what_is_shown_holds_all_rows_in_few_buckets(rows, most):
    edges, ends, counts = spread_of(rows).shown(most)
    assert len(edges) <= most
    assert plainly(rows, edges, ends) == counts.tolist()
    assert (edges[1:] >= ends[:-1]).all()


def test_small_whole_numbers_stand_alone():
    numbers = np.arange(-256, 257).astype(np.float64)
    assert len(np.unique(bucket_of(numbers))) == len(numbers)
    assert np.array_equal(begin_of(bucket_of(numbers)), numbers)


def test_what_is_shown_is_fine_where_the_values_are():
    """Of similarities, much that is next to nothing and a few far off: bounds that one would set are told apart."""
    random = np.random.default_rng(1)
    small = 10.0 ** random.uniform(-8, -1, 20_000)
    values = np.concatenate([random.normal(0.25, 0.05, 200_000), small, [1e5, -3e4]])
    whole = Spread.of(values, np.zeros(len(values), np.int64))
    edges, ends, counts = whole.shown()
    assert len(whole.buckets) > 2000
    assert len(edges) <= spread.SHOWN_BUCKETS
    common = (edges > 0.15) & (edges < 0.35)
    assert (ends - edges)[common].max() < 0.003
    assert counts[common].sum() / len(values) > 0.85
    assert (ends / edges)[(edges > 1e-8) & (edges < 1e-3)].max() < 3, "orders of magnitude are told apart"


# Values

TEXTS = st.text(alphabet="abcé\0", max_size=3)
NAMED = st.lists(st.tuples(st.none() | TEXTS, st.booleans()), max_size=40)


def frequent_of(rows: list[tuple[str | None, bool]]) -> Frequent:
    coded = Coded.of(pa.array([value for value, _ in rows], pa.string()))
    return coded.frequent(np.arange(len(rows)), np.array([kept for _, kept in rows], bool))


def told(found: Frequent) -> dict[str, tuple[int, int]]:
    return {value: (counted.rows, counted.kept) for value, counted in found.values.items()}


@given(NAMED, NAMED, NAMED)
def test_few_values_are_counted_exactly(a, b, c):
    for found in (frequent_of(a + b + c), frequent_of(a) + frequent_of(b) + frequent_of(c)):
        rows, kept = Counter(v for v, _ in a + b + c), Counter(v for v, is_kept in a + b + c if is_kept)
        nulls = rows.pop(None, 0)
        assert told(found) == {value: (rows[value], kept[value]) for value in rows}
        assert (found.nulls, found.missed, found.rows) == (nulls, 0, rows.total())
        assert found.kept == kept.total() - kept[None]


@given(st.lists(NAMED, max_size=6))
def test_of_many_values_the_frequent_are_there_and_counts_are_bounded(parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frequent, "MAX_VALUES", 4)
        found = sum(map(frequent_of, parts), Frequent())
    true = Counter(value for part in parts for value, _ in part if value is not None)
    assert len(found.values) <= 4
    assert (found.rows, found.nulls) == (true.total(), sum(v is None for part in parts for v, _ in part))
    assert found.missed <= true.total() / 4
    for value, rows in true.items():
        if value in found.values:
            assert found.values[value].rows <= rows <= found.values[value].rows + found.values[value].missed
        else:
            assert rows <= found.missed
    values, others, others_kept = found.shown()
    assert sum(value.rows for value in values) + others == found.rows
    assert sum(value.kept for value in values) + others_kept == found.kept


def test_bytes_that_are_no_text_and_long_values_do_no_harm():
    data = [b"caf\xe9", b"caf\xe8", b"<b>", b"x" * 101, None]
    strings = pa.array(data, pa.binary()).view(pa.string())
    found = Coded.of(strings).frequent(np.arange(5), np.ones(5, bool))
    assert told(found) == {"caf�": (2, 2), "<b>": (1, 1)}
    assert (found.rows, found.nulls) == (4, 1)
    assert found.shown()[1] == 1


def test_digests_are_not_told_one_by_one():
    values, others, _ = frequent_of([(f"{i}", True) for i in range(3000)] + [("twice", True)] * 2).shown()
    assert ([value.value for value in values], others) == (["twice"], 3000)


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://img.example.co.uk/a.jpg", "example.co.uk"),
        ("http://user:secret@www.Example.ORG:8080/x?y#z", "example.org"),
        ("//cdn.example.com./x", "example.com"),
        ("https://me.github.io/", "me.github.io"),
        ("http://192.0.2.7/x", "192.0.2.7"),
        ("http://[2001:db8::1]:80/x", "2001:db8::1"),
        ("http://localhost/", "localhost"),
        *(
            (url, None)
            for url in ("data:image/png;base64,AA", "images/a.jpg", "http://", "https:///x", "", "mailto:a@b.c")
        ),
        ("http://" + "a" * 300 + "/", None),
        (None, None),
    ],
)
def test_the_site_of_an_address(url, site):
    found = Coded.of(pa.array([url, url], pa.string())).sites.frequent(np.arange(2), np.ones(2, bool))
    assert told(found) == ({site: (2, 2)} if site else {})
    assert found.nulls == (0 if site else 2)


@given(st.text(max_size=80))
def test_no_host_raises(text):
    site_of(text)
    Coded.of(pa.array([f"http://{text}"], pa.string())).sites.frequent(np.arange(1), np.ones(1, bool))


# Examples

PICKS = st.lists(
    st.tuples(st.booleans(), st.floats(0, 3), st.integers(0, 5), st.just(0), st.integers(0, 99)), max_size=20
)


@given(PICKS, PICKS)
def test_picks_of_parts_are_those_of_all(a, b):
    assert Picks.of(a, 5) + Picks.of(b, 5) == Picks.of(a + b, 5)
    assert Picks.of(a, 5).rows == tuple(sorted(a)[:5])


def test_sampled_shards_come_first_and_near_rows_are_told_first():
    picks = Picks.of([(True, 0.1, 1, 7, 1), (False, 0.5, 2, 0, 2), (False, 0.9, 3, 0, 3)], 2)
    assert [(e.shard, e.row) for e in picks.shown(0)] == [(0, 2), (0, 3)]
    more = picks + Picks.of([(True, 0.0, 1, 9, 9)], 2)
    assert more == picks, "others only where there is room"
    wide = Picks.of([(True, 0.1, 1, 7, 1), (False, 0.5, 2, 0, 2)], 3)
    assert [e.row for e in wide.shown(0)] == [2, 1]
    assert [e.row for e in wide.nearest(0)] == [1, 2]


@given(st.integers(0, 400), st.integers(1, 300), st.integers(0, 4), st.integers(0, 99))
def test_the_least_values_with_all_their_equals(length, kinds, most, seed):
    values = np.random.default_rng(seed).integers(0, kinds, length).astype(np.float64)
    found = least(values, most)
    last = np.sort(values)[:most][-1:]
    assert sorted(found.tolist()) == [i for i, value in enumerate(values) if len(last) and value <= last[0]]


MEMBERS = st.lists(st.none() | st.sampled_from(["0:1", "0:2", "0:3", "1:1"]), max_size=40)


def grouped_of(shard: int, names: list[str | None]) -> Grouped:
    draws = np.random.default_rng(shard).permutation(len(names)).astype(np.uint64) * 99 + shard
    coded = Coded.of(pa.array(names, pa.string()))
    return Grouped.of(coded, np.arange(len(names)), draws, shard, sampled=shard % 2 == 0)


@given(st.lists(MEMBERS, max_size=5))
def test_groups_of_shards_add_up(shards):
    parts = [grouped_of(i, names) for i, names in enumerate(shards)]
    found = sum(parts, Grouped()).shown(0)
    assert sum(reversed(parts), Grouped()).shown(0) == found
    sizes = Counter(name for names in shards for name in names if name)
    expected = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    assert [(group.keeper, group.rows) for group in found] == expected
    for group in found:
        rows = [(example.shard, example.row) for example in group.examples]
        assert len(set(rows)) == min(12, group.rows)
        assert {shards[shard][row] for shard, row in rows} == {group.keeper}
        odd = [shard % 2 for shard, _ in rows]
        assert odd == sorted(odd), "sampled shards first"


def test_large_groups_outlive_many_small_ones(monkeypatch):
    monkeypatch.setattr(grouped, "MAX_GROUPS", 100)
    shards = [["0:0", "0:1"] * (2 + shard % 3) + [f"{shard}:{i}" for i in range(2, 90)] for shard in range(8)]
    found = sum((grouped_of(i, names) for i, names in enumerate(shards)), Grouped())
    assert [(group.keeper, group.rows) for group in found.shown(0)[:2]] == [("0:0", 23), ("0:1", 23)]
    assert len(found.keepers) == 100
    assert len(found.shown(0)) == 50


def test_a_ranking_cuts_where_all_shards_together_do():
    none = Picks(most=1)
    parts = [Beside(below=none, above=none, selected=ends) for ends in ((3.0, 5.0), None, (2.0, 4.0))]
    assert (parts[0] + parts[1] + parts[2]).selected == (2.0, 5.0)
    assert Drawn(rows=2, picks=none) + Drawn(rows=3, picks=none) == Drawn(rows=5, picks=none)


@given(st.permutations(range(11)), st.sets(st.integers(0, 10)))
def test_shards_may_come_in_any_order(order, lost):
    """Strings show in which order they are added."""
    merger = Merger([10 + i for i in range(11)])
    for i in order:
        merger.add(10 + i, None if i in lost else f"({i})")  # type: ignore[arg-type]
    assert merger.total == ("".join(f"({i})" for i in range(11) if i not in lost) or None)


def test_few_sums_wait():
    merger = Merger(range(1000))
    for i in range(1000):
        merger.add(i, "")  # type: ignore[arg-type]
        assert len(merger._waiting) <= 10
    assert merger.total == ""
    assert list(itertools.islice(merger._waiting, 1)) == []
