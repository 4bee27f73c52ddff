"""Where a score parts bad rows from good ones: two normal distributions fitted to it, or a reason why it parts nothing.

`adaptive` keeps what more likely belongs to the upper of two. A fixed share would harm a pool that is clean; so where
one distribution explains the score as well, or two lie too near each other, all rows stay. One distribution is a
generalised normal one (Subbotin 1923; flat ones are among them, down to the uniform) or a beta one over the values'
range: two normal ones would halve any values that are merely not peaked, or lean to one side. The fit is EM (Dempster,
Laird and Rubin 1977) over the values in ascending order: it depends on neither the rows' order nor their shards, and
has no random start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from scipy.special import betaln, digamma, polygamma

from ..schemas.corpus import Fitted

POINTS: Final = 1024  # neighbouring values are taken together so that there are no more
LEAST_ROWS: Final = 200
LEAST_WEIGHT: Final = 0.01  # a group with fewer rows is a tail
LEAST_GAIN: Final = 6.0  # of BIC: "strong" evidence (Kass and Raftery 1995, doi:10.1080/01621459.1995.10476572)
LEAST_SEPARATION: Final = 2.0  # Ashman's D (1994, doi:10.1086/117248): below it, equal groups have one peak
STARTS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # the share of the lower group where EM begins
TRIAL: Final = 50  # rounds from each start; the likeliest goes on
ROUNDS: Final = 1000
TOLERANCE: Final = 1e-9  # of the mean log-likelihood, in a round
SHAPES: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)  # of one distribution: 1 is Laplace's, 2 the normal one
LARGEST: Final = 1e307  # sums of two do not overflow
NARROWEST: Final = 1e-3  # sd of a group, of the sd of all: equal values would make it 0, and the likelihood infinite
_HALF_LOG_2PI: Final = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class _Points:
    """Values in ascending order, neighbours taken together: how many, their mean, their variance."""

    counts: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Points:
        """Of values in ascending order."""
        edges = np.linspace(0, len(values), min(len(values), POINTS) + 1).astype(np.int64)
        counts = np.diff(edges).astype(np.float64)
        means = np.add.reduceat(values, edges[:-1]) / counts
        off = values - np.repeat(means, np.diff(edges))
        return cls(counts, means, np.add.reduceat(off * off, edges[:-1]) / counts)


@dataclass(frozen=True, eq=False)
class _Two:
    """Two normal distributions, the lower mean first; arrays of two."""

    weights: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    def logs(self, x: np.ndarray) -> np.ndarray:
        """(2, n): the log of each one's weighted density."""
        z = (x - self.means[:, None]) / self.sds[:, None]
        return np.asarray((np.log(self.weights / self.sds) - _HALF_LOG_2PI)[:, None] - 0.5 * z * z)

    @property
    def separation(self) -> float:
        """Ashman's D: how far the means are apart, in root mean square sds."""
        return float(np.diff(self.means)[0] / np.sqrt(np.mean(self.sds**2)))

    def border(self) -> float | None:
        """The value between the means from where on the upper one is the likelier; None where there is none."""
        low, high = (float(mean) for mean in self.means)
        ends = self.logs(np.array([low, high]))
        if ends[0, 0] <= ends[1, 0] or ends[1, 1] <= ends[0, 1]:
            return None
        while low < (middle := (low + high) / 2) < high:  # between the means the odds only rise
            lower, upper = self.logs(np.array([middle]))[:, 0]
            low, high = (low, middle) if upper >= lower else (middle, high)
        return high


def as_floats(values: pl.Series) -> np.ndarray:
    """float64: a column of numbers, nulls as NaN."""
    return np.asarray(values.cast(pl.Float64).to_numpy(), np.float64)


def stays(values: np.ndarray, fitted: Fitted) -> np.ndarray:
    """bool: float64 values (NaN: null) that are on the upper side, or anywhere where nothing is dropped."""
    return np.asarray(~np.isnan(values) if fitted.threshold is None else values >= fitted.threshold)


def adapt(values: np.ndarray) -> Fitted:
    """Fit float64 values (n,); NaN and what is infinite, or nearly so, take no part."""
    values = np.sort(values[np.abs(values) <= LARGEST])
    rows = len(values)
    if rows < LEAST_ROWS:
        return Fitted(rows=rows, why=f"{rows} values are too few to tell, fewer than {LEAST_ROWS}")
    size = float(np.abs(values).max()) or 1.0  # squares of what is left do not overflow
    middle = float(np.mean(values / size))
    spread = float(np.std(values / size))
    if spread <= 1e-12:
        return Fitted(rows=rows, why="all values are the same")
    points = _Points.of((values / size - middle) / spread)
    tried = (_em(points, _begun(points, share), TRIAL) for share in STARTS)
    two, _ = max(tried, key=lambda found: found[1])
    two, likelihood = _em(points, two, ROUNDS)
    gain = 2 * likelihood - 5 * math.log(rows) - _bic_of_one(points, float(values[-1] - values[0]) / (spread * size))
    border = two.border()
    why = _why_not(two, gain, border)
    threshold = None if why or border is None else (border * spread + middle) * size
    means, sds = (two.means * spread + middle) * size, two.sds * spread * size
    return Fitted(
        rows=rows,
        means=(float(means[0]), float(means[1])),
        sds=(float(sds[0]), float(sds[1])),
        weights=(float(two.weights[0]), float(two.weights[1])),
        bic_gain=gain,
        separation=two.separation,
        threshold=threshold,
        kept_share=1.0 if threshold is None else (rows - int(np.searchsorted(values, threshold))) / rows,
        why=why,
    )


def _bic_of_one(points: _Points, width: float) -> float:
    """Twice the log-likelihood less the penalty of the likeliest single distribution around 0; the widest is flat.

    Its scale is the likeliest for each shape; the normal distribution of sd 1 has a parameter less than the others.
    """
    rows = float(points.counts.sum())
    found = -2 * rows * math.log(width) - 2 * math.log(rows)  # of the uniform
    for shape in SHAPES:
        power = float((points.counts * np.abs(points.means) ** shape).sum()) / rows
        scale = (shape * (power if shape != 2 else 1.0)) ** (1 / shape)
        each = math.log(shape) - math.log(2 * scale) - math.lgamma(1 / shape) - 1 / shape
        found = max(found, 2 * rows * each - (2 if shape == 2 else 3) * math.log(rows))
    return max(found, _bic_of_beta(points, width))


def _bic_of_beta(points: _Points, width: float) -> float:
    """The same for the likeliest beta distribution over the range of the values, `width` wide."""
    rows, low = float(points.counts.sum()), float(points.means[0])
    room = width / rows  # on both sides, so that no value has a likelihood of 0 or infinity
    x = (points.means - low + room) / (float(points.means[-1]) - low + 2 * room)
    logs = np.stack([np.log(x), np.log1p(-x)]) @ points.counts / rows
    mean = float(x @ points.counts) / rows
    variance = float((x - mean) ** 2 @ points.counts) / rows
    sizes = np.array([mean, 1 - mean]) * max(mean * (1 - mean) / variance - 1, 0.1)  # by moments, where Newton begins
    for _ in range(20):
        slope = logs - digamma(sizes) + digamma(sizes.sum())
        bend = np.full((2, 2), polygamma(1, sizes.sum())) - np.diag(polygamma(1, sizes))
        sizes = np.maximum(sizes - np.linalg.solve(bend, slope), sizes / 2)
    each = float((sizes - 1) @ logs) - float(betaln(*sizes)) - math.log(width + 2 * room)
    return 2 * rows * each - 4 * math.log(rows)


def _why_not(two: _Two, gain: float, border: float | None) -> str:
    """Why nothing is dropped; empty where the two groups are sound."""
    if gain < LEAST_GAIN:
        return f"one group explains the values as well (BIC gains {gain:.1f} by two, less than {LEAST_GAIN:g})"
    if min(two.weights) < LEAST_WEIGHT:
        return f"the smaller group would be {min(two.weights):.2%} of the rows, less than {LEAST_WEIGHT:.0%}"
    if two.sds[1] <= NARROWEST:  # a score that ends there: what lies below is no other sort of row
        return "the upper group would be a single value"
    if border is None or two.separation < LEAST_SEPARATION:
        return f"two groups lie too near each other ({two.separation:.2f} sds apart, less than {LEAST_SEPARATION:g})"
    return ""


def _begun(points: _Points, share: float) -> _Two:
    """Two normal distributions of the lowest `share` of the rows and of the others."""
    lower = np.cumsum(points.counts) <= max(share * points.counts.sum(), points.counts[0])
    return _maximised(points, np.stack([lower, ~lower]).astype(np.float64))


def _em(points: _Points, two: _Two, rounds: int) -> tuple[_Two, float]:
    """Where so many rounds lead, the lower mean first, and the log-likelihood before the last of them."""
    before, likelihood = -math.inf, -math.inf
    for _ in range(rounds):
        logs = two.logs(points.means)
        both = np.logaddexp(*logs)
        parts = np.exp(logs - both)
        # A point's values are spread around its mean: without that its density would be taken for too high.
        spread = 0.5 * points.variances * (parts / two.sds[:, None] ** 2).sum(0)
        likelihood = float((points.counts * (both - spread)).sum())
        if likelihood - before < TOLERANCE * points.counts.sum():
            break
        two, before = _maximised(points, parts), likelihood
    order = np.argsort(two.means, kind="stable")
    return _Two(two.weights[order], two.means[order], two.sds[order]), likelihood


def _maximised(points: _Points, parts: np.ndarray) -> _Two:
    """The likeliest distributions where so much of each point (2, n) belongs to each."""
    of = parts * points.counts
    totals = np.maximum(of.sum(1), 1e-9)
    means = (of * points.means).sum(1) / totals
    off = points.means - means[:, None]
    variances = (of * (off * off + points.variances)).sum(1) / totals
    return _Two(totals / totals.sum(), means, np.maximum(np.sqrt(variances), NARROWEST))
