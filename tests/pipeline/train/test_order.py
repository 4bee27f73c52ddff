"""The order: every row once an epoch, by arithmetic alone, the same for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.train.reader.order import Order

counts = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


def order(counts: list[int], seed: int = 0, digest: str = "d", window_rows: int = 10) -> Order:
    return Order(np.array(counts), seed=seed, digest=digest, window_rows=window_rows)


def rows(order: Order, first: int, stop: int) -> list[int]:
    return [order.row_at(position) for position in range(first, stop)]


@given(counts, st.integers(1, 30), st.integers(0, 3))
def test_every_row_comes_once_an_epoch(counts, window_rows, epoch):
    made = order(counts, window_rows=window_rows)
    total = sum(counts)
    assert sorted(rows(made, epoch * total, (epoch + 1) * total)) == list(range(total))


@given(counts, st.integers(1, 30))
def test_windows_hold_whole_row_groups_and_no_more_rows_than_allowed(counts, window_rows):
    made = order(counts, window_rows=window_rows)
    of = np.repeat(np.arange(len(counts)), counts)
    at, seen = 0, set()
    while at < sum(counts):
        window = made.window_at(at)
        groups = set(of[window.rows].tolist())
        assert window.start == at
        assert len(window.rows) == sum(counts[group] for group in groups)
        assert len(window.rows) <= window_rows or len(groups) == 1
        assert not groups & seen
        seen, at = seen | groups, window.stop


@given(counts, st.integers(0, 200))
def test_a_position_needs_nothing_before_it(counts, position):
    walked, fresh = order(counts), order(counts)
    assert rows(walked, 0, position + 1)[-1] == fresh.row_at(position)


@pytest.mark.parametrize("other", [{"seed": 1}, {"digest": "e"}, {"window_rows": 20}])
def test_seed_digest_and_window_decide(other):
    assert rows(order([10] * 8), 0, 80) == rows(order([10] * 8), 0, 80)
    assert rows(order([10] * 8, **other), 0, 80) != rows(order([10] * 8), 0, 80)


def test_epochs_differ_and_so_do_windows():
    made = order([10] * 8)
    assert rows(made, 0, 80) != rows(made, 80, 160)
    assert [row % 10 for row in rows(made, 0, 10)] != [row % 10 for row in rows(made, 10, 20)]


def test_a_window_over_all_mixes_evenly():
    """The place of a row is uniform: the mean place of the first half of the rows is that of all, in 200 epochs."""
    made = order([10] * 10, window_rows=100)
    places = np.array([np.argsort(rows(made, e * 100, (e + 1) * 100)) for e in range(200)])
    assert abs(places[:, :50].mean() - 49.5) < 0.5
    assert abs(places.mean(axis=0) - 49.5).max() < 5 * 28.87 / np.sqrt(200)


def philox(key: int, count: int) -> list[int]:
    """Philox4x64-10 as Salmon et al. (2011) define it, counted from 1 as Random123's engine does."""
    mask, found = (1 << 64) - 1, []
    for counter in range(1, count // 4 + 2):
        c, k = [counter, 0, 0, 0], [key & mask, key >> 64]
        for _ in range(10):
            (high0, low0), (high1, low1) = (
                divmod(m * x, 1 << 64) for m, x in ((0xD2E7470EE14C6C93, c[0]), (0xCA5A826395121157, c[2]))
            )
            c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
            k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
        found += c
    return found[:count]


def shuffled(items: list[int], what: str) -> list[int]:
    key = int.from_bytes(hashlib.blake2b(what.encode(), digest_size=16).digest(), "little")
    return [items[i] for _, i in sorted(zip(philox(key, len(items)), range(len(items)), strict=True))]


def test_the_order_is_that_of_the_definition_in_any_version_of_numpy():
    """Groups of 4 rows, two to a window: permuted groups, then permuted rows."""
    groups = shuffled(list(range(5)), "d/7/3")
    windows = [groups[0:2], groups[2:4], groups[4:]]
    expected = [
        row
        for number, window in enumerate(windows)
        for row in shuffled([4 * group + i for group in window for i in range(4)], f"d/7/3/{number}")
    ]
    assert rows(order([4] * 5, seed=7, window_rows=11), 60, 80) == expected
