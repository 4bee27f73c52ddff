"""What is known of a shard's rows: for each step the files of its findings, the newest line about a row counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.source.base import Shard
from ..schemas.corpus import State, shard_name
from .keep import Mask
from .plan import ExtractStep, FetchStep, RowStep
from .store import Store


class Scores:
    """What is known of one step in one shard: which rows were measured, and their values."""

    def __init__(
        self, store: Store, step: RowStep, shard: Shard, places: np.ndarray, retry: frozenset[str] = frozenset()
    ) -> None:
        """`places` gives for each number that a row has on disk the row's place in the cut, or -1."""
        self._store = store
        self._step = step
        self._shard = shard
        self._places = places
        extracts = isinstance(step, ExtractStep)
        tables = list(versions(store, step.record, shard.id, _small(step)))
        self.files = len(tables)
        position = np.full(shard.rows, -1, np.int64)
        if tables:
            table = pa.concat_tables(tables)
            rows = places[table.column("parent" if extracts else "row").to_numpy()]
            position[rows[rows >= 0]] = np.flatnonzero(rows >= 0)  # the newest file wins
            self._table = table
        if retry and tables:
            position[self._again(position, retry)] = -1
        self._position = position
        self.known: Mask = position >= 0

    def _again(self, position: np.ndarray, retry: frozenset[str]) -> list[int]:
        """Rows that failed when they were last measured, with an error that is to be tried again."""
        state = self._table.column("state").combine_chunks()
        failed = np.append(np.asarray(pc.starts_with(state, "failed")), False)
        return [row for row, kind in self.errors.items() if kind in retry and failed[position[row]]]

    def forget_not_applicable(self, applicable: Mask) -> None:
        """Rows that lacked something when the step came, and have it now, were not measured."""
        if not applicable.any():
            return
        lacked = np.asarray(pc.equal(self.states, State.NOT_APPLICABLE.value).fill_null(False))
        if (lacked & applicable).any():
            self._position[lacked & applicable] = -1
            self.known = self._position >= 0
            for name in ("columns", "states", "failed", "sizes"):
                vars(self).pop(name, None)

    @property
    def position(self) -> np.ndarray:
        """The line of each row among those of all files; -1 where there is none."""
        return self._position

    @cached_property
    def columns(self) -> Mapping[str, pa.Array]:
        """The step's columns under the recipe's names, a value or null for every row of the shard; no fetched bytes.

        Each is made when it is first asked for; embeddings and pictures that a step has made are not read before.
        """
        left_out = self._step.bytes_column if isinstance(self._step, FetchStep) else ""
        return _Columns(self, {name: old for old, name in self._step.names.items() if name != left_out})

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes that a FetchStep brought for each row; -1 where there are none."""
        return np.asarray(self._spread("bytes").fill_null(-1))

    @cached_property
    def states(self) -> pa.Array:
        """What came of each row; null where the step never saw it."""
        return self._spread("state")

    @cached_property
    def failed(self) -> Mask:
        """Rows whose measurement failed."""
        wanted = pa.array([State.FAILED.value, State.FAILED_TRANSIENT.value])
        return np.asarray(pc.is_in(self.states, wanted))

    @cached_property
    def errors(self) -> dict[int, str]:
        """row -> class of the newest error entry."""
        entries: dict[int, str] = {}
        for table in versions(self._store, f"errors/{self._step.folder}", self._shard.id, holes=self.files):
            rows = self._places[table.column("row").to_numpy()].tolist()
            kinds = zip(rows, table.column("class").to_pylist(), strict=True)
            entries |= {row: kind for row, kind in kinds if row >= 0}
        return entries

    def _spread(self, name: str) -> pa.Array:
        if not self.files:
            fields = {"bytes": pa.int64()} | {added.name: added.type for added in self._step.added}
            return pa.nulls(self._shard.rows, fields.get(name, pa.string()))
        table = self._table
        if name not in table.column_names:
            table = pa.concat_tables(versions(self._store, self._step.record, self._shard.id, [name]))
        column = table.column(name).combine_chunks()
        if len(column) == self._shard.rows and bool((self._position == np.arange(len(column))).all()):
            return column
        return column.take(pa.array(self._position, mask=self._position < 0))


class _Columns(Mapping[str, pa.Array]):
    """Columns by the recipe's names, each spread over the rows when it is asked for."""

    def __init__(self, scores: Scores, own: Mapping[str, str]) -> None:
        self._scores, self._own = scores, own
        self._made: dict[str, pa.Array] = {}

    def __getitem__(self, name: str) -> pa.Array:
        if name not in self._made:
            self._made[name] = self._scores._spread(self._own[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


def _small(step: RowStep) -> list[str]:
    """The columns that are read at once and held in memory."""
    if isinstance(step, ExtractStep):
        return ["parent", "state"]
    if isinstance(step, FetchStep):
        return ["row", "state", "bytes", *(old for old, new in step.names.items() if new != step.bytes_column)]
    return ["row", "state", *(added.name for added in step.added if not _is_large(added.type))]


def _is_large(kind: pa.DataType) -> bool:
    """Embeddings, pictures that a step has made."""
    return bool(pa.types.is_nested(kind) or pa.types.is_large_binary(kind))


def versions(
    store: Store, folder: str, shard: int, columns: list[str] | None = None, *, holes: int = 0
) -> Iterator[pa.Table]:
    """NAME.parquet, NAME+1.parquet, ... of one shard, in the order written (the first `holes` may be absent)."""
    number = 0
    while True:
        try:
            yield store.table(version_path(folder, shard, number), columns)
        except FileNotFoundError:
            if number >= holes:
                return
        number += 1


def version_path(folder: str, shard: int, number: int) -> str:
    """The file of a shard's rows that were measured in the `number`-th go."""
    return f"{folder}/{shard_name(shard)}{f'+{number}' if number else ''}.parquet"
