"""dedup.near_images: images whose perceptual hashes differ in a few bits."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Exchange, operator
from ._hamming import group_greedily
from ._prefer import Prefer, best_first, reads, row_names


@operator
class NearImages(CorpusOperator):
    """Which kept image an image nearly repeats: 64-bit hashes within `max_distance` differing bits (Hamming distance).

    Rows are gone through best first (`prefer`, ties by key, then shard and row). A row within the distance of earlier
    keepers names the best of them; any other row is a keeper. So every duplicate is within the distance of the row that
    is kept for it: no chains. Exact: no pair is missed (see `_hamming`). Rows with a null hash match nothing.
    Captions of one image (rows with one key and one hash) are no duplicates of each other and share one fate.

    A pHash has 32 of its 64 bits set (unless coefficients tie), so distances are even and 5 acts as 4. 4 finds
    recompressed, resized and slightly edited copies, not turned or mirrored ones; it also takes some diagrams drawn on
    one template (election maps) for equal, which 2 does less; from 8 on unrelated pictures meet (infra/bench).
    """

    column: str = Field("phash", description="column of 64-bit perceptual hashes (uint64)")
    max_distance: int = Field(4, ge=0, le=16, description="bits that may differ; time grows steeply beyond 8")
    prefer: Prefer | None = Field(None, description="{highest: column} or {lowest: column}: which of them is kept")

    adds = (
        field("near_image_of", pa.string(), "identity of the near-duplicate row that is kept; null for keepers"),
        field("near_image_distance", pa.int8(), "bits in which it differs from that row", unit="bits", range="0 to 16"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return reads((self.column,), self.prefer)

    def __call__(self, rows: pl.LazyFrame, exchange: Exchange) -> pl.DataFrame:
        require_uint64(rows, self.column)
        ordered = best_first(rows.filter(pl.col(self.column).is_not_null()), self.prefer)
        ranked = ordered.select("shard", "row", "key", hash=pl.col(self.column)).collect()
        # Rows with one hash share their fate, so each hash is looked at once, in the place of its best row.
        values, place, which = np.unique(ranked["hash"].to_numpy(), return_index=True, return_inverse=True)
        order = np.argsort(place)
        keepers = np.empty_like(order)
        keepers[order] = order[group_greedily(values[order], self.max_distance)]
        keeper = keepers[which]
        apart = np.bitwise_count(values[which] ^ values[keeper]).astype(np.int8)
        best = ranked.select(near_image_of=row_names(pl.col("shard"), pl.col("row")))
        kept_row = place[keeper]
        one_image = (apart == 0) & (ranked["key"] == ranked["key"][kept_row]).fill_null(value=False).to_numpy()
        others = np.flatnonzero((kept_row != np.arange(len(which))) & ~one_image)
        return pl.concat(
            [
                ranked[others].select("shard", "row"),
                best[kept_row[others]],
                pl.DataFrame({"near_image_distance": apart[others]}),
            ],
            how="horizontal",
        ).sort("shard", "row")


def require_uint64(rows: pl.LazyFrame, column: str) -> None:
    """Raise ValueError unless the column holds unsigned 64-bit hashes."""
    kind = rows.collect_schema()[column]
    if kind != pl.UInt64:
        raise ValueError(f"column {column!r} holds {kind}, not 64-bit hashes (uint64); image.phash adds such a column")
