"""Means with 95 % intervals by Student's t, and differences of runs that share a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import stdtrit

CONFIDENCE: Final = 0.95
Standing = Literal["above", "intervals overlap", "below"]
Harm = Literal["no harm", "harm", "undecided"]
Worth = Literal["helps", "hurts", "not seen"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds, its interval, and the standard deviation (divisor n - 1); one seed alone has neither."""

    mean: float
    low: float
    high: float
    sd: float
    seeds: int

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON, which has no NaN."""
        given = {"mean": self.mean, "low": self.low, "high": self.high, "sd": self.sd, "seeds": self.seeds}
        return {name: None if value != value else value for name, value in given.items()}


def interval(values: Sequence[float], grain: float = 0.0) -> Interval:
    """The mean of independent runs: mean -+ t(0.975, n - 1) sd / sqrt(n).

    `grain`: values are multiples of it, as shares of so many images are. Runs that happen to agree have an error, too:
    rounding's variance, grain^2 / 12, is added to theirs, and no interval is narrower than a grain.
    """
    found = np.asarray(values, np.float64)
    n, mean = len(found), float(found.mean())
    if n < 2:
        return Interval(mean=mean, low=float("nan"), high=float("nan"), sd=float("nan"), seeds=n)
    sd = float((found.var(ddof=1) + grain**2 / 12) ** 0.5)
    half = max(float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / n**0.5, grain / 2)
    return Interval(mean=mean, low=mean - half, high=mean + half, sd=sd, seeds=n)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float], *, grain: float = 0.0) -> Interval:
    """The mean difference of runs by seed, of the seeds that both have.

    Runs of a seed share it and their initial weights; rows, and so their order, differ.
    """
    return interval([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())], 2 * grain)


def standing(ours: Interval, theirs: Interval) -> Standing:
    """Where one whole interval lies beside another."""
    if apart(ours, theirs):
        return "above"
    return "below" if apart(theirs, ours) else "intervals overlap"


def harm(difference: Interval, margin: float) -> Harm:
    """Is a difference, as its whole interval, above -margin, or below it?"""
    if difference.low > -margin:
        return "no harm"
    return "harm" if difference.high < -margin else "undecided"


def worth(without: Interval) -> Worth:
    """What a rule does, by the difference that leaving it out makes, as its whole interval."""
    if without.high < 0:
        return "helps"
    return "hurts" if without.low > 0 else "not seen"


def apart(upper: Interval, lower: Interval) -> bool:
    """Does the one's whole interval lie above the other's?"""
    return upper.low > lower.high
