"""Which rows' pictures are blurred until clicked, and which are never shown: what the cut's own columns say of them.

Operators mark the columns that tell (schemas/sensitive.py). Heads, classifiers and columns of the source are known by
their names (`nsfw`, `punsafe`). Of several columns the strictest counts. A row that a step never saw is shown, unless
another column speaks or the step is one that hides; one that it saw without a result is blurred. What is found of a
row's children holds for the row as well where both have pictures: they are the same, or made of it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ....operators.image.head import Head
from ....operators.source.base import ShardError, SourceError
from ....operators.text.classifier import Classifier
from ....schemas.fields import marks_of
from ....schemas.sensitive import (
    VERDICTS,
    Mark,
    Verdict,
    nulls,
    read_marks,
    sounds_unsafe,
)
from ...children import ChildView
from ...plan import CorpusStep, RowStep, Space
from ...shard import ShardView
from ..opened import OpenedCut
from ..rows import CutRows, SpaceRows

SHOW, BLUR, HIDE = range(len(VERDICTS))
# CommonPool drops pictures above 0.1 (arXiv:2304.14108, appendix E); LAION calls those above 0.5 unsafe.
BY_NAME: Final = "blur: >= 0.1"
BY_NAME_AS_LOGIT: Final = "blur: >= -2.2"  # the same of a head without a last activation
BY_NAME_OF_LABELS: Final = "blur: not unlikely, safe, sfw, neutral, drawing, no, none, false, 0"  # LAION's column NSFW
BY_NAME_OF_TEXTS: Final = "; show: null"


@dataclass(frozen=True, kw_only=True)
class SensitiveColumn:
    """A column that says which pictures are to be blurred or hidden."""

    name: str
    step: RowStep | CorpusStep | None  # that adds it; None: the rows begin with it
    marks: tuple[Mark, ...]

    def levels(self, values: pa.Array, known: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """int8 for each row: 0 show, 1 blur, 2 hide. `known` rows were measured, `texts` have no picture."""
        level, open_ = np.zeros(len(values), np.int8), np.ones(len(values), bool)
        for mark in self.marks:
            holds = mark.holds(values) & open_
            level[holds] = VERDICTS.index(mark.verdict)
            open_ &= ~holds
        level[nulls(values) & known & open_ & ~texts] = BLUR
        return level

    @property
    def strictest(self) -> int:
        """What holds where the column cannot be read."""
        return max(BLUR, *(VERDICTS.index(mark.verdict) for mark in self.marks))


def sensitive_columns(cut: OpenedCut, space: int) -> tuple[SensitiveColumn, ...]:
    """The columns of a space that say it, in the recipe's order."""
    found = cut.plan.spaces[space]
    adders = {name: step for step in _steps(cut, found) for name in step.names.values()}
    columns = {column.name: column for column in found.schema} | dict(found.fields)
    made = (
        SensitiveColumn(name=name, step=adders.get(name), marks=marks_of(column) or _by_name(column, adders.get(name)))
        for name, column in columns.items()
        if not types.is_nested(column.type) and not types.is_large_binary(column.type)
    )
    return tuple(column for column in made if column.marks)


def _steps(cut: OpenedCut, space: Space) -> Iterator[RowStep | CorpusStep]:
    steps = cut.plan.steps[space.start : space.stop]
    return (step for step in steps if isinstance(step, RowStep | CorpusStep))


def _by_name(column: pa.Field, step: RowStep | CorpusStep | None) -> tuple[Mark, ...]:
    """What the names of a column, of a head's file and of a classifier's labels let suppose."""
    operator = step.operator if step is not None else None
    if isinstance(operator, Head):
        named = sounds_unsafe(column.name) or sounds_unsafe(operator.path)
        return read_marks(BY_NAME_AS_LOGIT if operator.output == "none" else BY_NAME) if named else ()
    if isinstance(operator, Classifier):
        named = any(map(sounds_unsafe, (column.name, *operator.labels)))
        return read_marks(BY_NAME + BY_NAME_OF_TEXTS) if named and types.is_floating(column.type) else ()
    if operator is not None or not sounds_unsafe(column.name):
        return ()
    number = types.is_integer(column.type) or types.is_floating(column.type)
    return read_marks(BY_NAME if number else BY_NAME_OF_LABELS)


class Sensitivity:
    """What is to be blurred or hidden in a cut. Its methods may be called from any thread."""

    def __init__(self, cut: OpenedCut) -> None:
        self.cut = cut
        self.columns = tuple(sensitive_columns(cut, space) for space in range(len(cut.plan.spaces)))
        self._pictured = ["image" in space.view for space in cut.plan.spaces]
        self._lock = threading.Lock()
        self._levels: weakref.WeakKeyDictionary[SpaceRows, np.ndarray] = weakref.WeakKeyDictionary()

    def reaches(self, space: int) -> int:
        """The last of the spaces that say something of this one's pictures."""
        last = len(self.columns) - 1
        while last > space and not (self.columns[last] and all(self._pictured[space : last + 1])):
            last -= 1
        return last

    def of(self, rows: CutRows, space: int, numbers: Iterable[int]) -> list[Verdict]:
        """show, blur or hide for some rows, by their numbers over all shards."""
        levels = self.levels(rows, space)
        return [VERDICTS[levels[number]] for number in numbers]

    def levels(self, rows: CutRows, space: int) -> np.ndarray:
        """int8 for each row of a space: 0 show, 1 blur, 2 hide. Made once for the rows that are loaded."""
        with self._lock:
            if rows.spaces[space] not in self._levels:
                self._levels[rows.spaces[space]] = self._of_rows(rows, space)
            return self._levels[rows.spaces[space]]

    def _of_rows(self, rows: CutRows, space: int) -> np.ndarray:
        level = np.zeros(0, np.int8)
        for index in range(self.reaches(space), space - 1, -1):
            here = rows.spaces[index]
            own = self._own(index, len(here), here.column, here.known)
            level = own if index == self.reaches(space) else _with_children(own, level, rows.spaces[index + 1].parents)
        return level

    def of_view(self, view: ShardView, space: int) -> np.ndarray:
        """The same for the rows of one shard in a space: `view` is of that space, or of one below it."""
        views = [view]
        while isinstance(views[0], ChildView):
            views.insert(0, views[0].parents)
        deepest = min(len(views) - 1, self.reaches(space))
        level = np.zeros(0, np.int8)
        for index in range(deepest, space - 1, -1):
            here = views[index]
            own = self._own(index, here.shard.rows, here.column, _known_in(here))
            level = own if index == deepest else _with_children(own, level, views[index + 1].owners)
        return level

    def _own(
        self, space: int, rows: int, column: Callable[[str], pa.Array], known: Callable[[int], np.ndarray]
    ) -> np.ndarray:
        """What a space's own columns say."""
        level = np.zeros(rows, np.int8)
        for sensitive in self.columns[space]:
            try:
                found = sensitive.levels(column(sensitive.name), *self._about(space, sensitive, rows, column, known))
            except (OSError, pa.ArrowException, ShardError, SourceError):  # damaged, or its input is gone
                found = np.full(rows, sensitive.strictest, np.int8)
            level = np.maximum(level, found)
        return level

    def _about(
        self,
        space: int,
        sensitive: SensitiveColumn,
        rows: int,
        column: Callable[[str], pa.Array],
        known: Callable[[int], np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of which rows a null is no comfort, and which are texts."""
        texts = np.zeros(rows, bool)
        if self.cut.plan.spaces[space].nodes is not None:
            texts = np.asarray(column("kind").to_numpy(zero_copy_only=False) == "text")
        if isinstance(sensitive.step, CorpusStep):
            return np.zeros(rows, bool), texts  # it says nothing of rows that had gone
        if sensitive.step is None or sensitive.strictest == HIDE:  # nobody has looked: it may be one of those
            return np.ones(rows, bool), texts
        return known(sensitive.step.index), texts


def _known_in(view: ShardView) -> Callable[[int], np.ndarray]:
    def known(step: int) -> np.ndarray:
        found = view.plan.steps[step]
        assert isinstance(found, RowStep)
        return np.asarray(view.scores(found).known)

    return known


def _with_children(own: np.ndarray, children: np.ndarray, owners: np.ndarray | None) -> np.ndarray:
    """The stricter of what is said of rows and of the rows made of them."""
    assert owners is not None
    found = own.copy()
    np.maximum.at(found, owners, children)
    return found
