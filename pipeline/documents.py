"""The documents of a shard whose rows are their nodes.

What is measured of a document holds as long as the same of its nodes are alive: with each value lies a digest of those
nodes, so a looser bound on nodes measures just the documents that have others now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.base import Batch
from ..operators.decode import RowError
from ..operators.source.base import Shard
from ..schemas.corpus import ROW, STATE
from ..schemas.fields import field
from .keep import Mask
from .mixed import mixed
from .plan import DocumentStep
from .scores import versions
from .store import Store

NODES = field("nodes", pa.int64(), "digest of the nodes that were alive")
JOINT = "\n\n"  # between the paragraphs of a document's text


class Documents:
    """Which nodes make which document; a document's place counts those with nodes, in the order of the shard."""

    def __init__(self, owners: np.ndarray, names: np.ndarray, nodes: np.ndarray) -> None:
        """`owners` is the place of each node's parent (ascending), `names` the parents' numbers on disk by place, and
        `nodes` those of the nodes."""
        self.parents, self.starts, self.of = np.unique(owners, return_index=True, return_inverse=True)
        self.names = names[self.parents]
        self._mixed = mixed(nodes)

    def __len__(self) -> int:
        return len(self.parents)

    def places(self, names: np.ndarray) -> np.ndarray:
        """The places of documents by their parents' numbers on disk; -1 for those that are not here."""
        order = np.argsort(self.names, kind="stable")
        at = np.minimum(np.searchsorted(self.names[order], names), max(len(self) - 1, 0))
        found = order[at] if len(self) else np.full(len(names), -1)
        return np.where(self.names[found] == names, found, -1) if len(self) else found

    def digests(self, alive: Mask, entries: Sequence[np.ndarray] = ()) -> np.ndarray:
        """int64: a digest of each document's nodes that are alive, and of which entries (by node) hold their values."""
        parts = self._mixed
        for position in entries:
            parts = mixed(parts ^ position.astype(np.uint64))
        found = np.zeros(len(self), np.uint64)
        np.add.at(found, self.of[alive], parts[alive])
        return found.view(np.int64)

    def alive(self, nodes: Mask) -> Mask:
        """The documents that have a node alive."""
        return np.bincount(self.of[nodes], minlength=len(self)) > 0

    def texts(self, texts: pa.Array, alive: Mask) -> pa.Array:
        """The paragraphs alive of each document, joined; null where it has none."""
        chosen = np.flatnonzero(alive & np.asarray(texts.is_valid()))
        counts = np.bincount(self.of[chosen], minlength=len(self))
        ends = np.concatenate([[0], np.cumsum(counts)])
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), texts.take(pa.array(chosen)).cast(pa.string()))
        joined = pc.binary_join(lists, JOINT)
        return pc.if_else(pa.array(counts > 0), joined, pa.scalar(None, pa.string()))

    def spread(self, values: pa.Array) -> pa.Array:
        """A value for each document as one for each node."""
        return values.take(pa.array(self.of))


def combined(digests: Sequence[np.ndarray]) -> np.ndarray:
    """One digest of several, in their order."""
    found = np.zeros(len(digests[0]), np.uint64)
    for digest in digests:
        found = mixed(found ^ digest.view(np.uint64))
    return found.view(np.int64)


def schema_of(step: DocumentStep) -> pa.Schema:
    """What a file of a document step's findings holds: a list for what it finds of nodes."""
    listed = {old for old, new in step.names.items() if new in step.of_nodes}
    fields = [column.with_type(pa.list_(column.type)) if column.name in listed else column for column in step.added]
    return pa.schema([ROW, STATE, NODES, *fields])


class DocumentScores:
    """What is known of one step for the documents of one shard, each with the nodes that are alive there."""

    def __init__(
        self,
        store: Store,
        step: DocumentStep,
        shard: Shard,
        documents: Documents,
        alive: Mask,
        digests: np.ndarray,
        retry: frozenset[str] = frozenset(),
    ) -> None:
        self._store, self._step, self._shard, self._documents, self._alive = store, step, shard, documents, alive
        self.digests = digests
        tables = list(versions(store, step.record, shard.id))
        self.files = len(tables)
        schema = schema_of(step)
        self._table = pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()
        self._position = self._found()
        if retry and tables:
            failed = np.asarray(pc.starts_with(self._take("state"), "failed").fill_null(False))
            self._position[[i for i, kind in self._errors_at().items() if kind in retry and failed[i]]] = -1
        self.known: Mask = (self._position >= 0)[documents.of]  # by node

    def _found(self) -> np.ndarray:
        """Line of each document's findings; -1 where there are none of these nodes."""
        position = np.full(len(self._documents), -1, np.int64)
        place = self._documents.places(self._table.column("row").to_numpy())
        lines = np.flatnonzero(place >= 0)
        same = self._table.column("nodes").to_numpy()[lines] == self.digests[place[lines]]
        position[place[lines[same]]] = lines[same]
        return position

    def _take(self, name: str) -> pa.Array:
        column = self._table.column(name).combine_chunks()
        return column.take(pa.array(self._position, mask=self._position < 0))

    @cached_property
    def states(self) -> pa.Array:
        """What came of each document, by node."""
        return self._documents.spread(self._take("state"))

    @cached_property
    def failed(self) -> Mask:
        """By node: its document's measurement failed."""
        return np.asarray(pc.starts_with(self.states, "failed").fill_null(False))

    @cached_property
    def missing(self) -> np.ndarray:
        """The places of the documents that are alive and not known."""
        return np.flatnonzero(self._documents.alive(self._alive) & (self._position < 0))

    @cached_property
    def errors(self) -> dict[int, str]:
        """Node -> class of its document's newest error entry; those of failed documents."""
        of_document = self._errors_at()
        failed = np.flatnonzero(self.failed)
        return {int(n): of_document.get(int(self._documents.of[n]), "unknown") for n in failed}

    def _errors_at(self) -> dict[int, str]:
        entries: dict[int, str] = {}
        for table in versions(self._store, f"errors/{self._step.folder}", self._shard.id, holes=self.files):
            kinds = zip(table.column("row").to_pylist(), table.column("class").to_pylist(), strict=True)
            entries |= dict(kinds)
        return {i: entries[name] for i, name in enumerate(self._documents.names.tolist()) if name in entries}

    @cached_property
    def columns(self) -> dict[str, pa.Array]:
        """The step's columns under the recipe's names, a value or null for every node."""
        return {new: self._column(old, of_nodes=new in self._step.of_nodes) for old, new in self._step.names.items()}

    def _column(self, old: str, *, of_nodes: bool) -> pa.Array:
        values = self._take(old)
        if not of_nodes:
            return self._documents.spread(values)
        there = np.flatnonzero(self._alive & np.asarray(values.is_valid())[self._documents.of])
        position = np.full(len(self._alive), -1, np.int64)
        position[there] = np.arange(len(there))
        return values.flatten().take(pa.array(position, mask=position < 0))


class DocumentBatch:
    """Documents for a DocumentOperator, with what an operator's caller asks of a batch."""

    def __init__(self, nodes: Batch, starts: np.ndarray) -> None:
        self.nodes, self.starts = nodes, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def failures(self) -> Mapping[int, RowError]:
        """Document -> what failed first of its nodes."""
        found: dict[int, RowError] = {}
        for node, error in sorted(self.nodes.failures.items()):
            found.setdefault(int(np.searchsorted(self.starts, node, side="right")) - 1, error)
        return found

    def take(self, documents: np.ndarray) -> DocumentBatch:
        """Some consecutive documents."""
        first, last = int(documents[0]), int(documents[-1]) + 1
        starts = self.starts[first : last + 1]
        return DocumentBatch(self.nodes.take(np.arange(starts[0], starts[-1])), starts - starts[0])
