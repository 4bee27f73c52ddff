"""The demo's count of what was found is fair: by hand, on a handful of rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cupel.pipeline.recipe_file import load_recipe

INFRA = Path(__file__).parents[2] / "infra/demo"


@pytest.fixture(scope="module")
def infra(demo_modules):
    with demo_modules(read="demo_read", report="demo_report", score="demo_score") as modules:
        yield modules


def test_found_missed_and_mistaken(infra):
    """Two blank ones of which one was found, a copy whose original went, one by mistake, one that never was a row."""
    Item = infra.score.Item  # noqa: N806
    items = [
        Item("a", ""), Item("b", "", "odd"), Item("c", "copy", original="a"), Item("d", "blank"), Item("e", "blank"),
        Item("f", ""),
    ]  # fmt: skip
    found = infra.score.compare(items, {"a": "exact_of", "b": "", "c": "", "d": "entropy min 3", "e": ""})
    lines = {line.flaw: line for line in found.lines}
    assert (lines["copy"].planted, lines["copy"].found, lines["copy"].mostly) == (1, 1, "exact_of")
    assert (lines["blank"].planted, lines["blank"].found) == (2, 1)
    assert [item.name for item in lines["blank"].missed] == ["e"]
    assert [(item.name, why) for item, why in found.mistakes] == [("f", infra.score.NEVER)]
    assert found.sound == 3 and found.controls == {"odd": (1, 1)}
    assert found.recall == 2 / 3
    assert found.precision == {"exact_of": 1, "entropy min 3": 1, infra.score.NEVER: 0}


def test_a_rule_that_takes_sound_rows_too_is_less_precise(infra):
    items = [infra.score.Item(i, "blank" if i < 3 else "") for i in range(4)]
    found = infra.score.compare(items, dict.fromkeys(range(4), "entropy min 3"))
    assert found.precision == {"entropy min 3": 0.75}
    assert found.recall == 1


@pytest.mark.parametrize(
    ("column", "rule", "value", "reason"),
    [
        ("words", "min 3", "1", "words min 3"),
        ("words", "min 3", None, "no words"),
        ("near_image_of", "null", "00000000:7", "near_image_of"),
        ("crawl_status", "in ['ok']", "http_4xx", "status: http_4xx"),
        ("language", "in ['en']", "fr", "language: fr"),
    ],
)
def test_reasons_in_words(infra, column, rule, value, reason):
    assert infra.read.reason({"column": column, "rule": rule, "value": value}) == reason


def test_a_report_names_what_went_wrong(infra):
    items = [infra.score.Item(("page", "image"), ""), infra.score.Item("x", "blank"), infra.score.Item("y", "", "odd")]
    found = infra.score.compare(items, {"x": ""})
    assert list(infra.report.mistakes(found)) == [
        "Sound: 0 of 2 kept. Flawed: 0.0 % gone.",
        "Odd, but sound (odd): 0 of 1 kept: odd 0 of 1.",
        "  gone by mistake: page | image (was never met)",
        "  gone by mistake: y (was never met)",
        "  missed: x (blank)",
    ]
    table = infra.report.flaw_table("title", found)
    assert (table.row_count, len(table.columns)) == (1, 5)


@pytest.mark.long
def test_the_demo_finds_what_was_planted(tmp_path):
    """The whole of it, on a real Ray: hardly a flaw is missed, hardly a sound one goes."""
    command = [sys.executable, INFRA / "demo.py", "--out", tmp_path / "demo"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = re.findall(r"Sound: ([\d,]+) of ([\d,]+) kept. Flawed: ([\d.]+) % gone", ran.stdout)
    assert len(told) == 5  # addresses, pairs; documents, their paragraphs and images
    for kept, sound, gone in told:
        assert int(kept.replace(",", "")) >= 0.98 * int(sound.replace(",", "")) and float(gone) >= 98
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.count("Nothing was fetched or measured again") == 2


@pytest.mark.parametrize("name", ["demo_pairs", "demo_documents"])
def test_the_recipes_are_valid(name):
    assert load_recipe(INFRA / f"{name}.yaml").recipe.name == name
