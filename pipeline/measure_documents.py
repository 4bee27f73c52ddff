"""Measure documents of a shard: some at a time, by what is alive of their nodes."""

from __future__ import annotations

import time
from typing import Any

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
NODES = 4096  # nodes of them, unless one document has more
NODES_WITH_IMAGES = 64  # where their images are in memory


def measure_documents(caller: Caller, step: DocumentStep, alive: Mask, report: Report) -> None:
    """Measure the documents that have a node alive and no entry for these nodes; commit."""
    view, documents = caller.view, caller.view.documents
    assert documents is not None
    scores = view.scores(step, alive)
    caller.load(step)
    began = time.perf_counter()
    tables, errors = [], list[Entry]()
    images = _Images(view) if "image" in step.reads.values() else None
    texts = documents.texts(view.column(step.reads["text"]), alive) if _joins(step) else None
    for some in _parts(documents, alive, scores.missing, NODES if images is None else NODES_WITH_IMAGES):
        if isinstance(step.operator, DocumentOperator):
            found, failed = _whole(caller, step, documents, alive, some, images)
        else:
            found, failed = _as_rows(caller, step, documents, texts, some)
        names = documents.names[some]
        states = [_state(failed.get(i), known) for i, known in enumerate(found.pop("known").to_pylist())]
        about = {"row": pa.array(names, pa.int32()), "state": pa.array(states, pa.string())}
        about["nodes"] = pa.array(scores.digests[some], pa.int64())
        tables.append(pa.table(about | found))
        told = sorted(failed)
        errors += entries(names[told].tolist(), [failed[i] for i in told])
        report.measured[step.label] += sum(state != State.NOT_APPLICABLE.value for state in states)
    write_errors(view, step, errors)
    schema = schema_of(step).with_metadata(view.about(step))
    table = pa.concat_tables(tables).select(schema.names).cast(schema)
    view.store.write_table(version_path(step.record, view.shard.id, scores.files), table)
    report.seconds[step.label] += time.perf_counter() - began


def _state(error: RowError | None, known: bool) -> str:
    if error is None:
        return (State.MEASURED if known else State.NOT_APPLICABLE).value
    return (State.FAILED_TRANSIENT if error.transient else State.FAILED).value


def _joins(step: DocumentStep) -> bool:
    """Does it read documents' texts, their paragraphs joined?"""
    return not isinstance(step.operator, DocumentOperator) and "text" in step.reads


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


def _parts(documents: Documents, alive: Mask, missing: np.ndarray, limit: int) -> list[np.ndarray]:
    """Runs of documents that are measured together, of up to `limit` nodes, a document at least."""
    nodes = np.bincount(documents.of[alive], minlength=len(documents))[missing]
    parts, start, held = [], 0, 0
    for i, count in enumerate(nodes.tolist()):
        if i > start and (held + count > limit or i - start == AT_ONCE):
            parts.append(missing[start:i])
            start, held = i, 0
        held += count
    return [*parts, missing[start:]]


def _whole(
    caller: Caller, step: DocumentStep, documents: Documents, alive: Mask, some: np.ndarray, images: _Images | None
) -> tuple[dict[str, pa.Array], dict[int, RowError]]:
    """By an operator for documents: what it found of some, and those that failed."""
    view = caller.view
    nodes = np.flatnonzero(alive & np.isin(documents.of, some))
    starts = np.searchsorted(documents.of[nodes], np.append(some, some[-1] + 1))
    starts[-1] = len(nodes)
    columns = {asked: view.take(name, nodes) for asked, name in step.reads.items() if name != "image"}
    table = pa.table(columns or {"row": pa.array(nodes, pa.int32())})
    store = slots = None
    if images is not None:
        loaded = images.load(nodes)
        store, slots = ImageStore(loaded), np.array([i if i in loaded else -1 for i in range(len(nodes))], np.int64)
    batch = DocumentBatch(Batch(table, store, slots, caller.on_gpu, caller.budgets), starts)
    found, failed = caller.call(step, batch, some)
    return found | {"known": pa.array([True] * len(some))}, dict(failed)


def _as_rows(
    caller: Caller, step: DocumentStep, documents: Documents, texts: Any, some: np.ndarray
) -> tuple[dict[str, pa.Array], dict[int, RowError]]:
    """By an operator for rows: each document is one."""
    view = caller.view
    columns = {}
    for asked, name in step.reads.items():
        own = texts is None or asked != "text"
        columns[asked] = view.take(name, documents.starts[some]) if own else texts.take(pa.array(some))
    ready = np.ones(len(some), bool)
    for asked, column in columns.items():
        ready &= np.asarray(column.is_valid()) | (asked in step.takes)
    rows = np.flatnonzero(ready)
    found = {added.name: pa.nulls(len(some), added.type) for added in step.added}
    failed: dict[int, RowError] = {}
    if len(rows):
        batch = Batch(pa.table(columns).take(pa.array(rows)), None, None, caller.on_gpu, caller.budgets)
        values, wrong = caller.call(step, batch, some[rows])
        failed = {int(rows[i]): error for i, error in wrong.items()}
        place = np.full(len(some), -1, np.int64)
        place[rows] = np.arange(len(rows))
        place[[i for i, error in failed.items() if not error.keeps_values]] = -1
        take = pa.array(place, mask=place < 0)
        found = {name: value.take(take) for name, value in values.items()}
    return found | {"known": pa.array(ready)}, failed
