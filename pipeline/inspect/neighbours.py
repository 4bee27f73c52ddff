"""The duplicates of a row: the row that stayed as their representative, and the others that name it.

A verdict column (`near_image_of`) of a step over all rows holds names of rows. The rows that name one are looked for in
what the step found of each shard, the row's own first; never in more shards than can be read in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ...schemas.corpus import row_name, shard_name
from ..plan import CorpusStep
from ..shard import ShardView, rank_folder
from .fates import as_frame, each
from .find import Found
from .opened import OpenedCut

MEMBERS: Final = 50
SHARDS: Final = 2_000
_NAME: Final = re.compile(r"(\d{8,10}):(\d{1,10})")


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """A group of duplicates that the row is in."""

    column: str
    step: str
    keeper: Found | None  # None: it is no row of this corpus
    keeper_name: str
    is_keeper: bool  # the row itself
    members: Sequence[Found]  # the rows that name the keeper, this one too if it does, at most MEMBERS
    complete: bool  # False: there may be more


def duplicates_of(cut: OpenedCut, view: ShardView, row: Found, left_at: int) -> Iterator[Duplicates]:
    """The groups of a row, one for each verdict column up to the step that it left by; none where it is alone."""
    for step in view.steps(left_at):
        if isinstance(step, CorpusStep):
            for name in step.names.values():
                if name.endswith("_of") and (found := _group(cut, view, row, step, name)) is not None:
                    yield found


def _group(cut: OpenedCut, view: ShardView, row: Found, step: CorpusStep, column: str) -> Duplicates | None:
    of, own = row.space, row.row
    if step.on_documents:  # names are of the rows that the documents were made of
        of, own = row.space - 1, int(view.owners[row.row])
    named = view.ranks(step)[column][row.row].as_py()
    keeper = named if named is not None else row_name(view.shard.id, own)
    members, complete = _members(cut, step, column, str(keeper), view.shard.id, of)
    if named is None and not members:
        return None
    return Duplicates(
        column=column,
        step=step.label,
        keeper=_row_named(cut, str(keeper), of),
        keeper_name=str(keeper),
        is_keeper=named is None,
        members=members,
        complete=complete,
    )


def _row_named(cut: OpenedCut, name: str, space: int) -> Found | None:
    """The row of this corpus that a verdict names; None where it is a key of another (`against`)."""
    match = _NAME.fullmatch(name)
    if match is None or all(shard.id != int(match[1]) for shard in cut.shards):
        return None
    return Found(space=space, shard=int(match[1]), row=int(match[2]))


def _members(
    cut: OpenedCut, step: CorpusStep, column: str, keeper: str, near: int, space: int
) -> tuple[list[Found], bool]:
    folder = f"{cut.folder}/ranks/{rank_folder(step)}"
    shards = sorted((shard.id for shard in cut.shards), key=lambda shard: abs(shard - near))

    def naming(shard: int) -> list[Found]:
        rows = as_frame(cut.store.table(f"{folder}/{shard_name(shard)}.parquet", ["row", column]))
        return [Found(space=space, shard=shard, row=row) for row in rows.filter(pl.col(column) == keeper)["row"]]

    found: list[Found] = []
    for more in each(shards[:SHARDS], naming):
        found += more
        if len(found) > MEMBERS:
            break
    return sorted(found)[:MEMBERS], len(found) <= MEMBERS and len(shards) <= SHARDS
