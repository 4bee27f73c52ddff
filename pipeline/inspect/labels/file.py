"""The file of labels: what somebody said of rows, keep or drop, one Parquet file that `cupel audit` reads.

It is written whole and put in place at once after every label, so a crash costs none; who opens it again goes on. Rows
are labelled in strata (drawn at random from those that a rule dropped, or that passed it): each label has the stratum
and how many rows that has, so that shares can be estimated for all rows.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ....schemas.fields import field
from ...read import CorpusError
from ...store import LocalStore

Verdict = Literal["keep", "drop"]
_MARK: Final = b"cupel:labels"  # in the file's metadata: it is ours

LABELS: Final = pa.schema(
    [
        field("cut", pa.string(), "folder of the cut in which the row was looked at"),
        field("space", pa.int32(), "0: a row of the source, 1: one that the first extractor made, and so on"),
        field("shard", pa.int32(), "the row's shard"),
        field("row", pa.int32(), "its number in the shard, in this cut"),
        field("path", pa.string(), "17, or 17/4 for the fifth child of row 17: the same in every cut"),
        field("key", pa.string(), "the row's key"),
        field("label", pa.string(), "keep or drop"),
        field("frame", pa.string(), "what was judged, such as a step and its rule; its strata do not overlap"),
        field("stratum", pa.string(), "rows of the frame that were drawn alike: dropped or passed"),
        field("stratum_rows", pa.int64(), "rows that the stratum has"),
        field("labelled_at", pa.timestamp("us", "UTC"), "when"),
    ],
    metadata={_MARK: b"1"},
)


@dataclass(frozen=True, kw_only=True)
class Label:
    """One line of the file."""

    cut: str
    space: int
    shard: int
    row: int
    path: str
    key: str | None
    label: Verdict
    frame: str
    stratum: str
    stratum_rows: int
    labelled_at: datetime

    @property
    def place(self) -> tuple[str, str, int, int, int]:
        """Which row it is about, for which question."""
        return self.frame, self.cut, self.space, self.shard, self.row


class Labels:
    """Labels in a local file. Safe for threads; another program that writes the file meanwhile is noticed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the file, or begins one. Raises CorpusError for a file that holds something else."""
        self.path = Path(path).absolute()
        self._lock = threading.Lock()
        if self.path.suffix != ".parquet":
            raise CorpusError(f"{path}: labels are kept as Parquet; give a name that ends in .parquet")
        if not self.path.parent.is_dir():
            raise CorpusError(f"{path}: there is no folder {self.path.parent}")
        self._labels: list[Label] = _read(self.path) if self.path.exists() else []
        self._replaced: list[tuple[int, Label] | None] = []  # where what stood, for each label since it was opened
        self._stamp = _stamp(self.path)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def all(self) -> Sequence[Label]:
        """The labels, oldest first; of a row that was labelled again the last."""
        return tuple(self._labels)

    def append(self, label: Label) -> None:
        """Add a label; an earlier one of the same row in the same frame goes. On disk when this returns."""
        with self._lock:
            at = next((i for i, known in enumerate(self._labels) if known.place == label.place), None)
            replaced = None if at is None else (at, self._labels[at])
            self._write([*(known for i, known in enumerate(self._labels) if i != at), label])
            self._replaced.append(replaced)

    def undo(self) -> Label | None:
        """Take the last label back, and give it; None where there is none. What it replaced comes back."""
        with self._lock:
            if not self._labels:
                return None
            *labels, last = self._labels
            if self._replaced and (replaced := self._replaced[-1]) is not None:
                labels.insert(*replaced)
            self._write(labels)
            self._replaced = self._replaced[:-1]
            return last

    def tally(self, frame: str) -> dict[str, dict[Verdict, int]]:
        """stratum -> how many labels say keep, and how many drop."""
        counts: dict[str, dict[Verdict, int]] = {}
        for label in self._labels:
            if label.frame == frame:
                counts.setdefault(label.stratum, {"keep": 0, "drop": 0})[label.label] += 1
        return counts

    def _write(self, labels: list[Label]) -> None:
        if _stamp(self.path) != self._stamp:
            raise CorpusError(f"{self.path} was changed by another program; open it again")
        table = pa.Table.from_pylist([vars(label) for label in labels], LABELS)
        LocalStore(self.path.parent).write_table(self.path.name, table, replace=True)
        self._labels, self._stamp = labels, _stamp(self.path)


def frame_name(cut: str, step: int | None = None, rule: str = "") -> str:
    """What a question is called: `mine-1a2b3c4d: step 3, words min 3`; of the whole cut its title alone."""
    return cut if step is None else f"{cut}: step {step}, {rule}"


def now() -> datetime:
    """The time of a label."""
    return datetime.now(UTC)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Tells one state of a file from another; None: there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> list[Label]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{path} is no file of labels; give another name") from error
    if _MARK not in (table.schema.metadata or {}) or table.schema.names != LABELS.names:
        raise CorpusError(f"{path} is no file of labels that `cupel inspect` wrote; give another name")
    return [Label(**row) for row in table.to_pylist()]
