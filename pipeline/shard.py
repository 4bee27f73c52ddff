"""What is known of one shard: its scores on disk, what barriers found, and the decision that follows from them.

The decision is read off the committed columns, so it is the same whether they were measured now or a year ago. Rows
that an extractor made are seen as those of the source are: see children.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.source.base import Rows, Shard, Source
from ..schemas.corpus import State, shard_name
from .keep import Mask, Rule, decide
from .plan import CorpusStep, ExtractStep, KeepStep, MeasureStep, Plan, PlannedStep, RowStep
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Careful:
    """How to run a shard that keeps killing its worker: leave crumbs, and step lightly around the suspects."""

    poison: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # step's label -> row -> class
    suspects: tuple[int, int] | None = None  # rows to be taken one at a time


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs for one shard, besides the plan."""

    shard: Shard
    until: int  # steps [0, until) are measured and decided
    begin: int = 0  # where this stretch begins
    retry: frozenset[str] = frozenset()  # classes of errors to try again in this stretch
    careful: Careful | None = None


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
        tables = list(versions(store, step.record, shard.id, ["parent", "state"] if extracts else None))
        self.files = len(tables)
        position = np.full(shard.rows, -1, np.int64)
        if tables:
            table = pa.concat_tables(tables)
            rows = places[table.column("parent" if extracts else "row").to_numpy()]
            position[rows[rows >= 0]] = np.flatnonzero(rows >= 0)  # the newest file wins
            self._table = table
        if retry and tables:
            again = [row for row, kind in self.errors.items() if kind in retry]
            position[again] = -1
        self._position = position
        self.known: Mask = position >= 0

    @cached_property
    def columns(self) -> dict[str, pa.Array]:
        """The step's columns under the recipe's names, a value or null for every row of the shard."""
        return {name: self._spread(old) for old, name in self._step.names.items()}

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
            fields = {added.name: added.type for added in self._step.operator.adds}
            return pa.nulls(self._shard.rows, fields.get(name, pa.string()))
        column = self._table.column(name).combine_chunks()
        if len(column) == self._shard.rows and bool((self._position == np.arange(len(column))).all()):
            return column
        return column.take(pa.array(self._position, mask=self._position < 0))


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


class ShardView:
    """One shard as the plan sees it: columns it begins with, scores and ranks, each read when first asked for.

    A row has a place in the cut (0, 1, ...) and a number on disk; for rows of the source they are the same.
    """

    numbered_by = ""  # the folder in which the rows have their numbers; empty: the source

    def __init__(self, plan: Plan, store: Store, source: Source, job: Job) -> None:
        self.plan, self.store, self.source, self.job, self.shard = plan, store, source, job, job.shard
        self.space = plan.spaces[0]
        self.numbers = self.places = np.arange(self.shard.rows)  # place -> number, and number -> place or -1
        self._retry = job.retry
        self._first_columns: dict[str, pa.Array] = {}
        self._scores: dict[int, Scores] = {}
        self._ranks: dict[int, dict[str, pa.Array]] = {}

    def steps(self, until: int | None = None) -> tuple[PlannedStep, ...]:
        """The steps that go over these rows, those from `until` on left out."""
        stop = self.space.stop if until is None else min(until, self.space.stop)
        return self.plan.steps[self.space.start : stop]

    def about(self, step: RowStep) -> dict[str, str]:
        """What a file of a step's findings says of itself."""
        about = {"operator": step.label, "fingerprint": step.fingerprint}
        return {**about, "numbered_by": self.numbered_by} if self.numbered_by else about

    @cached_property
    def origin(self) -> pa.Array:
        """Whose children the rows are."""
        return pa.nulls(self.shard.rows, pa.string())

    def rows(self, columns: Sequence[str], *, images: bool = True) -> Iterator[Rows]:
        """The rows in batches, with some of the columns that they begin with, and their images where wanted."""
        return self.source.rows(self.shard, self.space.schema, columns)

    def scores(self, step: RowStep) -> Scores:
        if step.index not in self._scores:
            retry = self._retry if step.index >= self.job.begin else frozenset()
            self._scores[step.index] = Scores(self.store, step, self.shard, self.places, retry)
        return self._scores[step.index]

    def ranks(self, step: CorpusStep | KeepStep) -> dict[str, pa.Array]:
        """What a barrier found, a value or null for every row of the shard."""
        if step.index not in self._ranks:
            table = self.store.table(f"{self.plan.cut}/ranks/{rank_folder(step)}/{shard_name(self.shard.id)}.parquet")
            position = np.full(self.shard.rows, -1, np.int64)
            position[table.column("row").to_numpy()] = np.arange(table.num_rows)
            take = pa.array(position, mask=position < 0)
            self._ranks[step.index] = {
                name: table.column(name).combine_chunks().take(take) for name in table.column_names if name != "row"
            }
        return self._ranks[step.index]

    def column(self, name: str) -> pa.Array:
        """Any column but the images that the rows begin with, whole."""
        for step in self.steps():
            if isinstance(step, MeasureStep) and name in step.names.values():
                return self.scores(step).columns[name]
            if isinstance(step, CorpusStep) and name in step.names.values():
                return self.ranks(step)[name]
        if name not in self._first_columns:
            kind = self.space.schema.field(name).type
            chunks = [chunk for rows in self.rows([name], images=False) for chunk in rows.table.column(name).chunks]
            self._first_columns[name] = pa.chunked_array(chunks, kind).combine_chunks()
        return self._first_columns[name]

    def forget(self) -> None:
        """New scores were committed: read them again, and try no error twice."""
        self._scores.clear()
        self._retry = frozenset()


def rank_folder(step: CorpusStep | KeepStep) -> str:
    """Where a barrier's findings lie below the cut's `ranks/`."""
    name = step.label.split(" ")[0] if isinstance(step, CorpusStep) else "keep"
    return f"{step.index:02d}-{name}"


def selected(ranks: Mapping[str, pa.Array]) -> dict[str, Mask]:
    """Ranks of a keep as masks: a row that was not ranked is not selected."""
    return {name: column.fill_null(False).to_numpy(zero_copy_only=False) for name, column in ranks.items()}


@dataclass(kw_only=True)
class Walk:
    """The decision on one shard, up to some step."""

    alive: Mask
    rows_in: dict[str, int] = field(default_factory=dict)  # step's label -> rows alive where it comes
    blames: dict[int, tuple[np.ndarray, tuple[Rule, ...]]] = field(default_factory=dict)  # keep's index -> rule per row
    failures: dict[str, Mask] = field(default_factory=dict)  # step's label -> rows alive that it failed on
    missing: int | None = None  # index of the first step that has not measured all it should


def walk(view: ShardView, until: int) -> Walk:
    """Decide on a shard from what is on disk, stopping at the first step that still has rows to measure."""
    found = Walk(alive=np.ones(view.shard.rows, bool))
    for step in view.steps(until):
        found.rows_in[step.label] = int(found.alive.sum())
        if isinstance(step, RowStep):
            scores = view.scores(step)
            if (found.alive & ~scores.known).any():
                found.missing = step.index
                return found
            found.failures[step.label] = found.alive & scores.failed
        elif isinstance(step, KeepStep):
            columns = {name: view.column(step.reads[name]) for name in step.columns}
            ranks = selected(view.ranks(step)) if step.ranked else {}
            verdict = decide(step.keep, columns, ranks, found.alive)
            found.alive = verdict.stays
            found.blames[step.index] = (verdict.blame, verdict.rules)
    return found


def crumb_path(plan: Plan, shard: Shard) -> str:
    """Where a careful run says what it is about to try."""
    return f"{plan.cut}/work/crumb-{shard_name(shard.id)}.json"
