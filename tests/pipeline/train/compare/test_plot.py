"""The drawing of results: every arm is there, nothing lies outside, and numbers stand where they should."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cupel.pipeline.train.compare.plot import LABELS, PANEL, plot
from cupel.pipeline.train.compare.results import Results, Run

ARMS = {"raw": 0.10, "random": 0.08, "<cut> & more": 0.2, "oracle": 0.3}
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
    assert verdict["budgets"]["1"]["t2i_R@1"] == {"above_raw": True, "above_random": False}
    assert not verdict["beats_both_everywhere"]
