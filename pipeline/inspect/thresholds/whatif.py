"""Other bounds, decided in memory: what a run of the changed recipe would keep, without the run.

The decision is the engine's as far as it rests on what was measured. What was not, and what a corpus operator would
find among other rows, is unknown: then there are bounds on what would be kept, and words that say why. Nothing before
the first changed keep is looked at again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....schemas.recipe import Keep
from ...keep import Mask
from ...plan import (
    CorpusStep,
    DocumentStep,
    ExtractStep,
    FetchStep,
    KeepStep,
    MeasureStep,
    PlannedStep,
)
from ..rows import CutRows, SpaceRows
from .changes import Change, changed_keeps
from .perhaps import Perhaps
from .verdicts import At, Verdicts


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """Rows that come to a step; `most` is None where nobody knows."""

    label: str
    least: int
    most: int | None
    dropped: int | None  # None where it is not known exactly


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a cut with other bounds would keep. Counts are of the whole cut, masks of the rows that are loaded."""

    kept_at_least: int
    kept_at_most: int | None  # None: nobody knows, rows would be made that never were
    documents_at_least: int | None  # with a node among the kept; None where rows are no nodes
    documents_at_most: int | None
    exact: bool
    why: str  # in words, where it is not exact
    steps: tuple[StepCount, ...]
    alive: tuple[Mask, ...]  # by space: rows that stay, or above an extractor are used up
    maybe: tuple[Mask, ...]  # by space: rows that may


class WhatIf:
    """The rows of a cut under other bounds. May be asked by several threads; they are answered in turn."""

    def __init__(self, rows: CutRows) -> None:
        self.rows, self.plan = rows, rows.cut.plan
        self.verdicts = [Verdicts(rows, space) for space in rows.spaces]
        self.lock = threading.RLock()
        self._unmeasured: dict[int, Mask | None] = {}
        self._was: dict[int, Mask] = {}
        self._warm()

    def _warm(self) -> None:
        """Put every bound to every row once, so that the first answer takes no longer than others."""
        first = next((step for step in self.plan.steps if isinstance(step, KeepStep)), None)
        if first is not None:
            self.walk({first.index: first.keep})

    def decide(self, changes: Sequence[Change]) -> Outcome:
        """What these changes would keep. Raises ValueError where one does not fit."""
        with self.lock:
            walked = self.walk(changed_keeps(self.plan, changes))
            return self._outcome(walked)

    def walk(self, keeps: Mapping[int, Keep | None], until: int | None = None) -> Walked:
        """Decide with some keeps in place of the cut's, up to a step."""
        walked = Walked(whatif=self, keeps=keeps)
        walked.run(len(self.plan.steps) if until is None else until)
        return walked

    def was(self, step: int) -> Mask:
        """The rows that were alive in the cut when a step came."""
        if step not in self._was:
            self._was[step] = self.rows.spaces[self.space_of(step)].alive_at(step)
        return self._was[step]

    def space_of(self, step: int) -> int:
        """The number of the space whose rows a step goes over."""
        return next(i for i, space in enumerate(self.plan.spaces) if step < space.stop)

    def unmeasured(self, step: MeasureStep) -> Mask | None:
        """The rows that a step from row to row has never measured; None: there are none."""
        if step.index not in self._unmeasured:
            known = self.rows.spaces[self.space_of(step.index)].known(step.index)
            self._unmeasured[step.index] = None if known.all() else ~known
        return self._unmeasured[step.index]

    @functools.cached_property
    def before(self) -> tuple[tuple[int, int], ...]:
        """Rows that come to each step of the cut, and how many it drops."""
        dropped = np.zeros(len(self.plan.steps), np.int64)
        for rows in self.rows.spaces:
            by_rule = np.bincount(rows.gone_by[rows.gone_by >= 0], minlength=len(self.rows.rules))
            np.add.at(dropped, [rule.step for rule in self.rows.rules], by_rule)
        found = []
        for rows in self.rows.spaces:
            come = len(rows)
            for gone in dropped[rows.space.start : rows.space.stop].tolist():
                found.append((come, gone))
                come -= gone
        return tuple(found)

    def scaled(self, count: int) -> int:
        """A count of loaded rows as one of the whole cut."""
        return round(count / self.rows.share)

    def _outcome(self, walked: Walked) -> Outcome:
        ends, last = walked.ends, walked.ends[-1]
        documents: list[int | None] = [None, None]
        if self.rows.last.document is not None:
            of = self.verdicts[-1].documents_of
            documents = [self.scaled(int(of(mask).sum())) for mask in (last.sure, last.possible)]
        least, most = self.scaled(last.count()), self.scaled(last.most())
        exact = least == most and not walked.unmade and self.rows.share == 1 and self.rows.agrees
        known = not walked.unmade and self.rows.agrees
        if not self.rows.agrees:  # values are not those that the cut was decided by: nothing is certain
            least, documents[0] = 0, None if documents[0] is None else 0
        return Outcome(
            kept_at_least=least,
            kept_at_most=most if known else None,
            documents_at_least=documents[0],
            documents_at_most=documents[1] if known else None,
            exact=exact,
            why="" if exact else self._why(walked),
            steps=tuple(self._steps(walked)),
            alive=tuple(end.sure for end in ends),
            maybe=tuple(end.possible & ~end.sure for end in ends),
        )

    def _steps(self, walked: Walked) -> list[StepCount]:
        found = []
        for step, (come, dropped) in zip(self.plan.steps, self.before, strict=True):
            least, most, gone = walked.counts.get(step.index, (come, come, dropped))
            counts = [None if count is None else self.scaled(count) for count in (most, gone)]
            found.append(StepCount(label=step.label, least=self.scaled(least), most=counts[0], dropped=counts[1]))
        return found

    def _why(self, walked: Walked) -> str:
        """Why what is kept is not known exactly."""
        why = [reason.format(_rows(count)) for reason, count in walked.whys.items()]
        if why:
            why.append("a run is needed")
        if not self.rows.agrees:
            why.append("rows were measured again since this cut was made: run its recipe again")
        if self.rows.share < 1:
            why.append(f"an estimate by {self.rows.share:.1%} of the rows")
        return "; ".join(why)


@dataclass(kw_only=True, eq=False)
class Walked:
    """A decision on its way through the steps, from the first keep that is another."""

    whatif: WhatIf
    keeps: Mapping[int, Keep | None]
    alive: Perhaps = field(init=False)  # where the walk stands
    ends: list[Perhaps] = field(default_factory=list)  # by space
    counts: dict[int, tuple[int, int | None, int | None]] = field(default_factory=dict)  # come at least, at most; gone
    lost: dict[int, Mask] = field(default_factory=dict)  # by step: rows whose columns of the cut hold no more
    unmade: int = 0  # rows come alive that others would be made of
    whys: dict[str, int] = field(default_factory=dict)  # reason, with a place for how many rows it is about

    def run(self, until: int) -> None:
        """Decide on all steps before this one; the space where it stands is the last of `ends`."""
        start = min([*self.keeps, until])
        for index, rows in enumerate(self.whatif.rows.spaces):
            space = rows.space
            begin = max(space.start, start)
            if start >= space.stop:
                self.alive = Perhaps.of(rows.kept)
            elif start >= space.start:
                self.alive = Perhaps.of(self.whatif.was(start))
            else:
                self.alive = self._children(rows, self.whatif.rows.spaces[index - 1])
            for step in self.whatif.plan.steps[begin : min(space.stop, until)]:
                self._step(index, rows, step)
            self.ends.append(self.alive)
            if until < space.stop:
                return

    def _children(self, rows: SpaceRows, above: SpaceRows) -> Perhaps:
        """The rows that were made of those alive; rows whose children were never made into the cut's are counted."""
        step = self.whatif.plan.steps[above.space.stop - 1]
        if self.alive.certain and np.array_equal(self.alive.sure, above.kept):
            return Perhaps.of(np.ones(len(rows), bool))
        new = int(np.count_nonzero(self.alive.possible & ~above.kept))
        if new:
            self.whys[f"{{}} may come alive that {_braced(step.label)} would make others of"] = new
        self.unmade += new
        assert rows.parents is not None
        return self.alive.take(rows.parents)

    def _step(self, index: int, rows: SpaceRows, step: PlannedStep) -> None:
        come, gone = self.alive, 0
        if isinstance(step, KeepStep):
            self._keep(index, step)
            gone = come.count() - self.alive.count()
        elif isinstance(step, DocumentStep):
            self._documents(index, rows, step)
        elif isinstance(step, CorpusStep):
            self._barrier(index, rows, step)
        exact = come.certain and self.alive.certain and not self.unmade
        most = None if self.unmade else come.most()
        self.counts[step.index] = come.count(), most, gone if exact else None

    def _keep(self, index: int, step: KeepStep) -> None:
        keep = self.keeps.get(step.index, step.keep)
        if keep is None:
            return
        unknown = functools.partial(self.unknown, index)
        come = self.alive
        at = At(alive=come, unknown=unknown, unmade=bool(self.unmade))
        self.alive = self.whatif.verdicts[index].stays(step, keep, at)
        if not self.alive.certain:
            open_now = come.possible & self.alive.possible & ~self.alive.sure
            self._say_why(index, step, open_now)

    def _say_why(self, index: int, step: KeepStep, rows: Mask) -> None:
        """Which of a keep's columns nobody knows of some rows."""
        for version in step.reads.values():
            unknown = self.unknown(index, version)
            count = 0 if unknown is None else int(np.count_nonzero(unknown & rows))
            if count:
                why = self._why_unknown(index, version)
                self.whys[why] = max(count, self.whys.get(why, 0))

    def _why_unknown(self, index: int, version: str) -> str:
        adder = self.adder(index, version)
        if adder is None:
            above = self._above(index, version)
            assert above is not None
            return self._why_unknown(index - 1, above)
        label = _braced(adder.label)
        if isinstance(adder, CorpusStep):
            return f"{label} would see other rows"
        if isinstance(adder, DocumentStep):
            return f"{label} would see other nodes of some documents"
        return f"{label} has not {'fetched for' if isinstance(adder, FetchStep) else 'measured'} {{}}"

    def _documents(self, index: int, rows: SpaceRows, step: DocumentStep) -> None:
        """What was measured of documents holds for those that have the same nodes alive."""
        verdicts = self.whatif.verdicts[index]
        was = self.whatif.was(step.index)
        other = (self.alive.sure ^ was) | (self.alive.possible ^ was)
        for version in step.reads.values():
            adder = self.adder(index, version)
            if isinstance(adder, DocumentStep) and adder.index in self.lost:
                other |= self.lost[adder.index] & self.alive.possible
        if other.any():
            assert rows.document is not None
            self.lost[step.index] = verdicts.documents_of(other)[rows.document]

    def _barrier(self, index: int, rows: SpaceRows, step: CorpusStep) -> None:
        """What was found among all rows holds where the same rows are alive, and what is looked at of them is known."""
        same = self.alive.certain and not self.unmade and np.array_equal(self.alive.sure, self.whatif.was(step.index))
        for version in step.reads.values() if same else ():
            unknown = self.unknown(index, version)
            same = same and (unknown is None or not (unknown & self.alive.sure).any())
        if not same:
            self.lost[step.index] = np.ones(len(rows), bool)

    def unknown(self, index: int, version: str, *, of_children: bool = False) -> Mask | None:
        """The rows of a space of which nobody knows a column's value; None: there are none.

        Rows whose children are in the cut were measured by all that goes from row to row.
        """
        adder = self.adder(index, version)
        if isinstance(adder, CorpusStep | DocumentStep):
            return self.lost.get(adder.index)
        if adder is not None:
            return None if of_children else self.whatif.unmeasured(adder)
        above = self._above(index, version)
        found = None if above is None else self.unknown(index - 1, above, of_children=True)
        return None if found is None else found[self.whatif.rows.spaces[index].parents]

    def adder(self, index: int, version: str) -> MeasureStep | CorpusStep | None:
        """The step over a space's rows that adds a column, if one does."""
        space = self.whatif.plan.spaces[index]
        steps = self.whatif.plan.steps[space.start : space.stop]
        adders = (step for step in steps if isinstance(step, MeasureStep | CorpusStep))
        return next((step for step in adders if version in step.names.values()), None)

    def _above(self, index: int, version: str) -> str | None:
        """The column of the space above that this one is inherited from; None where it is the rows' own."""
        if not index:
            return None
        above = self.whatif.plan.spaces[index - 1]
        extractor = self.whatif.plan.steps[above.stop - 1]
        assert isinstance(extractor, ExtractStep)
        own = version == "parent" or version in extractor.names.values()
        return None if own else above.view[version]


def _braced(label: str) -> str:
    """A label as part of a text that is yet to be formatted."""
    return label.replace("{", "{{").replace("}", "}}")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
