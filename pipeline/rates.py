"""Shares estimated from labelled rows, with 95 % intervals.

From rows drawn alike: Wilson's interval. From rows drawn by stratum (so many of those that a rule dropped, so many of
those that passed) each row stands for as many as its stratum has per labelled row, and the interval is the middle 95 %
of what the shares may be: in every stratum the share of rows to drop is drawn from its posterior after Jeffreys' prior,
with a fixed seed. It holds where nothing was found ("none of 100 that passed"), as a normal approximation does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
DRAWS: Final = 10_000
_Z: Final = 1.959963984540054  # of the normal distribution, two-sided


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share with the ends of its interval; None where nothing was looked at that could tell."""

    hits: int  # labelled rows; where they are weighted, the share is not hits / of
    of: int
    share: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.share is None or self.low is None or self.high is None:
            return "unknown"
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})"


UNKNOWN: Final = Rate(hits=0, of=0, share=None, low=None, high=None)


def wilson(hits: int, of: int) -> Rate:
    """The share of hits and Wilson's score interval (1927) without continuity correction."""
    if not of:
        return UNKNOWN
    share = hits / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    low, high = (middle - spread) / (1 + _Z**2 / of), (middle + spread) / (1 + _Z**2 / of)
    return Rate(hits=hits, of=of, share=share, low=0.0 if not hits else low, high=1.0 if hits == of else high)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Labelled rows by what was decided (gone or stayed) and what the label says (bad: to be dropped, or good)."""

    gone_bad: int = 0
    gone_good: int = 0
    stayed_bad: int = 0
    stayed_good: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Rows drawn alike out of `population` rows: those judged, and `others` that the rule never saw."""

    population: int
    counts: Counts
    others: int = 0


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How right it is to drop what goes, and to keep what stays."""

    drop_precision: Rate  # of the rows that go, those that should
    drop_recall: Rate  # of the rows that should go, those that do
    keep_precision: Rate  # of the rows that stay, those that should
    keep_recall: Rate  # of the rows that should stay, those that do


_CELLS: Final = ("gone_bad", "gone_good", "stayed_bad", "stayed_good")
_RATES: Final = {  # name -> the cell of its hits, and the other cell that it is a share of
    "drop_precision": ("gone_bad", "gone_good"),
    "drop_recall": ("gone_bad", "stayed_bad"),
    "keep_precision": ("stayed_good", "stayed_bad"),
    "keep_recall": ("stayed_good", "gone_good"),
}


def quality(counts: Counts) -> Quality:
    """From rows drawn alike."""
    rates = {}
    for name, (hit, miss) in _RATES.items():
        hits = int(getattr(counts, hit))
        rates[name] = wilson(hits, hits + int(getattr(counts, miss)))
    return Quality(**rates)


def weighted_quality(strata: Sequence[Stratum]) -> Quality:
    """From rows drawn by stratum. A share within one stratum has Wilson's interval, as from rows drawn alike."""
    strata = [stratum for stratum in strata if stratum.counts.rows]
    random = np.random.default_rng(0)
    found = sum((_shares(stratum) * stratum.population for stratum in strata), np.zeros(4))
    drawn = sum((_draw(random, stratum) * stratum.population for stratum in strata), np.zeros((DRAWS, 4)))
    return Quality(**{name: _rate(strata, name, found, drawn) for name in _RATES})


def _rate(strata: Sequence[Stratum], name: str, found: np.ndarray, drawn: np.ndarray) -> Rate:
    hit, miss = _RATES[name]
    total = sum((stratum.counts for stratum in strata), Counts())
    hits = int(getattr(total, hit))
    of = hits + int(getattr(total, miss))
    if not of:
        return UNKNOWN
    side = {"drop_precision": "gone", "keep_precision": "stayed"}.get(name)
    if len(strata) == 1 or (side and sum(_any(stratum.counts, side) for stratum in strata) == 1):
        return wilson(hits, of)
    i, j = _CELLS.index(hit), _CELLS.index(miss)
    low, high = np.quantile(drawn[:, i] / (drawn[:, i] + drawn[:, j]), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    share = float(found[i] / (found[i] + found[j]))
    return Rate(hits=hits, of=of, share=share, low=min(float(low), share), high=max(float(high), share))


def _any(counts: Counts, side: str) -> bool:
    return bool(getattr(counts, f"{side}_bad") + getattr(counts, f"{side}_good"))


def _shares(stratum: Stratum) -> np.ndarray:
    """Of the labelled rows, the share in each cell."""
    cells = np.array([getattr(stratum.counts, cell) for cell in _CELLS])
    return cells / (stratum.counts.rows + stratum.others)


def _draw(random: np.random.Generator, stratum: Stratum) -> np.ndarray:
    """(DRAWS, 4): shares of the cells as they may be."""
    counts = stratum.counts
    gone, stayed = counts.gone_bad + counts.gone_good, counts.stayed_bad + counts.stayed_good
    seen, of_gone = _part(random, counts.rows, stratum.others), _part(random, gone, stayed)
    bad_gone = random.beta(counts.gone_bad + 0.5, counts.gone_good + 0.5, DRAWS)
    bad_stayed = random.beta(counts.stayed_bad + 0.5, counts.stayed_good + 0.5, DRAWS)
    of_stayed = 1 - of_gone
    cells = (of_gone * bad_gone, of_gone * (1 - bad_gone), of_stayed * bad_stayed, of_stayed * (1 - bad_stayed))
    return np.asarray(np.stack(cells, axis=1) * seen[:, None])


def _part(random: np.random.Generator, some: int, others: int) -> np.ndarray:
    """What part `some` may be of both. Where it is all or none, that is what the stratum is."""
    return random.beta(some + 0.5, others + 0.5, DRAWS) if some and others else np.full(DRAWS, float(some > 0))
