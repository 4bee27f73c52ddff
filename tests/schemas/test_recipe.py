"""Recipes made in Python and recipes written down are the same thing, and neither takes what it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cupel.pipeline.recipe_file import parse_recipe, recipe_as_yaml
from cupel.schemas.recipe import Bound, Keep, Ranked, Read, Recipe, Step, Write

# PyYAML writes U+0085, U+2028 and U+2029 as they are, and reads them as line breaks; nobody's columns hold them.
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8)
COLUMNS = WORDS | st.sampled_from(
    ["null", "no", "1", "~", "=", "0E0", "1e-3", "0x1f", "1_000", "2001-01-01", "12:30", "any", "bounds", "on", "as"]
)
NUMBERS = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.lists(st.booleans() | NUMBERS | WORDS, min_size=1, max_size=3).map(tuple)
RANKED = st.builds(Ranked, share=st.floats(0, 1, exclude_min=True), by=st.none() | COLUMNS)
BOUNDS = st.just(Bound(null="only")) | st.builds(
    Bound,
    min=NUMBERS,
    max=st.none() | NUMBERS,
    in_=st.none() | SCALARS,
    not_in=st.none() | SCALARS,
    top=st.none() | RANKED,
    bottom=st.none() | RANKED,
    adaptive=st.none() | st.just(True),
    null=st.sampled_from(["keep", "drop"]),
)
RULES = st.dictionaries(COLUMNS, BOUNDS, min_size=1, max_size=3)
PARAMETERS = st.dictionaries(
    COLUMNS.filter(lambda name: name not in ("as", "on")),
    st.none() | NUMBERS | WORDS | st.lists(WORDS, max_size=2),
    max_size=3,
)
STEPS = st.builds(Keep, bounds=RULES, any=st.lists(RULES, max_size=2).map(tuple)) | st.builds(
    Step,
    operator=COLUMNS.filter(lambda name: name != "keep"),
    params=PARAMETERS,
    rename=st.dictionaries(COLUMNS, WORDS),
)
READS = st.builds(Read, input=WORDS, key=st.none() | COLUMNS, drop=st.lists(COLUMNS, max_size=2).map(tuple))
RECIPES = st.builds(
    Recipe,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    read=st.none() | READS,
    steps=st.lists(STEPS, max_size=4).map(tuple),
    write=st.builds(Write, shard_rows=st.integers(1, 10**6)),
)


@given(RECIPES)
def test_a_recipe_survives_being_written_down(recipe):
    assert parse_recipe(recipe_as_yaml(recipe).encode(), "r.yaml").recipe == recipe


def test_short_forms():
    recipe = Recipe(
        name="r",
        steps=["text.length", {"image.phash": {"as": {"phash": "p"}}}, {"keep": {"x": {"top": 0.3}, "y": None}}],
    )
    assert recipe.steps == (
        Step(operator="text.length"),
        Step(operator="image.phash", rename={"phash": "p"}),
        Keep(bounds={"x": Bound(top=Ranked(share=0.3)), "y": Bound(null="only")}),
    )
    assert Recipe(name="r", steps=[{"image.phash": None}]).steps == (Step(operator="image.phash"),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Read(), "exactly one of folder, table, webdataset, warc, wat, cdx, urls, input"),
        (lambda: Read(folder="a", table="b"), "exactly one of"),
        (lambda: Read(folder="a", colour="b"), "Extra inputs are not permitted"),
        (lambda: Read(folder="a", urls_of="images"), "urls_of goes with urls"),
        (lambda: Read(urls="a", urls_of="videos"), "'pages' or 'images'"),
        (lambda: Read(table="a", base="s3://b"), "base goes with cdx"),
        (lambda: Bound(), "a bound needs one of"),
        (lambda: Bound(null="only", min=1), "null: only stands alone"),
        (lambda: Bound(null="only", adaptive=True), "null: only stands alone"),
        (lambda: Bound(adaptive=False, min=1), "adaptive is true, or left out"),
        (lambda: Bound(adaptive="yes"), "valid boolean"),
        (lambda: Bound(min="3"), "valid number"),
        (lambda: Ranked(share=0), "greater than 0"),
        (lambda: Ranked(share=1.5), "less than or equal to 1"),
        (lambda: Keep(), "keep needs at least one column"),
        (lambda: Recipe(name="a/b"), "String should match pattern"),
        (lambda: Recipe(name="r", steps=[3]), "a step is an operator's name"),
        (lambda: Recipe(name="r", steps=[{"a": 1, "b": 2}]), "a step is an operator's name"),
        (lambda: Write(shard_rows=0), "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
