"""A plan: the steps with the columns they get, grouped by rows and between barriers; planner.py makes it of a recipe.

A step's fingerprint is a hash of the operator's name and version, its parameters, the digests of the files it depends
on and the fingerprints of the columns it reads. No `keep` is in any fingerprint: that is why a threshold costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property

import pyarrow as pa

from ..operators.base import (
    CorpusOperator,
    DocumentExtractor,
    DocumentOperator,
    Extractor,
    FetchOperator,
    RowOperator,
)
from ..schemas.corpus import FORMAT_VERSION
from ..schemas.fields import field
from ..schemas.recipe import Bound, Keep, Recipe
from .fingerprint import hashed
from .recipe_file import recipe_as_yaml


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an operator stands in the recipe, and what it reads and adds there."""

    index: int
    label: str
    fingerprint: str
    reads: Mapping[str, str]  # what the operator asks for -> the column it gets (a transform's version, say)
    names: Mapping[str, str]  # the operator's column -> the recipe's name for it
    takes: frozenset[str] = frozenset()  # of `reads`, what it asked for without need
    on_documents: bool = False  # it sees documents, not their nodes


@dataclass(frozen=True, kw_only=True)
class RowStep(Place):
    """What goes from row to row. What it finds lives under `folder`, whatever the recipe calls its columns."""

    operator: RowOperator | FetchOperator | DocumentOperator | Extractor
    folder: str

    @property
    def added(self) -> tuple[pa.Field, ...]:
        """The columns that it adds, by the operator's names."""
        return self.operator.adds

    @property
    def record(self) -> str:
        """The folder that says which rows it has seen, and what came of them."""
        return f"scores/{self.folder}"

    @property
    def reads_image(self) -> bool:
        """Does it need the images that the rows began with?"""
        return self.reads.get("image") == "image"


@dataclass(frozen=True, kw_only=True)
class MeasureStep(RowStep):
    """A row operator in its place."""

    operator: RowOperator | FetchOperator | DocumentOperator


@dataclass(frozen=True, kw_only=True)
class FetchStep(MeasureStep):
    """An operator that brings bytes, which lie in files of their own and are read when they are asked for."""

    operator: FetchOperator

    @property
    def record(self) -> str:
        return f"fetched/{self.folder}"

    @cached_property
    def own_bytes_column(self) -> str:
        """The operator's name for what it brings."""
        name: str = next(column.name for column in self.operator.adds if pa.types.is_large_binary(column.type))
        return name

    @property
    def bytes_column(self) -> str:
        """The recipe's name for what it brings."""
        return self.names[self.own_bytes_column]

    @property
    def brings_images(self) -> bool:
        """Does it bring what later steps take for the rows' images?"""
        return self.bytes_column == "image"


@dataclass(frozen=True, kw_only=True)
class DocumentStep(MeasureStep):
    """Something measured of documents. It is known as long as the same nodes of a document are alive."""

    operator: RowOperator | DocumentOperator
    on_documents: bool = True

    @property
    def added(self) -> tuple[pa.Field, ...]:
        return (*self.operator.adds, *self._added_to_nodes)

    @property
    def of_nodes(self) -> frozenset[str]:
        """Those of its columns that have a value for each node."""
        return frozenset(self.names[column.name] for column in self._added_to_nodes)

    @property
    def _added_to_nodes(self) -> tuple[pa.Field, ...]:
        return self.operator.adds_to_nodes if isinstance(self.operator, DocumentOperator) else ()


@dataclass(frozen=True, kw_only=True)
class ExtractStep(RowStep):
    """An extractor in its place; `names` are its children's columns."""

    operator: Extractor

    @property
    def makes_documents(self) -> bool:
        """Are its rows the nodes of documents?"""
        return isinstance(self.operator, DocumentExtractor)

    @property
    def record(self) -> str:
        return f"rows/{self.folder}"


@dataclass(frozen=True, kw_only=True)
class CorpusStep(Place):
    """A corpus operator: a barrier. What it finds belongs to the cut."""

    operator: CorpusOperator


@dataclass(frozen=True, kw_only=True)
class KeepStep:
    """A rule that drops rows; with `top`, `bottom` or `adaptive` it is a barrier too."""

    index: int
    label: str
    keep: Keep
    reads: Mapping[str, str] = dataclass_field(default_factory=dict)  # what the rule names -> the version it gets there
    about: Mapping[str, str] = dataclass_field(
        default_factory=dict
    )  # column -> the kind of node whose column it is, if of one
    ranks_documents: bool = False  # its `top`, `bottom` and `adaptive` are among documents

    @property
    def on_documents(self) -> bool:
        """Does a barrier rank documents?"""
        return self.ranks_documents

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column that a bound reads."""
        return tuple(dict.fromkeys(column for column, _ in self.bounds()))

    def bounds(self) -> Iterator[tuple[str, Bound]]:
        """(column, bound), those of the alternatives included."""
        yield from self.keep.bounds.items()
        for option in self.keep.any:
            yield from option.items()

    @property
    def ranked(self) -> bool:
        """Does it have to see all the rows alive?"""
        return any(bound.sees_all for _, bound in self.bounds())


PlannedStep = MeasureStep | ExtractStep | CorpusStep | KeepStep


@dataclass(frozen=True, kw_only=True)
class Space:
    """Steps that go over the same rows: the source's, or the children that an extractor made."""

    start: int
    stop: int  # the step after the last; the last is the extractor that makes the next space's rows, if there is one
    schema: pa.Schema  # what the rows begin with
    fields: Mapping[str, pa.Field]  # every column that a step adds, by the recipe's name
    view: Mapping[str, str]  # column -> the version that is written, or inherited by children
    nodes: frozenset[str] | None = None  # of documents: the columns with a value for each node; None: these are none
    has_images: bool = False  # the rows have images: what they begin with, or what a step brings

    @cached_property
    def columns(self) -> pa.Schema:
        """What the rows end with, explained in the fields' metadata; a version stands under the name it replaces."""
        replaced = {name for old, name in self.view.items() if old != name}
        return pa.schema([*self.schema, *(added for name, added in self.fields.items() if name not in replaced)])

    @cached_property
    def written(self) -> pa.Schema:
        """What curated rows have: the columns, or those of documents with a list of their nodes."""
        if self.nodes is None:
            return self.columns
        of_nodes = [column for column in self.columns if column.name in self.nodes]
        nodes = field("nodes", pa.list_(pa.struct(of_nodes)), "paragraphs and images in reading order")
        return pa.schema([*(column for column in self.columns if column.name not in self.nodes), nodes])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a worker must know. Small; travels once to each worker."""

    recipe: Recipe
    steps: tuple[PlannedStep, ...]
    spaces: tuple[Space, ...]  # one more than there are extractors
    source_digest: str = ""
    folder: str = ""  # of a cut that was made already

    @cached_property
    def barriers(self) -> tuple[int, ...]:
        """Indices of the steps that need all the rows alive before they can decide."""
        return tuple(step.index for step in self.steps if is_barrier(step))

    @cached_property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """[start, stop) of the runs of steps that a task goes through with a shard.

        A barrier begins the stretch after it. What asks hosts is a stretch of its own, because it mostly waits.
        """
        fetches = [step.index for step in self.by_row if isinstance(step, FetchStep) or step.operator.asks_hosts]
        inner = {*self.barriers, *(i for i in fetches if i), *(i + 1 for i in fetches)} - {len(self.steps)}
        return tuple(itertools.pairwise((0, *sorted(inner), len(self.steps))))

    def fetches(self, stretch: tuple[int, int]) -> bool:
        """Does this stretch do nothing but fetch?"""
        steps = [step for step in self.steps[slice(*stretch)] if isinstance(step, RowStep)]
        return any(isinstance(step, FetchStep) or step.operator.asks_hosts for step in steps)

    @cached_property
    def hash(self) -> str:
        """Names the cut: the same recipe over the same rows measured in the same way gives the same decision."""
        parts = [FORMAT_VERSION, recipe_as_yaml(self.recipe), self.source_digest]
        parts += [step.fingerprint for step in self.steps if not isinstance(step, KeepStep)]
        return hashed(parts)

    @property
    def cut(self) -> str:
        """The cut's folder in the corpus."""
        return self.folder or f"cuts/{self.recipe.name}-{self.hash[:8]}"

    @property
    def by_row(self) -> tuple[RowStep, ...]:
        """The row operators and extractors."""
        return tuple(step for step in self.steps if isinstance(step, RowStep))


def is_barrier(step: PlannedStep) -> bool:
    """Must all shards have come this far before this step can run?"""
    return isinstance(step, CorpusStep) or (isinstance(step, KeepStep) and step.ranked)
