"""What is decided in memory for other bounds is what a run of the changed recipe does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawing import write_jsonl
from worlds import WORLDS, World, bounds_of, drawn, make, pages, paths

from cupel import Recipe, run
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.thresholds.beside import changed_rows, nearest
from cupel.pipeline.inspect.thresholds.changes import Change
from cupel.pipeline.inspect.thresholds.whatif import Outcome, WhatIf
from cupel.pipeline.inspect.thresholds.yields import yield_curve


def check(world: World, changes: list[Change], number: int) -> Outcome:
    outcome = world.whatif.decide(changes)
    real = world.really(changes, number)
    kept = paths(real, real.last.kept)
    sure = paths(world.whatif.rows, outcome.alive[-1])
    may = paths(world.whatif.rows, outcome.alive[-1] | outcome.maybe[-1])
    assert sure <= kept
    assert outcome.exact == (outcome.why == "")
    if outcome.kept_at_most is not None:
        assert kept <= may
        assert outcome.kept_at_least <= len(kept) <= outcome.kept_at_most
    if outcome.exact:
        assert kept == sure and outcome.kept_at_least == outcome.kept_at_most == len(kept)
    return outcome


@pytest.fixture(scope="module", params=WORLDS)
def world(request, tmp_path_factory, ray_session) -> World:
    return make(request.param, tmp_path_factory.mktemp(request.param))


def test_a_run_keeps_what_was_foretold(world):
    random = np.random.default_rng(0)
    outcomes = [check(world, drawn(world, random), i) for i in range(6)]
    assert any(outcome.exact for outcome in outcomes)
    assert any(not outcome.exact for outcome in outcomes)


def test_without_a_change_all_is_as_in_the_cut(world):
    outcome, manifest = world.whatif.decide([]), world.cut.manifest
    assert outcome.exact and outcome.kept_at_least == outcome.kept_at_most == manifest.kept
    assert outcome.documents_at_least == outcome.documents_at_most == manifest.documents
    lines = [(line.step, line.rows_in, line.rows_in, line.dropped) for line in manifest.steps]
    assert [(step.label, step.least, step.most, step.dropped) for step in outcome.steps] == lines
    again = world.whatif.decide([change for change, _ in bounds_of(world)])
    assert again.exact and again.steps == outcome.steps


def test_a_curve_is_what_is_decided_at_each_value(world):
    random = np.random.default_rng(3)
    for change, values in bounds_of(world):
        others = [other for other in drawn(world, random) if other.step != change.step]
        at = replace(change, value=random.choice(values).item())
        curve = yield_curve(world.whatif, at, others, points=12)
        assert len(curve.values) <= 12 and at.value in curve.values and sorted(set(curve.values)) == [*curve.values]
        for value, least, most in zip(curve.values, curve.at_least, curve.at_most, strict=True):
            outcome = world.whatif.decide([*others, replace(at, value=value)])
            assert (least, most) == (outcome.kept_at_least, outcome.kept_at_most)


def test_the_rows_next_to_a_bound(world):
    random = np.random.default_rng(4)
    for change, values in bounds_of(world):
        at = replace(change, value=random.choice(values).item())
        found = nearest(world.whatif, at, 5)
        rows, step = world.whatif.rows.spaces[found.space], world.cut.plan.steps[at.step]
        column = rows.column(step.reads[at.column]).to_numpy(zero_copy_only=False).astype(float)
        for side in (found.below, found.above):
            assert rows.alive_at(at.step)[side].all() and len(set(side.tolist())) == len(side) <= 5
        if at.side in ("top", "bottom"):
            continue
        there = np.flatnonzero(rows.alive_at(at.step) & ~np.isnan(column))
        if rows.document is not None and step.reads[at.column] not in rows.space.nodes:
            there = there[np.unique(rows.document[there], return_index=True)[1]]
        above = column[there] >= at.value if at.side == "min" else column[there] > at.value
        for side, expected in ((found.below, there[~above]), (found.above, there[above])):
            distances = np.sort(np.abs(column[expected] - at.value))[:5]
            assert np.abs(column[side] - at.value).tolist() == distances.tolist()


def test_a_ranking_is_cut_between_the_rows_that_are_nearest(world):
    for change, _ in bounds_of(world):
        if change.side not in ("top", "bottom"):
            continue
        found = nearest(world.whatif, change, 1000)
        rows, step = world.whatif.rows.spaces[found.space], world.cut.plan.steps[change.step]
        chosen, others = (found.above, found.below) if change.side == "top" else (found.below, found.above)
        column = rows.column(step.reads[change.column]).to_numpy(zero_copy_only=False)
        group = step.keep.bounds if change.option is None else step.keep.any[change.option]
        bound = getattr(group[change.column], change.side)
        assert len(chosen) and len(others)
        if bound.by is None:
            assert len(chosen) == -(-(len(chosen) + len(others)) * round(bound.share * 100) // 100)
            assert (column[chosen].min() >= column[others].max()) == (change.side == "top") or len(set(column)) == 1


def test_rows_that_come_and_go(world):
    for change, values in bounds_of(world):
        outcome = world.whatif.decide([replace(change, value=values[len(values) // 2].item())])
        for space, rows in enumerate(world.whatif.rows.spaces):
            found = changed_rows(world.whatif, outcome, 4, space)
            assert (found.coming, found.going) == (
                (outcome.alive[space] & ~rows.kept).sum(),
                (rows.kept & ~outcome.alive[space] & ~outcome.maybe[space]).sum(),
            )
            assert (len(found.come), len(found.go)) == (min(4, found.coming), min(4, found.going))
            assert outcome.alive[space][found.come].all() and not rows.kept[found.come].any()
            assert rows.kept[found.go].all() and not outcome.alive[space][found.go].any()


def words(folder: Path, least: int, name: str = "r", **more: object) -> WhatIf:
    """Texts of 0 to 9 words, ten of each, and those of at least so many measured for letters."""
    source = write_jsonl(folder / "t.jsonl", [" ".join(["word"] * (i % 10)) for i in range(100)], **more)
    steps = [
        "text.length",
        {"keep": {"words": {"min": least}}},
        "text.characters",
        {"keep": {"letter_ratio": {"min": 0}}},
    ]
    recipe = Recipe.model_validate({"name": name, "steps": steps})
    return WhatIf(load_rows(open_cut(run(recipe, source, out=folder / "c", write=False).cut)))


@pytest.mark.usefixtures("ray_session")
def test_what_is_not_known_is_said_and_what_another_cut_measured_is_known(tmp_path):
    looser = [Change.parse("1.words.min=3")]
    outcome = words(tmp_path, 7).decide(looser)
    assert (outcome.kept_at_least, outcome.kept_at_most) == (30, 70)
    assert outcome.why == "text.characters has not measured 40 rows; a run is needed"
    assert [step.dropped for step in outcome.steps] == [0, 30, 0, None]
    words(tmp_path, 2, "wide")
    outcome = words(tmp_path, 7).decide(looser)
    assert outcome.exact and outcome.kept_at_least == 70 and outcome.why == ""


@pytest.mark.usefixtures("ray_session")
def test_of_a_part_of_the_rows_counts_are_estimates(tmp_path):
    whatif = words(tmp_path, 7)
    whatif.rows.share = 0.5
    outcome = whatif.decide([])
    assert (outcome.kept_at_least, outcome.exact, outcome.why) == (60, False, "an estimate by 50.0% of the rows")
    whatif.rows.share = 1.0
    whatif.rows.agrees = False
    assert "measured again since" in whatif.decide([]).why


KNOWN = {  # where all was measured, and no barrier stands behind it
    "pairs": ["6.characters.max=30", "2.words.max=7", "5.votes.top=0.4"],
    "copies": ["8.score.top=0.5"],
    "documents": ["0.rating.min=3", "8.whole_words.min="],
    "exact": ["10.characters.max=9"],
    "words": ["5.nth.max=4"],
    "fetched": ["2.rating.min=3", "3.any1.rating.min=5", "3.any1.words.min=2"],
    "two_groups": ["5.letter_ratio.min=0.485", "6.rating.max=4", "6.any0.second.min=0.2", "7.characters.max=20"],
}
UNKNOWN = {
    "pairs": ["2.words.max=11"],
    "copies": ["4.width_px.min=30", "2.words.min=4"],
    "documents": ["3.words.min=4"],
    "exact": ["3.words.min=4", "3.words.min=2"],
    "words": ["5.nth.max=7"],
    "fetched": ["2.rating.min=0", "4.rating.max=5"],
    "two_groups": ["0.rating.min=0", "2.words.min=1"],
}


def test_what_is_exact(world):
    name = world.cut.manifest.name
    for exact, texts in ((True, KNOWN[name]), (False, UNKNOWN[name])):
        for text in texts:
            assert world.whatif.decide([Change.parse(text)]).exact == exact, text


@pytest.mark.usefixtures("ray_session")
def test_among_rows_that_were_never_made_no_place_in_a_ranking_is_known(tmp_path):
    whatif = make("words", tmp_path).whatif
    outcome = whatif.decide([Change.parse("5.nth.max=7")])
    assert (outcome.kept_at_least, outcome.kept_at_most, outcome.exact) == (0, None, False)
    (new,) = re.findall(r"^(\d+) rows may come alive that test.draws would make others of; a run", outcome.why)
    assert outcome.steps[5].dropped is not None and outcome.steps[-1].most is None
    assert outcome.steps[6].least == whatif.rows.spaces[1].kept.sum() + int(new)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    "later",
    [
        [{"select.frequency": {"column": "seen"}}, {"keep": {"frequency": {"max": 60}}}],
        [
            {"document.repeated_images": {"column": "is_longest", "as": "again"}},
            {"keep": {"again_repeated_images": {"max": 0}}},
        ],
    ],
)
def test_what_was_found_in_findings_that_no_longer_hold_is_unknown(tmp_path, later):
    """The same nodes come to the last step, but what it reads was measured of documents with others."""
    keeps = [{"keep": {"words": {"min": least}}} for least in (3, 4)]
    steps = ["test.page", "text.length", keeps[0], "test.longest", keeps[1], *later]
    source, recipe = pages(tmp_path), Recipe.model_validate({"name": "r", "steps": steps})
    whatif = WhatIf(load_rows(open_cut(run(recipe, source, out=tmp_path / "c", write=False).cut)))
    for least in (2, 3.5):
        outcome = whatif.decide([Change.parse(f"2.words.min={least}")])
        assert not outcome.exact and outcome.kept_at_most is not None
