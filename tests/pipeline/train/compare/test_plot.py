"""Results told: the drawing has every arm where its numbers are, and the verdict says no more than they do."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cupel.pipeline.train.compare.cli import _verdict
from cupel.pipeline.train.compare.page import render
from cupel.pipeline.train.compare.plot import LABELS, PANEL, plot
from cupel.pipeline.train.compare.recipe import CompareRecipe
from cupel.pipeline.train.compare.results import Results, Run

ARMS = {"raw": 0.10, "random": 0.08, "<cut> & more": 0.2, "oracle": 0.3}
RECIPE = CompareRecipe.model_validate(
    {
        "name": "x",
        "pool": {"rows": 100, "faults": {}},
        "cuts": {"cut": {"steps": ["text.length", {"keep": {"words": {"min": 2}}}]}},
        "train": {"name": "t", "model": {"architecture": "cupel-tiny"}, "samples": 100, "batch": 10},
    }
)
SVG = "{http://www.w3.org/2000/svg}"


def results(budgets: tuple[float, ...], seeds: int = 3) -> Results:
    rng = np.random.default_rng(0)
    runs = [
        Run(
            arm=arm,
            budget=budget,
            seed=seed,
            pool_hash="p",
            filter_recipe_hash="",
            filter_flops=0.0,
            filter_s=0.0,
            n_unique=100,
            samples_seen=int(1000 * budget),
            epochs=1.0,
            train_flops=1e12 * budget,
            lr=1e-3,
            loss_last=1.0,
            wall_s=1.0,
            metrics={name: mean + rng.normal(0, 0.01) for name in ("zs_top1", "i2t_R@1", "t2i_R@1")},
        )
        for budget in budgets
        for arm, mean in ARMS.items()
        for seed in range(seeds)
    ]
    return Results(name="x", synthetic=True, judged="<cut> & more", rows_in=1, rows_raw=1, lr=1e-3, tried={}, runs=runs)


@pytest.mark.parametrize("budgets", [(1.0,), (0.25, 1.0, 4.0), (2.0,)])
def test_all_that_is_drawn_lies_inside(budgets):
    drawing = ET.fromstring(plot(results(budgets)))
    _, _, width, height = map(float, drawing.get("viewBox").split())
    for element in drawing.iter():
        for name in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy"):
            if (value := element.get(name)) is not None:
                assert 0 <= float(value) <= (width if "x" in name else height), (element.tag, name, value)
        for pair in (element.get("points") or "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width and 0 <= y <= height
    said = [element.text for element in drawing.iter(f"{SVG}text")]
    assert all(arm in said for arm in ARMS)


def test_dots_stand_at_the_means():
    found = results((1.0,))
    dots = [float(dot.get("cx")) for dot in ET.fromstring(plot(found)).iter(f"{SVG}circle")][: len(ARMS)]
    means = [line.metrics["zs_top1"].mean for line in found.lines]
    scale = (dots[3] - dots[0]) / (means[3] - means[0])
    for dot, mean in zip(dots, means, strict=True):
        assert dot == pytest.approx(LABELS + scale * mean, abs=0.2)
    assert PANEL / scale in (pytest.approx(0.3, abs=0.002), pytest.approx(0.4, abs=0.002))


def test_a_verdict_needs_intervals_apart_in_all_headline_metrics():
    found = results((1.0,))
    assert found.verdict["beats_both_everywhere"]
    worse = [r for r in found.runs if r.arm != "random"] + [
        Run(**{**vars(r), "metrics": r.metrics | {"t2i_R@1": 0.2}}) for r in found.runs if r.arm == "random"
    ]
    verdict = Results(**{**vars(found), "runs": worse}).verdict
    assert verdict["budgets"]["1"]["t2i_R@1"] == {"raw": "above", "random": "intervals overlap"}
    assert not verdict["beats_both_everywhere"]


def test_a_cut_below_both_does_not_read_like_an_overlap():
    found = Results(**{**vars(results((1.0,))), "judged": "random"})
    below = with_metric(found, "random", 0.0)
    assert set(below.verdict["budgets"]["1"]["t2i_R@1"].values()) == {"below", "intervals overlap"}  # beside itself
    assert below.verdict["budgets"]["1"]["t2i_R@1"]["raw"] == "below"
    assert "random, t2i_R@1 at 1x, beside raw: below" in "\n".join(_verdict(below))


def with_metric(found: Results, arm: str, value: float) -> Results:
    """The results with one metric of one arm set."""
    runs = [
        Run(**{**vars(run), "metrics": run.metrics | ({"t2i_R@1": value} if run.arm == arm else {})})
        for run in found.runs
    ]
    return Results(**{**vars(found), "runs": runs})


def test_raw_with_the_filters_budget_is_held_against_the_cut_too():
    found = results((1.0,))
    longer = [Run(**{**vars(run), "arm": "raw and filter budget"}) for run in found.runs if run.arm == "oracle"]
    more = Results(**{**vars(found), "runs": [*found.runs, *longer]})
    assert more.verdict["budgets"]["1"]["zs_top1"]["raw and filter budget"] == "below"
    assert more.verdict["beats_both_everywhere"], "it stands beside the two, not among them"
    assert "beside raw and filter budget" in render(more, RECIPE)
    assert "beside raw and filter budget" not in render(found, RECIPE)


def test_the_filters_cost_stands_under_the_verdict():
    found = results((1.0,))
    runs = [
        Run(**{**vars(run), "filter_flops": 0.5e12 if run.arm == found.judged else 0.0, "train_flops": 1e12})
        for run in found.runs
    ]
    paid = Results(**{**vars(found), "runs": runs})
    assert paid.verdict["filter_cost"] == {"1": pytest.approx(0.5)}
    assert "learned score cost 50&nbsp;%" in render(paid, RECIPE)
    assert "cost 50% of its own" in "\n".join(_verdict(paid))


@pytest.mark.parametrize(("value", "verdict"), [(0.2, "no harm"), (0.0, "harm")])
def test_harm_is_judged_by_the_margin(value, verdict):
    found = results((1.0,))
    assert "harm" not in found.verdict
    asked = Results(**{**vars(with_metric(found, found.judged, value)), "margin": 0.02})
    assert asked.verdict["harm"]["1"]["t2i_R@1"] == verdict
    assert f">{verdict}</td>" in render(asked, RECIPE)


def test_a_rule_is_judged_by_what_its_absence_costs():
    found = results((1.0,))
    assert "rules" not in found.verdict and "What each rule is worth" not in render(found, RECIPE)
    offsets = {"without worse": -0.1, "without better": 0.1, "without same": 0.0}
    runs = [
        Run(**{**vars(run), "arm": arm, "metrics": {name: value + by for name, value in run.metrics.items()}})
        for arm, by in offsets.items()
        for run in found.runs
        if run.arm == found.judged
    ]
    judged = Results(**{**vars(found), "runs": [*found.runs, *runs], "left_out": tuple(offsets)})
    rules = judged.verdict["rules"]["1"]
    assert {arm: set(said.values()) for arm, said in rules.items()} == {
        "without worse": {"helps"},
        "without better": {"hurts"},
        "without same": {"not seen"},
    }
    assert judged.as_dict()["arms"][-1]["minus_judged"]["zs_top1"]["mean"] == 0
    page = render(judged, RECIPE)
    assert '<td class="yes">helps</td>' in page and '<td class="no">hurts</td>' in page and ">not seen</td>" in page
    assert "worse at 1x, by leaving it out: zs_top1 helps, i2t_R@1 helps" in "\n".join(_verdict(judged))


def test_the_page_says_what_it_does_not_cover():
    text = " ".join(render(results((0.5, 1.0)), RECIPE).split())
    assert "on one pool and one evaluation set" in text
    assert "at each budget the same steps" in text
    assert "arms of another size" not in text, "all have 100 rows"
    fewer = [Run(**{**vars(run), "n_unique": 50 if run.arm == "oracle" else 100}) for run in results((1.0,)).runs]
    assert "arms of another size" in render(Results(**{**vars(results((1.0,))), "runs": fewer}), RECIPE)
