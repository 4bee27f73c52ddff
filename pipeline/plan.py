"""A plan: the steps with the columns they get, grouped by rows and between barriers; planner.py makes it of a recipe.

A step's fingerprint is a hash of the operator's name and version, its parameters, the digests of the files it depends
on and the fingerprints of the columns it reads. No `keep` is in any fingerprint: that is why a threshold costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from ..operators.base import CorpusOperator, Extractor, RowOperator
from ..schemas.corpus import FORMAT_VERSION
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


@dataclass(frozen=True, kw_only=True)
class RowStep(Place):
    """What goes from row to row. What it finds lives under `folder`, whatever the recipe calls its columns."""

    operator: RowOperator | Extractor
    folder: str

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

    operator: RowOperator


@dataclass(frozen=True, kw_only=True)
class ExtractStep(RowStep):
    """An extractor in its place; `names` are its children's columns."""

    operator: Extractor

    @property
    def record(self) -> str:
        return f"rows/{self.folder}"


@dataclass(frozen=True, kw_only=True)
class CorpusStep(Place):
    """A corpus operator: a barrier. What it finds belongs to the cut."""

    operator: CorpusOperator


@dataclass(frozen=True, kw_only=True)
class KeepStep:
    """A rule that drops rows; with `top` or `bottom` it is a barrier too."""

    index: int
    label: str
    keep: Keep
    reads: Mapping[str, str] = field(default_factory=dict)  # what the rule names -> the version it gets there

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
        return any(bound.top or bound.bottom for _, bound in self.bounds())


PlannedStep = MeasureStep | ExtractStep | CorpusStep | KeepStep


@dataclass(frozen=True, kw_only=True)
class Space:
    """Steps that go over the same rows: the source's, or the children that an extractor made."""

    start: int
    stop: int  # the step after the last; the last is the extractor that makes the next space's rows, if there is one
    schema: pa.Schema  # what the rows begin with
    fields: Mapping[str, pa.Field]  # every column that a step adds, by the recipe's name
    view: Mapping[str, str]  # column -> the version that is written, or inherited by children

    @cached_property
    def columns(self) -> pa.Schema:
        """What the rows end with, explained in the fields' metadata; a version stands under the name it replaces."""
        replaced = {name for old, name in self.view.items() if old != name}
        return pa.schema([*self.schema, *(added for name, added in self.fields.items() if name not in replaced)])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a worker must know. Small; travels once to each worker."""

    recipe: Recipe
    steps: tuple[PlannedStep, ...]
    spaces: tuple[Space, ...]  # one more than there are extractors
    source_digest: str = ""

    @cached_property
    def barriers(self) -> tuple[int, ...]:
        """Indices of the steps that need all the rows alive before they can decide."""
        return tuple(step.index for step in self.steps if is_barrier(step))

    @cached_property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """[start, stop) of the runs of steps between barriers; a barrier begins the stretch after it."""
        cuts = (0, *self.barriers, len(self.steps))
        return tuple(itertools.pairwise(cuts))

    @cached_property
    def hash(self) -> str:
        """Names the cut: the same recipe over the same rows measured in the same way gives the same decision."""
        parts = [FORMAT_VERSION, recipe_as_yaml(self.recipe), self.source_digest]
        parts += [step.fingerprint for step in self.steps if not isinstance(step, KeepStep)]
        return hashed(parts)

    @property
    def cut(self) -> str:
        """The cut's folder in the corpus."""
        return f"cuts/{self.recipe.name}-{self.hash[:8]}"

    @property
    def by_row(self) -> tuple[RowStep, ...]:
        """The row operators and extractors."""
        return tuple(step for step in self.steps if isinstance(step, RowStep))


def is_barrier(step: PlannedStep) -> bool:
    """Must all shards have come this far before this step can run?"""
    return isinstance(step, CorpusStep) or (isinstance(step, KeepStep) and step.ranked)
