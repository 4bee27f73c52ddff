"""k-means over embeddings by faiss, and the nearest of many centroids: the same for any blocks and any threads.

A matrix product of float32 rounds otherwise for another block or another number of threads. So faiss trains on one
thread; and where rows are assigned, the product only picks the few centroids that could be the nearest within its error
bound, and those are compared in float64, each pair by itself. That takes 1.1 to 1.4 times the CPU time of faiss's
IndexFlatIP (100,000 centroids of 768 numbers; one thread), whose last bits depend on the threads.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import polars as pl

from ..dedup._cosine import unit_vectors
from ..draws import draws, uniform
from ..frames import Frames

SAMPLES: Final = 256  # vectors a centroid that k-means looks at, as faiss has it,
SAMPLE_BYTES: Final = 1 << 29  # and in all, as float32; four times as much while they are collected
_ROWS: Final = 1024  # a block of products: 16 MB, and as fast as larger ones
_CENTROIDS: Final = 4096
_PAIRS: Final = 4096  # compared in float64 at a time


def kmeans(vectors: np.ndarray, k: int, *, seed: int, iterations: int, spherical: bool = True) -> np.ndarray:
    """(k, d) float32 centroids of (n, d) finite float32 vectors, by Lloyd's iterations from k rows drawn by the seed.

    `spherical`: nearest by inner product, means scaled to length 1 (vectors should be, too); otherwise nearest by
    squared distance, means as they are. Depends on the order of the rows. ValueError where n < k.
    """
    if not 1 <= k <= len(vectors):
        raise ValueError(f"k-means with k={k} needs at least as many rows; there are {len(vectors)}")
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        options = {"min_points_per_centroid": 1, "max_points_per_centroid": len(vectors)}  # no warning, no subsample
        trained = faiss.Kmeans(vectors.shape[1], k, niter=iterations, seed=seed, spherical=spherical, **options)
        trained.train(np.ascontiguousarray(vectors, np.float32))
    finally:
        faiss.omp_set_num_threads(threads)
    return np.asarray(trained.centroids, np.float32)


def drawn_vectors(rows: Frames, k: int, seed: int) -> np.ndarray:
    """Unit vectors for k-means with k centroids: of a sample of `vector`, drawn by seed, shard and row.

    At most SAMPLES a centroid and SAMPLE_BYTES; the same for any parts. Every row has to have a usable vector.
    """
    first = next(bag for bag in rows.bags if any(piece.rows for piece in bag))
    one = Frames(rows.exchange, [first]).map(_first_row).collect()
    width = unit_vectors(one["vector"], "vector")[1].shape[1]
    wanted = min(k * SAMPLES, max(k, SAMPLE_BYTES // (4 * width)), rows.rows)
    # So many more that there are enough, whatever the draws are.
    share = (wanted + 6 * wanted**0.5 + 9) / rows.rows
    sample = rows.map(functools.partial(_drawn, share, seed)).collect()
    return unit_vectors(sample.sort("draw", "shard", "row").head(wanted)["vector"], "vector")[1]


def _first_row(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.head(1)


def _drawn(share: float, seed: int, rows: pl.DataFrame) -> pl.DataFrame:
    """About so large a share, each row drawn by itself: rows of one key may be too many or too few."""
    draw = draws(rows.select("shard", "row", key=pl.lit(None, pl.String)), seed)
    return rows.select("shard", "row", "vector", draw).filter(pl.Series(uniform(draw) < share))


def nearest(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid of the highest inner product for each row (int32; the first of equals), and that product (float32).

    (n, d) and (k, d) finite float32, k >= 1. Memory: some 40 MB and the result, whatever n and k are.
    """
    if not (np.isfinite(vectors).all() and np.isfinite(centroids).all()):
        raise ValueError("vectors and centroids must be finite")
    first = _first_of_equals(centroids)  # a thousand equal ones would all be compared in float64
    known = centroids[first]
    index, score = np.zeros(len(vectors), np.int32), np.zeros(len(vectors), np.float32)
    longest, width = float(np.linalg.norm(known, axis=1).max(initial=0)), vectors.shape[1]
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        slack = (
            np.linalg.norm(vectors[rows], axis=1) * longest * (width + 4) * 2.0**-23
        )  # both may be off by half of it
        which, score[rows] = _nearest_in_block(vectors[rows], known, slack)
        index[rows] = first[which]
    return index, score


def _nearest_in_block(block: np.ndarray, centroids: np.ndarray, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index, score = np.zeros(len(block), np.int64), np.full(len(block), -np.inf)
    highest = np.full(len(block), -np.inf)
    for start in range(0, len(centroids), _CENTROIDS):
        some = slice(start, start + _CENTROIDS)
        products = block @ centroids[some].T
        highest = np.maximum(highest, products.max(axis=1))
        could_be = products >= (highest - slack).astype(np.float32)[:, None]
        row, near = np.divmod(np.flatnonzero(could_be), could_be.shape[1])  # fifteen times np.nonzero's speed
        exact = _products(block, centroids[some], row, near)
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
