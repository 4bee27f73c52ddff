"""Parquet to batches of pixels, as fast as the cores decode, in an order that nothing but its seed decides.

    with Reader("corpus", batch=256, side_px=224) as reader:
        for batch in reader:        # endless; batch.images: uint8 (256, 224, 224, 3), batch.texts: 256 strings
            ...

Position p of the stream is the same row for any number of ranks and threads; to go on exactly where a run stopped,
give `start=reader.taken`. One pool of threads reads row groups, another decodes; the thread that iterates hands out the
work whenever it asks for a batch, so that there is nothing to lock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, get_args

import numpy as np

from ....operators.source.files import is_remote
from ..cores import cores
from ..errors import TrainError
from .dataset import Dataset, open_dataset
from .decoded import Decoded
from .decoding import Resize
from .making import Made, Maker, Skip, Task, Tokenize
from .order import Order
from .windows import Share, Supply

FEW_BAD_ROWS: Final = 10  # so many never stop a run
JUDGED_ROWS: Final = 20_000  # the share of bad rows is that of at least so many, or of all there are
MOST_BATCHES: Final = 64  # that are made ahead
TASK_BYTES: Final = 2 << 20  # pixels that a thread makes at a time
TASK_ROWS: Final = 256
REMOTE_LOADS: Final = 16  # row groups read at a time: each waits for the network
LOCAL_LOADS: Final = 2


@dataclass(kw_only=True)
class Batch:
    """A rank's part of a global batch."""

    number: int  # of the global batch, from 0
    images: np.ndarray  # uint8 (n, side_px, side_px, 3), C-contiguous
    texts: list[str]
    tokens: np.ndarray | None  # what `tokenize` gave: (n, ...)
    rows: np.ndarray  # int64 (n,): row numbers in the whole dataset
    epochs: np.ndarray  # int64 (n,)


@dataclass(frozen=True, kw_only=True)
class _Flying:
    """A batch that is being made."""

    number: int
    images: np.ndarray
    rows: np.ndarray
    ends: list[int]  # position after each task's last
    made: list[Future[Made]]


class Reader:
    """An endless iterator of global batches, of which this rank gets its part; close it, or use it in `with`.

    `resize`: the shorter side to `side_px` and the centre cropped, or both sides squashed. `start`: global batches that
    were taken before. `window_rows`: rows that are shuffled among each other; a window's encoded images are held in
    memory (those of this rank), and about `ahead_mb` more for the next window and decoded batches. Where all decoded
    images fit into `cache_mb` they are decoded once. `tokenize` turns n texts into an array (n, ...), each text by
    itself; it is called by the reader's threads.

    A row that cannot be read is replaced by that of the next position and noted in `skips`; TrainError when these are
    over `max_bad_share` of the rows (and more than a few). ShardError for a damaged file.
    """

    def __init__(
        self,
        data: Dataset | str,
        *,
        batch: int,
        side_px: int,
        resize: Resize = "shortest",
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        window_rows: int = 20_000,
        threads: int | None = None,
        ahead_mb: int = 512,
        cache_mb: int = 2048,
        tokenize: Tokenize | None = None,
        max_bad_share: float = 0.001,
    ) -> None:
        _check(batch=batch, side_px=side_px, rank=rank, world=world, start=start, window_rows=window_rows)
        if resize not in get_args(Resize):
            raise TrainError(f"resize is {resize!r}; allowed are {' and '.join(get_args(Resize))}")
        if seed < 0 or (threads is not None and threads < 1):
            raise TrainError(f"seed is {seed} and threads {threads}; allowed are 0 or more, and 1 or more")
        self.data = open_dataset(data) if isinstance(data, str) else data
        self.taken, self.waited_s = start, 0.0
        self.skips: list[Skip] = []
        self._start, self._max_bad_share, self._side_px = start, max_bad_share, side_px
        self._share = share = Share(batch=batch, rank=rank, world=world)
        self._order = Order(self.data.counts, seed=seed, digest=self.data.digest, window_rows=window_rows)
        half, row_bytes = ahead_mb << 19, 3 * side_px**2  # half of what is ahead is encoded, half decoded
        self._depth = int(np.clip(half // (row_bytes * share.rows), 1, MOST_BATCHES))
        self._task_rows = int(np.clip(TASK_BYTES // row_bytes, 1, TASK_ROWS))
        kept = Decoded(self.data.rows, side_px) if self.data.rows * row_bytes <= cache_mb << 20 else None
        claim = kept.claim if kept else None
        supply = Supply(self.data, self._order, share, start=start * batch, ahead_bytes=half, claim=claim)
        self._decoded, self._supply = kept, supply
        self._maker = Maker(
            data=self.data, order=self._order, supply=supply, decoded=kept, resize=resize, tokenize=tokenize
        )
        self._flying: deque[_Flying] = deque()
        self._handed_out = start
        self._bad_rows: set[int] = set()
        loads = REMOTE_LOADS if is_remote(self.data.parts[0].file) else LOCAL_LOADS
        self._loaders = ThreadPoolExecutor(loads, "cupel-load")
        self._decoders = ThreadPoolExecutor(threads or cores(), "cupel-decode")
        self._closed = False

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise ValueError("the reader is closed")
        try:
            self._hand_out()
            flying = self._flying[0]
            began = time.perf_counter()
            made = [future.result() for future in flying.made]
            self.waited_s += time.perf_counter() - began
            self._flying.popleft()
            self.taken += 1
            self._note(made)
            self._hand_out()
        except BaseException:  # also Ctrl-C: no thread goes on
            self.close()
            raise
        return self._finished(flying, made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads; what they are at is finished first."""
        self._closed = True
        for pool in (self._loaders, self._decoders):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._loaders, self._decoders):
            pool.shutdown(wait=True)
        self._flying.clear()

    def _hand_out(self) -> None:
        """Begin batches until enough are flying."""
        while len(self._flying) < self._depth:
            self._begin(self._handed_out)
            self._handed_out += 1

    def _begin(self, number: int) -> None:
        first = self._share.first(number)
        rows = self._rows(first, first + self._share.rows)
        images = np.empty((len(rows), self._side_px, self._side_px, 3), np.uint8)
        flying = _Flying(number=number, images=images, rows=rows, ends=[], made=[])
        self._flying.append(flying)
        loads = self._supply.upto(first + len(rows), self._loaders)
        for begin in range(0, len(rows), self._task_rows):
            part = slice(begin, min(begin + self._task_rows, len(rows)))
            waits: list[Future[Any]] = [*loads, *self._earlier(rows[part])]
            task = Task(position=first + begin, rows=rows[part], images=images[part], waits=waits)
            flying.made.append(self._decoders.submit(self._maker.make, task))
            flying.ends.append(first + part.stop)

    def _rows(self, first: int, stop: int) -> np.ndarray:
        """Numbers in the order at these positions."""
        found = []
        while first < stop:
            window = self._order.window_at(first)
            found.append(window.rows[first - window.start : stop - window.start])
            first += len(found[-1])
        return np.concatenate(found)

    def _earlier(self, rows: np.ndarray) -> list[Future[Made]]:
        """Tasks under way that decode one of these rows to be kept."""
        if self._decoded is None or self._decoded.known[rows].all():
            return []
        claimed = self._decoded.claimed[rows[~self._decoded.known[rows]]]
        ends = np.array([end for flying in self._flying for end in flying.ends], np.int64)
        made = [future for flying in self._flying for future in flying.made]
        tasks = np.unique(np.searchsorted(ends, claimed, side="right"))
        return [made[task] for task in tasks.tolist() if task < len(made)]

    def _finished(self, flying: _Flying, made: list[Made]) -> Batch:
        first = self._share.first(flying.number)
        positions = np.arange(first, first + self._share.rows)
        self._supply.release(first, first + self._share.rows)
        tokens = [each.tokens for each in made if each.tokens is not None]
        return Batch(
            number=flying.number,
            images=flying.images,
            texts=[text for each in made for text in each.texts],
            tokens=np.concatenate(tokens) if tokens else None,
            rows=flying.rows if self.data.chosen is None else self.data.chosen[flying.rows],
            epochs=positions // self._order.rows,
        )

    def _note(self, made: list[Made]) -> None:
        """Write down each bad row once; too many end the run."""
        before = len(self.skips)
        for skip in (skip for each in made for skip in each.skips):
            if skip.row not in self._bad_rows:
                self._bad_rows.add(skip.row)
                self.skips.append(skip)
        seen = (self.taken - self._start) * self._share.rows
        judged = int(np.clip(seen, min(JUDGED_ROWS, self._order.rows), self._order.rows))
        bad = len(self.skips)
        if bad > before and bad > FEW_BAD_ROWS and bad > self._max_bad_share * judged:
            last = self.skips[-1]
            raise TrainError(
                f"{self.data.place}: {bad:,} of {judged:,} rows cannot be trained on (the last: row {last.row}, "
                f"{last.kind}: {last.message}); allowed is a share of {self._max_bad_share:g}. Drop what cannot be "
                "decoded by `image.quality` and `keep: {sharpness: {min: 0}}`, or raise max_bad_share"
            )


def _check(*, batch: int, side_px: int, rank: int, world: int, start: int, window_rows: int) -> None:
    given = {"batch": batch, "side_px": side_px, "world": world, "window_rows": window_rows}
    for name, value in given.items():
        if value < 1:
            raise TrainError(f"{name} is {value}; allowed is 1 or more")
    if batch % world:
        raise TrainError(f"a batch of {batch} rows cannot be shared by {world} ranks: give a multiple of {world}")
    if not 0 <= rank < world:
        raise TrainError(f"rank is {rank}; allowed are 0 to {world - 1}")
    if start < 0:
        raise TrainError(f"start is {start}; allowed is 0 or more")
