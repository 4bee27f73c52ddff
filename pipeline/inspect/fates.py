"""What became of every row, read off the cut's own kept/, dropped/ and parents/: one shard at a time, at any size.

Children are numbered by each cut anew, so a row is known across cuts by its path: its row in the source's shard, then
which child of its parent it is, and so on. (All children of a parent stand in a cut, or none.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from ...schemas.corpus import shard_name
from ..children import ChildView
from ..keep import rules_of
from ..plan import ExtractStep, KeepStep
from ..shard import ShardView
from .opened import OpenedCut

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")
KEPT: Final = -1  # fates that are no exit: the row is in the cut,
USED_UP: Final = -2  # or others were made of it
_AHEAD: Final = 4
_WHY: Final = ("dropped_by", "column", "rule")


@dataclass(frozen=True, kw_only=True)
class Exit:
    """Where rows leave a cut: a rule, or an extractor that makes nothing of them."""

    step: int  # index in the plan
    label: str
    column: str  # empty: an extractor
    text: str  # the bound
    space: int  # whose rows leave here

    def __str__(self) -> str:
        return f"{self.column} {self.text}" if self.column else f"{self.label} made nothing of it"


def exits_of(cut: OpenedCut) -> tuple[Exit, ...]:
    """All of them, in the order of the recipe."""
    found = []
    for i, space in enumerate(cut.plan.spaces):
        for step in cut.plan.steps[space.start : space.stop]:
            rules = rules_of(step.keep) if isinstance(step, KeepStep) else ()
            named = [("", "")] if isinstance(step, ExtractStep) else [(rule.column, rule.text) for rule in rules]
            found += [Exit(step=step.index, label=step.label, column=c, text=t, space=i) for c, t in named]
    return tuple(found)


class Fates:
    """Reads the fates of a cut's rows.

    Frames have `row` (the row's number in this cut), `fate` (an index in `exits`, KEPT or USED_UP), the path's `n0`,
    `n1`, ... and what else was asked for of `key` and `value` (the value that a rule dropped it for), by `row`.
    """

    def __init__(self, cut: OpenedCut) -> None:
        self.cut, self.exits = cut, exits_of(cut)
        self._shards = {shard.id for shard in cut.shards}
        self._extracts = [step.label for step in cut.plan.steps if isinstance(step, ExtractStep)]

    def __contains__(self, shard: int) -> bool:
        return shard in self._shards

    @cached_property
    def _rules(self) -> pl.DataFrame:
        """Every exit as the ledger names it."""
        named = [(*why, i, e.space) for i, e in enumerate(self.exits) if (why := (e.label, e.column, e.text))]
        schema = {**dict.fromkeys(_WHY, pl.String), "fate": pl.Int32, "space": pl.Int32}
        return pl.DataFrame(named, schema=schema, orient="row")

    def shard(self, shard: int, more: Sequence[str] = ()) -> list[pl.DataFrame]:
        """The rows of a shard, space by space. KeyError for a shard that the cut does not have."""
        if shard not in self._shards:
            raise KeyError(f"{self.cut.uri} has no shard {shard}")
        parts = [*self._dropped(shard, more), *self._stayed(shard, more)]
        frames: list[pl.DataFrame] = []
        for space in range(len(self._extracts) + 1):
            rows = pl.concat([frame for i, frame in parts if i == space], how="diagonal").sort("row")
            frames.append(_with_path(rows, frames[-1] if frames else None, shard_name(shard)))
        return frames

    def _dropped(self, shard: int, more: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        columns = ["row", "parent", *_WHY, *more]
        rows = self._read("dropped", shard, columns).join(self._rules, on=_WHY, how="left", maintain_order="left")
        for space in range(len(self._extracts) + 1):
            yield space, rows.filter(pl.col("space") == space).select("row", "parent", "fate", *more)

    def _stayed(self, shard: int, more: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Those that an extractor used up, and in the end those that are kept."""
        own = [name for name in more if name != "value"]
        if self._extracts:
            used = self._read("parents", shard, ["row", "parent", "extracted_by", "children", *own])
            for space, label in enumerate(self._extracts):
                nothing = next(i for i, e in enumerate(self.exits) if e.label == label)
                fate = pl.when(pl.col("children") > 0).then(USED_UP).otherwise(nothing).cast(pl.Int32)
                rows = used.filter(pl.col("extracted_by") == label)
                yield space, rows.select("row", "parent", fate.alias("fate"), *own)
        rows = self._read("kept", shard, ["row", "parent", *own])
        yield len(self._extracts), rows.select("row", "parent", pl.lit(KEPT, pl.Int32).alias("fate"), *own)

    def _read(self, folder: str, shard: int, columns: list[str]) -> pl.DataFrame:
        return as_frame(self.cut.store.table(f"{self.cut.folder}/{folder}/{shard_name(shard)}.parquet", columns))


def as_frame(table: pa.Table) -> pl.DataFrame:
    """A table as polars has it, its row numbers as int64."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col("row").cast(pl.Int64)) if "row" in frame.columns else frame


def _with_path(rows: pl.DataFrame, above: pl.DataFrame | None, shard: str) -> pl.DataFrame:
    """Rows with their paths; `above` are those that they were made of."""
    if above is None:
        return rows.drop("parent").with_columns(n0=pl.col("row"))
    levels = path_columns(above)
    rows = rows.with_columns(parent=pl.col("parent").str.strip_prefix(f"{shard}:").cast(pl.Int64))
    nth = (pl.col("row") - pl.col("row").min().over("parent")).alias(f"n{len(levels)}")
    parents = above.select(pl.col("row").alias("parent"), *levels)
    return rows.with_columns(nth).join(parents, on="parent", how="left", maintain_order="left").drop("parent")


def path_columns(rows: pl.DataFrame) -> list[str]:
    """`n0`, `n1`, ... as far as there are."""
    return sorted((name for name in rows.columns if name[0] == "n" and name[1:].isdecimal()), key=lambda n: int(n[1:]))


def path_of(view: ShardView, row: int) -> str:
    """A row's path in words: `17`, or `17/4` for the fifth child of row 17; the same in every cut."""
    if not isinstance(view, ChildView):
        return str(row)
    owner = int(view.owners[row])
    return f"{path_of(view.parents, owner)}/{row - int(np.searchsorted(view.owners, owner))}"


def each(items: Iterable[I], read: Callable[[I], T]) -> Iterator[T]:
    """What a function makes of each item, in order; a few are read ahead in threads."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > 2 * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
