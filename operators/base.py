"""The whole contract: what an operator is, and what it is given.

An operator is a frozen record whose fields are the recipe's parameters. A `RowOperator` measures rows by themselves, a
`FetchOperator` brings their bytes from elsewhere, a `CorpusOperator` looks at all the rows alive, an `Extractor` makes
new rows out of one. A `DocumentExtractor`'s rows are the nodes of a document, which a `DocumentOperator` measures
together. None of them drops a row: a `keep` rule of the recipe does that, on the columns that operators add.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from .batch import Batch, Model, Submit, forget_kept, loaded, run_here
from .crawl._budgets import Budgets
from .frames import Frames

__all__ = [
    "Batch", "Budgets", "CorpusOperator", "DocumentExtractor", "DocumentOperator", "Extractor", "FetchOperator",
    "Frames", "Model", "Operator", "Resources", "RowOperator", "Submit", "Values", "forget_kept", "loaded", "operator",
    "run_here",
]  # fmt: skip
Values = Mapping[str, pa.Array | Sequence[object] | np.ndarray]  # columns by name
operator = functools.partial(dataclass, frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@plain_dataclass(frozen=True, kw_only=True)
class Resources:
    """What a worker needs to run an operator. `gpus` are used where the cluster has any, and done without elsewhere."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 1.0


class Operator(ABC):
    """What all operators share. `adds` and `reads` are class attributes, or properties where parameters decide them."""

    pace: ClassVar[frozenset[str]] = frozenset()  # parameters that decide how fast it is, and not what it finds
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
    def takes(self) -> tuple[str, ...]:
        """Columns that it is given where the corpus has them; nulls in them stop nothing."""
        return ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content decides the result (weights, lists); their digests go into the fingerprint."""
        return ()


class ByRow(Operator):
    """Goes from row to row. The result for a row must not depend on the other rows of the batch."""

    asks_hosts: ClassVar[bool] = False  # it goes to the network, within `batch.budgets`

    def setup(self) -> None:
        """Load what is heavy, once a worker (typically by touching a `cached_property`)."""

    @property
    def models(self) -> tuple[Model, ...]:
        """What it runs by `batch.run`: loaded before the first batch, where the engine has put the GPUs."""
        return ()


class RowOperator(ByRow):
    """Measures rows one by one."""

    replaces: ClassVar[
        Mapping[str, str]
    ] = {}  # a transform: {"text": "clean_text"} makes later steps read the new version

    @abstractmethod
    def __call__(self, batch: Batch) -> Values:
        """Columns in, only the added columns out: same length, same order. Call `batch.fail` for a row that fails."""


class FetchOperator(ByRow):
    """Brings what rows name from elsewhere. One column is `large_binary`: it goes to disk as it comes, not to memory.

    Tasks that fetch overlap, as `needs.cpus` allows, because they mostly wait.
    """

    asks_hosts: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, batch: Batch) -> Iterator[tuple[np.ndarray, Values]]:
        """For all rows of a shard: (rows of the batch, their columns) in any order, each row once, a few MB at a time.

        Call `batch.fail(..., keep_values=True)` for a row that fails before it is given.
        """


class CorpusOperator(Operator):
    """Sees the columns it reads of all the rows alive: duplicates, frequencies, quotas."""

    @property
    def more_bytes(self) -> int:
        """Of other tables that it brings in: with them the rows may be too many for one process."""
        return 0

    @abstractmethod
    def __call__(self, rows: Frames) -> Frames | pl.DataFrame:
        """`rows` has shard, row, key and what it reads; returns shard, row and what it adds (others are null).

        The same whatever the parts are and the order of rows. Few rows are one part; many never stand in one place
        unless `collect` brings them there.
        """


class Extractor(ByRow):
    """Makes new rows out of a row, none or many; later steps see those in its place.

    `adds` are the children's own columns. All others they inherit, scores too, and the engine adds `parent`: whose they
    are. A row that fails makes no child.
    """

    @property
    def uses_up(self) -> tuple[str, ...]:
        """Of what it reads, columns that children do not inherit: a page's source."""
        return ()

    @abstractmethod
    def __call__(self, batch: Batch) -> tuple[np.ndarray, Values]:
        """The index in the batch of each child's parent (ascending), and the children's columns."""


class DocumentExtractor(Extractor):
    """An extractor whose rows are the nodes of a document, in reading order; what it reads is the document.

    `adds` has `kind` ("text" or "image"), `text` (one paragraph; null for an image) and `image_url` (null for a text).
    """


class DocumentOperator(ByRow):
    """Measures whole documents, by what is alive of their nodes."""

    of_kind: ClassVar[Mapping[str, str]] = {}  # of what it adds to nodes: column -> the kind of node that has values

    @property
    def adds_to_nodes(self) -> tuple[pa.Field, ...]:
        """Columns with a value for each node; `adds` are those with a value for the document."""
        return ()

    @abstractmethod
    def __call__(self, nodes: Batch, starts: np.ndarray) -> Values:
        """Document i is `nodes[starts[i]:starts[i + 1]]`, in reading order; there may be nulls in what it reads.

        A node that fails (`nodes.fail`) fails its document.
        """
