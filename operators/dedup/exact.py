"""dedup.exact: rows that are equal in the columns given."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator
from ._prefer import Prefer, best_first, reads, row_names


@operator
class Exact(CorpusOperator):
    """Which row a row repeats exactly: equal, value for value, in all of `columns`.

    Of equal rows the best by `prefer` is the keeper, ties by key, then shard and row; the others name it in `exact_of`.
    Null for keepers, for rows that stand alone, and for rows with a null in one of the columns. `columns: [text]` gives
    each caption once; COYO-700M drops repeats of (image pHash, text): `columns: [phash, text]`.
    """

    columns: tuple[str, ...] = Field(min_length=1, description="columns that must all be equal")
    prefer: Prefer | None = Field(None, description="{highest: column} or {lowest: column}: which of equals is kept")

    adds = (field("exact_of", pa.string(), "identity of the equal row that is kept; null for keepers"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads(self.columns, self.prefer)

    def __call__(self, rows: Frames) -> Frames:
        return rows.shuffle(self.columns, self._whole).map(self._find)

    def _whole(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.drop_nulls(self.columns)

    def _find(self, rows: pl.DataFrame) -> pl.DataFrame:
        # 8 bytes a row find the few that may have an equal; only their values are sorted and compared.
        digests = rows.select(pl.struct(self.columns).hash()).to_series()
        suspects = best_first(rows.filter(digests.is_duplicated()), self.prefer)
        first = [pl.col(name).first().over(self.columns).alias(f"keeper_{name}") for name in ("shard", "row")]
        found = suspects.select(pl.col("shard"), pl.col("row"), *first)
        keeper = pl.col("keeper_shard"), pl.col("keeper_row")
        repeats = found.filter((pl.col("shard") != keeper[0]) | (pl.col("row") != keeper[1]))
        return repeats.select("shard", "row", exact_of=row_names(*keeper))
