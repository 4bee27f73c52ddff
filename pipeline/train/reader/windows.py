"""Encoded images and texts of the positions that one rank needs, read row group by row group, some time ahead.

Of a window every rank reads the row groups in which it has rows, and keeps those rows alone; each is let go of when it
is used. The next windows' row groups are read as room becomes free: what is held stays under one window and `ahead`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from .dataset import Dataset, Encoded, Part, read_rows
from .order import Order, Window

# (rows of the order, their positions) -> which of them are still to be read; called once for each, in order.
Claim = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which positions are a rank's: of global batch b, [b * batch, (b + 1) * batch), an equal run each."""

    batch: int
    rank: int
    world: int

    @property
    def rows(self) -> int:
        """Rows of a batch that are this rank's."""
        return self.batch // self.world

    def first(self, number: int) -> int:
        """This rank's first position of a global batch."""
        return number * self.batch + self.rank * self.rows

    def mine(self, positions: np.ndarray) -> np.ndarray:
        """Which of the positions are this rank's: bool."""
        mine: np.ndarray = positions % self.batch // self.rows == self.rank
        return mine


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Rows to read of one row group, and the positions that they are for."""

    part: Part
    rows: np.ndarray
    positions: np.ndarray

    @property
    def bytes(self) -> int:
        """An estimate."""
        return self.part.bytes * len(self.rows) // self.part.rows


@dataclass(kw_only=True)
class _Held:
    """A window of which something is still to be used."""

    window: Window
    rows: int  # of this rank
    used: int = 0
    bytes: int = 0  # of what was asked for
    jobs: deque[_Job] = field(default_factory=deque)
    loads: list[Future[None]] = field(default_factory=list)

    @property
    def left_bytes(self) -> int:
        """Bytes that are held, or will be when what was asked for is there."""
        return self.bytes * (self.rows - self.used) // max(self.rows, 1)


class Supply:
    """Rows by position. `get` and `row` may be called from any thread, all else from one."""

    def __init__(
        self, data: Dataset, order: Order, share: Share, *, start: int, ahead_bytes: int, claim: Claim | None
    ) -> None:
        self._data, self._order, self._share, self._claim = data, order, share, claim
        self._planned = start  # every position before is planned
        self._ahead_bytes = ahead_bytes
        self._windows: deque[_Held] = deque()
        self._rows: dict[int, Encoded] = {}

    def upto(self, stop: int, pool: ThreadPoolExecutor) -> list[Future[None]]:
        """Begin to read what positions before `stop` need, and more where there is room; what must be waited for."""
        while self._planned < stop:
            self._plan()
        needed = [held for held in self._windows if held.window.start < stop]
        for held in needed:
            while held.jobs:
                self._begin(held, pool)
        if len(self._windows) == len(needed):
            self._plan()
        self._read_ahead(self._ahead_bytes + max(held.bytes for held in needed), pool)
        return [load for held in needed for load in held.loads]

    def get(self, position: int) -> Encoded | None:
        """Image and text as they were read for this position; None where they were not."""
        return self._rows.get(position)

    def row(self, number: int) -> Encoded:
        """Image and text of any row, read now."""
        job = next(self._jobs(np.array([number]), np.zeros(1, np.int64)))
        return read_rows(self._data, job.part, job.rows)[0]

    def release(self, first: int, stop: int) -> None:
        """These positions of this rank are done with."""
        for position in range(first, stop):
            self._rows.pop(position, None)
        for held in self._windows:
            held.used += max(min(stop, held.window.stop) - max(first, held.window.start), 0)
        while self._windows and self._windows[0].window.stop <= stop:
            self._windows.popleft()

    def _plan(self) -> None:
        """The jobs of the next window."""
        window = self._order.window_at(self._planned)
        positions = np.arange(self._planned, window.stop)
        mine = self._share.mine(positions)
        positions, rows = positions[mine], window.rows[self._planned - window.start :][mine]
        held = _Held(window=window, rows=len(rows))
        if self._claim is not None:
            unread = self._claim(rows, positions)
            positions, rows = positions[unread], rows[unread]
        held.jobs.extend(self._jobs(rows, positions))
        self._windows.append(held)
        self._planned = window.stop

    def _jobs(self, rows: np.ndarray, positions: np.ndarray) -> Iterator[_Job]:
        """Rows of the order by row group, in the order of the files."""
        numbers = rows if self._data.chosen is None else self._data.chosen[rows]
        along = np.argsort(numbers, kind="stable")
        numbers, positions = numbers[along], positions[along]
        of = np.searchsorted(self._data.starts, numbers, side="right") - 1
        begins = np.flatnonzero(np.diff(of, prepend=-1)).tolist()
        for begin, end in itertools.pairwise([*begins, len(of)]):
            part = int(of[begin])
            local = numbers[begin:end] - self._data.starts[part]
            yield _Job(part=self._data.parts[part], rows=local, positions=positions[begin:end])

    def _read_ahead(self, room: int, pool: ThreadPoolExecutor) -> None:
        held_bytes = sum(held.left_bytes for held in self._windows)
        for held in self._windows:
            while held.jobs and held_bytes + held.jobs[0].bytes <= room:
                held_bytes += held.jobs[0].bytes
                self._begin(held, pool)
            if held.jobs:
                return

    def _begin(self, held: _Held, pool: ThreadPoolExecutor) -> None:
        job = held.jobs.popleft()
        held.bytes += job.bytes
        held.loads.append(pool.submit(self._load, job))

    def _load(self, job: _Job) -> None:
        rows = read_rows(self._data, job.part, job.rows)
        self._rows.update(zip(job.positions.tolist(), rows, strict=True))
