"""Where a value stands on a chart: a linear or a log-like axis, by how the values are spread, with round ticks.

Whole numbers stand in the middle of their own unit, so that a bound lies between the bars of two numbers, not on one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np

from .buckets import Buckets

Kind = Literal["linear", "log", "symlog"]
BINS: Final = 60
_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_NARROW: Final = 0.15  # of the range, within which nearly all values lie: too narrow to be seen on a linear axis
_FEW_WHOLES: Final = 5.0  # the least that an axis of whole numbers spans
_TINY: Final = 1e-300
_DECADES: Final = 1e-12  # of the farthest value: what is nearer to zero counts as zero
_FAR: Final = 0.5  # of the range, by which a bound may lie outside of it and still stretch the axis


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values on a scale; `symlog` is linear within `turn` of zero, and logarithmic beyond, to both sides."""

    low: float
    high: float
    kind: Kind = "linear"
    turn: float = 1.0
    whole: bool = False

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if self.kind == "linear":
            return values
        if self.kind == "log":
            return np.asarray(np.log10(np.maximum(values, self.low)))
        return np.asarray(np.arcsinh(values / self.turn))

    def _unscaled(self, scaled: np.ndarray) -> np.ndarray:
        if self.kind == "linear":
            return scaled
        return np.asarray(np.power(10.0, scaled) if self.kind == "log" else np.sinh(scaled) * self.turn)

    @cached_property
    def _ends(self) -> np.ndarray:
        return self._scaled(np.array([self.low, self.high]))

    def at(self, values: np.ndarray | Sequence[float]) -> np.ndarray:
        """Where values stand, 0 at the left end and 1 at the right; beyond the ends, at the ends."""
        low, high = self._ends
        inside = np.clip(np.asarray(values, np.float64), self.low, self.high)
        return np.asarray(np.clip((self._scaled(inside) - low) / (high - low), 0, 1))

    def spaced(self, count: int, through: float | None = None) -> np.ndarray:
        """Ascending values, about `count` of them, evenly spaced on the axis, one of them at `through`.

        On an axis of whole numbers they lie half-way between two of these.
        """
        if through is not None and not self.low < through < self.high:
            through = None
        if self.whole:
            return self._between_wholes(count, through)
        low, high = self._ends
        step = (high - low) / count
        start = low if through is None else float(self._scaled(np.array([through]))[0])
        start -= math.ceil((start - low) / step) * step
        scaled = start + step * np.arange(math.ceil((high - start) / step) + 1)
        found = self._unscaled(np.clip(scaled, low, high))
        if through is not None:
            found[np.argmin(np.abs(found - through))] = through
        found[0], found[-1] = (
            min(found[0], self.low),
            max(found[-1], self.high),
        )  # scaled and back is not quite the same
        return np.unique(found)

    def _between_wholes(self, count: int, through: float | None) -> np.ndarray:
        first, last = math.floor(self.low + 0.5), math.ceil(self.high - 0.5)  # the least and the most whole number
        if self.kind == "linear" or last - first < count:
            step = max(1, math.ceil((last - first + 1) / count))
            start = first if through is None else first - (first - math.ceil(through)) % step
            start -= step if start > first else 0
            return np.arange(start, last + 1 + step, step) - 0.5
        low, high = self._ends
        wholes = np.rint(self._unscaled(np.linspace(low, high, count + 1)) + 0.5)
        return np.asarray(np.unique([*wholes, *([] if through is None else [math.ceil(through)])]) - 0.5)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values, `most` at most."""
        if self.kind == "linear":
            return linear_ticks(self.low, self.high, most, whole=self.whole)
        found = self._decades(most)
        few = linear_ticks(self.low, self.high, most, whole=self.whole)
        return found if len(found) > 2 else few

    def _decades(self, most: int) -> list[float]:
        tops = range(math.floor(math.log10(self._nearest_zero)), math.ceil(math.log10(self._farthest)) + 1)
        for factors in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            powers = [factor * 10.0**power for power in tops for factor in factors]
            found = self._thinned(powers, 1)
            if len(found) <= most:
                return found
        every = next(n for n in range(2, 400) if len(self._thinned(powers, n)) <= most)
        return self._thinned(powers, every)

    def _thinned(self, powers: list[float], every: int) -> list[float]:
        """Every so many, zero and their negatives included where the axis has them."""
        chosen = powers[::every]
        if self.kind == "symlog":
            chosen = [*(-power for power in reversed(chosen)), 0.0, *chosen]
        return [value for value in chosen if self.low <= value <= self.high]

    @property
    def _nearest_zero(self) -> float:
        return self.low if self.kind == "log" else self.turn

    @property
    def _farthest(self) -> float:
        return max(abs(self.low), abs(self.high))


def linear_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Multiples of a round step between two values, `most` at most."""
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 and math.isfinite(raw) else 1.0
    steps = (power * factor * scale for scale in (1.0, 10.0) for factor in _ROUND)
    for step in steps:
        if whole and step != int(step):
            continue
        found = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
        if len(found) <= most:
            return [float(f"{value:.12g}") + 0.0 for value in found]
    return [low, high]


def axis_for(buckets: Buckets, bounds: Sequence[float] = ()) -> Axis:
    """An axis on which the values can be told apart, stretched to bounds that lie not too far outside."""
    kind = _kind(buckets)
    low, high = buckets.low, buckets.high
    reach = (high - low) * _FAR
    near = [bound for bound in bounds if low - reach <= bound <= high + reach and (kind != "log" or bound > 0)]
    low, high = min([low, *near]), max([high, *near])
    size = max(abs(low), abs(high))
    if high - low < (_FEW_WHOLES if buckets.whole else 1e-9 * size + _TINY):
        margin = (_FEW_WHOLES - (high - low)) / 2 if buckets.whole else (0.05 * size if size > _TINY else 0.5)
        zero = -0.5 if buckets.whole else 0.0
        low, high = (max(low - margin, zero) if low >= zero else low - margin), high + margin
        kind = "linear"
    turn = 1.0 if buckets.whole or kind != "symlog" else _turn(buckets)
    return Axis(low=low, high=high, kind=kind, turn=turn, whole=buckets.whole)


def _kind(buckets: Buckets) -> Kind:
    """Linear, if not most values other than zero would stand in a small part of it."""
    others = _without_zero(buckets)
    span = buckets.high - buckets.low
    if others is None or (buckets.whole and span <= BINS):
        return "linear"
    first, middle, last = others.quantiles([0.02, 0.5, 0.98])
    narrow = last - first < _NARROW * span
    nearest_zero = middle - buckets.low if buckets.low > -1 else (buckets.high - middle if buckets.high < 1 else span)
    if not (narrow or nearest_zero < _NARROW / 2 * span):
        return "linear"
    if buckets.low > 0:
        return "log" if buckets.high > 5 * buckets.low else "linear"
    return "symlog"


def _without_zero(buckets: Buckets) -> Buckets | None:
    return buckets.part(~((buckets.edges <= 0) & (buckets.ends >= 0)))


def _turn(buckets: Buckets) -> float:
    """A power of ten near to what a twentieth of the values other than zero is smaller than, whatever their sign."""
    others = _without_zero(buckets)
    assert others is not None, "or the axis would be linear"
    sizes = np.minimum(np.abs(others.edges), np.abs(others.ends))
    order = np.argsort(sizes)
    total = np.cumsum(others.counts.sum(0)[order])
    typical = float(sizes[order][np.searchsorted(total, 0.05 * total[-1])])
    least = max(-buckets.low, buckets.high) * _DECADES
    return float(10.0 ** math.floor(math.log10(max(typical, least))))
