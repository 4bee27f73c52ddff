"""dedup.near_images: images whose perceptual hashes differ in a few bits, and whose colours agree."""

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
from ._hamming import Alike, group_greedily, near
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

    These hashes are grey: flags of one pattern, products in several colours and drawings on one template have nearly
    one hash and different captions. With `colours` only images whose colour layouts agree, too, count as near: that
    leaves out most of such pairs, and copies made grey or more saturated. A null of either matches nothing.
    """

    column: str = Field("phash", description="column of 64-bit perceptual hashes (uint64)")
    max_distance: int = Field(4, ge=0, le=16, description="bits that may differ; time grows steeply beyond 8")
    colours: str | None = Field(None, description="column of image.colour_layout, which must agree as well")
    max_colour_difference: int = Field(
        8, ge=0, le=255, description="by which each of the eight values of `colours` may differ"
    )

    adds = (
        field("near_image_of", pa.string(), "identity of the near-duplicate row that is kept; null for keepers"),
        field("near_image_distance", pa.int8(), "bits in which it differs from that row", unit="bits", range="0 to 16"),
    )

    @property
    def compared(self) -> tuple[str, ...]:
        return (self.column,) if self.colours is None else (self.column, self.colours)

    def __call__(self, rows: Frames) -> Frames:
        blocks = rows.map(self._hashes).arrange(order(self.prefer)).map(_opened)
        if self.against is not None:
            for bag in known(rows.exchange, self.against, *self.compared).map(self._known).bags:
                blocks = blocks.map(self._match, Frames(rows.exchange, [bag] * blocks.parts))
        settled = settle_in_blocks(blocks, self._settle, self._match, [True] * blocks.parts)
        return settled.map(_findings)

    def _hashes(self, rows: pl.DataFrame) -> pl.DataFrame:
        known = ranked(rows, self.prefer).select("shard", "row", "key", VALUE, **self._looks(rows))
        return known.drop_nulls(["hash", "layout"])

    def _known(self, rows: pl.DataFrame) -> pl.DataFrame:
        looks = rows.select("name", **self._looks(rows)).drop_nulls()
        first = looks.unique(["hash", "layout"], keep="first", maintain_order=True)
        return first.with_columns(key=pl.lit(None, pl.String), keeper=pl.lit(None, pl.String))

    def _looks(self, rows: pl.DataFrame) -> dict[str, pl.Expr]:
        """What is compared of an image; one layout for all where colours are not looked at."""
        require_uint64(rows, self.column)
        if self.colours is None:
            return {"hash": pl.col(self.column), "layout": pl.lit(0, pl.UInt64)}
        require_uint64(rows, self.colours, "image.colour_layout")
        return {"hash": pl.col(self.column), "layout": pl.col(self.colours)}

    def _alike(self, left: np.ndarray, right: np.ndarray) -> Alike | None:
        """Whether two layouts (uint64 of `left` and `right`, by index) agree; None where colours are not looked at."""
        if self.colours is None:
            return None

        def alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            values, others = left[one].view(np.uint8), right[other].view(np.uint8)
            apart = np.maximum(values, others) - np.minimum(values, others)
            agree: np.ndarray = (apart > self.max_colour_difference).view(np.uint64) == 0  # eight bytes at a time
            return agree

        return alike

    def _settle(self, block: pl.DataFrame) -> pl.DataFrame:
        rows = block.filter(pl.col("keeper").is_null())
        # Rows that look the same share their fate, so each look is gone through once, in the place of its best row.
        place, which = _looks_once(rows)
        ascending = np.argsort(place)
        values, layouts = (rows[column].to_numpy()[place[ascending]] for column in ("hash", "layout"))
        keepers = np.empty_like(ascending)
        keepers[ascending] = ascending[group_greedily(values, self.max_distance, self._alike(layouts, layouts))]
        keeper = place[keepers[which]]
        return _decide(block, rows, np.flatnonzero(keeper != np.arange(len(keeper))), rows, keeper)

    def _match(self, block: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
        rows, keepers = block.filter(pl.col("keeper").is_null()), earlier.filter(pl.col("keeper").is_null())
        place, which = _looks_once(rows)
        values, layouts = (rows[column].to_numpy()[place] for column in ("hash", "layout"))
        alike = self._alike(layouts, keepers["layout"].to_numpy())
        first = np.full(len(values), keepers.height)
        for one, other, _ in near(values, keepers["hash"].to_numpy(), self.max_distance, alike):
            np.minimum.at(first, one, other)
        keeper = first[which]
        return _decide(block, rows, np.flatnonzero(keeper < keepers.height), keepers, keeper)


def _opened(rows: pl.DataFrame) -> pl.DataFrame:
    """Sorted rows as a block in which nothing is decided."""
    return rows.select(
        *("shard", "row", "key", "hash", "layout"),
        name=row_names(pl.col("shard"), pl.col("row")),
        keeper=pl.lit(None, pl.String),
        apart=pl.lit(None, pl.Int8),
        one_image=pl.lit(value=False),
    ).with_row_index("place")


def _looks_once(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each pair of hash and layout, and for each row, which of these it looks like."""
    _, place, which = np.unique(rows["hash"].to_numpy(), return_index=True, return_inverse=True)
    if rows["layout"].n_unique() > 1:
        layouts, colours = np.unique(rows["layout"].to_numpy(), return_inverse=True)
        _, place, which = np.unique(which * len(layouts) + colours, return_index=True, return_inverse=True)
    return place, which


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


def require_uint64(rows: pl.DataFrame, column: str, adds: str = "image.phash") -> None:
    """Raise ValueError unless the column holds unsigned 64-bit numbers, as that which the operator `adds`."""
    kind = rows.schema[column]
    if kind != pl.UInt64:
        raise ValueError(f"column {column!r} holds {kind}, not 64-bit hashes (uint64); {adds} adds such a column")
