"""The rows of a cut in memory: what was decided on each, and its columns as they are asked for.

A million rows take about 3 bytes each for the decision, one for each step, and what their columns take. Of a corpus
that is too large, shards spread evenly over it are loaded, and every count is an estimate.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ...operators.source.base import Shard
from ...schemas.corpus import row_name
from ..keep import Mask, rules_of
from ..plan import KeepStep, RowStep, Space
from ..shard import ShardView, Walk, walk
from .opened import OpenedCut

THREADS = 2  # files are read and unpacked without the lock, but half of the time goes to Python
COLUMN_BYTES = 400 << 20  # of columns that no rule reads: those used last are kept
MAX_ROWS = 5_000_000


@dataclass(frozen=True, kw_only=True)
class CutRule:
    """One bound of the recipe, as the ledger names it."""

    step: int  # index of its keep in the plan
    label: str
    column: str
    text: str
    space: int  # whose rows it is about


@dataclass(kw_only=True)
class _Piece:
    """What is loaded of one shard in one space."""

    gone_by: np.ndarray
    known: dict[int, Mask] = field(default_factory=dict)
    failed: dict[int, Mask] = field(default_factory=dict)
    columns: dict[str, pa.Array] = field(default_factory=dict)
    owners: np.ndarray | None = None  # in the shard
    document: np.ndarray | None = None  # in the shard
    documents: int = 0
    agrees: bool = True


class SpaceRows:
    """All rows of one space, numbered over all shards in their order."""

    def __init__(self, rows: CutRows, index: int, shards: Sequence[Shard], pieces: Sequence[_Piece]) -> None:
        self.index, self.space, self._rows = index, rows.cut.plan.spaces[index], rows
        self._shards = [shard.id for shard in shards]
        self._starts = np.cumsum([0, *(len(piece.gone_by) for piece in pieces)])  # first row of each shard
        self.gone_by: np.ndarray = _joined([piece.gone_by for piece in pieces], np.int16)
        like = pieces[0] if pieces else _Piece(gone_by=np.zeros(0, np.int16))
        self._known = {step: _joined([piece.known[step] for piece in pieces], bool) for step in like.known}
        self._failed = {step: _joined([piece.failed[step] for piece in pieces], bool) for step in like.failed}
        self._pinned = {name: _concat([piece.columns[name] for piece in pieces]) for name in like.columns}
        self._recent: OrderedDict[str, pa.Array] = OrderedDict()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self.parents: np.ndarray | None = None  # int64: row of the space above that each was made of
        self.document: np.ndarray | None = None  # int64, ascending: number of each node's document
        self.documents = sum(piece.documents for piece in pieces)
        if index:
            above = rows.spaces[index - 1]._starts
            self.parents = _joined([_of(piece.owners) + above[i] for i, piece in enumerate(pieces)], np.int64)
        if self.space.nodes is not None:
            first = np.cumsum([0, *(piece.documents for piece in pieces)])
            self.document = _joined([_of(piece.document) + first[i] for i, piece in enumerate(pieces)], np.int64)

    def __len__(self) -> int:
        return len(self.gone_by)

    @cached_property
    def kept(self) -> Mask:
        """Rows that no rule dropped; above an extractor: those that it used up."""
        return self.gone_by < 0

    def alive_at(self, step: int) -> Mask:
        """Rows that were alive when this step of the plan came."""
        gone_at = np.array([rule.step for rule in self._rows.rules] + [len(self._rows.cut.plan.steps)], np.int64)
        alive: Mask = gone_at[self.gone_by] >= step
        return alive

    def known(self, step: int) -> Mask:
        """Rows that a step from row to row has measured, in this cut or another. KeyError for another kind of step."""
        return self._known[step]

    def failed(self, step: int) -> Mask:
        """Rows alive on which a step failed. KeyError for another kind of step."""
        return self._failed[step]

    @cached_property
    def columns(self) -> pa.Schema:
        """The columns that can be asked for, explained in their metadata; no bytes and no lists."""
        everything = {column.name: column for column in self.space.schema} | dict(self.space.fields)
        return pa.schema([column for column in everything.values() if _is_plain(column.type)])

    def column(self, name: str) -> pa.Array:
        """One of `columns`, a value or null for each row. KeyError for another name.

        Read when it is first asked for. Those that rules read stay in memory, of the others the last ones used.
        """
        if name not in self.columns.names:
            raise KeyError(f"there is no column {name!r} (there are: {', '.join(self.columns.names)})")
        if name in self._pinned:
            return self._pinned[name]
        with self._lock:
            lock = self._locks[name]
        with lock:
            with self._lock:
                if name in self._recent:
                    self._recent.move_to_end(name)
                    return self._recent[name]
            found = self._load(name)
            with self._lock:
                self._recent[name] = found
                while len(self._recent) > 1 and sum(c.nbytes for c in self._recent.values()) > COLUMN_BYTES:
                    self._recent.popitem(last=False)
            return found

    def _load(self, name: str) -> pa.Array:
        def read(shard: int) -> pa.Array:
            return self._rows.cut.view(self.index, shard).column(name)

        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(read, self._shards))
        return _concat(parts) if parts else pa.nulls(0, self.columns.field(name).type)

    def place_of(self, row: int) -> tuple[int, int]:
        """(shard, row in the shard) of a row."""
        at = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[at], row - int(self._starts[at])

    def name_of(self, row: int) -> str:
        """`00000003:17`, as verdict columns name rows."""
        return row_name(*self.place_of(row))

    def row_of(self, shard: int, row: int) -> int:
        """The row's number over all shards. KeyError when there is none, or its shard is not loaded."""
        at = self._at.get(shard)
        if at is None or not 0 <= row < int(self._starts[at + 1] - self._starts[at]):
            raise KeyError(f"there is no row {row} in shard {shard}")
        return int(self._starts[at]) + row

    @cached_property
    def _at(self) -> dict[int, int]:
        return {shard: i for i, shard in enumerate(self._shards)}


@dataclass(kw_only=True)
class CutRows:
    """The rows of a cut, space by space."""

    cut: OpenedCut
    rules: Sequence[CutRule]
    shards: Sequence[Shard]
    share: float  # of the cut's rows that are loaded; below 1, counts are estimates
    agrees: bool = True  # would the same be decided today? Not so where some rows were measured again since
    spaces: list[SpaceRows] = field(default_factory=list)

    @property
    def last(self) -> SpaceRows:
        """The rows that the cut is made of."""
        return self.spaces[-1]


def rules_in(cut: OpenedCut) -> list[CutRule]:
    """Every rule of the recipe, in its order."""
    return [
        CutRule(step=step.index, label=step.label, column=rule.column, text=rule.text, space=i)
        for i, space in enumerate(cut.plan.spaces)
        for step in cut.plan.steps[space.start : space.stop]
        if isinstance(step, KeepStep)
        for rule in rules_of(step.keep)
    ]


def load_rows(cut: OpenedCut, max_rows: int = MAX_ROWS, wanted: Callable[[], bool] = lambda: True) -> CutRows:
    """The rows of a cut, or of shards spread over it where they are more than `max_rows`, those made of others too.

    Columns that rules read are loaded too. May take seconds; raises ShardError where the input is needed and gone, and
    CancelledError once they are not `wanted` any more.
    """
    whole = cut.manifest.rows_in
    of_each = 1 + sum(cut.manifest.made.values()) / whole if whole else 1.0  # rows in memory for one of the source
    shards = _spread(cut.shards, int(max_rows / of_each))
    whole = sum(shard.rows for shard in cut.shards)
    share = sum(shard.rows for shard in shards) / whole if whole else 1.0
    rows = CutRows(cut=cut, rules=rules_in(cut), shards=shards, share=share)
    first = {step: i for i, step in reversed(list(enumerate(rule.step for rule in rows.rules)))}

    def read(shard: Shard) -> list[_Piece]:
        if not wanted():
            raise CancelledError
        return _pieces(cut, shard, first)

    with ThreadPoolExecutor(THREADS) as pool:
        pieces = list(pool.map(read, shards))
    rows.agrees = all(piece.agrees for of_shard in pieces for piece in of_shard)
    for index in range(len(cut.plan.spaces)):
        rows.spaces.append(SpaceRows(rows, index, shards, [piece[index] for piece in pieces]))
    return rows


def one_a_document(document: np.ndarray, nodes: Mask) -> Mask:
    """Of some nodes the first of each document."""
    there = np.flatnonzero(nodes)
    first = np.ones(len(there), bool)
    first[1:] = document[there[1:]] != document[there[:-1]]
    found = np.zeros(len(nodes), bool)
    found[there[first]] = True
    return found


def _spread(shards: Sequence[Shard], max_rows: int) -> Sequence[Shard]:
    """All shards, or every so many-th."""
    rows = sum(shard.rows for shard in shards)
    if rows <= max_rows or len(shards) < 2:
        return shards
    count = max(1, len(shards) * max_rows // rows)
    return [shards[i * len(shards) // count] for i in range(count)]


def _pieces(cut: OpenedCut, shard: Shard, first: dict[int, int]) -> list[_Piece]:
    """What is kept in memory of one shard, space by space; `first` is the number of each keep's first rule."""
    return [_piece(view, found, first) for view, found in cut.lineage(shard)]


def _piece(view: ShardView, found: Walk, first: dict[int, int]) -> _Piece:
    gone_by = np.full(view.shard.rows, -1, np.int16)
    for step, (blame, _) in found.blames.items():
        gone = blame >= 0
        gone_by[gone] = first[step] + blame[gone]
    by_row = [step for step in view.steps() if isinstance(step, RowStep)]
    piece = _Piece(
        gone_by=gone_by,
        known={step.index: view.scores(step).known for step in by_row},
        failed={step.index: found.failures[step.label] for step in by_row},
        columns={name: view.column(name) for name in _bounded(view.space, view.steps())},
        agrees=_agree(found, walk(view, view.job.until)),
    )
    if view.space is not view.plan.spaces[0]:
        piece.owners = view.owners
    if view.documents is not None:
        piece.document, piece.documents = view.documents.of, len(view.documents)
    return piece


def _agree(found: Walk, now: Walk) -> bool:
    """Would the same be decided today?"""
    blames = zip(found.blames.values(), now.blames.values(), strict=False)
    return now.missing is None and all(np.array_equal(was, is_now) for (was, _), (is_now, _) in blames)


def _bounded(space: Space, steps: Iterable[object]) -> Iterator[str]:
    """The columns that rules read."""
    names = {name: None for step in steps if isinstance(step, KeepStep) for name in step.reads.values()}
    return (name for name in names if _is_plain(_type_of(space, name)))


def _type_of(space: Space, name: str) -> pa.DataType:
    return space.fields[name].type if name in space.fields else space.schema.field(name).type


def _is_plain(kind: pa.DataType) -> bool:
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind, copy=False) if parts else np.zeros(0, kind)


def _concat(parts: Sequence[pa.Array]) -> pa.Array:
    if types.is_string(parts[0].type) and sum(part.nbytes for part in parts) >= 2**31:  # more than its offsets reach
        parts = [part.cast(pa.large_string()) for part in parts]
    return pa.concat_arrays(parts)


def _of(owners: np.ndarray | None) -> np.ndarray:
    assert owners is not None
    return owners
