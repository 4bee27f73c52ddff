"""Run an operator that brings bytes: all rows of a shard at once, bytes to a temporary file as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np
import pyarrow as pa

from ..operators.base import Batch
from ..operators.decode import RowError
from ..schemas.corpus import FETCHED, State
from .call import Caller, ContractError
from .findings import Report, entries, state_of, write_errors
from .keep import Mask
from .plan import FetchStep
from .row_groups import RowGroups
from .scores import version_path
from .shard import ShardView

GROUP_BYTES = 8 << 20  # of a row group: what is read at a time
WRITE_ROWS = 64


def fetch(caller: Caller, step: FetchStep, alive: Mask, report: Report) -> None:
    """Fetch for the rows alive that have no entry yet, and publish what came, in the order of the rows."""
    view = caller.view
    todo = np.flatnonzero(alive & ~view.scores(step).known)
    columns, errors = _asked(view, step)
    known = set(todo.tolist())
    errors = {row: error for row, error in (errors | caller.poison(step)).items() if row in known}
    ready = np.isin(todo, list(errors), invert=True)
    for asked, column in columns.items():
        if asked not in step.takes:
            ready &= np.asarray(column.is_valid())[todo]
    rows = todo[ready]
    began = time.perf_counter()
    with view.store.growing() as file, file.open("w+b") as spool:
        fetched = _Fetched(step, len(rows), spool)
        if len(rows):
            caller.load(step)
            take = pa.array(rows)
            table = pa.table({asked: column.take(take) for asked, column in columns.items()})
            batch = Batch(table, budgets=caller.budgets)
            for places, values in caller.fetch(step, batch, rows):
                fetched.add(places, values)
            errors |= {int(rows[i]): error for i, error in batch.failures.items()}
            fetched.check()
        _publish(view, step, todo, rows, fetched, errors)
    report.measured[step.label] += len(rows)
    report.seconds[step.label] += time.perf_counter() - began


def _asked(view: ShardView, step: FetchStep) -> tuple[dict[str, pa.Array], dict[int, RowError]]:
    """The columns that the operator gets, and the rows whose value in one of them could not be read."""
    columns = {asked: view.column(name) for asked, name in step.reads.items()}
    first = [name for name in step.reads.values() if name in view.space.schema.names]
    errors: dict[int, RowError] = {}
    for rows in view.rows(first, images=False):
        for broken in rows.errors.values():
            errors |= {rows.first + row: error for row, error in broken.items()}
    return columns, errors


class _Fetched:
    """What has come so far: bytes in a file, the other columns in memory."""

    def __init__(self, step: FetchStep, rows: int, spool: IO[bytes]) -> None:
        self.step, self.spool = step, spool
        self.own = step.own_bytes_column
        self.offsets, self.sizes = np.zeros(rows, np.int64), np.full(rows, -1, np.int64)
        self.seen = np.zeros(rows, bool)
        self._rows: list[np.ndarray] = []
        self._tables: list[pa.Table] = []
        self._end = 0

    def add(self, rows: np.ndarray, values: Mapping[str, pa.Array]) -> None:
        """Some rows' columns."""
        if self.seen[rows].any() or len(np.unique(rows)) < len(rows):
            raise ContractError(f"{self.step.label} gave a row twice")
        self.seen[rows] = True
        for row, value in zip(rows.tolist(), values[self.own], strict=True):
            if value.is_valid:
                data = value.as_buffer()
                self.offsets[row], self.sizes[row] = self._end, data.size
                self._end += self.spool.write(data)
        self._rows.append(rows)
        self._tables.append(pa.table({name: column for name, column in values.items() if name != self.own}))

    def check(self) -> None:
        """Has every row come?"""
        if not self.seen.all():
            raise ContractError(f"{self.step.label} left out {int((~self.seen).sum())} of {len(self.seen)} rows")

    def others(self) -> pa.Table:
        """The columns without bytes, in the order of the rows."""
        if not self._tables:
            return pa.table({c.name: pa.nulls(0, c.type) for c in self.step.added if c.name != self.own})
        return pa.concat_tables(self._tables).take(pa.array(np.argsort(np.concatenate(self._rows))))

    def bytes_of(self, row: int) -> bytes | None:
        """What was brought for a row."""
        if self.sizes[row] < 0:
            return None
        self.spool.seek(int(self.offsets[row]))
        return self.spool.read(int(self.sizes[row]))


def _publish(
    view: ShardView,
    step: FetchStep,
    todo: np.ndarray,
    rows: np.ndarray,
    fetched: _Fetched,
    errors: Mapping[int, RowError],
) -> None:
    """Errors first, then the lines: for each row of `todo` one; `rows` are those that the operator was given."""
    told = sorted(errors)
    write_errors(view, step, entries(view.numbers[np.array(told, np.int64)].tolist(), [errors[row] for row in told]))
    place = np.full(view.shard.rows, -1, np.int64)
    place[rows] = np.arange(len(rows))
    nulled = [row for row, error in errors.items() if not error.keeps_values]
    place[nulled] = -1
    states = np.full(view.shard.rows, State.NOT_APPLICABLE.value, object)
    states[rows] = State.MEASURED.value
    for row, error in errors.items():
        states[row] = state_of(error)
    schema = pa.schema([*FETCHED, *step.added], metadata=view.about(step))
    path = version_path(step.record, view.shard.id, view.scores(step).files)
    with view.store.writing(path) as file, RowGroups(file, schema, GROUP_BYTES) as lines:
        for table in _tables(view.numbers[todo], place[todo], states[todo], fetched):
            lines.add(table.select(schema.names))


def _tables(numbers: np.ndarray, place: np.ndarray, states: np.ndarray, fetched: _Fetched) -> Iterator[pa.Table]:
    """The lines, some at a time, with their bytes."""
    others = fetched.others()
    for start in range(0, len(numbers), WRITE_ROWS):
        cut = slice(start, start + WRITE_ROWS)
        there = place[cut] >= 0
        found = others.take(pa.array(place[cut], mask=~there))
        data = [fetched.bytes_of(row) if row >= 0 else None for row in place[cut].tolist()]
        columns = {
            "row": pa.array(numbers[cut], pa.int32()),
            "state": pa.array(states[cut].tolist(), pa.string()),
            "bytes": pa.array([None if item is None else len(item) for item in data], pa.int64()),
            fetched.own: pa.array(data, pa.large_binary()),
        }
        yield pa.table(columns | {name: found.column(name) for name in found.column_names})
