"""Ranks within groups, however many parts a group stands in."""

from __future__ import annotations

import polars as pl

from ..frames import Frames, Order


def rank_within(rows: Frames, order: Order) -> Frames:
    """Rows sorted by `group`, then by the order (a total one), with their `rank` from 1 on and the group's `size`.

    A group that several parts share stands at the edges of those parts, so two counts a part are all that is collected.
    """
    columns, descending = ("group", *order.columns), (False, *order.descending)
    ordered = rows.arrange(Order(columns=columns, descending=descending))
    parts = [pl.DataFrame({"part": [part]}, schema={"part": pl.Int64}) for part in range(ordered.parts)]
    edges = ordered.map(_edges, rows.exchange.frames(*parts)).collect().sort("part", maintain_order=True)
    size, before = pl.col("rows").sum().over("group"), pl.col("rows").cum_sum().over("group") - pl.col("rows")
    edges = edges.select("part", "group", before=before, all=size)
    known = [edges.filter(pl.col("part") == part).drop("part") for part in range(ordered.parts)]
    return ordered.map(_number, rows.exchange.frames(*known))


def _edges(rows: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """The first and the last group, which may be one, and their rows."""
    counts = rows.group_by("group", maintain_order=True).agg(rows=pl.len().cast(pl.Int64))
    edges = counts if counts.height <= 2 else pl.concat([counts.head(1), counts.tail(1)])
    return edges.with_columns(part=pl.lit(part["part"].item(), pl.Int64))


def _number(rows: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    rank, size = pl.int_range(1, pl.len() + 1, dtype=pl.Int64), pl.len().cast(pl.Int64)
    numbered = rows.with_columns(rank=rank.over("group"), size=size.over("group"))
    joined = numbered.join(edges, on="group", how="left", maintain_order="left")
    ranks = pl.col("rank") + pl.col("before").fill_null(0)
    return joined.with_columns(rank=ranks, size=pl.coalesce("all", "size")).drop("before", "all")


def plain(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """The rows that have a group; ValueError where a column holds lists or the like, of which nothing is one group."""
    kind = rows.schema[column]
    if kind.is_nested():
        raise ValueError(f"column {column!r} holds {kind}; rows are grouped by one value each (a label, a number)")
    return rows.filter(pl.col(column).is_not_null() & (pl.col(column).is_not_nan() if kind.is_float() else True))
