"""select.concept_quota: at most so many rows of each concept, cluster or label."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator
from ..dedup._prefer import VALUE, Prefer, ranked, reads
from ..draws import draws
from ..frames import Order
from ._ranks import plain, rank_within


@operator
class ConceptQuota(CorpusOperator):
    """Where a row stands among the rows alive of its concept: best first by `prefer`, else in a random order.

    The concept is the value of `column`: a label, a cluster, a site. `keep: {concept_rank: {max: 1000}}` leaves at most
    1,000 rows of each, and another quota is cut from the same ranks. With `prefer` ties go by key, then shard and row;
    nulls and NaN come last. Without it the order is by a 64-bit BLAKE2b hash of seed and key, as in `select.sample`:
    rows of one key stand one after the other. A row whose concept is null or NaN has no rank. For texts that belong to
    several concepts of a list see `select.balance`.
    """

    column: str = Field(min_length=1, description="column of the concept: one label or number a row")
    prefer: Prefer | None = Field(None, description="{highest: column} or {lowest: column}: which rows come first")
    seed: int = Field(0, ge=0, lt=2**63, description="of the random order, where there is no prefer")

    adds = (field("concept_rank", pa.int64(), "place within the concept, the first is 1", unit="rows", range=">= 1"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads((self.column,), self.prefer)

    def __call__(self, rows: Frames) -> Frames:
        highest = self.prefer is not None and self.prefer.highest is not None
        order = Order(columns=("value", "key", "shard", "row"), descending=(highest, False, False, False))
        return rank_within(rows.map(self._concepts), order).map(_findings)

    def _concepts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that have a concept, and what they are ordered by."""
        rows = ranked(plain(rows, self.column), self.prefer)
        value = pl.col(VALUE) if self.prefer else draws(rows, self.seed)
        return rows.select("shard", "row", "key", group=self.column, value=value)


def _findings(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("shard", "row", concept_rank="rank")
