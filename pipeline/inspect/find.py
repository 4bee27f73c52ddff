"""Find rows of a cut by key, or by name: `00000003:17`, and `1/00000003:17` for a row that was made of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from ...schemas.corpus import row_name, shard_name
from ..read import CorpusError
from .fates import as_frame, each
from .opened import OpenedCut

LIMIT: Final = 10
_NAME: Final = re.compile(r"(?:(\d{1,3})/)?(\d{8,10}):(\d{1,10})")
_SAID_BY: Final = {"parents": "extracted_by", "dropped": "dropped_by", "kept": None}  # who says what space a row is of


@dataclass(frozen=True, kw_only=True, order=True)
class Found:
    """A row: `space` 0 holds the source's, 1 those that the first extractor made, and so on."""

    space: int
    shard: int
    row: int

    def __str__(self) -> str:
        return full_name(self.space, self.shard, self.row)


def full_name(space: int, shard: int, row: int) -> str:
    """A row's name with its space, where that is not the source's: `1/00000003:17`."""
    return f"{space}/{row_name(shard, row)}" if space else row_name(shard, row)


def find_rows(cut: OpenedCut, asked: str, limit: int = LIMIT) -> tuple[list[Found], bool]:
    """The rows of this name or key, the source's first, and whether there are more than `limit`.

    The key column of the cut's files is read shard by shard, until there are enough. Raises CorpusError for none.
    """
    if (named := _NAME.fullmatch(asked)) is not None:
        space, shard, row = int(named[1] or 0), int(named[2]), int(named[3])
        if row < _rows_in(cut, space, shard):
            return [Found(space=space, shard=shard, row=row)], False
    found: list[Found] = []
    space_of = {step.label: i for i, s in enumerate(cut.plan.spaces) for step in cut.plan.steps[s.start : s.stop]}
    for more in each([shard.id for shard in cut.shards], lambda shard: list(_with_key(cut, space_of, shard, asked))):
        found += more
        if len(found) > limit:
            break
    if not found:
        what = "row of this name or key" if named else "row with the key"
        raise CorpusError(f"{cut.uri} has no {what} {asked!r}; rows are named by their key, or as 00000003:17")
    return sorted(found)[:limit], len(found) > limit


def _rows_in(cut: OpenedCut, space: int, shard: int) -> int:
    """How many rows one space of a shard has; 0 where there is no such space or shard."""
    try:
        return cut.view(space, shard).shard.rows
    except KeyError:
        return 0


def _with_key(cut: OpenedCut, space_of: Mapping[str, int], shard: int, key: str) -> Iterator[Found]:
    """The shard's rows of this key. The other columns are read only where there are some."""
    last = len(cut.plan.spaces) - 1
    for folder in ("parents", "dropped", "kept") if last else ("dropped", "kept"):
        path = f"{cut.folder}/{folder}/{shard_name(shard)}.parquet"
        at = as_frame(cut.store.table(path, ["key"])).select(pl.arg_where(pl.col("key") == key)).to_series()
        if not len(at):
            continue
        said_by = _SAID_BY[folder]
        rows = as_frame(cut.store.table(path, ["row", *([said_by] if said_by else [])]))[at]
        of = rows[said_by].to_list() if said_by else [None] * rows.height
        for row, label in zip(rows["row"].to_list(), of, strict=True):
            yield Found(space=last if label is None else space_of[label], shard=shard, row=row)
