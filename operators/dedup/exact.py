"""dedup.exact: rows that are equal in the columns given."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Exchange, operator
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

    def __call__(self, rows: pl.LazyFrame, exchange: Exchange) -> pl.DataFrame:
        whole = rows.drop_nulls(self.columns)
        # 8 bytes a row find the few that may have an equal; only their values are held and compared.
        digest = pl.struct(self.columns).hash()
        digests = whole.select(digest.alias("digest")).collect(engine="streaming")["digest"]
        repeated = digests.filter(digests.is_duplicated()).unique()
        suspects = best_first(whole.filter(digest.is_in(repeated.implode())), self.prefer).collect()
        first = [pl.col(name).first().over(self.columns).alias(f"keeper_{name}") for name in ("shard", "row")]
        found = suspects.select(pl.col("shard"), pl.col("row"), *first)
        keeper = pl.col("keeper_shard"), pl.col("keeper_row")
        return (
            found.filter((pl.col("shard") != keeper[0]) | (pl.col("row") != keeper[1]))
            .select("shard", "row", exact_of=row_names(*keeper))
            .sort("shard", "row")
        )
