"""One row's whole story: every column, every step, every rule, and the rows that it has to do with.

Whether it stayed is read off the cut's own files; the values are those measured, which may have been measured again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.types as types

from ...operators.source.base import ShardError
from ...schemas.corpus import State
from ...schemas.fields import describe
from ..members import plain
from ..plan import CorpusStep, DocumentStep, ExtractStep, KeepStep, PlannedStep, RowStep
from ..read import CorpusError
from ..scores import versions
from ..shard import ShardView
from .asked import RuleStory, rules_asked
from .fates import KEPT, USED_UP, Exit, Fates, path_columns
from .find import Found
from .neighbours import Duplicates, duplicates_of
from .opened import OpenedCut

CHILDREN: Final = 50


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A column's value. Of bytes `value` is their number."""

    name: str
    type: str
    unit: str
    range: str
    doc: str
    value: object


@dataclass(frozen=True, kw_only=True)
class StepStory:
    """What one step did with the row.

    `state`: measured, not_applicable, failed, failed_transient; of a rule: passed, dropped; of a step over all rows:
    seen; of any that never saw it: unseen. `came` is False where the row was gone before: it may be measured all the
    same, in another cut.
    """

    step: str
    kind: str  # measure, rule, corpus or extract
    came: bool
    state: str
    error: str | None = None
    message: str | None = None
    cells: Sequence[Cell] = ()
    rules: Sequence[RuleStory] = ()


@dataclass(frozen=True, kw_only=True)
class Child:
    """A row that was made of this one, and what became of it."""

    row: Found
    fate: str


@dataclass(frozen=True, kw_only=True)
class InDocument:
    """Where a node stands in its document."""

    document: Found  # the row that the document was made of
    position: int  # from 0, of all its nodes
    nodes: int
    kept: int


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that is known of one row in one cut."""

    cut: str
    row: Found
    name: str
    key: str | None
    fate: str  # kept, dropped, used_up
    dropped_by: Exit | None  # the rule, or the extractor that made nothing of it
    dropped_for: str | None  # the value that did it
    source: Sequence[Cell]  # what the row began with, but for bytes
    unreadable: str  # why that cannot be read, if so
    steps: Sequence[StepStory]
    duplicates: Sequence[Duplicates]
    parent: Found | None
    children: Sequence[Child]
    children_in_all: int
    document: InDocument | None

    def as_dict(self) -> dict[str, Any]:
        """For --json and the live page's twin."""
        return {field.name: _as_json(getattr(self, field.name)) for field in fields(self)}


def _as_json(value: object) -> object:
    if isinstance(value, Found):
        return {**vars(value), "name": str(value)}
    if is_dataclass(value):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return plain(value)


def tell(cut: OpenedCut, space: int, shard: int, row: int) -> Story:
    """The story of a row. KeyError where there is none, SourceError where the input cannot be opened any more."""
    view = cut.view(space, shard)
    if not 0 <= row < view.shard.rows:
        raise KeyError(f"there is no row {row} in space {space} of shard {shard}")
    place, fates = Found(space=space, shard=shard, row=row), Fates(cut)
    frames = fates.shard(shard, ["key", "value"])
    if frames[space].height != view.shard.rows:
        raise CorpusError(f"{cut.uri}: other rows were made since than it was decided on; run its recipe again")
    own = frames[space].row(row, named=True)
    left = fates.exits[own["fate"]] if own["fate"] >= 0 else None
    steps = np.array([left.step for left in fates.exits] + [len(cut.plan.steps)])
    left_at = steps[np.maximum(frames[space]["fate"].to_numpy(), -1)]
    source, unreadable = _source_cells(view, row)
    children = _children(frames, fates.exits, place)
    return Story(
        cut=cut.folder,
        row=place,
        name=str(place),
        key=own["key"],
        fate={KEPT: "kept", USED_UP: "used_up"}.get(own["fate"], "dropped"),
        dropped_by=left,
        dropped_for=own["value"],
        source=source,
        unreadable=unreadable,
        steps=[_step(view, row, step, left_at) for step in view.steps()],
        duplicates=list(duplicates_of(cut, view, place, int(left_at[row]))),
        parent=Found(space=space - 1, shard=shard, row=int(view.owners[row])) if space else None,
        children=children[:CHILDREN],
        children_in_all=len(children),
        document=_document(view, frames[space], place),
    )


def _source_cells(view: ShardView, row: int) -> tuple[list[Cell], str]:
    """What the row began with, read in one pass that stops there; or why it cannot be read."""
    wanted = [column for column in view.space.schema if not _is_bytes(column.type)]
    try:
        for batch in view.rows([column.name for column in wanted], images=False):
            if row < batch.first + len(batch.slots):
                at = row - batch.first
                return [_cell(column, batch.table.column(column.name)[at].as_py()) for column in wanted], ""
    except (ShardError, OSError) as error:
        return [], str(error)
    return [], ""


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _cell(column: pa.Field, value: object) -> Cell:
    return Cell(**describe(column), value=len(value) if isinstance(value, bytes) else value)


# Steps


def _step(view: ShardView, row: int, step: PlannedStep, left_at: np.ndarray) -> StepStory:
    came = bool(left_at[row] >= step.index)
    if isinstance(step, KeepStep):
        state = "unseen" if not came else "dropped" if left_at[row] == step.index else "passed"
        rules = rules_asked(view, row, step, left_at)
        return StepStory(step=step.label, kind="rule", came=came, state=state, rules=rules)
    if isinstance(step, CorpusStep):
        cells = list(_cells(view, row, step)) if came else []
        return StepStory(step=step.label, kind="corpus", came=came, state="seen" if came else "unseen", cells=cells)
    assert isinstance(step, RowStep)
    kind = "extract" if isinstance(step, ExtractStep) else "measure"
    state = view.scores(step).states[row].as_py()
    if state is None:
        return StepStory(step=step.label, kind=kind, came=came, state="unseen")
    error, message = _error(view, row, step) if state.startswith(State.FAILED.value) else (None, None)
    cells = [] if kind == "extract" else list(_cells(view, row, step))
    return StepStory(step=step.label, kind=kind, came=came, state=state, error=error, message=message, cells=cells)


def _cells(view: ShardView, row: int, step: RowStep | CorpusStep) -> Iterator[Cell]:
    for name in step.names.values():
        sizes = view.sizes(name)
        if sizes is not None:
            value: object = int(sizes[row]) if sizes[row] >= 0 else None
        else:
            value = view.column(name)[row].as_py()
        yield _cell(view.space.fields[name], value)


def _error(view: ShardView, row: int, step: RowStep) -> tuple[str, str]:
    """Class and message of the newest entry about the row, or about its document."""
    number = int(view.numbers[row])
    if isinstance(step, DocumentStep):
        assert view.documents is not None
        number = int(view.documents.names[view.documents.of[row]])
    found = ("unknown", "")
    for table in versions(view.store, f"errors/{step.folder}", view.shard.id, holes=view.scores(step).files):
        for i in np.flatnonzero(table.column("row").to_numpy() == number).tolist():
            found = (table.column("class")[i].as_py(), table.column("message")[i].as_py())
    return found


# The rows that it has to do with


def _children(frames: Sequence[pl.DataFrame], exits: Sequence[Exit], row: Found) -> list[Child]:
    """What was made of a row, and what became of each."""
    if row.space + 1 >= len(frames):
        return []
    own, below = frames[row.space], frames[row.space + 1]
    path = own.filter(pl.col("row") == row.row).select(path_columns(own))
    made = below.join(path, on=path.columns, how="semi", maintain_order="left").select("row", "fate")
    return [
        Child(row=Found(space=row.space + 1, shard=row.shard, row=number), fate=_in_words(fate, exits))
        for number, fate in made.sort("row").rows()
    ]


def _in_words(fate: int, exits: Sequence[Exit]) -> str:
    if fate < 0:
        return "kept" if fate == KEPT else "used up"
    return f"dropped by {exits[fate]}" if exits[fate].column else str(exits[fate])


def _document(view: ShardView, fates: pl.DataFrame, row: Found) -> InDocument | None:
    if view.documents is None:
        return None
    nodes = np.flatnonzero(view.documents.of == view.documents.of[row.row])
    return InDocument(
        document=Found(space=row.space - 1, shard=row.shard, row=int(view.owners[row.row])),
        position=int(row.row - nodes[0]),
        nodes=len(nodes),
        kept=int((fates["fate"].to_numpy()[nodes] == KEPT).sum()),
    )
