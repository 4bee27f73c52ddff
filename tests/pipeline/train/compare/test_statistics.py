"""Intervals against scipy.stats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cupel.pipeline.train.compare.statistics import Interval, apart, harm, interval, paired, standing


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_is_students(n):
    values = np.random.default_rng(n).normal(0.3, 0.05, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    found = interval(values.tolist())
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.mean, found.sd, found.seeds) == pytest.approx((values.mean(), values.std(ddof=1), n))


def test_paired_differences_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 0.1, 6)  # what runs of a seed share
    ours, theirs = seeds + 0.02 + rng.normal(0, 0.005, 6), seeds + rng.normal(0, 0.005, 6)
    low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    found = paired(dict(enumerate(ours)), dict(reversed(list(enumerate(theirs)))))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_runs_that_agree_are_known_to_a_grain():
    """Monte Carlo: of values with far less noise than a grain, the interval still holds the mean 19 times in 20."""
    assert interval([0.5, 0.5]).low == 0.5
    found = interval([0.5, 0.5], 0.01)
    assert found.high - 0.5 == pytest.approx(stats.t.ppf(0.975, 1) * 0.01 / math.sqrt(12) / math.sqrt(2))
    twice = paired({0: 0.5, 1: 0.5}, {0: 0.4, 1: 0.4}, grain=0.01)
    assert twice.high - twice.mean == pytest.approx(2 * (found.high - found.mean))
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        mean = rng.random()
        seen = interval((np.round((mean + rng.normal(0, 0.0005, 5)) * 100) / 100).tolist(), 0.01)
        held += seen.low <= mean <= seen.high
    assert held >= 380 * 0.97


def test_only_seeds_that_both_have_are_paired():
    assert paired({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.0, 0: 0.5, 7: 3.0}).mean == pytest.approx(0.75)


def test_one_seed_has_a_mean_and_no_interval():
    found = interval([0.4])
    assert found.mean == 0.4 and math.isnan(found.low)
    assert found.as_dict() == {"mean": 0.4, "low": None, "high": None, "sd": None, "seeds": 1}


@pytest.mark.parametrize(
    ("low", "high", "margin", "said"),
    [
        (-0.01, 0.03, 0.02, "no harm"),
        (-0.03, 0.01, 0.02, "undecided"),
        (-0.05, -0.01, 0.02, "undecided"),
        (-0.05, -0.03, 0.02, "harm"),
        (math.nan, math.nan, 0.02, "undecided"),
    ],
)
def test_harm_is_where_the_whole_interval_lies(low, high, margin, said):
    assert harm(Interval(mean=(low + high) / 2, low=low, high=high, sd=0.1, seeds=5), margin) == said


@pytest.mark.parametrize(
    ("ours", "said"), [((0.5, 0.6), "above"), ((0.35, 0.6), "intervals overlap"), ((0.1, 0.2), "below")]
)
def test_standing_tells_below_from_an_overlap(ours, said):
    ends = [Interval(mean=sum(each) / 2, low=each[0], high=each[1], sd=0.1, seeds=5) for each in (ours, (0.3, 0.4))]
    assert standing(ends[0], ends[1]) == said


def test_apart_means_that_no_value_is_in_both():
    def of(low: float, high: float) -> Interval:
        return Interval(mean=(low + high) / 2, low=low, high=high, sd=0.1, seeds=5)

    assert apart(of(0.3, 0.4), of(0.1, 0.2))
    assert not apart(of(0.2, 0.4), of(0.1, 0.2))
    assert not apart(of(0.1, 0.2), of(0.3, 0.4))
    assert not apart(interval([0.9]), of(0.1, 0.2)), "one seed proves nothing"
