"""dedup.near_images: images whose perceptual hashes differ in a few bits."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Frames, operator
from ._against import known
from ._blocks import settle_in_blocks
from ._grouping import Grouping
from ._hamming import group_greedily, near
from ._prefer import VALUE, order, ranked, row_names


@operator
class NearImages(Grouping):
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

    adds = (
        field("near_image_of", pa.string(), "identity of the near-duplicate row that is kept; null for keepers"),
        field("near_image_distance", pa.int8(), "bits in which it differs from that row", unit="bits", range="0 to 16"),
    )

    def __call__(self, rows: Frames) -> Frames:
        blocks = rows.map(self._hashes).arrange(order(self.prefer)).map(_opened)
        if self.against is not None:
            for bag in known(rows.exchange, self.against, self.column).map(self._known).bags:
                blocks = blocks.map(self._match, Frames(rows.exchange, [bag] * blocks.parts))
        settled = settle_in_blocks(blocks, self._settle, self._match, [True] * blocks.parts)
        return settled.map(_findings)

    def _hashes(self, rows: pl.DataFrame) -> pl.DataFrame:
        require_uint64(rows, self.column)
        known = ranked(rows, self.prefer).select("shard", "row", "key", VALUE, hash=pl.col(self.column))
        return known.drop_nulls("hash")

    def _known(self, rows: pl.DataFrame) -> pl.DataFrame:
        require_uint64(rows, self.column)
        hashes = (
            rows.select("name", hash=pl.col(self.column)).drop_nulls().unique("hash", keep="first", maintain_order=True)
        )
        return hashes.with_columns(key=pl.lit(None, pl.String), keeper=pl.lit(None, pl.String))

    def _settle(self, block: pl.DataFrame) -> pl.DataFrame:
        rows = block.filter(pl.col("keeper").is_null())
        # Rows with one hash share their fate, so each hash is looked at once, in the place of its best row.
        values, place, which = np.unique(rows["hash"].to_numpy(), return_index=True, return_inverse=True)
        ascending = np.argsort(place)
        keepers = np.empty_like(ascending)
        keepers[ascending] = ascending[group_greedily(values[ascending], self.max_distance)]
        keeper = place[keepers[which]]
        return _decide(block, rows, np.flatnonzero(keeper != np.arange(len(keeper))), rows, keeper)

    def _match(self, block: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
        rows, keepers = block.filter(pl.col("keeper").is_null()), earlier.filter(pl.col("keeper").is_null())
        values, which = np.unique(rows["hash"].to_numpy(), return_inverse=True)
        first = np.full(len(values), keepers.height)
        for one, other, _ in near(values, keepers["hash"].to_numpy(), self.max_distance):
            np.minimum.at(first, one, other)
        keeper = first[which]
        return _decide(block, rows, np.flatnonzero(keeper < keepers.height), keepers, keeper)


def _opened(rows: pl.DataFrame) -> pl.DataFrame:
    """Sorted rows as a block in which nothing is decided."""
    return rows.select(
        *("shard", "row", "key", "hash"),
        name=row_names(pl.col("shard"), pl.col("row")),
        keeper=pl.lit(None, pl.String),
        apart=pl.lit(None, pl.Int8),
        one_image=pl.lit(value=False),
    ).with_row_index("place")


def _decide(
    block: pl.DataFrame, rows: pl.DataFrame, hits: np.ndarray, keepers: pl.DataFrame, keeper: np.ndarray
) -> pl.DataFrame:
    """The block, where `rows[hits]` are duplicates of `keepers[keeper[hits]]`."""
    repeats, kept = rows[hits], keepers[keeper[hits]]
    apart = np.bitwise_count(repeats["hash"].to_numpy() ^ kept["hash"].to_numpy()).astype(np.int8)
    one_image = (apart == 0) & (repeats["key"] == kept["key"]).fill_null(value=False).to_numpy()
    decided = repeats.with_columns(keeper=kept["name"], apart=pl.Series(apart), one_image=pl.Series(one_image))
    return pl.concat([block.filter(~pl.col("place").is_in(decided["place"].implode())), decided]).sort("place")


def _findings(block: pl.DataFrame) -> pl.DataFrame:
    found = block.filter(pl.col("keeper").is_not_null() & ~pl.col("one_image"))
    return found.select("shard", "row", near_image_of="keeper", near_image_distance="apart")


def require_uint64(rows: pl.DataFrame, column: str) -> None:
    """Raise ValueError unless the column holds unsigned 64-bit hashes."""
    kind = rows.schema[column]
    if kind != pl.UInt64:
        raise ValueError(f"column {column!r} holds {kind}, not 64-bit hashes (uint64); image.phash adds such a column")
