"""select.near_reference: images in the neighbourhoods of a reference set, as DataComp's image-based filter has it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator
from ..dedup._cosine import unit_vectors
from ..frames import Exchange
from ..models._kmeans import drawn_vectors, kmeans, nearest
from ._vectors import blocks_of, vectors_file


@operator
class NearReference(CorpusOperator):
    """Whether an image's nearest centroid is also the nearest centroid of some image of a reference set.

    DataComp's image-based filter (arXiv:2304.14108; code `baselines/apply_filter.py`): the pool's
    embeddings are clustered into 100,000, and those clusters are kept that an ImageNet-1k training image falls into:
    `keep: {near_reference: {in: [true]}}`. Embeddings, of rows and of the reference, are scaled to length 1; the
    nearest centroid is the one with the highest inner product, the first of equals, exact in float64; centroids are
    taken as they are.

    `centroids` are read from a file, or made by k-means of the rows alive (squared distance, 20 iterations, seed 0, as
    published): of at most 256 rows a centroid and 512 MiB as float32, drawn by seed, shard and row. No more centroids
    are made than a tenth of the rows. The reference has to be of the same model as the column.

    Files: .npy (no pickles) or .safetensors with a matrix, an embedding a row; or Parquet with a column of the name of
    `column`, as a cut of the reference set with `embeddings: true` has it. Rows with a null or all-zero embedding, or
    one that is not finite, get nulls; in the reference they are an error.
    """

    reference: str | tuple[str, ...] = Field(
        min_length=1, description="file of the reference set's embeddings, or a list of files (ImageNet in DataComp)"
    )
    column: str = Field("image_embedding", description="column of embeddings, a list of numbers of one length")
    centroids: str | None = Field(None, min_length=1, description="file of centroids; default: made by k-means")
    clusters: int = Field(100_000, ge=1, description="centroids that k-means makes, at most a tenth of the rows")
    seed: int = Field(0, ge=0, lt=2**31, description="of k-means and of its sample")
    iterations: int = Field(20, ge=1, le=1000, description="of k-means")

    adds = (
        field("reference_cluster", pa.int32(), "the nearest centroid's place", unit="place", range=">= 0"),
        field(
            "reference_similarity",
            pa.float32(),
            "inner product of embedding and centroid",
            range="-1 to 1 for centroids no longer than 1",
        ),
        field("near_reference", pa.bool_(), "whether some reference image has that nearest centroid"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def files(self) -> tuple[Path, ...]:
        centroids = [vectors_file(Path(self.centroids), "centroids")] if self.centroids else []
        return (*self._reference, *centroids)

    @property
    def _reference(self) -> tuple[Path, ...]:
        names = (self.reference,) if isinstance(self.reference, str) else self.reference
        return tuple(vectors_file(Path(name), "reference") for name in names)

    def __call__(self, rows: Frames) -> Frames:
        centroids = self._centroids(rows)
        if centroids is None:  # so no row needs one
            return rows.map(functools.partial(self._findings, np.zeros((1, 1), np.float32), np.zeros(1, bool)))
        reached = self._reached(rows.exchange, centroids)
        return rows.map(functools.partial(self._findings, centroids, reached))

    def _centroids(self, rows: Frames) -> np.ndarray | None:
        """(clusters, width) float32; None where no row has an embedding to make them of."""
        if self.centroids is not None:
            return _read_centroids(Path(self.centroids), self.column)
        usable = rows.map(self._usable)
        if not usable.rows:
            return None
        clusters = min(self.clusters, max(1, usable.rows // 10))
        sample = drawn_vectors(usable, clusters, self.seed)
        return kmeans(sample, clusters, seed=self.seed, iterations=self.iterations, spherical=False)

    def _usable(self, rows: pl.DataFrame) -> pl.DataFrame:
        good, _ = unit_vectors(rows[self.column], self.column)
        return rows.filter(pl.Series(good)).select("shard", "row", vector=self.column)

    def _reached(self, exchange: Exchange, centroids: np.ndarray) -> np.ndarray:
        """Which centroids are the nearest of some reference image (bool)."""
        blocks = [block for path in self._reference for block in blocks_of(path, self.column)]
        if not blocks:
            raise ValueError(f"reference {self.reference!r} holds no embedding: nothing would be near it")
        found = Frames(exchange, [[block] for block in blocks]).map(functools.partial(self._fallen_on, centroids))
        reached = np.zeros(len(centroids), bool)
        reached[found.collect()["cluster"].to_numpy()] = True
        return reached

    def _fallen_on(self, centroids: np.ndarray, reference: pl.DataFrame) -> pl.DataFrame:
        good, vectors = unit_vectors(reference["vector"], self.column)
        if not good.all():
            raise ValueError(
                f"reference {self.reference!r} has {int((~good).sum())} rows that are null, zero or not finite"
            )
        return pl.DataFrame({"cluster": np.unique(self._nearest(vectors, centroids, "reference")[0])})

    def _findings(self, centroids: np.ndarray, reached: np.ndarray, rows: pl.DataFrame) -> pl.DataFrame:
        good, vectors = unit_vectors(rows[self.column], self.column)
        cluster, similarity = self._nearest(vectors, centroids, f"column {self.column!r}")
        return rows.filter(pl.Series(good)).select(
            "shard",
            "row",
            reference_cluster=pl.Series(cluster),
            reference_similarity=pl.Series(similarity),
            near_reference=pl.Series(reached[cluster]),
        )

    def _nearest(self, vectors: np.ndarray, centroids: np.ndarray, whose: str) -> tuple[np.ndarray, np.ndarray]:
        if len(vectors) and vectors.shape[1] != centroids.shape[1]:
            widths = f"{whose} has embeddings of {vectors.shape[1]} numbers, the centroids {centroids.shape[1]}"
            raise ValueError(f"{widths}: they are not of the same model")
        return nearest(vectors.reshape(-1, centroids.shape[1]), centroids)


def _read_centroids(path: Path, column: str) -> np.ndarray:
    """(clusters, width) float32, as they are."""
    vectors = [block.read()["vector"] for block in blocks_of(path, column)]
    if not vectors or not all(unit_vectors(some, f"{column} of {path}")[0].all() for some in vectors):
        raise ValueError(f"{path} holds no centroids, or some that are null, zero or not finite")
    return np.concatenate([some.explode().to_numpy().astype(np.float32).reshape(len(some), -1) for some in vectors])
