"""k-means over embeddings, and the nearest of many centroids: the same numbers for any blocks and any threads.

A matrix product of float32 rounds otherwise for another block or another number of threads. So it only picks the few
centroids that could be the nearest within its error bound; those are compared in float64, each pair by itself. That
costs 5 % (100,000 centroids of 768 numbers: as fast as faiss's IndexFlatIP, whose last bits depend on threads).
"""

from __future__ import annotations

from typing import Final

import numpy as np

_ROWS: Final = 1024  # a block of products: 16 MB, and as fast as larger ones
_CENTROIDS: Final = 4096
_PAIRS: Final = 4096  # compared in float64 at a time
_SUMMED: Final = 16_384  # rows


def spherical_kmeans(vectors: np.ndarray, k: int, *, seed: int, iterations: int, spherical: bool = True) -> np.ndarray:
    """(k, d) float32 centroids of (n, d) finite float32 vectors, by Lloyd's iterations from k rows drawn by the seed.

    `spherical`: nearest by inner product, means scaled to length 1 (vectors should be, too); otherwise nearest by
    squared distance, means as they are. A cluster that loses all its rows begins anew at a row that is farthest from
    its centroid, as in scikit-learn. Depends on the order of the rows. ValueError where n < k.
    """
    if not 1 <= k <= len(vectors):
        raise ValueError(f"k-means with k={k} needs at least as many rows; there are {len(vectors)}")
    drawn = np.random.RandomState(seed).permutation(len(vectors))[:k]  # a stream that NumPy promises not to change
    centroids = np.ascontiguousarray(vectors[drawn], np.float32)
    lengths = np.zeros(len(vectors)) if spherical else np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    before = None
    for _ in range(iterations):
        index, score = _nearest(vectors, centroids, _half_squares(centroids, spherical))
        if before is not None and np.array_equal(index, before):
            break
        before = index
        centroids = _means(vectors, _without_empty(index, lengths - 2 * score, k), k, spherical)
    return centroids


def nearest(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid of the highest inner product for each row (int32; the first of equals), and that product (float32).

    (n, d) and (k, d) finite float32, k >= 1. Memory: some 40 MB and the result, whatever n and k are.
    """
    index, score = _nearest(vectors, centroids, np.zeros(len(centroids)))
    return index, score.astype(np.float32)


def _half_squares(centroids: np.ndarray, spherical: bool) -> np.ndarray:
    """What to take off x·c, so that the highest is the nearest: |x-c|² = |x|² - 2 (x·c - |c|²/2)."""
    if spherical:
        return np.zeros(len(centroids))
    return np.asarray(np.einsum("kd,kd->k", centroids, centroids, dtype=np.float64) / 2)


def _nearest(vectors: np.ndarray, centroids: np.ndarray, less: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row of `centroids` with the highest x·c - less (int32), and that value (float64)."""
    if not (np.isfinite(vectors).all() and np.isfinite(centroids).all()):
        raise ValueError("vectors and centroids must be finite")
    first = _first_of_equals(centroids)  # a thousand equal ones would all be compared in float64
    known, less = centroids[first], less[first]
    index, score = np.zeros(len(vectors), np.int32), np.full(len(vectors), -np.inf)
    longest, width = float(np.linalg.norm(known, axis=1).max(initial=0)), vectors.shape[1]
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        size = np.linalg.norm(vectors[rows], axis=1) * longest + less.max(initial=0)
        slack = size * (width + 4) * 2.0**-23  # both products may be off by half of that
        which, score[rows] = _nearest_in_block(vectors[rows], known, less, slack)
        index[rows] = first[which]
    return index, score


def _nearest_in_block(
    block: np.ndarray, centroids: np.ndarray, less: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    index, score = np.zeros(len(block), np.int64), np.full(len(block), -np.inf)
    highest = np.full(len(block), -np.inf)
    for start in range(0, len(centroids), _CENTROIDS):
        some = slice(start, start + _CENTROIDS)
        products = block @ centroids[some].T
        products -= less[some].astype(np.float32)
        highest = np.maximum(highest, products.max(axis=1))
        row, near = np.nonzero(products >= (highest - slack).astype(np.float32)[:, None])
        exact = _products(block, centroids[some], row, near) - less[some][near]
        best = np.lexsort((near, -exact, row))
        best = best[np.diff(row[best], prepend=-1) > 0]
        better = best[exact[best] > score[row[best]]]
        index[row[better]], score[row[better]] = near[better] + start, exact[better]
    return index, score


def _products(vectors: np.ndarray, centroids: np.ndarray, row: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Inner products of pairs in float64; each sum has the same order wherever the pair stands."""
    found = np.empty(len(row))
    for start in range(0, len(row), _PAIRS):
        some = slice(start, start + _PAIRS)
        found[some] = (vectors[row[some]].astype(np.float64) * centroids[near[some]]).sum(axis=1)
    return found


def _first_of_equals(centroids: np.ndarray) -> np.ndarray:
    """Indices of the rows that no earlier row equals, ascending."""
    bytes_of = np.ascontiguousarray(centroids).view(np.dtype((np.void, centroids.shape[1] * centroids.itemsize)))
    return np.sort(np.unique(bytes_of.ravel(), return_index=True)[1])


def _without_empty(index: np.ndarray, apart: np.ndarray, k: int) -> np.ndarray:
    """The clusters, each empty one with one of the rows that are farthest apart from their centroids."""
    sizes = np.bincount(index, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return index
    index, moved = index.copy(), 0
    for row in np.argsort(-apart, kind="stable"):
        if moved == len(empty):
            break
        if sizes[index[row]] > 1:  # or its own cluster would be empty
            sizes[index[row]] -= 1
            index[row] = empty[moved]
            moved += 1
    return index


def _means(vectors: np.ndarray, index: np.ndarray, k: int, spherical: bool) -> np.ndarray:
    """The mean of each cluster's rows, summed in float64 in the order of the rows."""
    order = np.argsort(index, kind="stable")
    sums = np.zeros((k, vectors.shape[1]))
    for start in range(0, len(order), _SUMMED):
        rows = order[start : start + _SUMMED]
        clusters, starts = np.unique(index[rows], return_index=True)
        sums[clusters] += np.add.reduceat(vectors[rows].astype(np.float64), starts, axis=0)
    scale = np.maximum(np.linalg.norm(sums, axis=1), 1e-12) if spherical else np.bincount(index, minlength=k)
    return np.asarray(sums / scale[:, None], np.float32)
