"""How right the rules of a cut are, by labels: precision and recall of what they drop, and of what they keep.

A rule is judged by the labelled rows that were alive when it came: it never saw the others. The whole recipe is judged
by all. Where the labels were drawn by stratum (labelling in `cupel inspect` does so), every labelled row stands for as
many as its stratum has; and where several questions were asked (frames), each rule is judged by the labels that were
drawn for it, or else by those of the question about the most rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ....operators.registry import did_you_mean
from ...rates import (
    Counts,
    Quality,
    Stratum,
    quality,
    weighted_quality,
)
from ...read import CorpusError
from ..fates import Exit, exits_of
from ..opened import OpenedCut
from .file import frame_name
from .judged import Judged, judged_in, read_labels


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One rule, step, or the whole recipe, held against the labels."""

    step: str | None  # None: the whole recipe
    rule: str | None  # None: all rules of the step
    counts: Counts  # labelled rows
    quality: Quality
    frame: str | None = None  # the question that the labels answer, where the file names some
    since: str | None = None  # not None: it is judged by rows that this rule came to, as no others are labelled
    stands_for: int | None = None  # rows, where the labels are weighted

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        rates = {name: vars(rate) for name, rate in vars(self.quality).items()}
        return {**vars(self), "counts": vars(self.counts), "quality": rates}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A cut held against a file of labels."""

    cut: OpenedCut
    judged: Judged
    lines: Sequence[Audited]

    @property
    def labelled(self) -> int:
        """Labels that could be used."""
        return self.judged.rows.height

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        told = ("unlabelled", "unmatched", "ambiguous", "contradicted")
        return {
            "cut": self.cut.title,
            "labelled": self.labelled,
            **{name: getattr(self.judged, name) for name in told},
            "audited": [line.as_dict() for line in self.lines],
        }


def audit(cut: OpenedCut, labels: str, step: str | None = None) -> Audit:
    """Hold a cut, or one step of it, against a file of labels.

    Raises CorpusError for a file that holds none, labels that fit no row, and a step that is no rule of the recipe.
    """
    exits = exits_of(cut)
    if step is not None:
        _check_step(cut, exits, step)
    judged = judged_in(cut, read_labels(labels))
    if not judged.rows.height:
        raise CorpusError(f"{labels}: none of its labels is about a row of {cut.title}{_why(judged)}")
    lines = [line for line in _lines(cut, exits, judged.rows) if step is None or line.step == step]
    return Audit(cut=cut, judged=judged, lines=lines)


def _check_step(cut: OpenedCut, exits: Sequence[Exit], step: str) -> None:
    known = list(dict.fromkeys(e.label for e in exits if e.column))
    if step not in known:
        near = did_you_mean(step, known)
        raise CorpusError(f"{cut.title} has no rule {step!r}{near} (there are: {', '.join(known) or 'none'})")


def _why(judged: Judged) -> str:
    reasons = [
        ("are unknown", judged.unmatched),
        ("stand for several rows", judged.ambiguous),
        ("have both labels", judged.contradicted),
    ]
    told = [f"{len(names)} {what}, such as {names[0]!r}" for what, names in reasons if names]
    return f": {'; '.join(told)}" if told else ""


def _lines(cut: OpenedCut, exits: Sequence[Exit], rows: pl.DataFrame) -> Iterator[Audited]:
    """The whole recipe, then each step, then its rules, in their order."""
    frames = _frames(cut, exits, rows)
    yield _whole(frames, exits)
    for label in dict.fromkeys(e.label for e in exits):
        own = [i for i, e in enumerate(exits) if e.label == label]
        if not exits[own[0]].column and not rows["left"].is_in(own).any():
            continue  # an extractor that made something of every labelled row
        if len(own) > 1:
            yield _line(frames, exits, own, label, None)
        for i in own:
            yield _line(frames, exits, [i], label, str(exits[i]))


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Labels that answer one question."""

    name: str | None
    rows: pl.DataFrame
    since: int  # they are of rows that were alive when this exit came
    weighted: bool

    @property
    def size(self) -> int:
        """Rows that the labels stand for, or else how many they are."""
        if not self.weighted:
            return self.rows.height
        return int(self.rows.unique("stratum")["stratum_rows"].sum())


def _frames(cut: OpenedCut, exits: Sequence[Exit], rows: pl.DataFrame) -> list[_Frame]:
    """The questions of a file. Those asked of this cut say where in the recipe they stand; others are of all rows."""
    since = {frame_name(cut.title, e.step, str(e)): i for i, e in enumerate(exits)}
    last = len(cut.plan.spaces) - 1
    since[frame_name(cut.title)] = next((i for i, e in enumerate(exits) if e.space == last), 0)
    found = []
    for (name,), own in rows.group_by("frame", maintain_order=True):
        weighted = not own["stratum"].null_count() and not own["stratum_rows"].null_count()
        name = None if name is None else str(name)
        found.append(_Frame(name=name, rows=own, since=since.get(name or "", 0), weighted=weighted))
    return found


def _whole(frames: Sequence[_Frame], exits: Sequence[Exit]) -> Audited:
    """All rules; where no label is of a row at the very beginning, those from where they begin."""
    begin = min(frame.since for frame in frames)
    line = _line(frames, exits, range(begin, len(exits)), None, None)
    return replace(line, since=str(exits[begin])) if begin else line


def _line(
    frames: Sequence[_Frame], exits: Sequence[Exit], own: Sequence[int], step: str | None, rule: str | None
) -> Audited:
    """Some exits that follow each other, by the labels drawn for them, or those that stand for most rows."""
    first = own[0] if own else 0
    fit = [frame for frame in frames if frame.since <= first]
    if not fit:
        return Audited(step=step, rule=rule, counts=Counts(), quality=quality(Counts()))
    frame = max(fit, key=lambda frame: (len(own) == 1 and frame.since == first, frame.size))
    strata = list(_strata(frame, exits, own))
    counts = sum((stratum.counts for stratum in strata), Counts())
    return Audited(
        step=step,
        rule=rule,
        counts=counts,
        quality=weighted_quality(strata) if frame.weighted else quality(counts),
        frame=frame.name,
        stands_for=frame.size if frame.weighted else None,
    )


def _strata(frame: _Frame, exits: Sequence[Exit], own: Sequence[int]) -> Iterator[Stratum]:
    """The labelled rows that were alive when the first of these exits came, and whether they left by one of them."""
    first, last = (own[0], own[-1]) if own else (0, -1)
    space = exits[last].space if own else 0  # a row of a later space has nothing to do with them
    alive = (pl.col("left") >= first) & (pl.col("space") <= space)
    rows = frame.rows.with_columns(alive=alive, gone=pl.col("left") <= last)
    for (_,), part in rows.group_by("stratum" if frame.weighted else pl.lit(0), maintain_order=True):
        judged = part.filter("alive")
        cells = Counter(judged.select("gone", "bad").rows())
        counts = Counts(
            gone_bad=cells[True, True],
            gone_good=cells[True, False],
            stayed_bad=cells[False, True],
            stayed_good=cells[False, False],
        )
        population = max(part["stratum_rows"].to_list()) if frame.weighted else part.height
        yield Stratum(population=population, counts=counts, others=part.height - judged.height)
