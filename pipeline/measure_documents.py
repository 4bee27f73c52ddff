"""Measure documents of a shard: some at a time, by what is alive of their nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa

from ..operators.base import Batch, DocumentOperator
from ..operators.decode import RowError
from ..operators.images import ImageStore
from ..schemas.corpus import State
from .call import Caller
from .documents import DocumentBatch, Documents, schema_of
from .findings import Entry, Report, entries, state_of, write_errors
from .keep import Mask
from .plan import DocumentStep
from .scores import version_path
from .shard import ShardView

AT_ONCE = 256  # documents
NODES = 4096  # of them, unless one document has more
IMAGES = 64  # that are in memory together, unless one document has more


def measure_documents(caller: Caller, step: DocumentStep, alive: Mask, report: Report) -> None:
    """Measure the documents that have a node alive and no entry for these nodes; commit."""
    view = caller.view
    scores = view.scores(step, alive)
    caller.load(step)
    began = time.perf_counter()
    measuring = _Measuring(caller, step, alive)
    tables, errors = [], list[Entry]()
    for some in measuring.parts(scores.missing):
        states, columns, failed = measuring.measured(some)
        names = measuring.documents.names[some]
        about = {"row": pa.array(names, pa.int32()), "state": pa.array(states, pa.string())}
        tables.append(pa.table({**about, "nodes": pa.array(scores.digests[some], pa.int64()), **columns}))
        told = sorted(failed)
        errors += entries(names[told].tolist(), [failed[i] for i in told])
        report.measured[step.label] += sum(state != State.NOT_APPLICABLE.value for state in states)
    write_errors(view, step, errors)
    schema = schema_of(step).with_metadata(view.about(step))
    table = pa.concat_tables(tables).select(schema.names).cast(schema)
    view.store.write_table(version_path(step.record, view.shard.id, scores.files), table)
    report.seconds[step.label] += time.perf_counter() - began


class _Measuring:
    """One step over the documents of one shard."""

    def __init__(self, caller: Caller, step: DocumentStep, alive: Mask) -> None:
        self.caller, self.step, self.alive, self.view = caller, step, alive, caller.view
        assert self.view.documents is not None
        self.documents: Documents = self.view.documents
        self.images = _images(self.view, step)
        self.texts: pa.Array = None
        nodes = self.view.space.nodes or ()
        if not isinstance(step.operator, DocumentOperator) and step.reads.get("text") in nodes:
            self.texts = self.documents.texts(self.view.column(step.reads["text"]), alive)

    def parts(self, missing: np.ndarray) -> Iterator[np.ndarray]:
        """Runs of documents that are measured together: of so many nodes and images at most, a document at least."""
        counted = [(self.alive, NODES)]
        if self.images is not None:
            counted.append((self.alive & self.images.there, IMAGES))
        loads = [np.bincount(self.documents.of[some], minlength=len(self.documents))[missing] for some, _ in counted]
        fill = np.max([load / limit for load, (_, limit) in zip(loads, counted, strict=True)], axis=0)
        start, held = 0, 0.0
        for i, share in enumerate(fill.tolist()):
            if i > start and (held + share > 1 or i - start == AT_ONCE):
                yield missing[start:i]
                start, held = i, 0.0
            held += share
        yield missing[start:]

    def measured(self, some: np.ndarray) -> tuple[list[str], dict[str, pa.Array], dict[int, RowError]]:
        """The states and columns of some documents, and those that failed."""
        poison = self.caller.poison(self.step)
        failed = {i: poison[place] for i, place in enumerate(some.tolist()) if place in poison}
        asked = np.setdiff1d(np.arange(len(some)), list(failed))
        values: dict[str, pa.Array] = {}
        place = np.full(len(some), -1, np.int64)
        if len(asked):
            whole = isinstance(self.step.operator, DocumentOperator)
            batch, ready = self._nodes(some[asked]) if whole else self._rows(some[asked])
            asked = asked[ready]
        if len(asked):
            values, wrong = self.caller.call(self.step, batch, some[asked])
            failed |= {int(asked[i]): error for i, error in wrong.items()}
            place[asked] = np.arange(len(asked))
        states = np.where(place >= 0, State.MEASURED.value, State.NOT_APPLICABLE.value).astype(object)
        for i, error in failed.items():
            states[i] = state_of(error)
        place[[i for i, error in failed.items() if not error.keeps_values]] = -1
        take = pa.array(place, mask=place < 0)
        columns = {
            column.name: values[column.name].take(take) if values else pa.nulls(len(some), column.type)
            for column in schema_of(self.step)
            if column.name in {added.name for added in self.step.added}
        }
        return states.tolist(), columns, failed

    def _nodes(self, some: np.ndarray) -> tuple[DocumentBatch, np.ndarray]:
        """Documents as an operator for documents is given them."""
        ends = np.append(self.documents.starts, len(self.alive))
        spans = [np.arange(ends[i], ends[i + 1]) for i in some.tolist()]
        nodes = np.concatenate([span[self.alive[span]] for span in spans])
        starts = np.append(np.searchsorted(self.documents.of[nodes], some), len(nodes))
        columns = {asked: self.view.take(name, nodes) for asked, name in self.step.reads.items() if asked != "image"}
        table = pa.table(columns or {"row": pa.array(nodes, pa.int32())})
        images = slots = None
        if self.images is not None:
            loaded = self.images.load(nodes)
            images = ImageStore(loaded)
            slots = np.arange(len(nodes))
        batch = Batch(table, images, slots, self.caller.on_gpu, self.caller.budgets)
        return DocumentBatch(batch, starts), np.arange(len(some))

    def _rows(self, some: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Documents as rows, those that have all that the operator reads."""
        columns = {}
        for asked, name in self.step.reads.items():
            joined = asked == "text" and self.texts is not None
            columns[asked] = self.texts.take(pa.array(some)) if joined else self._of_documents(name, some)
        ready = np.ones(len(some), bool)
        for asked, column in columns.items():
            ready &= np.asarray(column.is_valid()) | (asked in self.step.takes)
        rows = np.flatnonzero(ready)
        table = pa.table(columns).take(pa.array(rows))
        return Batch(table, None, None, self.caller.on_gpu, self.caller.budgets), rows

    def _of_documents(self, name: str, some: np.ndarray) -> pa.Array:
        return self.view.take(name, self.documents.starts[some])


class _Images(Protocol):
    """The images of nodes."""

    there: Mask  # nodes that have one

    def load(self, nodes: np.ndarray) -> dict[int, bytes | RowError | None]:
        """Place in `nodes` (ascending, over all calls too) -> its image."""
        ...


def _images(view: ShardView, step: DocumentStep) -> _Images | None:
    name = step.reads.get("image")
    if name is None:
        return None
    return _Fetched(view) if name == "image" else _Versions(view, name)


class _Fetched:
    """What the rows begin with, or what a step has brought, read a batch of the shard's rows at a time, in order."""

    def __init__(self, view: ShardView) -> None:
        self.there = np.concatenate([np.zeros(0, bool), *(rows.slots >= 0 for rows in view.rows([]))])
        self._batches = iter(view.rows([]))
        self._rows = next(self._batches)

    def load(self, nodes: np.ndarray) -> dict[int, bytes | RowError | None]:
        found: dict[int, bytes | RowError | None] = {}
        for i, node in enumerate(nodes.tolist()):
            while node >= self._rows.first + len(self._rows.slots):
                self._rows = next(self._batches)
            slot = int(self._rows.slots[node - self._rows.first])
            found[i] = self._rows.images.load([slot])[0] if slot >= 0 else None
        return found


class _Versions:
    """What a step has made of them."""

    def __init__(self, view: ShardView, name: str) -> None:
        self._column = view.column(name)
        self.there = np.asarray(self._column.is_valid())

    def load(self, nodes: np.ndarray) -> dict[int, bytes | RowError | None]:
        return dict(enumerate(self._column.take(pa.array(nodes)).to_pylist()))
