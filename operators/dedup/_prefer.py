"""Which of several duplicates is kept: `prefer: {highest: clip_similarity}` or `prefer: {lowest: ...}`."""

from __future__ import annotations

from typing import Final, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..frames import Order

VALUE: Final = "cupel value"


class Prefer(BaseModel):
    """The column whose highest (or lowest) value decides who is kept; nulls and NaN come last."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    highest: str | None = Field(None, min_length=1, description="keep the row with the highest value of this column")
    lowest: str | None = Field(None, min_length=1, description="keep the row with the lowest value of this column")

    @model_validator(mode="after")
    def _one_column(self) -> Self:
        if (self.highest is None) == (self.lowest is None):
            raise ValueError("prefer needs exactly one of highest, lowest, e.g. {highest: clip_similarity}")
        return self

    @property
    def column(self) -> str:
        """The column read."""
        return self.highest or self.lowest or ""


def reads(columns: tuple[str, ...], prefer: Prefer | None) -> tuple[str, ...]:
    """The columns an operator reads, each once: its own, then the preferred one."""
    return tuple(dict.fromkeys([*columns, *([prefer.column] if prefer else [])]))


def best_first(rows: pl.DataFrame, prefer: Prefer | None) -> pl.DataFrame:
    """Rows sorted best first: by preference, ties by key, then by shard and row. A total order, whatever came in."""
    return order(prefer).sort(ranked(rows, prefer)).drop(VALUE)


def order(prefer: Prefer | None) -> Order:
    """Best first, as a sort of `ranked` rows."""
    highest = prefer is not None and prefer.highest is not None
    return Order(columns=(VALUE, "key", "shard", "row"), descending=(highest, False, False, False))


def ranked(rows: pl.DataFrame, prefer: Prefer | None) -> pl.DataFrame:
    """Rows with what they are preferred by, under a name that no column has; polars would rank NaN above all."""
    if prefer is None:
        return rows.with_columns(pl.lit(0, pl.Int8).alias(VALUE))
    value = pl.col(prefer.column)
    return rows.with_columns((value.fill_nan(None) if rows.schema[prefer.column].is_float() else value).alias(VALUE))


def row_names(shard: pl.Expr, row: pl.Expr) -> pl.Expr:
    """`schemas.corpus.row_name` over columns: `00000003:17`."""
    return pl.concat_str([shard.cast(pl.String).str.zfill(8), row.cast(pl.String)], separator=":")
