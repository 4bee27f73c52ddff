"""select.frequency: how common a row's value is."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator


@operator
class Frequency(CorpusOperator):
    """How often a row's value of `column` occurs among the rows alive, the row itself included; null for a null.

    COYO-700M drops texts that occur more than ten times: `column: text`, then `keep: {frequency: {max: 10}}`. Of
    several columns their values together are counted: OBELICS drops paragraphs that a domain has three times or more,
    `column: [domain, text]`, then `keep: {frequency: {max: 2}}`.
    """

    column: str | tuple[str, ...] = Field(description="column whose values are counted, or several")

    adds = (field("frequency", pa.int64(), "rows alive with the same value", unit="rows", range=">= 1"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,) if isinstance(self.column, str) else self.column

    def __call__(self, rows: Frames) -> Frames:
        return rows.shuffle(self.reads, self._present).map(self._count)

    def _present(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select("shard", "row", *self.reads).drop_nulls(self.reads)

    def _count(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select("shard", "row", frequency=pl.len().over(self.reads).cast(pl.Int64))
