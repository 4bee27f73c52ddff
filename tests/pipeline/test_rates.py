"""Shares with intervals: against scipy, closed forms, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from cupel.pipeline.rates import Counts, Stratum, quality, weighted_quality, wilson


@pytest.mark.parametrize(
    ("hits", "of"), [(0, 1), (1, 1), (0, 20), (20, 20), (81, 263), (15, 148), (1, 29), (500, 1000)]
)
def test_wilsons_interval_is_scipys(hits, of):
    expected = binomtest(hits, of).proportion_ci(0.95, method="wilson")
    found = wilson(hits, of)
    assert (found.share, found.low, found.high) == pytest.approx((hits / of, expected.low, expected.high), abs=1e-12)


def test_wilsons_interval_is_that_of_newcombe():
    """Newcombe 1998, table I, method 3."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, of), ends in published.items():
        found = wilson(hits, of)
        assert (round(found.low, 4), round(found.high, 4)) == ends


def test_nothing_looked_at_is_unknown():
    found = quality(Counts(gone_bad=3))
    assert found.drop_precision.share == 1.0 and found.drop_recall.share == 1.0
    assert (found.keep_precision.share, found.keep_precision.low, str(found.keep_precision)) == (None, None, "unknown")


def test_the_four_shares():
    found = quality(Counts(gone_bad=8, gone_good=2, stayed_bad=4, stayed_good=36))
    shares = (found.drop_precision, found.drop_recall, found.keep_precision, found.keep_recall)
    assert [rate.share for rate in shares] == [8 / 10, 8 / 12, 36 / 40, 36 / 38]
    assert [(rate.hits, rate.of) for rate in shares] == [(8, 10), (8, 12), (36, 40), (36, 38)]


def test_a_labelled_row_stands_for_as_many_as_its_stratum_has_for_each():
    gone = Stratum(population=1000, counts=Counts(gone_bad=45, gone_good=5))
    stayed = Stratum(population=9000, counts=Counts(stayed_bad=2, stayed_good=98))
    found = weighted_quality([gone, stayed])
    assert found.drop_recall.share == pytest.approx(900 / (900 + 180))
    assert found.keep_recall.share == pytest.approx(8820 / (8820 + 100))
    assert found.drop_precision == wilson(45, 50), "within one stratum nothing is weighted"
    assert found.keep_precision == wilson(98, 100)
    assert found.drop_recall.low < found.drop_recall.share < found.drop_recall.high


def test_weights_that_are_equal_change_little():
    parts = [Counts(gone_bad=80, gone_good=20), Counts(stayed_bad=30, stayed_good=170)]
    weighted = weighted_quality([Stratum(population=10 * part.rows, counts=part) for part in parts])
    plain = quality(parts[0] + parts[1])
    for name in ("drop_recall", "keep_recall"):
        one, other = getattr(weighted, name), getattr(plain, name)
        assert (one.share, one.low, one.high) == pytest.approx((other.share, other.low, other.high), abs=0.02)


def test_rows_that_the_rule_never_saw_count_for_the_weight():
    """Half of the stratum's labelled rows were gone before: so was half of the stratum."""
    seen = Stratum(population=1000, counts=Counts(gone_bad=20, gone_good=5), others=25)
    stayed = Stratum(population=500, counts=Counts(stayed_bad=10, stayed_good=40))
    assert weighted_quality([seen, stayed]).drop_recall.share == pytest.approx(400 / (400 + 100))


def test_where_nothing_was_found_the_interval_says_what_there_may_be():
    """None of 100 that passed is bad: with Jeffreys' prior at most 2.5 % chance that more than 2.5 % are."""
    found = weighted_quality(
        [
            Stratum(population=1000, counts=Counts(gone_bad=1000)),
            Stratum(population=1000, counts=Counts(stayed_good=100)),
        ]
    ).drop_recall
    most = float(beta.ppf(0.975, 0.5, 100.5))
    assert found.share == found.high == 1.0
    assert found.low == pytest.approx(1 / (1 + most), abs=0.002)


def test_the_same_labels_give_the_same_interval():
    strata = [Stratum(population=9, counts=Counts(gone_bad=2)), Stratum(population=90, counts=Counts(stayed_bad=1))]
    assert weighted_quality(strata) == weighted_quality(strata)


def test_the_interval_holds_the_truth_about_95_times_in_100():
    """Strata of known content, drawn from without replacement."""
    random, times, held = np.random.default_rng(7), 200, []
    known = [(1000, 9000, 900, 900, 100), (5000, 5000, 3500, 1500, 60), (1000, 9000, 500, 450, 50)]
    for gone, stayed, bad_gone, bad_stayed, labelled in [*known, (2000, 60_000, 1800, 1200, 200)]:
        bad = bad_gone + bad_stayed
        truths = bad_gone / bad, (stayed - bad_stayed) / (gone + stayed - bad)
        hits = np.zeros(2)
        for _ in range(times):
            x = int(random.hypergeometric(bad_gone, gone - bad_gone, labelled))
            y = int(random.hypergeometric(bad_stayed, stayed - bad_stayed, labelled))
            went, passed = (
                Counts(gone_bad=x, gone_good=labelled - x),
                Counts(stayed_bad=y, stayed_good=labelled - y),
            )
            found = weighted_quality([Stratum(population=gone, counts=went), Stratum(population=stayed, counts=passed)])
            rates = found.drop_recall, found.keep_recall
            hits += [rate.low <= truth <= rate.high for rate, truth in zip(rates, truths, strict=True)]
        held += (hits / times).tolist()
    assert 0.93 < np.mean(held) < 0.975, held
    assert min(held) > 0.88


def test_a_stratum_of_another_question_is_estimated_too():
    """Rows drawn alike from those that passed an earlier rule: some of them this rule drops."""
    random = np.random.default_rng(3)
    drops, bad = random.random(40_000) < 0.2, random.random(40_000)
    bad = np.where(drops, bad < 0.8, bad < 0.1)
    truth = (drops & bad).sum() / bad.sum()
    held, times = 0, 150
    for _ in range(times):
        parts = []
        for place in (slice(0, 5000), slice(5000, None)):
            chosen = random.choice(np.arange(40_000)[place], 120, replace=False)
            gone, wrong = drops[chosen], bad[chosen]
            cells = {"gone_bad": gone & wrong, "gone_good": gone & ~wrong, "stayed_bad": ~gone & wrong}
            counts = Counts(**{k: int(v.sum()) for k, v in cells.items()}, stayed_good=int((~gone & ~wrong).sum()))
            parts.append(Stratum(population=len(range(40_000)[place]), counts=counts))
        rate = weighted_quality(parts).drop_recall
        held += rate.low <= truth <= rate.high
    assert 0.91 < held / times < 0.995
