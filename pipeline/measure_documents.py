"""Measure documents of a shard: some at a time, by what is alive of their nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ..operators.base import Batch, DocumentOperator
from ..operators.decode import RowError
from ..operators.images import ImageStore
from ..schemas.corpus import State
from .call import Caller
from .documents import DocumentBatch, Documents, schema_of
from .findings import Entry, Report, entries, write_errors
from .keep import Mask
from .plan import DocumentStep
from .scores import version_path
from .shard import ShardView

AT_ONCE = 256  # documents
NODES = 4096  # of them, unless one document has more
NODES_WITH_IMAGES = 64  # where their images are in memory


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
        self.images = _Images(self.view) if "image" in step.reads.values() else None
        self.texts: pa.Array = None
        if not isinstance(step.operator, DocumentOperator) and "text" in step.reads:
            self.texts = self.documents.texts(self.view.column(step.reads["text"]), alive)

    def parts(self, missing: np.ndarray) -> Iterator[np.ndarray]:
        """Runs of documents that are measured together: of so many nodes at most, a document at least."""
        limit = NODES if self.images is None else NODES_WITH_IMAGES
        nodes = np.bincount(self.documents.of[self.alive], minlength=len(self.documents))[missing]
        start = held = 0
        for i, count in enumerate(nodes.tolist()):
            if i > start and (held + count > limit or i - start == AT_ONCE):
                yield missing[start:i]
                start, held = i, 0
            held += count
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
            states[i] = (State.FAILED_TRANSIENT if error.transient else State.FAILED).value
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
        nodes = np.flatnonzero(self.alive & np.isin(self.documents.of, some))
        starts = np.append(np.searchsorted(self.documents.of[nodes], some), len(nodes))
        columns = {asked: self.view.take(name, nodes) for asked, name in self.step.reads.items() if name != "image"}
        table = pa.table(columns or {"row": pa.array(nodes, pa.int32())})
        images = slots = None
        if self.images is not None:
            loaded = self.images.load(nodes)
            images = ImageStore(loaded)
            slots = np.array([i if i in loaded else -1 for i in range(len(nodes))], np.int64)
        batch = Batch(table, images, slots, self.caller.on_gpu, self.caller.budgets)
        return DocumentBatch(batch, starts), np.arange(len(some))

    def _rows(self, some: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Documents as rows, those that have all that the operator reads."""
        columns = {}
        for asked, name in self.step.reads.items():
            joined = asked == "text"
            columns[asked] = self.texts.take(pa.array(some)) if joined else self._of_documents(name, some)
        ready = np.ones(len(some), bool)
        for asked, column in columns.items():
            ready &= np.asarray(column.is_valid()) | (asked in self.step.takes)
        rows = np.flatnonzero(ready)
        table = pa.table(columns).take(pa.array(rows))
        return Batch(table, None, None, self.caller.on_gpu, self.caller.budgets), rows

    def _of_documents(self, name: str, some: np.ndarray) -> pa.Array:
        return self.view.take(name, self.documents.starts[some])


class _Images:
    """The images of nodes, read a batch of the shard's rows at a time, in order."""

    def __init__(self, view: ShardView) -> None:
        self._batches = iter(view.rows([]))
        self._rows = next(self._batches)

    def load(self, nodes: np.ndarray) -> dict[int, bytes | RowError | None]:
        """Place in `nodes` (ascending, over all calls too) -> its image, where it has one."""
        found: dict[int, bytes | RowError | None] = {}
        for i, node in enumerate(nodes.tolist()):
            while node >= self._rows.first + len(self._rows.slots):
                self._rows = next(self._batches)
            slot = int(self._rows.slots[node - self._rows.first])
            if slot >= 0:
                found[i] = self._rows.images.load([slot])[0]
        return found
