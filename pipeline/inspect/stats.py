"""A cut in numbers: how each score is spread and where its bounds cut, names, errors, groups of duplicates.

Made of the manifest and the summary alone, so it takes no longer for a large corpus than for a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from ...schemas.summary import Failures, Group, Numbers, Summary, Values
from ..cuts import CutEntry, list_cuts
from ..members import plain
from ..summary.outline import Outline
from ..summary.sketch import Sketch
from ..summary.summarise import (
    nothing,
    sampled_places,
    summarise,
    told,
)
from .charts.buckets import Buckets
from .charts.chart import Limit, Side
from .fates import each
from .opened import OpenedCut

SHARES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
GROUPS: Final = 10
VALUES: Final = 12


@dataclass(frozen=True, kw_only=True)
class Score:
    """How one column of numbers is spread."""

    numbers: Numbers
    limits: Sequence[Limit]
    quantiles: dict[str, float] | None  # "5%" -> value, as well as the summary's buckets tell; None: no finite value

    @property
    def kept(self) -> int:
        """Rows with a value that stayed."""
        return sum(self.numbers.kept)

    @property
    def dropped_here(self) -> int:
        """Rows with a value that a bound on this column dropped."""
        return sum(self.numbers.dropped_here)

    @property
    def dropped(self) -> int:
        """Rows with a value that another rule dropped."""
        return sum(self.numbers.dropped)

    @property
    def count(self) -> int:
        """Rows with a value."""
        return self.kept + self.dropped_here + self.dropped + self.numbers.infinite

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        about = self.numbers.model_dump(include={"column", "space", "step", "of_documents", "nulls", "least", "most"})
        counts = {name: getattr(self, name) for name in ("count", "kept", "dropped_here", "dropped")}
        return {**about, **counts, "quantiles": self.quantiles, "bounds": [vars(limit) for limit in self.limits]}


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What `cupel stats` tells of a cut."""

    cut: OpenedCut
    cuts: Sequence[CutEntry]
    scores: Sequence[Score]  # those with bounds first
    values: Sequence[Values]
    groups: Sequence[tuple[str, Group]]  # of verdict columns, the largest first
    failures: Sequence[Failures]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        told = {"finished_at", "rows_in", "kept", "documents"}
        cuts = [
            {"cut": entry.title, "newest": entry.newest, **entry.manifest.model_dump(include=told)}
            for entry in self.cuts
        ]
        found = {
            "cut": self.cut.title,
            "cuts": cuts,
            "manifest": self.cut.manifest.model_dump(),
            "scores": [score.as_dict() for score in self.scores],
            "values": [values.model_dump() for values in self.values],
            "groups": [{"column": column, **group.model_dump()} for column, group in self.groups],
            "failures": [failures.model_dump() for failures in self.failures],
        }
        return cast(dict[str, Any], plain(found))


def stats(cut: OpenedCut) -> Stats:
    """The numbers of a cut."""
    summary = summary_of(cut)
    scores = scores_of(cut, summary)
    groups = [(groups.column, group) for groups in summary.groups for group in groups.groups]
    return Stats(
        cut=cut,
        cuts=list_cuts(cut.store),
        scores=sorted(scores, key=lambda score: not score.limits),
        values=[values for values in summary.values if values.values],
        groups=sorted(groups, key=lambda pair: -pair[1].rows)[:GROUPS],
        failures=summary.failures,
    )


def summary_of(cut: OpenedCut) -> Summary:
    """The cut's summary, or one made now of what is on disk, where it was made before there were summaries."""
    if cut.summary is not None:
        return cut.summary
    outline, sampled = Outline(cut.plan), sampled_places(len(cut.shards))

    def sketch(place: int) -> Sketch:
        view, found = cut.lineage(cut.shards[place])[-1]
        return summarise(outline, view, found, sampled=place in sampled)

    total = nothing(outline)
    for part in each(range(len(cut.shards)), sketch):
        total += part
    return told(outline, total)


def scores_of(cut: OpenedCut, summary: Summary) -> list[Score]:
    """Every column of numbers, with the bounds on it."""
    return [
        Score(numbers=numbers, limits=limits_on(cut, summary, numbers), quantiles=quantiles_of(Buckets.of(numbers)))
        for numbers in summary.numbers
    ]


def limits_on(cut: OpenedCut, summary: Summary, numbers: Numbers) -> list[Limit]:
    """The bounds on a column as values: a ranking's is where it cuts, if it ranks all rows as one."""
    made = np.cumsum([0, *(line.made is not None for line in cut.manifest.steps)])  # the space of each step
    own = [near for near in summary.near if near.column == numbers.column and made[near.step] == numbers.space]
    return [
        Limit(value=near.limit, side=cast(Side, near.side), text=_in_words(near.side, near.limit, near.option))
        for near in own
        if near.limit is not None
    ]


def _in_words(side: str, limit: float, option: int | None) -> str:
    between = {"top": ": from", "adaptive": ": from", "bottom": ": up to"}.get(side, "")
    return f"{side}{between} {limit:g}{' (an alternative)' if option is not None else ''}"


def quantiles_of(buckets: Buckets | None) -> dict[str, float] | None:
    """ "5%" -> the value below which so many rows lie, as well as buckets tell."""
    if buckets is None:
        return None
    found = buckets.quantiles(SHARES)
    found = np.rint(found) if buckets.whole else found
    return {f"{share:.0%}": float(value) for share, value in zip(SHARES, found, strict=True)}


def kept_part(numbers: Numbers) -> Buckets | None:
    """The buckets of the rows that stayed alone; None where there are none."""
    none = [0] * len(numbers.edges)
    return Buckets.of(numbers.model_copy(update={"dropped_here": none, "dropped": none}))
