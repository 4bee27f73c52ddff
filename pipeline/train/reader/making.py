"""What reader threads do: some consecutive rows of a batch, from encoded bytes to pixels, texts and tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....operators.decode import RowError
from ..errors import TrainError
from .dataset import Dataset
from .decoded import Decoded
from .decoding import Resize, decode_into
from .order import Order
from .windows import Supply

Tokenize = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A row that cannot be trained on, and why; the row at the next position stood in for it."""

    row: int  # its number in the whole dataset
    kind: str  # of operators.decode.ERROR_CLASSES, or no_image, no_text
    message: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """Rows to make, and where the pixels go."""

    position: int  # of the first
    rows: np.ndarray  # numbers in the order; those of stand-ins are written over them
    images: np.ndarray  # uint8 (n, side, side, 3)
    waits: Sequence[Future[Any]]  # what must be done before


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a task besides pixels."""

    texts: list[str]
    tokens: np.ndarray | None
    skips: list[Skip]


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes tasks, in any thread."""

    data: Dataset
    order: Order
    supply: Supply
    decoded: Decoded | None
    resize: Resize
    tokenize: Tokenize | None

    def make(self, task: Task) -> Made:
        """Fill the task's images and rows. TrainError where no row can be read, ShardError for a damaged file."""
        for wait in task.waits:
            wait.result()
        if self.decoded is not None and self.decoded.known[task.rows].all():
            texts, tokens = self.decoded.copy(task.rows, task.images)
            return Made(texts=texts, tokens=tokens, skips=[])
        skips: list[Skip] = []
        texts = [self._fill(task, i, skips) for i in range(len(task.rows))]
        tokens = None if self.tokenize is None else self.tokenize(texts)
        if self.decoded is not None:
            self.decoded.add(task.rows, task.images, texts, tokens)
        return Made(texts=texts, tokens=tokens, skips=skips)

    def _fill(self, task: Task, i: int, skips: list[Skip]) -> str:
        """Pixels and number of one row, or of the next that is sound; its text."""
        position = task.position + i
        for ahead in range(self.order.rows):
            if ahead:
                task.rows[i] = self.order.row_at(position + ahead)
            row = int(task.rows[i])
            try:
                return self._one(position + ahead, row, task.images[i])
            except RowError as error:
                skips.append(Skip(row=self.data.number(row), kind=error.kind, message=error.message))
                if self.decoded is not None:
                    self.decoded.bad[row] = error.bare()
        raise TrainError(f"{self.data.place}: no row of {self.order.rows:,} can be read; the last: {skips[-1].message}")

    def _one(self, position: int, row: int, out: np.ndarray) -> str:
        kept = self.decoded
        if kept is not None and kept.known[row]:
            out[...] = kept.pixels[row]
            return kept.text(row)
        if kept is not None and row in kept.bad:
            raise kept.bad[row].bare()
        image, text = self.supply.get(position) or self.supply.row(row)
        told = _decoded_text(text)
        if image is None:
            raise RowError("no_image", "the row has no image")
        decode_into(image, out, self.resize)
        return told


def _decoded_text(text: bytes | None) -> str:
    if text is None:
        raise RowError("no_text", "the row has no text")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RowError("invalid_utf8", str(error)) from error
