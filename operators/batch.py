"""What an operator is given: rows with their columns, their images, and models to run over them."""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

import numpy as np
import pyarrow as pa

from .crawl._budgets import Budgets
from .decode import Header, Pixels, RowError
from .images import ImageStore

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
P = ParamSpec("P")


class Model(ABC):
    """A network over images or over texts: a frozen record; equal ones are loaded once a process, and shared.

    `prepare` runs on CPU workers, the call on a GPU worker where the cluster has any, else in the same process. What
    travels between them is one compact array: uint8 pixels (rows, height, width, 3), or int32 token ids (rows, tokens).
    """

    rows: ClassVar[int] = 64  # prepared and sent at a time

    @property
    @abstractmethod
    def reads(self) -> str:
        """`image`: run once for all rows that share an image; `text`: run for each row."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers it gives for a row."""

    @abstractmethod
    def setup(self) -> None:
        """Load the weights, once a process. What it raises is told to the user and ends the run."""

    @abstractmethod
    def ready(self) -> None:
        """Load what `prepare` needs, once a CPU worker. What it raises ends the run, too."""

    @abstractmethod
    def prepare(self, batch: Batch) -> np.ndarray:
        """An array of `len(batch)` rows; call `batch.fail` for a row that fails, whatever stands in its place."""

    @abstractmethod
    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        """(rows, width) float32 for what was prepared, failed rows taken out."""


def kept(make: Callable[P, T]) -> Callable[P, T]:
    """Like `functools.cache`, made once however many threads ask, and made anew after `forget_kept()`."""
    cached, lock = functools.cache(make), threading.RLock()
    _KEPT.append(cached.cache_clear)

    @functools.wraps(make)
    def once(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type]

    return once


def forget_kept() -> None:
    """Drop what is kept by name: its file may be another one by now."""
    for clear in _KEPT:
        clear()


_KEPT: list[Callable[[], None]] = []
Submit = Callable[[Model, np.ndarray], Callable[[], np.ndarray]]  # starts the call; returns how to get its result


@kept
def loaded(model: Model) -> Model:
    """The model after `setup()`, loaded once a process."""
    model.setup()
    return model


def run_here(model: Model, prepared: np.ndarray) -> Callable[[], np.ndarray]:
    """Run a model in this process."""
    output = loaded(model)(prepared)
    return lambda: output


class Batch:
    """Rows to be measured: their columns, their images (`image_bytes`, `headers`, `images`), and models (`run`).

    The engine gives an operator only rows that are alive, not yet measured, and have all it reads, so an operator needs
    no masks. Rows that fail are told by `fail`; the engine nulls their values and records the error.
    """

    def __init__(
        self,
        columns: pa.Table,
        images: ImageStore | None = None,
        slots: np.ndarray | None = None,
        submit: Submit | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.columns = columns
        self.failures: dict[int, RowError] = {}
        self.budgets = budgets
        self._images = images if images is not None else ImageStore()
        self._slots = slots if slots is not None else np.arange(columns.num_rows)
        self._submit = submit or run_here

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def column(self, name: str) -> pa.Array:
        """One column as one Arrow array."""
        return _whole(self.columns.column(name))

    def take(self, rows: np.ndarray) -> Batch:
        """The given rows as a batch of their own, sharing fetched bytes and decoded pixels."""
        return Batch(self.columns.take(pa.array(rows)), self._images, self._slots[rows], self._submit, self.budgets)

    def of_texts(self, texts: Sequence[str]) -> Batch:
        """Other texts, to be run by models where this batch's are."""
        return Batch(pa.table({"text": pa.array(texts, pa.string())}), submit=self._submit)

    def fail(self, row: int, error: RowError, *, keep_values: bool = False) -> None:
        """This row could not be measured: its values are nulled, unless they say why."""
        self.failures.setdefault(row, error.bare(keeps_values=keep_values))

    def image_bytes(self) -> Iterator[tuple[int, bytes]]:
        """(row, encoded bytes) of every row whose image can be had."""
        return self._each(self._images.data)

    def headers(self) -> Iterator[tuple[int, Header]]:
        """(row, header) without decoding pixels."""
        return self._each(self._images.header)

    def images(self, request: Pixels) -> Iterator[tuple[int, Image]]:
        """(row, pixels) of every image that decodes; the others are failed with their class."""
        return self._each(lambda slot: self._images.pixels(slot, request))

    def run(self, model: Model) -> np.ndarray:
        """(rows, width) float32: what the model makes of each row; NaN where a row fails.

        An image runs once, however many operators or captions of this batch ask for it.
        """
        return self.start(model)()

    def start(self, model: Model) -> Callable[[], np.ndarray]:
        """Begin `run` and return how to get its result: a GPU computes while something else is prepared."""
        slots = self._slots if model.reads == "image" else np.arange(len(self))
        known = self._images.outputs.setdefault(model, {}) if model.reads == "image" else {}
        new = [i for i, slot in zip(*np.unique(slots, return_index=True)[::-1], strict=True) if slot not in known]
        waiting = []
        for rows in (np.array(new[start : start + model.rows]) for start in range(0, len(new), model.rows)):
            part = self.take(rows)
            prepared = model.prepare(part)
            good = np.array([i for i in range(len(part)) if i not in part.failures], np.int64)
            known |= {int(slots[rows[i]]): error for i, error in part.failures.items()}
            if len(good):
                waiting.append((slots[rows[good]], self._submit(model, prepared[good])))

        def result() -> np.ndarray:
            known.update(
                (slot, row) for done, output in waiting for slot, row in zip(done.tolist(), output(), strict=True)
            )
            found = np.full((len(self), model.width), np.nan, np.float32)
            for row, slot in enumerate(slots.tolist()):
                value = known[slot]
                if isinstance(value, RowError):
                    self.fail(row, value)
                else:
                    found[row] = value
            return found

        return result

    def _each(self, get: Callable[[int], T]) -> Iterator[tuple[int, T]]:
        for row, slot in enumerate(self._slots):
            try:
                value = get(int(slot))
            except RowError as error:
                self.fail(row, error)
            else:
                yield row, value


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """One array; copied only where there are several chunks."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
