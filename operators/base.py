"""The whole contract: what an operator is, and what it is given.

An operator is a frozen record whose fields are the recipe's parameters. A `RowOperator` measures rows by themselves, a
`CorpusOperator` looks at all the rows alive, an `Extractor` makes new rows out of one. None of them drops a row: a
`keep` rule of the recipe does that, on the columns that operators add.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from .decode import Header, Pixels, RowError
from .images import ImageStore

if TYPE_CHECKING:
    import polars as pl
    from PIL.Image import Image

T = TypeVar("T")
operator = functools.partial(dataclass, frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@plain_dataclass(frozen=True, kw_only=True)
class Resources:
    """What a worker needs to run an operator. `gpus` are used where the cluster has any, and done without elsewhere."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0
    batch_rows: int = 0  # rows a call at most; 0: as many as fit in memory
    extra: str = ""  # the extra to install: pip install cupel[EXTRA]


class Operator(ABC):
    """What all operators share. `adds` and `reads` are class attributes, or properties where parameters decide them."""

    version: ClassVar[int] = 1  # raise it whenever the numbers change: it is part of every fingerprint
    needs: ClassVar[Resources] = Resources()

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns it needs; `image` is the encoded bytes. A row with a null in one of them is not_applicable."""

    @property
    @abstractmethod
    def adds(self) -> tuple[pa.Field, ...]:
        """The columns it returns, each made with `schemas.fields.field`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content decides the result (weights, lists); their digests go into the fingerprint."""
        return ()


class RowOperator(Operator):
    """Measures rows one by one. The result for a row must not depend on the other rows of the batch."""

    replaces: ClassVar[
        Mapping[str, str]
    ] = {}  # a transform: {"text": "clean_text"} makes later steps read the new version

    def setup(self) -> None:
        """Load what is heavy, once a worker (typically by touching a `cached_property`)."""

    def prepare(self, batch: Batch) -> pa.Table | None:
        """For GPU operators: turn images and texts into compact tensors on a CPU worker; None: no such step."""
        return None

    @abstractmethod
    def __call__(self, batch: Batch) -> Mapping[str, pa.Array | Sequence[object] | np.ndarray]:
        """Columns in, only the added columns out: same length, same order. Call `batch.fail` for a row that fails."""


class CorpusOperator(Operator):
    """Sees the columns it reads of all the rows alive: duplicates, frequencies, quotas."""

    @abstractmethod
    def __call__(self, rows: pl.LazyFrame, exchange: Exchange) -> pl.DataFrame:
        """`rows` has shard, row, key and what it reads; returns shard, row and what it adds (others are null)."""


class Extractor(Operator):
    """Makes new rows out of a row: `adds` are the children's columns; the engine adds `parent`, whose they are."""

    @abstractmethod
    def __call__(self, batch: Batch) -> tuple[np.ndarray, Mapping[str, pa.Array | Sequence[object]]]:
        """The index in the batch of each child's parent (ascending), and the children's columns."""


class Exchange(Protocol):
    """What the pipeline lends a corpus operator."""

    @property
    def scratch(self) -> Path:
        """A local folder of its own, emptied afterwards."""
        ...


class Batch:
    """Rows to be measured: their columns, and their images behind `image_bytes`, `headers` and `images`.

    The engine gives an operator only rows that are alive, not yet measured, and have all it reads, so an operator needs
    no masks. Rows that fail are told by `fail`; the engine nulls their values and records the error.
    """

    def __init__(self, columns: pa.Table, images: ImageStore | None = None, slots: np.ndarray | None = None) -> None:
        self.columns = columns
        self.failures: dict[int, RowError] = {}
        self._images = images if images is not None else ImageStore()
        self._slots = slots if slots is not None else np.arange(columns.num_rows)

    @classmethod
    def of_nodes(cls, documents: pa.Table, nodes: str = "nodes") -> tuple[Batch, pa.Array]:
        """The nodes of all documents as one batch (no copy of texts), and the offsets to put results back under."""
        column = _whole(documents.column(nodes))
        flat = column.flatten()
        names = [child.name for child in flat.type]
        table = pa.table(flat.flatten(), names=names)  # `field(i)` would show what lies under a null node
        offsets = pa.array(np.concatenate([[0], np.cumsum(column.value_lengths().fill_null(0))]), pa.int32())
        images = table.column("image").to_pylist() if "image" in table.column_names else []
        return cls(table, ImageStore(dict(enumerate(images)))), offsets

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def column(self, name: str) -> pa.Array:
        """One column as one Arrow array."""
        return _whole(self.columns.column(name))

    def take(self, rows: np.ndarray) -> Batch:
        """The given rows as a batch of their own, sharing fetched bytes and decoded pixels."""
        return Batch(self.columns.take(pa.array(rows)), self._images, self._slots[rows])

    def fail(self, row: int, error: RowError) -> None:
        """This row could not be measured."""
        self.failures.setdefault(row, error.bare())

    def image_bytes(self) -> Iterator[tuple[int, bytes]]:
        """(row, encoded bytes) of every row whose image can be had."""
        return self._each(self._images.data)

    def headers(self) -> Iterator[tuple[int, Header]]:
        """(row, header) without decoding pixels."""
        return self._each(self._images.header)

    def images(self, request: Pixels) -> Iterator[tuple[int, Image]]:
        """(row, pixels) of every image that decodes; the others are failed with their class."""
        return self._each(lambda slot: self._images.pixels(slot, request))

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


def nest(offsets: pa.Array, values: pa.Array) -> pa.ListArray:
    """Put node results back under their documents: the inverse of `Batch.of_nodes`."""
    return pa.ListArray.from_arrays(offsets, values)
