"""Pairs of 64-bit hashes within a Hamming distance, exactly, without comparing all with all.

Pigeonhole: cut the 64 bits into d + k bands. Two hashes that differ in at most d bits agree in at least k bands, so
they share a bucket in one of the C(d + k, k) tables keyed by k bands (Manku et al., "Detecting near-duplicates for web
crawling", WWW 2007; k = 1 is multi-index hashing, Norouzi et al., arXiv:1307.2982). Candidates of a bucket are verified
with a popcount. k is what promises the least work for these hashes. Bits are dealt to the bands by how evenly they
split the hashes, so that constant bits (blank images, a coefficient that is always positive) spoil no single band.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Hits = tuple[Indices, Indices, NDArray[np.uint8]]  # left index, right index, distance: one entry a pair
Alike = Callable[[Indices, Indices], NDArray[np.bool_]]  # of the pairs (left index, right index), which count

CHUNK: Final = 1 << 19  # candidates verified at a time: a few MB a temporary, so that they stay in the cache
MAX_PAIRS: Final = 1 << 22  # pairs held at a time
_SORT_COST: Final = 30  # of sorting and bucketing one hash, in verified candidates; measured
_AGREEING: Final = range(5)  # k; 0 is all with all, and more than 4 means thousands of tables


def near(left: Hashes, right: Hashes, distance: int, alike: Alike | None = None) -> Iterator[Hits]:
    """Every pair (left, right) within `distance` that is `alike`, in chunks; a pair may come more than once."""
    for mask in _masks(right, distance):
        left_order, left_keys = _sorted(left, mask)
        right_order, right_keys = _sorted(right, mask)
        starts = np.searchsorted(right_keys, left_keys, "left")
        stops = np.searchsorted(right_keys, left_keys, "right")
        for one, other, found in _verified(left[left_order], right[right_order], starts, stops, distance):
            hits = left_order[one], right_order[other], found
            yield hits if alike is None else _counting(hits, alike)


def group_greedily(hashes: Hashes, distance: int, alike: Alike | None = None) -> Indices:
    """For each of the `hashes`, best first: the first earlier keeper that is near (and `alike`), or itself, a keeper.

    Memory is linear in the hashes. Where pairs are too many to hold (a cloud of near-blank images), the first half is
    settled first, and the second half is compared with its keepers only, which are few because they lie apart
    (unless `alike` tells them apart: then a cloud takes the square of its size in time).
    """
    keeper = np.arange(len(hashes))
    _settle(hashes, keeper.copy(), keeper, distance, alike)
    return keeper


def _settle(hashes: Hashes, rows: Indices, keeper: Indices, distance: int, alike: Alike | None) -> None:
    """Settle `rows` (ascending) among themselves; `keeper` is written."""
    pairs = _pairs(hashes[rows], distance, _among(alike, rows, rows))
    if pairs is not None:
        _settle_pairs(pairs, rows, keeper)
        return
    first, second = np.array_split(rows, 2)
    _settle(hashes, first, keeper, distance, alike)
    kept = first[keeper[first] == first]
    found = np.full(len(second), len(kept))
    for one, other, _ in near(hashes[second], hashes[kept], distance, _among(alike, second, kept)):
        np.minimum.at(found, one, other)
    matched = found < len(kept)
    keeper[second[matched]] = kept[found[matched]]
    _settle(hashes, second[~matched], keeper, distance, alike)


def _among(alike: Alike | None, left: Indices, right: Indices) -> Alike | None:
    """The same of some rows: `left` and `right` are their indices in all."""
    return None if alike is None else lambda one, other: alike(left[one], right[other])


def _counting(hits: Hits, alike: Alike) -> Hits:
    one, other, found = hits
    counts = alike(one, other)
    return one[counts], other[counts], found[counts]


def _settle_pairs(pairs: Indices, rows: Indices, keeper: Indices) -> None:
    """Walk the pairs (later * rows + earlier, ascending): when a row's turn comes, all rows before it are settled."""
    settled = list(range(len(rows)))
    for start in range(0, len(pairs), CHUNK):
        later, earlier = np.divmod(pairs[start : start + CHUNK], len(rows))
        for row, other in zip(later.tolist(), earlier.tolist(), strict=True):
            if settled[row] == row and settled[other] == other:
                settled[row] = other
    keeper[rows] = rows[settled]


def _pairs(hashes: Hashes, distance: int, alike: Alike | None) -> Indices | None:
    """Every pair within `distance` that is `alike` as later * len + earlier, ascending; None from MAX_PAIRS on."""
    found, held = [np.empty(0, np.int64)], 0
    for mask in _masks(hashes, distance):
        order, keys = _sorted(hashes, mask)
        stops = np.searchsorted(keys, keys, "right")
        for one, other, apart in _verified(hashes[order], hashes[order], np.arange(1, len(keys) + 1), stops, distance):
            hits = order[one], order[other], apart
            a, b, _ = hits if alike is None else _counting(hits, alike)
            found.append(np.maximum(a, b) * len(hashes) + np.minimum(a, b))
            held += len(a)
            if held > MAX_PAIRS:  # the same pair may have come from several tables
                found = [_distinct(np.concatenate(found))]
                held = len(found[0])
                if held > MAX_PAIRS // 2:
                    return None
    return _distinct(np.concatenate(found))


def _distinct(values: Indices) -> Indices:
    """Sorted, each once; ten times faster than np.unique, which hashes."""
    values.sort()
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def _sorted(hashes: Hashes, mask: np.uint64) -> tuple[Indices, Hashes]:
    keys = hashes & mask
    order = np.argsort(keys)
    return order, keys[order]


def _verified(left: Hashes, right: Hashes, starts: Indices, stops: Indices, distance: int) -> Iterator[Hits]:
    """Compare left[i] with right[starts[i]:stops[i]] for every i, about CHUNK candidates at a time."""
    counts = stops - starts
    ends = np.cumsum(counts)
    first, done = 0, 0
    while first < len(left):
        last = max(int(np.searchsorted(ends, done + CHUNK, "right")), first + 1)
        count = counts[first:last]
        total = int(ends[last - 1]) - done
        others = np.repeat(stops[first:last] - (ends[first:last] - done), count) + np.arange(total)
        apart = np.bitwise_count(np.repeat(left[first:last], count) ^ right[others])
        hits = np.flatnonzero(apart <= distance)
        if len(hits):
            ones = first + np.searchsorted(ends[first:last] - done, hits, "right")
            yield ones, others[hits], apart[hits]
        first, done = last, done + total


def _masks(hashes: Hashes, distance: int) -> list[np.uint64]:
    """The bits that key each table. The choice decides how long a search takes, never what it finds."""
    sample = hashes[:: max(1, len(hashes) >> 14)]
    ones = np.array([np.count_nonzero(sample & np.uint64(1 << bit)) for bit in range(64)]) / max(len(sample), 1)
    entropy = -np.log2(ones**2 + (1 - ones) ** 2)  # of a collision: two hashes agree in a bit with 2**-entropy
    bits = float(entropy.sum())

    def cost(agreeing: int) -> float:
        bands = distance + agreeing
        shared = len(hashes) * math.exp2(-bits * agreeing / max(bands, 1))
        return math.comb(bands, agreeing) * (_SORT_COST + shared)

    agreeing = min(_AGREEING, key=cost)
    bands = [0] * (distance + agreeing)
    for rank, bit in enumerate(np.argsort(-entropy, kind="stable").tolist()):
        if bands:
            bands[rank % len(bands)] |= 1 << bit
    return [np.uint64(sum(chosen)) for chosen in itertools.combinations(bands, agreeing)]
