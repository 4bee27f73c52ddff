"""A bound that finds its own line, as pages and commands show it."""

from __future__ import annotations

import numpy as np
import pytest
from asking import Asking
from typer.testing import CliRunner
from worlds import World, make

from cupel.pipeline.cli import app
from cupel.pipeline.inspect.thresholds.changes import Change


@pytest.fixture(scope="module")
def world(ray_session, tmp_path_factory) -> World:
    return make("two_groups", tmp_path_factory.mktemp("two_groups"))


@pytest.fixture(scope="module")
def client(world):
    with Asking(world.corpus) as asking:
        yield asking


def test_the_funnel_says_where_the_line_is(world, client):
    fitted = world.cut.manifest.steps[3].fitted["score"]
    assert fitted.threshold is not None
    (rule,) = client.data("")["funnel"][3]["rules"]
    assert rule["text"] == f"adaptive: {fitted.text}"
    assert f"adaptive {fitted.threshold:g}" in client.page()


def test_the_chart_is_drawn_with_the_line_that_other_rows_would_move(world, client):
    """The bound of another column drops a score's rows before `adaptive` sees them."""
    moves = ({}, {"c": "5.letter_ratio.min=0.485"})
    before, after = (client.data("/thresholds", of="6.any0.second", **moved) for moved in moves)
    chip = "adaptive: the upper of two groups, where there are two"
    assert {each["id"] for each in before["bounds"] if chip in each["fixed"]} == {"3.score", "6.any0.second"}
    for data in (before, after):
        assert data["exact"] and "adaptive" in data["charts"]["6.any0.second"]
    changed = world.whatif.decide([Change.parse("5.letter_ratio.min=0.485")])
    assert after["kept"]["at_least"] == changed.kept_at_least != before["kept"]["at_least"]


def test_a_rows_story_says_whether_it_passed(world):
    rows = world.whatif.rows.spaces[0]
    score = rows.column("score").to_numpy(zero_copy_only=False)
    line = world.cut.manifest.steps[3].fitted["score"].threshold
    came = rows.alive_at(3) & ~np.isnan(score)
    keys = rows.column("key").to_pylist()
    for mask, word in ((came & (score < line), "fails"), (came & (score >= line), "holds")):
        told = CliRunner().invoke(app, ["show", str(world.corpus), keys[int(np.flatnonzero(mask)[0])]])
        assert f"  {word}: score adaptive, value " in told.stdout
