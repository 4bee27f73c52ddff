"""The search against plain comparisons of all with all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.dedup import _hamming
from cupel.operators.dedup._hamming import group_greedily, near

CLOUDS = st.builds(
    lambda bases, flips: [base ^ flip for base, flip in itertools.product(bases, flips)],
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    st.lists(st.integers(0, 2**12 - 1) | st.sampled_from([1 << bit for bit in range(64)]), min_size=1, max_size=12),
)


def greedy(hashes: list[int], distance: int) -> list[int]:
    """The definition: a row is a duplicate of the first earlier keeper within the distance, else a keeper."""
    keepers: list[int] = []
    of = []
    for row, value in enumerate(hashes):
        first = next((k for k in keepers if (hashes[k] ^ value).bit_count() <= distance), row)
        of.append(first)
        if first == row:
            keepers.append(row)
    return of


@given(CLOUDS, st.integers(0, 16), st.randoms(use_true_random=False))
def test_groups_as_defined(hashes: list[int], distance: int, random) -> None:
    hashes = list(dict.fromkeys(hashes))
    random.shuffle(hashes)
    assert group_greedily(np.array(hashes, np.uint64), distance).tolist() == greedy(hashes, distance)


@pytest.mark.parametrize("distance", [0, 1, 3, 4, 8, 16])
def test_a_cloud_that_is_settled_by_halves(monkeypatch: pytest.MonkeyPatch, distance: int) -> None:
    monkeypatch.setattr(_hamming, "MAX_PAIRS", 50)
    monkeypatch.setattr(_hamming, "CHUNK", 30)
    hashes = np.random.default_rng(1).permutation(2**12)[:400].astype(np.uint64) << np.uint64(30)
    assert group_greedily(hashes, distance).tolist() == greedy(hashes.tolist(), distance)


@pytest.mark.parametrize("most", [50, 1 << 22])
def test_pairs_that_do_not_count(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Hashes in three colours, where only those of one colour are duplicates; in whole and by halves."""
    monkeypatch.setattr(_hamming, "MAX_PAIRS", most)
    hashes = np.random.default_rng(1).permutation(2**12)[:400].astype(np.uint64) << np.uint64(30)
    colours = np.arange(400) % 3
    found = group_greedily(hashes, 4, lambda one, other: colours[one] == colours[other])
    for colour in range(3):
        rows = np.flatnonzero(colours == colour)
        assert found[rows].tolist() == rows[greedy(hashes[rows].tolist(), 4)].tolist()


@given(CLOUDS, CLOUDS, st.integers(0, 16))
def test_near_finds_every_pair(left: list[int], right: list[int], distance: int) -> None:
    chunks = near(np.array(left, np.uint64), np.array(right, np.uint64), distance)
    found = {
        hit for one, other, apart in chunks for hit in zip(one.tolist(), other.tolist(), apart.tolist(), strict=True)
    }
    pairs = itertools.product(enumerate(left), enumerate(right))
    assert found == {(i, j, (a ^ b).bit_count()) for (i, a), (j, b) in pairs if (a ^ b).bit_count() <= distance}


@pytest.mark.parametrize("agreeing", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("distance", [0, 1, 4, 9, 16])
def test_every_number_of_agreeing_bands_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, distance: int, agreeing: int
) -> None:
    monkeypatch.setattr(_hamming, "_AGREEING", (agreeing,))  # leaves the cost model no choice
    rng = np.random.default_rng(distance)
    base = rng.integers(0, 2**64, 40, dtype=np.uint64)
    flips = [np.bitwise_or.reduce(np.uint64(1) << rng.permutation(64)[:n].astype(np.uint64)) for n in (1, 4, 9, 16)]
    hashes = rng.permutation(np.concatenate([base, *(base ^ flip for flip in flips)]))
    pairs = [(i, j) for one, other, _ in near(hashes, hashes, distance) for i, j in zip(one, other, strict=True)]
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    assert set(pairs) == set(zip(*np.nonzero(apart <= distance), strict=True))


def test_nothing_in_nothing_out() -> None:
    assert group_greedily(np.empty(0, np.uint64), 4).tolist() == []
    assert list(near(np.array([1], np.uint64), np.empty(0, np.uint64), 4)) == []
