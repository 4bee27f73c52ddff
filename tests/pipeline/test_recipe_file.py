"""Recipes: what is read is what was written, and every mistake is told with its line."""

from __future__ import annotations

import pytest

from cupel.pipeline.recipe_file import RecipeError, load_recipe, parse_recipe, recipe_as_yaml, shipped_recipes

GOOD = """\
name: alt_text
read: {webdataset: data/*.tar}
steps:
  - text.length
  - keep: {words: {min: 3, null: keep}, characters: {min: 6}}
  - keep: {language: {in: [en, no]}}
  - image.phash: {as: {phash: other}}
  - keep: {near_image_of: null, any: [{words: {min: 3}}, {characters: {max: 2}}]}
  - keep: {score: {top: 0.3}}
write: {shard_rows: 500}
"""


def test_what_is_written_reads_back_the_same():
    recipe = parse_recipe(GOOD.encode(), "a.yaml").recipe
    assert parse_recipe(recipe_as_yaml(recipe).encode(), "b.yaml").recipe == recipe
    assert recipe.steps[2].bounds["language"].in_ == ("en", "no"), "no is Norwegian"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min: 3, null", "mim: 3, null", "r.yaml:5: unknown key 'mim'; did you mean 'min'?"),
        ("write:", "wrte:", "r.yaml:10: unknown key 'wrte'; did you mean 'write'?"),
        ("shard_rows", "shard_row", "r.yaml:10: unknown key 'shard_row'; did you mean 'shard_rows'"),
        ("shard_rows: 500", "shard_rows: many", "r.yaml:10: shard_rows: Input should be a valid integer"),
        ("webdataset:", "webdatasets:", "r.yaml:2: unknown key 'webdatasets'; did you mean 'webdataset'?"),
        ("min: 6", "min: six", "r.yaml:5: min: Input should be a valid number"),
        ("top: 0.3", "top: 30", "r.yaml:9: top: Input should be less than or equal to 1"),
        ("{score: {top: 0.3}}", "{score: {}}", "r.yaml:9: a bound needs one of min, max"),
        ("{score: {top: 0.3}}", "{}", "r.yaml:9: keep needs at least one column"),
        ("- text.length", "- {a: 1, b: 2}", "r.yaml:4: a step is an operator's name"),
        ("- text.length", "- text.length: 3", "r.yaml:4: the parameters of text.length must be a mapping"),
        ("name: alt_text", "name: alt_text\nname: b", "r.yaml:2: 'name' stands here twice"),
        ("name: alt_text", "name: ../evil", "r.yaml:1: name: String should match pattern"),
        ("[en, no]", "&a [en]", "r.yaml:6"),
        ("name: alt_text", "name: [", "not YAML"),
        ("name: alt_text", "name: !!python/object/apply:os.system ['true']", "r.yaml:1: the tag"),
    ],
)
def test_mistakes_are_told_with_their_line(old, new, message):
    text = GOOD.replace(old, new)
    if new.startswith("&a"):
        text = text.replace("- keep: {score", "- keep: {language: {in: *a}}\n  - keep: {score")
        message = "anchors and aliases are not used"
    with pytest.raises(RecipeError) as error:
        parse_recipe(text.encode(), "r.yaml")
    assert message in str(error.value)


def test_a_missing_recipe_names_near_ones(tmp_path):
    with pytest.raises(RecipeError, match="did you mean 'pairs_starter'"):
        load_recipe("pair_starter")


def test_a_deeply_nested_recipe_is_refused_quickly():
    with pytest.raises(RecipeError):
        parse_recipe(b"steps: " + b"[" * 2000, "deep.yaml")


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_say_where_their_rules_come_from(name):
    text = shipped_recipes()[name].read_text()
    assert text.startswith("# ")
    keeps = [line for line in text.splitlines() if "min:" in line or "max:" in line]
    assert all("#" in line for line in keeps), "every threshold has its source beside it"
    assert load_recipe(name).recipe.name == name
