"""The encoded pictures of one shard's rows, as the engine reads them; those of kept rows also from what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from ....operators.decode import RowError
from ....operators.source.base import Rows, ShardError, SourceError
from ...children import ChildView
from ..opened import OpenedCut
from .sensitive import HIDE, Sensitivity
from .written import WrittenPictures

LOAD_ROWS: Final = 16  # encoded pictures in memory at a time
LOST: Final = ("unreadable_input", "missing_file", "unreadable_file", "outside_root")  # the input has moved

Picture = bytes | RowError


class ShardPictures:
    """The pictures of a shard in one space. For one thread."""

    def __init__(
        self, cut: OpenedCut, sensitivity: Sensitivity, written: WrittenPictures, space: int, shard: int
    ) -> None:
        """Raises KeyError where there is no such shard, and what reading the decision raises."""
        view = cut.view(sensitivity.reaches(space), shard)
        self._hidden = sensitivity.of_view(view, space) == HIDE
        while isinstance(view, ChildView) and view.space is not cut.plan.spaces[space]:
            view = view.parents
        self._view, self._shard = view, shard
        self._written = written if space == len(cut.plan.spaces) - 1 else None
        self._version = view.space.view.get("image")

    @property
    def in_memory(self) -> bool:
        """Are the pictures a transform's, which are held for the whole shard once one is asked for?"""
        return self._version not in (None, "image")

    def load(self, rows: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        """(row, encoded bytes or why there are none) of some rows, ascending; no more is read than that."""
        there = [row for row in rows if 0 <= row < len(self._hidden)]
        for row in rows:
            if row not in there:
                yield row, RowError("no_row", "there is no such row")
        for row in there:
            if self._hidden[row]:
                yield row, RowError("blocked", "a list of what must not be shown holds it")
        free = [row for row in there if not self._hidden[row]]
        for start in range(0, len(free), LOAD_ROWS):
            some = free[start : start + LOAD_ROWS]
            yield from zip(some, self._some(some), strict=True)

    def _some(self, rows: Sequence[int]) -> list[Picture]:
        """A few pictures; where the input is gone, those that were written."""
        try:
            found = self._read(np.array(rows))
        except (ShardError, SourceError, OSError, pa.ArrowException) as error:
            found = [RowError("unreadable_input", str(error).partition("\n")[0])] * len(rows)
        lost = [i for i, picture in enumerate(found) if isinstance(picture, RowError) and picture.kind in LOST]
        if lost and self._written is not None:
            written = self._written.load(self._shard, [rows[i] for i in lost])
            for i, picture in zip(lost, written, strict=True):
                found[i] = picture if picture is not None else found[i]
        return found

    def _read(self, rows: np.ndarray) -> list[Picture]:
        """As the engine reads them: from the source, from what was fetched or made, or a transform's version."""
        nothing = RowError("no_image", "the row has no image")
        if self._version is None or (self._version == "image" and not self._view.space.has_images):
            return [nothing] * len(rows)
        if self._version != "image":
            versions = self._view.take(self._version, rows).to_pylist()
            return [nothing if version is None else version for version in versions]
        found: list[Picture] = []
        for batch in self._batches:
            begin, end = np.searchsorted(rows, [batch.first, batch.first + len(batch.slots)])
            if begin < end:
                found += _of_batch(batch, rows[begin:end] - batch.first, nothing)
        return found

    @cached_property
    def _batches(self) -> list[Rows]:
        """Where the pictures lie: no column is read, and no picture."""
        return list(self._view.rows([]))


def _of_batch(batch: Rows, rows: np.ndarray, nothing: RowError) -> list[Picture]:
    """The pictures of some rows of a batch; rows that share one share its bytes."""
    slots = batch.slots[rows]
    distinct = np.unique(slots[slots >= 0]).tolist()
    images = dict(zip(distinct, batch.images.load(distinct), strict=True))
    errors = batch.errors.get("image", {})
    found: list[Picture] = []
    for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
        image = images.get(slot)
        found.append(errors.get(row, nothing) if image is None else image)
    return found
