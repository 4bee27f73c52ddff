"""Two normal distributions against scipy and known parameters; and what is one distribution loses no row."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from scipy.optimize import brentq

from cupel.pipeline.mixture import LARGEST, LEAST_ROWS, adapt, as_floats, stays
from cupel.schemas.corpus import Fitted


def mixed(rows: int, *, low: float, means=(0.1, 0.3), sds=(0.04, 0.05), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Values of two groups, and which are of the lower one."""
    random = np.random.default_rng(seed)
    bad = random.random(rows) < low
    return np.where(bad, random.normal(means[0], sds[0], rows), random.normal(means[1], sds[1], rows)), bad


def odds(found: Fitted, x):
    """Log odds of the upper group, by scipy."""
    parts = [
        math.log(weight) + stats.norm.logpdf(x, mean, sd)
        for weight, mean, sd in zip(found.weights, found.means, found.sds, strict=True)
    ]
    return parts[1] - parts[0]


def log_likelihood(values, weights, means, sds) -> float:
    parts = [w * stats.norm.pdf(values, m, s) for w, m, s in zip(weights, means, sds, strict=True)]
    return float(np.log(np.sum(parts, axis=0)).sum())


@pytest.mark.parametrize("rows", [900, 1024, 30_000])
@pytest.mark.parametrize("low", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("sds", [(0.04, 0.05), (0.02, 0.06)])
def test_what_was_drawn_of_two_groups_is_found(rows, low, sds):
    values, bad = mixed(rows, low=low, sds=sds)
    found = adapt(values)
    many = 40 * sds[1] / math.sqrt(rows)  # some standard errors
    assert found.why == ""
    assert found.means == pytest.approx((0.1, 0.3), abs=many / 4)
    assert found.weights == pytest.approx((low, 1 - low), abs=max(0.05, many / 4))
    assert np.mean((values < found.threshold) == bad) > 0.95
    assert found.kept_share == np.mean(values >= found.threshold)


@pytest.mark.parametrize("rows", [400, 1000])
def test_the_likelihood_is_at_its_peak_and_the_line_where_both_are_as_likely(rows):
    values, _ = mixed(rows, low=0.4)
    found = adapt(values)
    at_peak = log_likelihood(values, found.weights, found.means, found.sds)
    assert at_peak >= log_likelihood(values, (0.4, 0.6), (0.1, 0.3), (0.04, 0.05))
    for part in ("weights", "means", "sds"):
        for factor in (0.98, 1.02):
            moved = {name: list(getattr(found, name)) for name in ("weights", "means", "sds")}
            moved[part][0] *= factor
            if part == "weights":
                moved[part][1] = 1 - moved[part][0]
            assert log_likelihood(values, **moved) < at_peak
    assert found.threshold == pytest.approx(brentq(lambda x: odds(found, x), *found.means), abs=1e-9)
    between = values[(values > found.means[0]) & (values < found.means[1])]
    assert (stays(between, found) == (odds(found, between) >= 0)).all()
    ones = [
        -2 * stats.gennorm(shape, values.mean(), scale).logpdf(values).sum() + parameters * math.log(rows)
        for shape, parameters in ((1, 3), (1.5, 3), (2, 2), (3, 3), (4, 3), (6, 3), (10, 3))
        for scale in [(shape * np.mean(np.abs(values - values.mean()) ** shape)) ** (1 / shape)]
    ]
    ones.append(2 * rows * math.log(np.ptp(values)) + 2 * math.log(rows))
    assert found.bic_gain == pytest.approx(min(ones) - (-2 * at_peak + 5 * math.log(rows)), abs=1e-3)


def test_many_values_in_few_points_are_as_likely_as_each_by_itself():
    """1,024 points stand for 60,000 values: the peak is the same within what a row in ten thousand is worth."""
    values, _ = mixed(60_000, low=0.3, sds=(0.05, 0.05), means=(0.1, 0.25))
    found = adapt(values)
    at_peak = log_likelihood(values, found.weights, found.means, found.sds)
    for name, most in (("means", 2e-3), ("sds", 2e-3), ("weights", 2e-2)):
        moved = {each: list(getattr(found, each)) for each in ("weights", "means", "sds")}
        moved[name][0] += most
        if name == "weights":
            moved[name][1] -= most
        assert log_likelihood(values, **moved) < at_peak


ONE = {
    "normal": stats.norm(),
    "logistic": stats.logistic(),
    "laplace": stats.laplace(),
    "heavy": stats.t(4),
    "skewed": stats.skewnorm(4),
    "gamma": stats.gamma(4),
    "lognormal": stats.lognorm(0.5),
    "beta": stats.beta(8, 2),
    "flat top": stats.beta(2, 2),
    "uniform": stats.uniform(),
    "triangular": stats.triang(1),
    "rising": stats.beta(2, 1),
    "rising fast": stats.beta(1.5, 1),
}


@pytest.mark.parametrize("rows", [1_000, 20_000])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", ONE)
def test_one_distribution_loses_no_row(shape, sign, rows):
    """Trainer.md 5.3: a share that is fixed harms a pool that is clean."""
    values = sign * ONE[shape].rvs(rows, random_state=np.random.default_rng(5))
    found = adapt(values)
    assert (found.threshold, found.kept_share) == (None, 1.0)
    assert found.why and stays(values, found).all()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "0 values are too few"),
        ([math.nan, math.inf, -math.inf], "0 values are too few"),
        ([0.0] * (LEAST_ROWS // 2) + [1.0] * (LEAST_ROWS // 2 - 1), "199 values are too few"),
        ([0.3] * 1000, "all values are the same"),
        ([0.0] * 1000, "all values are the same"),
        ([*np.random.default_rng(0).normal(size=999), 1e300], "too near|smaller group would be 0.1|a single value"),
        (np.minimum(np.random.default_rng(0).normal(size=5000), 0.5), "the upper group would be a single value"),
        (
            [*np.random.default_rng(0).normal(size=990), *[40.0] * 9],
            "smaller group would be 0.90%",
        ),
    ],
)
def test_why_nothing_is_dropped(values, why):
    found = adapt(np.array(values, float))
    assert found.threshold is None
    assert pytest.approx(1.0) == found.kept_share
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(found.why)


def test_the_order_of_the_values_does_not_matter_nor_those_that_are_none():
    values, _ = mixed(5000, low=0.3)
    found = adapt(values)
    random = np.random.default_rng(1)
    for _ in range(3):
        more = np.concatenate([values, [math.nan, math.inf, -math.inf]])
        assert adapt(random.permutation(more)) == found
    assert stays(np.array([math.nan, math.inf, -math.inf]), found).tolist() == [False, True, False]
    assert stays(np.array([math.nan, math.inf, -math.inf]), adapt(values[:5])).tolist() == [False, True, True]


@pytest.mark.parametrize(("factor", "shift"), [(2.5, 0), (100, -7), (1e-12, 0), (1e200, 0), (1, 1e6)])
def test_units_do_not_matter(factor, shift):
    values, _ = mixed(2000, low=0.3)
    one, two = adapt(values), adapt(values * factor + shift)
    assert two.kept_share == pytest.approx(one.kept_share, abs=1e-3)
    assert two.threshold == pytest.approx(one.threshold * factor + shift, rel=1e-3)


def test_a_spike_of_equal_values_is_a_group():
    values = np.concatenate([np.zeros(300), np.random.default_rng(0).normal(0.3, 0.05, 700)])
    found = adapt(values)
    assert found.why == ""
    assert 0 < found.threshold < 0.2
    assert found.kept_share == pytest.approx(0.7, abs=0.001)


@settings(max_examples=60)
@example(np.array([np.finfo(np.float64).max, *[0.0] * 300]))
@given(npst.arrays(np.float64, st.integers(0, 600), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_values_have_an_answer(values):
    found = adapt(values)
    assert 0 <= found.kept_share <= 1 and found.rows == (np.abs(values) <= LARGEST).sum()
    assert (found.threshold is None) == bool(found.why)
    mask = stays(values, found)
    assert not mask[np.isnan(values)].any()
    finite = values[np.abs(values) <= LARGEST]
    if len(finite):
        assert stays(finite, found).mean() == pytest.approx(found.kept_share, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "values"),
    [(pl.Int8, [1, None, -3]), (pl.UInt64, [2**63, None, 5]), (pl.Float32, [0.5, None, math.nan])],
)
def test_columns_as_floats(kind, values):
    expected = [math.nan if value is None else float(value) for value in values]
    np.testing.assert_array_equal(as_floats(pl.Series(values, dtype=kind)), expected)
