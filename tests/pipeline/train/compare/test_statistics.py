"""Intervals against scipy.stats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cupel.pipeline.train.compare.statistics import Interval, apart, interval, paired


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


def test_only_seeds_that_both_have_are_paired():
    assert paired({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.0, 0: 0.5, 7: 3.0}).mean == pytest.approx(0.75)


def test_one_seed_has_a_mean_and_no_interval():
    found = interval([0.4])
    assert found.mean == 0.4 and math.isnan(found.low)
    assert found.as_dict() == {"mean": 0.4, "low": None, "high": None, "sd": None, "seeds": 1}


def test_apart_means_that_no_value_is_in_both():
    def of(low: float, high: float) -> Interval:
        return Interval(mean=(low + high) / 2, low=low, high=high, sd=0.1, seeds=5)

    assert apart(of(0.3, 0.4), of(0.1, 0.2))
    assert not apart(of(0.2, 0.4), of(0.1, 0.2))
    assert not apart(of(0.1, 0.2), of(0.3, 0.4))
    assert not apart(interval([0.9]), of(0.1, 0.2)), "one seed proves nothing"
