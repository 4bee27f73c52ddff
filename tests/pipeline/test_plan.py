"""Plans: columns are checked, fingerprints change when the numbers would, and only then."""

from __future__ import annotations

import pytest
from recipe_files import write_recipe_files

from cupel.pipeline.columns import supposed
from cupel.pipeline.plan import CorpusStep, KeepStep, MeasureStep
from cupel.pipeline.planner import make_plan
from cupel.pipeline.recipe_file import RecipeError, RecipeFile, parse_recipe, shipped_recipes
from cupel.schemas.pair import PAIR
from cupel.schemas.recipe import Recipe


def plan(*steps, schema=PAIR):
    return make_plan(RecipeFile(recipe=Recipe(name="r", steps=list(steps))), schema)


def fingerprint(made, label):
    return next(step.fingerprint for step in made.steps if step.label == label)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("- text.lenght", "r.yaml:3: no operator 'text.lenght'; did you mean 'text.length'"),
        ("- keep: {words: {min: 3}}", "r.yaml:3: keep reads 'words', which no earlier step adds; text.length adds it"),
        ("- keep: {wrods: {min: 3}}", "r.yaml:3: keep reads 'wrods', which neither the source nor an earlier step has"),
        ("- text.length: {unit: px}", "r.yaml:3: text.length has no parameter 'unit' (known: none)"),
        ("- text.length\n  - text.length", "r.yaml:4: text.length adds 'characters', but an earlier step has a column"),
        (
            "- pair.clip_similarity: {model: cupel-tinny}",
            "r.yaml:3: pair.clip_similarity: no model 'cupel-tinny'; did you mean 'cupel-tiny'",
        ),
        ("- text.length: {as: {wrds: w}}", "r.yaml:3: as renames 'wrds', which text.length does not add; did you mean"),
        ("- text.length: {as: {words: text}}", "r.yaml:3: text.length adds 'text', but the source has a column"),
        ("- keep: {text: {min: 3}}", "r.yaml:3: min is for numbers, and 'text' holds string"),
        ("- text.length\n  - keep: {words: {in: [many]}}", "r.yaml:4: in holds 'many', and 'words' holds int32"),
        ("- text.language\n  - keep: {language: {in: [en, 3]}}", "r.yaml:4: in holds 3, and 'language' holds string"),
        ("- dedup.exact: {columns: [text]}", "r.yaml:3: dedup.exact adds 'exact_of', but no later keep reads it"),
        ("- select.frequency", "r.yaml:3: select.frequency needs the parameter 'column'"),
        ("- select.frequency: {column: txt}", "r.yaml:3: select.frequency reads 'txt', which neither"),
        ("- text.length\n  - keep: {words: {top: {share: 0.5, by: lang}}}", "r.yaml:4: by reads 'lang', which neither"),
    ],
)
def test_mistakes_name_file_line_and_near_names(steps, message):
    recipe = parse_recipe(f"name: r\nsteps:\n  {steps}\n".encode(), "r.yaml")
    with pytest.raises(RecipeError) as error:
        make_plan(recipe, PAIR)
    assert str(error.value).startswith(message)


def test_keeps_are_in_no_fingerprint_and_parameters_are():
    loose = plan("text.length", {"keep": {"words": {"min": 3}}}, "image.phash", {"keep": {"phash": {"min": 0}}})
    tight = plan("text.length", {"keep": {"words": {"min": 9}}}, "image.phash", {"keep": {"phash": {"min": 0}}})
    other = plan("text.length", {"image.phash": {"decode": "scaled"}})
    assert fingerprint(loose, "image.phash") == fingerprint(tight, "image.phash")
    assert fingerprint(loose, "image.phash") != fingerprint(other, "image.phash")
    assert loose.hash != tight.hash


def test_a_file_counts_by_its_content_and_not_by_its_place(tmp_path):
    prints = []
    for name, text in (("a.txt", "one"), ("b.txt", "one"), ("c.txt", "two")):
        (tmp_path / name).write_text(text)
        prints.append(fingerprint(plan({"test.listed": {"path": str(tmp_path / name)}}), "test.listed"))
    assert prints[0] == prints[1] != prints[2]


def test_a_transform_changes_what_later_steps_read():
    made = plan("text.length", "test.shout", {"text.length": {"as": {"words": "loud_words", "characters": "loud"}}})
    first, _, second = made.steps
    assert first.reads == {"text": "text"}
    assert second.reads == {"text": "loud_text"}
    assert first.fingerprint != second.fingerprint
    assert made.spaces[0].view["text"] == "loud_text"


def test_barriers_part_the_stretches():
    made = plan(
        "text.length",
        {"keep": {"words": {"top": 0.5}}},
        {"dedup.exact": {"columns": ["text"]}},
        {"keep": {"exact_of": None}},
        "image.size",
    )
    kinds = [type(step) for step in made.steps]
    assert kinds == [MeasureStep, KeepStep, CorpusStep, KeepStep, MeasureStep]
    assert made.stretches == ((0, 1), (1, 2), (2, 5))


def test_a_row_operator_reads_nothing_that_belongs_to_a_cut():
    with pytest.raises(RecipeError, match=r"image.blur_faces cannot read 'frequency': it belongs to this cut \(select"):
        plan({"select.frequency": {"column": "text"}}, {"image.blur_faces": {"column": "frequency"}})


def test_labels_are_unique():
    made = plan("text.length", {"keep": {"words": {"min": 1}}}, {"keep": {"words": {"max": 9}}})
    assert [step.label for step in made.steps] == ["text.length", "keep words", "keep words (2)"]


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_plan(name, tmp_path, monkeypatch):
    monkeypatch.chdir(write_recipe_files(tmp_path))
    recipe = parse_recipe(shipped_recipes()[name].read_bytes(), name)
    made = make_plan(recipe, supposed(recipe.recipe))
    assert len(made.steps) > 1


def test_a_default_written_out_is_the_same_cut():
    short = plan("text.repetition")
    assert short.hash == plan({"text.repetition": {"word_n": 5}}).hash
    assert short.hash != plan({"text.repetition": {"word_n": 4}}).hash
    assert short.recipe.steps[0].params == {"character_n": 10, "word_n": 5}
