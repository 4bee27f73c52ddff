"""k-means and nearest centroids: against float64 arithmetic and SciPy, whatever the blocks are."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2

from cupel.operators.models import _kmeans
from cupel.operators.models._kmeans import kmeans, nearest


def unit(rows: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clumps(rows: int, width: int, centres: int, seed: int) -> np.ndarray:
    which = np.random.default_rng(seed).integers(0, centres, rows)
    vectors = unit(centres, width, seed)[which] + 0.1 * unit(rows, width, seed + 1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


SMALL = st.integers(1, 5).flatmap(
    lambda d: st.tuples(*[st.lists(st.tuples(*[st.integers(-3, 3)] * d), min_size=1, max_size=30)] * 2)
)


@given(SMALL)
def test_nearest_is_the_first_of_the_highest(both) -> None:
    """Small whole numbers: float32 is exact, ties and equal centroids abound."""
    vectors, centroids = (np.array(rows, np.float32) for rows in both)
    index, similarity = nearest(vectors, centroids)
    products = vectors @ centroids.T
    assert index.tolist() == products.argmax(axis=1).tolist()
    assert similarity.tolist() == products.max(axis=1).tolist()
    assert (index.dtype, similarity.dtype) == (np.int32, np.float32)


def test_nearest_in_float64_though_centroids_nearly_coincide(monkeypatch) -> None:
    """500 centroids that differ in the last bits of float32: the product of matrices alone picks wrong ones."""
    vectors = unit(300, 384, 1)
    centroids = (vectors[7] + 3e-7 * unit(500, 384, 2)).astype(np.float32)
    products = vectors.astype(np.float64) @ centroids.astype(np.float64).T
    whole = nearest(vectors, centroids)
    assert whole[0].tolist() == products.argmax(axis=1).tolist()
    assert (vectors @ centroids.T).argmax(axis=1).tolist() != whole[0].tolist(), "else nothing is tested"
    monkeypatch.setattr(_kmeans, "_ROWS", 11)
    monkeypatch.setattr(_kmeans, "_CENTROIDS", 67)
    for start, stop in ((0, 300), (0, 1), (5, 93)):
        again = nearest(vectors[start:stop], centroids)
        assert all(np.array_equal(one, other[start:stop]) for one, other in zip(again, whole, strict=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        nearest(np.full((1, 2), bad, np.float32), np.ones((1, 2), np.float32))


def test_kmeans_by_distance_is_as_good_as_scipys() -> None:
    vectors = unit(900, 6, 3)
    found = kmeans(vectors, 20, seed=5, iterations=100, spherical=False)
    expected, _ = kmeans2(vectors.astype(np.float64), 20, iter=100, minit="++", seed=1)
    ours, theirs = (((vectors[:, None] - c) ** 2).sum(axis=2).min(axis=1).sum() for c in (found, expected))
    assert ours < 1.05 * theirs
    which = ((vectors[:, None] - found) ** 2).sum(axis=2).argmin(axis=1)
    means = np.array([vectors[which == c].mean(axis=0) for c in range(20)])
    np.testing.assert_allclose(found, means, atol=1e-4)


def test_threads_make_no_difference() -> None:
    vectors = clumps(3000, 64, 30, 4)
    before = faiss.omp_get_max_threads()
    found = []
    for threads in (1, 2, 4):
        faiss.omp_set_num_threads(threads)
        found.append(kmeans(vectors, 50, seed=0, iterations=10))
        assert faiss.omp_get_max_threads() == threads
    faiss.omp_set_num_threads(before)
    assert all(np.array_equal(found[0], other) for other in found)


def test_spherical_kmeans_finds_clumps() -> None:
    vectors = clumps(2000, 32, 8, 4)
    centroids = kmeans(vectors, 40, seed=0, iterations=20)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-6)
    assert nearest(vectors, centroids)[1].min() > 0.97, "a clump's rows have cosine 0.98 and more to its centre"
    assert np.array_equal(centroids, kmeans(vectors, 40, seed=0, iterations=20))
    assert not np.array_equal(centroids, kmeans(vectors, 40, seed=1, iterations=20))


def test_mostly_equal_rows() -> None:
    vectors = np.concatenate([np.repeat(unit(1, 8, 7), 900, axis=0), unit(30, 8, 6)])
    centroids = kmeans(vectors, 31, seed=0, iterations=10)
    assert np.isfinite(centroids).all()


def test_as_many_clusters_as_rows() -> None:
    vectors = unit(9, 4, 8)
    centroids = kmeans(vectors, 9, seed=0, iterations=5)
    np.testing.assert_allclose(centroids[nearest(vectors, centroids)[0]], vectors, atol=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_refuses_more_clusters_than_rows(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} needs at least as many rows; there are 3"):
        kmeans(unit(3, 2, 0), k, seed=0, iterations=1)
