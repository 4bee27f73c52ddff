"""Values of a few rows: of a page's, not of the corpus. A column is read whole only where the rows lie far apart.

What cannot be read any more, because the input has moved, is left out, and why is told.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ....operators.source.base import ShardError, SourceError
from ...plan import KeepStep, RowStep
from ...shard import ShardView
from ..rows import CutRows

UNREADABLE: Final = (ShardError, SourceError, OSError, pa.ArrowException)
VIEWS = 32  # shards that stay open
FAR_APART = 24  # shards: for rows of more than so many, the whole column is read, and kept


class Cells:
    """Reads values by row number; may be used by several threads."""

    def __init__(self, rows: CutRows) -> None:
        self._rows = rows
        rules = (step for step in rows.cut.plan.steps if isinstance(step, KeepStep))
        self._in_memory = {name for step in rules for name in step.reads.values()}
        self._views: OrderedDict[tuple[int, int], ShardView] = OrderedDict()
        self._unreadable: dict[tuple[int, str], str] = {}
        self._lock = threading.RLock()

    def take(self, space: int, numbers: Sequence[int], columns: Iterable[str]) -> dict[str, list[Any]]:
        """Values of some columns of some rows, in the order of the rows; None for what cannot be read."""
        rows, found = self._rows.spaces[space], {}
        places = [rows.place_of(row) for row in numbers]
        far = len({shard for shard, _ in places}) > FAR_APART
        for name in dict.fromkeys(columns):
            try:
                if far or name in self._in_memory:
                    found[name] = rows.column(name).take(pa.array(numbers, pa.int64())).to_pylist()
                else:
                    found[name] = self._near(space, places, name)
                self._unreadable.pop((space, name), None)
            except UNREADABLE as error:
                found[name] = [None] * len(numbers)
                self._unreadable[space, name] = str(error)
        return found

    def unreadable(self, space: int) -> str | None:
        """Why some column of these rows could not be read when it was last asked for."""
        return next((why for (of, _), why in list(self._unreadable.items()) if of == space), None)

    def _near(self, space: int, places: Sequence[tuple[int, int]], name: str) -> list[Any]:
        found: list[Any] = [None] * len(places)
        for shard in dict.fromkeys(shard for shard, _ in places):
            at = [i for i, (own, _) in enumerate(places) if own == shard]
            with self._lock:
                column = self._view(space, shard).column(name)
            for i, value in zip(at, column.take(pa.array([places[i][1] for i in at])).to_pylist(), strict=True):
                found[i] = value
        return found

    def errors(self, space: int, step: int) -> dict[int, str]:
        """Row -> class of its error, of the rows alive on which a step failed."""
        rows, planned = self._rows.spaces[space], self._rows.cut.plan.steps[step]
        failed = np.flatnonzero(rows.failed(step))
        places = [rows.place_of(int(row)) for row in failed]
        assert isinstance(planned, RowStep)
        with self._lock:
            of_shard = {s: self._view(space, s).scores(planned).errors for s in dict.fromkeys(s for s, _ in places)}
        return {int(row): of_shard[shard].get(at, "unknown") for row, (shard, at) in zip(failed, places, strict=True)}

    def _view(self, space: int, shard: int) -> ShardView:
        if (space, shard) not in self._views:
            self._views[space, shard] = self._rows.cut.view(space, shard)
            while len(self._views) > VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end((space, shard))
        return self._views[space, shard]
