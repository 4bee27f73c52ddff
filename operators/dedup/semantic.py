"""dedup.semantic: images (or texts) that mean nearly the same, by their embeddings."""

from __future__ import annotations

import functools
from typing import Final, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Frames, operator
from ..draws import draws
from ..frames import ByRange, Order
from ..models._kmeans import drawn_vectors, kmeans, nearest
from ._against import known
from ._blocks import settle_in_blocks
from ._cosine import settle, unit_vectors, within
from ._grouping import Grouping
from ._prefer import VALUE, ranked, row_names

MAX_CLUSTERS: Final = 50_000
BY_CLUSTER: Final = Order(columns=("cluster",), descending=(False,))


@operator
class Semantic(Grouping):
    """Which kept row a row resembles: the cosine of their embeddings is more than 1 - `eps` (SemDeDup).

    Embeddings are clustered by spherical k-means, and rows of one cluster compared (Abbas et al., arXiv:2303.09540,
    section 3): pairs that k-means puts apart are missed. In each cluster rows are gone through in order: `keep: hard`
    begins with the one farthest from the centroid, as published, `easy` with the nearest, `random` in a seeded order;
    `prefer` by a column instead. A row within `eps` of earlier keepers names the first of them, any other is a keeper,
    so every duplicate is within `eps` of the row kept for it. `chains: true` is the published code's rule: an earlier
    row counts though it is itself a duplicate, so more rows go. What `eps` means depends on the model; published for
    LAION-440M by CLIP ViT-B-16: 0.03 keeps 72 %, 0.07 63 %, 0.124 50 % (README of SemDeDup).

    Rows with a null or all-zero embedding, or one that holds NaN, match nothing.
    """

    column: str = Field("image_embedding", description="column of embeddings, a list of numbers of one length")
    eps: float = Field(0.05, gt=0, lt=2, description="1 - cosine below which two rows mean the same")
    clusters: int | None = Field(
        None, ge=1, description=f"of k-means; default: the square root of the rows, at most {MAX_CLUSTERS:,}"
    )
    keep: Literal["hard", "easy", "random"] = Field(
        "hard", description="which of a cluster's rows come first, unless `prefer` says"
    )
    chains: bool = Field(False, description="compare with earlier duplicates, too, as SemDeDup's code does")
    seed: int = Field(0, ge=0, lt=2**31, description="of k-means and of the random order")
    iterations: int = Field(20, ge=1, le=1000, description="of k-means; SemDeDup ran 100")

    adds = (
        field("semantic_of", pa.string(), "identity of the row that is kept in its stead; null for keepers"),
        field("semantic_similarity", pa.float32(), "cosine with that row", range="1 - eps to 1"),
        field("semantic_cluster", pa.int32(), "the row's cluster; null without an embedding", range=">= 0"),
    )

    def __call__(self, rows: Frames) -> Frames:
        vectors = rows.map(self._vectors)
        if not vectors.rows:
            return vectors.map(_findings)
        centroids = self._centroids(vectors)
        blocks, continues = self._blocks(vectors.map(functools.partial(self._assign, centroids)))
        if self.against is not None:
            old = known(rows.exchange, self.against, self.column).map(functools.partial(self._assign_old, centroids))
            for bag in old.bags:
                blocks = blocks.map(self._match, Frames(rows.exchange, [bag] * blocks.parts))
        return settle_in_blocks(blocks, self._settle, self._match, continues).map(_findings)

    @property
    def _order(self) -> Order:
        """Inside a cluster."""
        first = bool(self.prefer and self.prefer.highest) or (self.prefer is None and self.keep == "easy")
        return Order(columns=("cluster", "value", "key", "shard", "row"), descending=(False, first, *[False] * 3))

    def _vectors(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with a usable embedding; `value` is what they are ordered by, where it is known by now."""
        value = pl.col(VALUE) if self.prefer else draws(rows, self.seed)
        rows = ranked(rows, self.prefer).select("shard", "row", "key", value=value, vector=self.column)
        return rows.filter(pl.Series(unit_vectors(rows["vector"], self.column)[0]))

    def _centroids(self, vectors: Frames) -> np.ndarray:
        """(clusters, width) fp32, the same for any parts."""
        clusters = min(self.clusters or min(MAX_CLUSTERS, round(vectors.rows**0.5)), vectors.rows)
        sample = drawn_vectors(vectors, clusters, self.seed)
        return kmeans(sample, clusters, seed=self.seed, iterations=self.iterations)

    def _assign(self, centroids: np.ndarray, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as a block in which nothing is decided."""
        cluster, similarity = nearest(unit_vectors(rows["vector"], self.column)[1], centroids)
        if self.prefer is None and self.keep != "random":
            rows = rows.with_columns(value=pl.Series(similarity))
        return rows.with_columns(
            cluster=pl.Series(cluster, dtype=pl.Int32),
            name=row_names(pl.col("shard"), pl.col("row")),
            of=pl.lit(None, pl.String),
            similarity=pl.lit(None, pl.Float32),
        )

    def _assign_old(self, centroids: np.ndarray, rows: pl.DataFrame) -> pl.DataFrame:
        good, vectors = unit_vectors(rows[self.column], self.column)
        if len(vectors) and vectors.shape[1] != centroids.shape[1]:
            widths = f"{centroids.shape[1]} numbers, those of `against` {vectors.shape[1]}"
            raise ValueError(f"the embeddings of {self.column!r} have {widths}: they are not of the same model")
        cluster, _ = nearest(vectors.reshape(-1, centroids.shape[1]), centroids)
        rows = rows.filter(pl.Series(good)).select("name", vector=pl.col(self.column))
        return rows.with_columns(cluster=pl.Series(cluster, dtype=pl.Int32), of=pl.lit(None, pl.String))

    def _blocks(self, rows: Frames) -> tuple[Frames, list[bool]]:
        """Rows sorted by cluster and order: several clusters a block, or several blocks for a huge cluster."""
        limit = max(1, rows.exchange.part_bytes * rows.rows // max(1, rows.bytes))  # rows a block
        counts = rows.map(_counts).collect().group_by("cluster").agg(pl.col("rows").sum()).sort("cluster")
        huge = counts.filter(pl.col("rows") > limit)["cluster"].to_list()
        others = counts.filter(pl.col("rows") <= limit)
        sizes = others["rows"].cum_sum() // limit  # a block is full when the sum passes the next multiple
        bounds = others.filter(sizes != sizes.shift(1, fill_value=0)).select(pl.col("cluster").cast(pl.Int32))
        blocks = rows.map(functools.partial(_outside, huge)).cut(ByRange(order=BY_CLUSTER, bounds=bounds))
        blocks = blocks.map(self._order.sort)
        continues = [False] * blocks.parts
        for cluster in huge:
            slices = rows.map(functools.partial(_inside, cluster)).arrange(self._order)
            blocks = blocks.with_rows_of(slices)
            continues += [False, *[True] * (slices.parts - 1)]
        return blocks, continues

    def _settle(self, block: pl.DataFrame) -> pl.DataFrame:
        """Decide the open rows of each cluster."""
        vectors = unit_vectors(block["vector"], self.column)[1]
        keeper, cosine = np.full(block.height, -1), np.full(block.height, np.nan, np.float32)
        for rows in _by_cluster(block, block["of"].is_null() | self.chains).values():
            found, cosine[rows] = settle(vectors[rows], 1 - self.eps, self.chains)
            keeper[rows] = np.where(found >= 0, rows[found], -1)
        return _decided(block, keeper, block["name"], cosine)

    def _match(self, block: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
        """Open rows of the block that are near an earlier keeper (or, in chains, any earlier row) of their cluster."""
        vectors, others = (unit_vectors(frame["vector"], self.column)[1] for frame in (block, earlier))
        keeper, cosine = np.full(block.height, -1), np.full(block.height, np.nan, np.float32)
        keepers = _by_cluster(earlier, earlier["of"].is_null() | self.chains)
        for cluster, rows in _by_cluster(block, block["of"].is_null()).items():
            if (there := keepers.get(cluster)) is not None:
                found, cosine[rows] = within(vectors[rows], others[there], 1 - self.eps)
                keeper[rows] = np.where(found >= 0, there[found], -1)
        return _decided(block, keeper, earlier["name"], cosine)


def _by_cluster(rows: pl.DataFrame, chosen: pl.Series) -> dict[int, np.ndarray]:
    """The places of the chosen rows of each cluster, ascending."""
    places = np.flatnonzero(chosen.to_numpy())
    clusters = rows["cluster"].to_numpy()[places]
    order = np.argsort(clusters, kind="stable")
    values, starts = np.unique(clusters[order], return_index=True)
    return dict(zip(values.tolist(), np.split(places[order], starts[1:]), strict=True)) if len(values) else {}


def _decided(block: pl.DataFrame, keeper: np.ndarray, names: pl.Series, cosine: np.ndarray) -> pl.DataFrame:
    """The block, where row i is a duplicate of the row named `names[keeper[i]]`, unless that is -1."""
    hits = pl.Series(keeper >= 0)
    found = names[np.maximum(keeper, 0)] if len(names) else pl.repeat(None, block.height, dtype=pl.String, eager=True)
    of = pl.coalesce("of", pl.when(hits).then(pl.Series("found", found)))
    similarity = pl.coalesce("similarity", pl.when(hits).then(pl.Series("cosine", cosine)))
    return block.with_columns(of=of, similarity=similarity)


def _findings(block: pl.DataFrame) -> pl.DataFrame:
    if "of" not in block.columns:  # no row has an embedding
        block = block.with_columns(
            of=pl.lit(None, pl.String), similarity=pl.lit(None, pl.Float32), cluster=pl.lit(None, pl.Int32)
        )
    return block.select("shard", "row", semantic_of="of", semantic_similarity="similarity", semantic_cluster="cluster")


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("cluster").agg(rows=pl.len().cast(pl.Int64))


def _inside(cluster: int, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("cluster") == cluster)


def _outside(clusters: list[int], rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(~pl.col("cluster").is_in(clusters))
