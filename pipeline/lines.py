"""Lines of files that hold bytes (images, pages): found by number, read a row group at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..operators.decode import RowError
from .plan import RowStep
from .scores import version_path
from .store import Store


class Lines:
    """The lines that a step wrote of one shard, by number over all its files, read when they are asked for."""

    def __init__(self, store: Store, step: RowStep, shard: int) -> None:
        self._files: list[pq.ParquetFile] = []
        for number in itertools.count():
            try:
                file = store.open(version_path(step.record, shard, number))
            except FileNotFoundError:
                break
            self._files.append(pq.ParquetFile(file, page_checksum_verification=True))
        self._groups = [(i, group) for i, file in enumerate(self._files) for group in range(file.num_row_groups)]
        rows = [self._files[i].metadata.row_group(group).num_rows for i, group in self._groups]
        self._starts = np.cumsum([0, *rows])  # number of the first line of each row group
        self._held: dict[tuple[int, tuple[str, ...]], tuple[int, pa.Table]] = {}

    def bytes_per_line(self, columns: Sequence[str]) -> int:
        """What a line takes in memory, by the footers' average."""
        leaves = tuple(f"{column}." for column in columns)
        groups = [self._files[i].metadata.row_group(group) for i, group in self._groups]
        chunks = (group.column(i) for group in groups for i in range(group.num_columns))
        held = sum(c.total_uncompressed_size for c in chunks if f"{c.path_in_schema}.".startswith(leaves))
        return int(held) // max(1, int(self._starts[-1])) + 1

    def take(self, numbers: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """These columns of some lines, at least one."""
        group_of = np.searchsorted(self._starts, numbers, side="right") - 1
        parts, order = [], []
        for group in np.unique(group_of).tolist():
            order.append(np.flatnonzero(group_of == group))
            lines = numbers[order[-1]] - self._starts[group]
            parts.append(self._group(group, tuple(columns)).take(pa.array(lines)))
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(order))))

    def value(self, number: int, column: str) -> object:
        """One value."""
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._group(group, (column,)).column(0)[number - int(self._starts[group])].as_py()

    def _group(self, number: int, columns: tuple[str, ...]) -> pa.Table:
        """A row group; the last one of each file is held, as lines are asked for in order."""
        file, group = self._groups[number]
        held = self._held.get((file, columns))
        if held is None or held[0] != number:
            table = self._files[file].read_row_group(group, columns=list(columns), use_threads=False)
            held = self._held[file, columns] = (number, table)
        return held[1]


@dataclass(frozen=True)
class LineImages:
    """Images in lines; a slot is a row's place, `numbers` says which line is whose."""

    lines: Lines
    numbers: np.ndarray
    column: str
    held: np.ndarray  # bytes of each row's; -1 where there is none

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        return [self.lines.value(int(self.numbers[slot]), self.column) for slot in slots]  # type: ignore[misc]

    def sizes(self, slots: np.ndarray) -> np.ndarray:
        """Bytes of each image; 0 where there is none."""
        return np.where(slots < 0, 0, np.maximum(self.held[slots], 0))
