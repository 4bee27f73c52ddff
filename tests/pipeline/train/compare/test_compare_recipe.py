"""Experiments as YAML: what they may say, and what becomes of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cupel.pipeline.recipe_file import RecipeError
from cupel.pipeline.train.compare.recipe import CompareRecipe, needs_learned, with_model
from cupel.pipeline.train.recipe_file import load_as, train_recipes
from cupel.schemas.recipe import Keep, Step

TRAIN = {"name": "t", "model": {"architecture": "cupel-tiny"}, "samples": 100, "batch": 10}
RULES = ["text.length", {"keep": {"words": {"min": 2}}}, "image.phash", "dedup.near_images"]
RULES += [{"keep": {"near_image_of": None}}]
SCORE = [{"pair.clip_similarity": {"model": "learned"}}, {"keep": {"clip_similarity": {"top": 0.5}}}]
GIVEN = {
    "name": "x",
    "pool": {"rows": 100, "faults": {}},
    "cuts": {"rules": {"steps": RULES}, "chain": {"after": "rules", "steps": SCORE}},
    "train": TRAIN,
}


def recipe(**changes: object) -> CompareRecipe:
    return CompareRecipe.model_validate({**GIVEN, **changes})


@pytest.mark.parametrize("name", [*sorted(name for name in train_recipes() if name.startswith("proof")), "train/proof"])
def test_shipped_experiments_are_sound(name):
    found = load_as(CompareRecipe, name)
    assert found.judged == "rules and score"
    assert found.steps("rules and score")[: len(found.steps("rules"))] == found.steps("rules")


def test_defaults_are_all_cuts_and_the_last_is_judged():
    assert recipe().all_arms == ("raw", "random", "rules", "chain", "oracle")
    assert recipe().judged == "chain"
    assert recipe(headline="rules").judged == "rules"


def test_steps_come_after_those_of_another_cut():
    steps = recipe().steps("chain")
    assert [type(step) for step in steps] == [Step, Keep, Step, Step, Keep, Step, Keep]
    assert needs_learned(steps) == 5 and needs_learned(steps[:5]) is None
    assert with_model(steps, "/m")[5].params == {"model": "/m"}
    assert with_model(steps, "/m")[:5] == steps[:5]


def test_leaving_out_takes_a_rule_and_what_only_it_needs():
    found = recipe(leave_out=True)
    assert list(found.left_out) == ["without words", "without near_image_of", "without clip_similarity"]
    operators = [step.operator for step in found.left_out["without near_image_of"] if isinstance(step, Step)]
    assert operators == ["text.length", "pair.clip_similarity"]
    assert found.left_out["without clip_similarity"] == found.steps("rules")
    assert found.all_arms[-3:] == tuple(found.left_out)


def test_what_a_later_step_reads_stays():
    steps = ["image.phash", "text.length", {"keep": {"words": {"min": 2}}}, "dedup.near_images"]
    steps += [{"keep": {"near_image_of": None, "characters": {"max": 90}}}]
    found = recipe(cuts={"all": {"steps": steps}}, leave_out=True).left_out
    operators = {name: [s.operator for s in kept if isinstance(s, Step)] for name, kept in found.items()}
    assert operators["without words"] == ["image.phash", "text.length", "dedup.near_images"]
    assert operators["without near_image_of, characters"] == ["image.phash", "text.length"]


def test_a_renamed_column_stays_for_the_rule_that_reads_it():
    steps = [{"text.length": {"as": {"words": "count", "characters": "size"}}}, {"keep": {"count": {"min": 2}}}]
    for column, stays in (("size", 1), ("words", 0)):
        rule = {"keep": {column: {"max": 9}}}
        found = recipe(cuts={"all": {"steps": [*steps, rule]}}, leave_out=True).left_out
        assert len(found["without count"]) == 1 + stays


def test_rules_on_the_same_columns_are_numbered():
    steps = ["text.length", {"keep": {"words": {"min": 2}}}, {"keep": {"words": {"max": 9}}}]
    names = {"all": {"steps": steps}, "without words 2": {"steps": RULES}}
    found = recipe(cuts=names, headline="all", leave_out=True).left_out
    assert list(found) == ["without words", "without words 3"]
    assert [keep.bounds["words"].max for keep in found["without words"][1:]] == [9]
    assert [keep.bounds["words"].min for keep in found["without words 3"][1:]] == [2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "photos/"}, "exactly one of pool and data"),
        ({"pool": None}, "exactly one of pool and data"),
        ({"pool": None, "data": "photos/"}, "evaluation goes with data"),
        ({"evaluation": {"pairs": "p"}}, "evaluation goes with data"),
        ({"train": {**TRAIN, "samples": None, "epochs": 2.0}}, "train needs samples"),
        ({"headline": "best"}, "none of the cuts"),
        ({"arms": ["raw", "chain"]}, "arms must have raw, random and chain"),
        ({"arms": ["raw", "random", "chain", "best"]}, "no arm 'best'"),
        ({"cuts": {"raw": {"steps": RULES}}}, "no name for a cut"),
        ({"cuts": {"a": {"after": "b", "steps": RULES}}}, "no cut 'b'"),
        ({"cuts": {"a": {"after": "b", "steps": RULES}, "b": {"after": "a", "steps": RULES}}}, "circle"),
        ({"name": "runs"}, "choose another"),
        ({"seeds": 1}, "greater than or equal to 2"),
        ({"budgets": [1, 1.0]}, "budgets has 1.0 twice"),
        ({"learning_rates": [1e-3, 2e-3, 1e-3]}, "learning_rates has 0.001 twice"),
        ({"arms": ["raw", "random", "chain", "raw"]}, "arms has raw twice"),
        ({"margin": 2.0}, "less than 1"),
        ({"pool": {"rows": 100, "faults": {}, "evaluation_rows": 1025}}, "worlds one have 1,024 different scenes"),
        ({"pool": None, "data": "d", "evaluation": {"pairs": "p", "prompts": ["a photo"]}}, "needs {} once"),
        ({"seedz": 3}, "Extra inputs"),
    ],
)
def test_what_cannot_be_is_told(changes, said):
    with pytest.raises(ValidationError, match=said):
        recipe(**changes)


def test_the_oracle_needs_a_pool():
    real = {"pool": None, "data": "photos/", "evaluation": {"pairs": "held_out/"}}
    assert recipe(**real).all_arms == ("raw", "random", "rules", "chain")
    with pytest.raises(ValidationError, match="nobody knows the truth"):
        recipe(**real, arms=["raw", "random", "chain", "oracle"])


def test_a_fault_has_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\npool: {rows: 100, faults: {}}\ncuts: {}\nbudget: 3\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml:\d+: "):
        load_as(CompareRecipe, str(tmp_path / "mine.yaml"))
