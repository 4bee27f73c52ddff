"""What is known of one shard: its scores on disk, what barriers found, and the decision that follows from them.

The decision is read off the committed columns, so it is the same whether they were measured now or a year ago. Rows
that an extractor made are seen as those of the source are: see children.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ..operators.source.base import Rows, Shard, Source
from ..schemas.corpus import shard_name
from .documents import Documents, DocumentScores, combined
from .keep import Mask, Nodes, Rule, decide
from .lines import LineImages, Lines
from .plan import CorpusStep, DocumentStep, FetchStep, KeepStep, MeasureStep, Plan, PlannedStep, RowStep
from .scores import Scores
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
    sampled: bool = False  # its rows are shown before those of other shards


class ShardView:
    """One shard as the plan sees it: columns it begins with, scores and ranks, each read when first asked for.

    A row has a place in the cut (0, 1, ...) and a number on disk; for rows of the source they are the same.
    """

    owners: np.ndarray  # of children: the place of each one's parent, ascending
    numbered_by = ""  # the folder in which the rows have their numbers; empty: the source
    documents_numbered_by = ""  # where the rows are nodes: the same of what they were made of

    def __init__(self, plan: Plan, store: Store, source: Source, job: Job) -> None:
        self.plan, self.store, self.source, self.job, self.shard = plan, store, source, job, job.shard
        self.space = plan.spaces[0]
        self.numbers = self.places = np.arange(self.shard.rows)  # place -> number, and number -> place or -1
        self._tried: set[int] = set()  # steps whose errors were tried again by now
        self._first_columns: dict[str, pa.Array] = {}
        self._scores: dict[int, Scores | DocumentScores] = {}
        self._ranks: dict[int, dict[str, pa.Array]] = {}
        self._lines: dict[int, Lines] = {}

    def steps(self, until: int | None = None) -> tuple[PlannedStep, ...]:
        """The steps that go over these rows, those from `until` on left out."""
        stop = self.space.stop if until is None else min(until, self.space.stop)
        return self.plan.steps[self.space.start : stop]

    def about(self, step: RowStep) -> dict[str, str]:
        """What a file of a step's findings says of itself."""
        about = {"operator": step.label, "fingerprint": step.fingerprint}
        numbered_by = self.documents_numbered_by if isinstance(step, DocumentStep) else self.numbered_by
        return {**about, "numbered_by": numbered_by} if numbered_by else about

    @cached_property
    def origin(self) -> pa.Array:
        """Whose children the rows are."""
        return pa.nulls(self.shard.rows, pa.string())

    @cached_property
    def documents(self) -> Documents | None:
        """The documents whose nodes the rows are, if they are any."""
        return None

    def rows(self, columns: Sequence[str], *, images: bool = True) -> Iterator[Rows]:
        """The rows in batches, with some of the columns that they begin with, and their images where wanted."""
        rows = self.source.rows(self.shard, self.space.schema, columns)
        return map(self.with_fetched, rows) if images else rows

    def nodes(self, step: KeepStep, span: slice) -> Nodes | None:
        """What a rule must know of some rows, if they are nodes."""
        if self.documents is None:
            return None
        return Nodes(kind=self.column("kind")[span], document=self.documents.of[span], about=step.about)

    def with_fetched(self, rows: Rows) -> Rows:
        """A batch with the images that a step has brought, if one does."""
        step = next((s for s in self.steps() if isinstance(s, FetchStep) and s.brings_images), None)
        if step is None:
            return rows
        places = np.arange(rows.first, rows.first + len(rows.slots))
        scores = self.scores(step)
        images = LineImages(self.lines(step), scores.position, step.own_bytes_column, scores.sizes)
        return replace(rows, images=images, slots=np.where(scores.sizes[places] >= 0, places, -1))

    def lines(self, step: FetchStep) -> Lines:
        """What a step has brought."""
        if step.index not in self._lines:
            self._lines[step.index] = Lines(self.store, step, self.shard.id)
        return self._lines[step.index]

    def scores(self, step: RowStep, alive: Mask | None = None) -> Any:
        """What is known of a step; of documents, where these nodes are alive when it comes."""
        if step.index not in self._scores:
            again = step.index >= self.job.begin and step.index not in self._tried
            retry = self.job.retry if again else frozenset()
            if isinstance(step, DocumentStep):
                alive = walk(self, step.index).alive if alive is None else alive
                self._scores[step.index] = self._document_scores(step, alive, retry)
            else:
                scores = Scores(self.store, step, self.shard, self.places, retry)
                self._scores[step.index] = scores
                if scores.files:
                    scores.forget_not_applicable(self._applicable(step))
        return self._scores[step.index]

    def _applicable(self, step: RowStep) -> Mask:
        """The rows that have what earlier steps find of what this one needs; none where it needs nothing of theirs.

        An earlier step's errors may have been tried again since.
        """
        found, theirs = np.ones(self.shard.rows, bool), False
        for asked, name in step.reads.items():
            earlier = self._adds(name)
            if asked in step.takes or not isinstance(earlier, MeasureStep) or earlier.index >= step.index:
                continue
            theirs = True
            sizes = self.sizes(name)
            found &= sizes >= 0 if sizes is not None else np.asarray(self.column(name).is_valid())
        return found if theirs else np.zeros(self.shard.rows, bool)

    def _rows_ranked(self, step: CorpusStep | KeepStep) -> int:
        """How many rows a barrier has seen of this shard, at most: of documents those that they were made of."""
        return int(self.owners.max(initial=-1)) + 1 if step.on_documents else self.shard.rows

    def _document_scores(self, step: DocumentStep, alive: Mask, retry: frozenset[str]) -> DocumentScores:
        """Findings hold for the nodes alive here, and for those alive where what the step reads was found."""
        assert self.documents is not None
        adders = map(self._adds, step.reads.values())
        earlier = {adder.index: adder for adder in adders if isinstance(adder, MeasureStep)}.values()
        of_nodes = [self.scores(adder).position for adder in earlier if not isinstance(adder, DocumentStep)]
        digests = [self.documents.digests(alive, of_nodes)]
        digests += [self.scores(adder).digests for adder in earlier if isinstance(adder, DocumentStep)]
        digest = combined(digests) if len(digests) > 1 else digests[0]
        return DocumentScores(self.store, step, self.shard, self.documents, alive, digest, retry)

    def ranks(self, step: CorpusStep | KeepStep) -> dict[str, pa.Array]:
        """What a barrier found, a value or null for every row of the shard."""
        if step.index not in self._ranks:
            table = self.store.table(f"{self.plan.cut}/ranks/{rank_folder(step)}/{shard_name(self.shard.id)}.parquet")
            position = np.full(self._rows_ranked(step), -1, np.int64)
            position[table.column("row").to_numpy()] = np.arange(table.num_rows)
            if step.on_documents:
                position = position[self.owners]
            take = pa.array(position, mask=position < 0)
            self._ranks[step.index] = {
                name: table.column(name).combine_chunks().take(take) for name in table.column_names if name != "row"
            }
        return self._ranks[step.index]

    def _adds(self, name: str) -> MeasureStep | CorpusStep | None:
        """The step over these rows that adds a column, if one does."""
        steps = (step for step in self.steps() if isinstance(step, MeasureStep | CorpusStep))
        return next((step for step in steps if name in step.names.values()), None)

    def column(self, name: str) -> pa.Array:
        """Any column but the images that the rows begin with, whole."""
        step = self._adds(name)
        if isinstance(step, FetchStep) and name == step.bytes_column:
            return self.take(name, np.arange(self.shard.rows))
        if isinstance(step, MeasureStep):
            found: pa.Array = self.scores(step).columns[name]
            return found
        if isinstance(step, CorpusStep):
            return self.ranks(step)[name]
        self.read([name])
        return self._first_columns[name]

    def read(self, names: Sequence[str]) -> None:
        """Columns that the rows begin with, in one pass, to be had of `column` from now on."""
        names = [name for name in names if name not in self._first_columns]
        tables = [rows.table for rows in self.rows(names, images=False)] if names else []
        for name in names:
            chunks = [chunk for table in tables for chunk in table.column(name).chunks]
            self._first_columns[name] = pa.chunked_array(chunks, self.space.schema.field(name).type).combine_chunks()

    def take(self, name: str, places: np.ndarray) -> pa.Array:
        """A column of some rows. Of fetched bytes no more is read."""
        step = self._adds(name)
        if not isinstance(step, FetchStep) or name != step.bytes_column:
            return self.column(name).take(pa.array(places))
        scores = self.scores(step)
        there = scores.sizes[places] >= 0
        if not there.any():
            return pa.nulls(len(places), pa.large_binary())
        own = step.own_bytes_column
        found = self.lines(step).take(scores.position[places[there]], [own]).column(own).combine_chunks()
        return found.take(pa.array(np.cumsum(there) - 1, mask=~there))

    def sizes(self, name: str) -> np.ndarray | None:
        """Bytes of each row's, of a column that is fetched (-1: none); None for another column."""
        step = self._adds(name)
        if not isinstance(step, FetchStep) or name != step.bytes_column:
            return None
        found: np.ndarray = self.scores(step).sizes
        return found

    def forget(self, start: int, stop: int) -> None:
        """What steps [start, stop) found was committed: read it and what follows again, and try no error twice."""
        self._tried |= set(range(start, stop))
        for index in [index for index in self._scores if index >= start]:
            del self._scores[index]
        self._lines.clear()


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
    documents_in: dict[str, int] = field(default_factory=dict)  # and, where rows are nodes, documents
    blames: dict[int, tuple[np.ndarray, tuple[Rule, ...]]] = field(default_factory=dict)  # keep's index -> rule per row
    failures: dict[str, Mask] = field(default_factory=dict)  # step's label -> rows alive that it failed on
    missing: int | None = None  # index of the first step that has not measured all it should


def walk(view: ShardView, until: int) -> Walk:
    """Decide on a shard from what is on disk, stopping at the first step that still has rows to measure."""
    found = Walk(alive=np.ones(view.shard.rows, bool))
    for step in view.steps(until):
        found.rows_in[step.label] = int(found.alive.sum())
        if view.documents is not None:
            found.documents_in[step.label] = int(view.documents.alive(found.alive).sum())
        if isinstance(step, RowStep):
            scores = view.scores(step, found.alive)
            if (found.alive & ~scores.known).any():
                found.missing = step.index
                return found
            found.failures[step.label] = found.alive & scores.failed
        elif isinstance(step, KeepStep):
            columns = {name: view.column(step.reads[name]) for name in step.columns}
            ranks = selected(view.ranks(step)) if step.ranked else {}
            verdict = decide(step.keep, columns, ranks, found.alive, view.nodes(step, slice(None)))
            found.alive = verdict.stays
            found.blames[step.index] = (verdict.blame, verdict.rules)
    return found


def crumb_path(plan: Plan, shard: Shard) -> str:
    """Where a careful run says what it is about to try."""
    return f"{plan.cut}/work/crumb-{shard_name(shard.id)}.json"
