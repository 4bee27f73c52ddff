"""Rows that an extractor made, to be gone over as the source's rows are.

`rows/STEP-FP8/SHARD.parquet` holds a line for each child, in the order of the parents, and one for each parent without
any: one file, so that what was made and what is known of the parents are committed together. Parents that came alive
later, by a looser keep, have theirs in +1, +2, ...; a `ChildView` puts the lines of all files into the parents' order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.decode import RowError
from ..operators.source.base import BATCH_BYTES, BATCH_ROWS, Rows
from ..operators.source.images import NoImages
from ..schemas.corpus import MADE, row_name
from .documents import Documents
from .lines import LineImages, Lines
from .plan import ExtractStep
from .row_groups import RowGroups, row_bytes
from .scores import version_path
from .shard import ShardView, Walk

GROUP_BYTES = 8 << 20  # of a row group: what is read at a time, images included


class ChildView(ShardView):
    """The children of a shard's rows, of those alive where the extractor stands, in their parents' order."""

    def __init__(self, parents: ShardView, found: Walk) -> None:
        """`found` is the decision on the parents, up to the extractor."""
        super().__init__(parents.plan, parents.store, parents.source, parents.job)
        step = parents.steps()[-1]
        assert isinstance(step, ExtractStep)
        self.parents, self.found, self.step = parents, found, step
        self.space = self.plan.spaces[self.plan.spaces.index(parents.space) + 1]
        self.numbered_by, self.documents_numbered_by = step.record, parents.numbered_by
        self.made = Made(self.store, step, self.shard.id)
        owners = parents.places[self.made.parents]
        born = np.flatnonzero(self.made.is_child & np.append(found.alive, False)[owners])
        self.numbers = born[np.argsort(owners[born], kind="stable")]
        self.owners = owners[self.numbers]  # place of each child's parent, ascending
        self.places = np.full(len(owners), -1)
        self.places[self.numbers] = np.arange(len(self.numbers))
        self.shard = replace(parents.shard, rows=len(self.numbers))
        self._own = {new: old for old, new in step.names.items()}  # the recipe's name -> the extractor's

    @cached_property
    def origin(self) -> pa.Array:
        return pa.array([row_name(self.shard.id, owner) for owner in self.owners.tolist()], pa.string())

    @cached_property
    def documents(self) -> Documents | None:
        if self.space.nodes is None:
            return None
        return Documents(self.owners, self.parents.numbers, self.numbers)

    @cached_property
    def inherits_image(self) -> bool:
        """Are the images those that the parents began with, or that were fetched for them?"""
        return self._image == "image" and "image" not in self._own and self.parents.space.has_images

    @cached_property
    def _image(self) -> str | None:
        """The column of the extractor, or of the parents, that holds the images."""
        if "image" not in self.space.schema.names:
            return None
        return self._own["image"] if "image" in self._own else self.parents.space.view["image"]

    def rows(self, columns: Sequence[str], *, images: bool = True) -> Iterator[Rows]:
        own = [self._own[name] for name in columns if name in self._own]
        versions = {name: self.parents.space.view[name] for name in columns if name not in (*self._own, "parent")}
        first = [name for name in versions.values() if name in self.parents.space.schema.names]
        inherits = images and self.inherits_image
        if first or inherits:
            batches = self.parents.rows(first, images=inherits)
        else:  # the parents need not be read again
            nothing = np.full(self.parents.shard.rows, -1)
            batches = iter([Rows(first=0, table=pa.table({}), images=NoImages(), slots=nothing)])
        for parents in batches:
            start, stop = np.searchsorted(self.owners, [parents.first, parents.first + len(parents.slots)])
            owners = self.owners[start:stop] - parents.first
            sizes = np.full(len(owners), self.made.bytes_per_line(own))
            if first:
                sizes += row_bytes(parents.table)[owners]
            for begin, end in _cuts(sizes):
                batch = self._batch(parents, int(start) + begin, owners[begin:end], columns, versions)
                batch = self._with_images(batch, parents, owners[begin:end]) if images else batch
                yield self.with_fetched(batch) if images else batch

    def _batch(
        self, parents: Rows, start: int, owners: np.ndarray, columns: Sequence[str], versions: Mapping[str, str]
    ) -> Rows:
        """The children from `start` on; `owners` are their parents' rows in the parents' batch."""
        span = slice(start, start + len(owners))
        own = [self._own[name] for name in columns if name in self._own]
        made = self.made.take(self.numbers[span], own) if own else None
        table = {}
        for name in columns:
            if made is not None and name in self._own:
                column = made.column(self._own[name])
            elif name == "parent":
                column = self.origin[span]
            elif versions[name] in parents.table.column_names:
                column = parents.table.column(versions[name]).take(pa.array(owners))
            else:
                column = self.parents.take(versions[name], self.owners[span])
            table[name] = column.cast(self.space.schema.field(name).type)
        inherited = {**versions, "image": "image"} if self.inherits_image else versions
        errors = {
            name: {i: broken[owner] for i, owner in enumerate(owners.tolist()) if owner in broken}
            for name, version in inherited.items()
            if (broken := parents.errors.get(version))
        }
        nothing = np.full(len(owners), -1)
        return Rows(first=start, table=pa.table(table), images=NoImages(), slots=nothing, errors=errors)

    def _with_images(self, batch: Rows, parents: Rows, owners: np.ndarray) -> Rows:
        """A batch of children with the images that are their own, or their parents'."""
        places = np.arange(batch.first, batch.first + len(owners))
        if self._image is None:
            return batch
        if self.inherits_image:
            return replace(batch, images=parents.images, slots=parents.slots[owners])
        if "image" not in self._own:
            column = self.parents.column(self._image)
            return replace(batch, images=_ColumnImages(column), slots=self.owners[places])
        sizes = self.made.sizes[self.numbers]
        images = LineImages(self.made, self.numbers, self._image, sizes)
        return replace(batch, images=images, slots=np.where(sizes[places] < 0, -1, places))


def lineage(view: ShardView, found: Walk) -> list[tuple[ShardView, Walk]]:
    """The rows of the source, their children and so on down to these, each with its decision."""
    above = lineage(view.parents, view.found) if isinstance(view, ChildView) else []
    return [*above, (view, found)]


class Made(Lines):
    """The lines of `rows/` of one shard."""

    @cached_property
    def parents(self) -> np.ndarray:
        """The number of each line's parent."""
        return np.asarray(self._all("parent"))

    @cached_property
    def is_child(self) -> np.ndarray:
        """Is the line a child, or does it say that there is none?"""
        return np.asarray(self._all("child").is_valid())

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each line's image; -1 where there is none."""
        return np.asarray(self._all("bytes").fill_null(-1))

    def _all(self, column: str) -> pa.Array:
        parts = (file.read(columns=[column], use_threads=False).column(0) for file in self._files)
        chunks = [chunk for part in parts for chunk in part.chunks]
        return pa.chunked_array(chunks, MADE.field(column).type).combine_chunks()


@dataclass(frozen=True)
class _ColumnImages:
    """Images that a step of the parents made of theirs; a slot is a parent's place."""

    column: pa.Array

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        return [self.column[slot].as_py() for slot in slots]


def _cuts(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of rows that make a batch: of about as many bytes as a source's, at least a row each."""
    ends, start = np.cumsum(sizes), 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + BATCH_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + BATCH_ROWS)
        yield start, stop
        start = stop


# Writing


@contextmanager
def making(view: ShardView, step: ExtractStep) -> Iterator[RowGroups]:
    """Takes the lines of the parents that have none yet, in order; published when the block ends well."""
    schema = pa.schema([*MADE, *step.operator.adds], metadata=view.about(step))
    path = version_path(step.record, view.shard.id, view.scores(step).files)
    with view.store.writing(path) as file, RowGroups(file, schema, GROUP_BYTES) as lines:
        yield lines


def lines_of(
    step: ExtractStep, numbers: np.ndarray, states: pa.Array, place: np.ndarray, made: Mapping[str, pa.Array]
) -> pa.Table:
    """A line for each child, and one for each parent that has none.

    `numbers` and `states` are the parents'; `place` says where each stood in the extractor's batch (-1: it failed, or
    was not there), `made` what came of that: the children's columns, and `parent`, their parents' places in the batch.
    """
    asked = np.flatnonzero(place >= 0)
    parent_at = np.full(len(place), -1)
    parent_at[place[asked]] = asked
    owners = parent_at[made["parent"].to_numpy()] if made else np.zeros(0, np.int64)
    children = np.flatnonzero(owners >= 0)  # not those of a parent that the extractor failed after all
    childless = np.setdiff1d(np.arange(len(numbers)), owners[children])
    owners = np.concatenate([owners[children], childless])
    child = np.concatenate([children, np.full(len(childless), -1)])
    order = np.argsort(owners, kind="stable")
    owners, child = owners[order], child[order]
    none = child < 0
    take = pa.array(child, mask=none)
    columns = {
        added.name: made[added.name].take(take) if made else pa.nulls(len(take), added.type)
        for added in step.operator.adds
    }
    image = next((old for old, new in step.names.items() if new == "image"), None)
    nth = np.arange(len(owners)) - np.searchsorted(owners, owners)
    about = {
        "parent": pa.array(numbers[owners], pa.int32()),
        "child": pa.array(nth, pa.int32(), mask=none),
        "state": states.take(pa.array(owners)),
        "bytes": pc.binary_length(columns[image]).cast(pa.int64()) if image else pa.nulls(len(owners), pa.int64()),
    }
    return pa.table({**about, **columns}, schema=pa.schema([*MADE, *step.operator.adds]))
