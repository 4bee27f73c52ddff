"""Other bounds: in an address, checked against the plan, and as a recipe."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.inspect.thresholds.changes import (
    Change,
    changed_keeps,
    changed_recipe,
    edited_name,
)
from cupel.pipeline.planner import make_plan
from cupel.pipeline.recipe_file import RecipeFile, parse_recipe
from cupel.schemas.recipe import Recipe

STEPS = [
    {"keep": {"score": {"min": 0.2, "max": 0.9, "null": "keep"}}},
    "text.length",
    {"keep": {"words": {"min": 3}, "key": {"not_in": ["k0"]}}},
    {"keep": {"any": [{"score": {"max": 0.5}, "votes": {"min": 2}}, {"votes": {"max": 7}}], "words": {"max": 9}}},
    {"keep": {"score": {"top": {"share": 0.3, "by": "votes"}}}},
    {"dedup.exact": {"columns": ["text"], "as": {"exact_of": "same_of"}}},
    {"keep": {"same_of": None}},
]
SCHEMA = pa.schema(
    {"key": pa.string(), "text": pa.string(), "score": pa.float32(), "votes": pa.int16(), "at.x": pa.int64()}
)


def cut(*steps, name="r", schema=SCHEMA):
    """What is asked of an opened cut: its plan."""
    recipe = Recipe.model_validate({"name": name, "steps": list(steps or STEPS)})
    return SimpleNamespace(plan=make_plan(RecipeFile(recipe=recipe), schema))


def changed(*texts, of=None) -> list:
    """The steps of the changed recipe, as the planner has read it again."""
    opened = of or cut()
    text = changed_recipe(opened, [Change.parse(text) for text in texts])
    file = parse_recipe(text.encode(), "r.yaml")
    make_plan(file, opened.plan.spaces[0].schema)
    return list(file.recipe.steps)


columns = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
numbers = st.one_of(st.none(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False))


@given(st.integers(0, 9999), columns, st.sampled_from(["min", "max", "top", "bottom"]), numbers, st.integers(-1, 99))
def test_an_address_says_it_all(step, column, side, value, option):
    change = Change(step=step, column=column, side=side, value=value, option=None if option < 0 else option)
    again = Change.parse(change.format())
    assert again == change and type(again.value) is type(value)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("3.words.min=4", Change(step=3, column="words", side="min", value=4)),
        ("3.words.min=", Change(step=3, column="words", side="min", value=None)),
        ("5.any1.aspect_ratio.max=3.0", Change(step=5, column="aspect_ratio", side="max", value=3.0, option=1)),
        ("0.at.x.top=1e-3", Change(step=0, column="at.x", side="top", value=0.001)),
        ("0.any1.max=3", Change(step=0, column="any1", side="max", value=3)),
    ],
)
def test_addresses(text, change):
    assert Change.parse(text) == change


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no change of a bound"),
        ("words.min=4", "no change of a bound"),
        ("3.words.min", "no change of a bound"),
        ("-1.words.min=4", "no change of a bound"),
        ("3.words.mean=4", r"'mean' is no side of a bound \(there are: min, max, top, bottom\)"),
        ("3.words.min=four", "'four' is no number"),
        ("3.words.min=1_0", "'1_0' is no number"),
        ("3.words.min= 3", "' 3' is no number"),
        ("3.words.min=\u0663", "is no number"),
        ("3.words.min=infinity", "is no number"),
        ("3.words.min=1=2", "no side"),
        ("3.words.min=" + "9" * 2000, "no change of a bound"),
        ("3." + "a" * 2000 + ".min=1", "no change of a bound"),
    ],
)
def test_what_is_no_change_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        Change.parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1.words.min=4", "step 1 is no keep"),
        ("99.words.min=4", "step 99 is no keep"),
        ("2.wrds.min=4", r"step 2 \(keep words, key\) has no bound on 'wrds'"),
        ("2.score.min=4", "has no bound on 'score'"),
        ("3.any0.words.min=4", "alternative 0 of step 3 .* has no bound on 'words'"),
        ("3.any7.votes.min=4", "alternative 7 of step 3"),
        ("2.key.min=4", "min is for numbers, and 'key' holds string"),
        ("2.words.min=nan", "nan is no number that can be a bound"),
        ("2.words.min=inf", "inf is no number that can be a bound"),
        ("2.words.top=0.5", "'words' has no top here"),
        ("4.score.bottom=0.5", "'score' has no bottom here"),
        ("4.score.top=0", "a share is above 0 and at most 1, not 0"),
        ("4.score.top=1.01", "a share is above 0 and at most 1"),
        ("4.score.top=0.0000001", "a share is above 0 and at most 1"),
        ("6.same_of.min=1", "'same_of' must be null"),
    ],
)
def test_what_does_not_fit_the_recipe_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        changed_recipe(cut(), [Change.parse(text)])


def bound(step, column):
    return step.bounds[column].model_dump(exclude_none=True, by_alias=True)


def test_a_recipe_with_other_values():
    steps = changed("0.score.min=0.25", "2.words.min=4.0", "2.words.max=20", "4.score.top=0.30000000000000004")
    assert bound(steps[0], "score") == {"min": 0.25, "max": 0.9, "null": "keep"}
    words = bound(steps[2], "words")
    assert words == {"min": 4, "max": 20, "null": "drop"} and type(words["min"]) is int
    assert bound(steps[4], "score")["top"] == {"share": 0.3, "by": "votes"}
    assert [steps[i] for i in (1, 3, 5, 6)] == [cut().plan.recipe.steps[i] for i in (1, 3, 5, 6)]


def test_integers_are_written_as_integers():
    text = changed_recipe(cut(), [Change.parse("2.words.min=4.0"), Change.parse("0.score.max=1")])
    assert "min: 4\n" in text and "max: 1\n" in text
    assert "min: 4.5\n" in changed_recipe(cut(), [Change.parse("2.words.min=4.5")])


def test_bounds_that_are_taken_away():
    assert bound(changed("0.score.min=")[0], "score") == {"max": 0.9, "null": "keep"}
    assert len(changed("0.score.min=", "0.score.max=")) == len(STEPS) - 1, "nothing is left of the keep"
    assert list(changed("2.words.min=")[2].bounds) == ["key"]
    assert list(changed("3.any0.votes.min=")[3].any[0]) == ["score"]
    assert changed("3.any1.votes.max=")[3].any == (), "an alternative that always holds"
    assert len(changed("3.any1.votes.max=", "3.words.max=")) == len(STEPS) - 1
    assert len(changed("4.score.top=")) == len(STEPS) - 1
    assert bound(changed("0.score.min=", "0.score.max=", "0.score.min=0.1")[0], "score")["min"] == 0.1


def test_no_change_is_none():
    same = ["0.score.min=0.2", "2.words.min=3.0", "2.words.max=", "4.score.top=0.3", "3.any1.votes.max=7"]
    assert changed_keeps(cut().plan, map(Change.parse, same)) == {}
    assert changed(*same) == list(cut().plan.recipe.steps)


def test_what_names_duplicates_must_be_read():
    frequency = {"select.frequency": {"column": "text", "as": {"frequency": "seen_by"}}}
    steps = [frequency, {"keep": {"seen_by": {"max": 3}}}]
    with pytest.raises(ValueError, match="adds 'seen_by', and no keep would read it"):
        changed_recipe(cut(*steps), [Change.parse("1.seen_by.max=")])
    assert len(changed("1.seen_by.max=", of=cut(*steps, {"keep": {"seen_by": {"min": 1}}}))) == 2


def test_a_keep_of_nulls_that_says_nothing_stays_as_it_is():
    of = cut({"keep": {"score": {"null": "keep"}, "votes": {"min": 2}}})
    assert list(changed("0.votes.min=3", of=of)[0].bounds) == ["score", "votes"]


def test_names():
    assert edited_name(cut(name="mine")) == "mine_edited" == edited_name(cut(name="mine_edited"))
    assert len(edited_name(cut(name="a" * 80))) == 80
    assert changed_recipe(cut(), [], "other").startswith("name: other\n")
    for name in ("../x", "", "a b", "a" * 81):
        with pytest.raises(ValueError, match="cannot be a recipe's name"):
            changed_recipe(cut(), [], name)
