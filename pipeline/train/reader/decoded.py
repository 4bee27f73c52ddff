"""A small dataset, decoded once and kept: pixels, texts and tokens by row."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ....operators.decode import RowError


class Decoded:
    """Rows are kept as they are first decoded; a row belongs to the position that first claims it."""

    def __init__(self, rows: int, side_px: int) -> None:
        self.pixels = np.empty((rows, side_px, side_px, 3), np.uint8)  # memory comes as it is written to
        self.known = np.zeros(rows, bool)
        self.claimed = np.full(rows, -1, np.int64)  # the position that decodes it
        self.bad: dict[int, RowError] = {}
        self._texts = [""] * rows
        self._tokens: np.ndarray | None = None
        self._lock = threading.Lock()

    def claim(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Which of these rows, each once, nobody has claimed before: bool."""
        unclaimed: np.ndarray = self.claimed[rows] < 0
        self.claimed[rows[unclaimed]] = positions[unclaimed]
        return unclaimed

    def add(self, rows: np.ndarray, pixels: np.ndarray, texts: Sequence[str], tokens: np.ndarray | None) -> None:
        """Keep rows that were decoded."""
        if tokens is not None:
            with self._lock:
                if self._tokens is None:
                    self._tokens = np.empty((len(self.known), *tokens.shape[1:]), tokens.dtype)
            self._tokens[rows] = tokens
        self.pixels[rows] = pixels
        for row, text in zip(rows.tolist(), texts, strict=True):
            self._texts[row] = text
        self.known[rows] = True

    def copy(self, rows: np.ndarray, out: np.ndarray) -> tuple[list[str], np.ndarray | None]:
        """Fill `out` with the pixels of known rows; their texts and tokens."""
        np.take(self.pixels, rows, axis=0, out=out, mode="clip")  # the default mode would copy twice
        return [self._texts[row] for row in rows.tolist()], None if self._tokens is None else self._tokens[rows]

    def text(self, row: int) -> str:
        """The text of a known row."""
        return self._texts[row]
