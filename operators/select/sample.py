"""select.sample: rows in a random order, to be cut to a count or a share."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator
from ..draws import draws
from ..frames import Order
from ._ranks import plain, rank_within


@operator
class Sample(CorpusOperator):
    """Where a row stands among the rows alive in a random order: overall, or within each value of `by`.

    `keep: {sample_rank: {max: 50000}}` leaves exactly 50,000 rows (all, where there are fewer),
    `keep: {sample_share: {max: 0.1}}` exactly floor(0.1 n) of n rows; with `by: language` so many of each language.
    With one seed a smaller sample is part of a larger one, and two rows stand in the same order in any corpus.

    The order is by a 64-bit BLAKE2b hash of seed and key, so it is the same wherever a row stands and however the
    corpus is cut into shards. Rows of one key (captions of one image) stand one after the other, by shard and row: a
    sample and its rest share one image at most, the one where it ends. Rows without a key are hashed by shard and row.
    A row with a null or NaN in `by` is in no sample: both columns are null.
    """

    by: str | None = Field(None, min_length=1, description="rank within each value of this column (stratified)")
    seed: int = Field(0, ge=0, lt=2**63, description="another seed gives another order")

    adds = (
        field("sample_rank", pa.int64(), "place in the random order, the first is 1", unit="rows", range=">= 1"),
        field("sample_share", pa.float64(), "that place divided by the rows in the order", range="above 0, to 1"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.by,) if self.by else ()

    def __call__(self, rows: Frames) -> Frames:
        order = Order(columns=("value", "shard", "row"), descending=(False,) * 3)
        return rank_within(rows.map(self._drawn), order).map(_findings)

    def _drawn(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self.by:
            rows = plain(rows, self.by)
        group = pl.col(self.by) if self.by else pl.lit(0, pl.Int8)
        return rows.select("shard", "row", group=group, value=draws(rows, self.seed))


def _findings(rows: pl.DataFrame) -> pl.DataFrame:
    # By NumPy, which rounds correctly: 350 of 1,000 must not exceed 0.35. Polars may multiply by 1/size.
    share = pl.Series(rows["rank"].to_numpy() / rows["size"].to_numpy(), dtype=pl.Float64)
    return rows.select("shard", "row", sample_rank="rank", sample_share=share)
