"""The funnel in words, as a table, in a notebook and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cupel import Funnel
from cupel.schemas.corpus import Manifest, StepTotals

STEP = "keep a<b>, [red]"
STEPS = [
    StepTotals(step="text.length", rows_in=1200, measured=1200, seconds=0.25),
    StepTotals(step=STEP, rows_in=1200, dropped=300, rules={"words min 3": 300}),
]


@pytest.fixture
def funnel():
    manifest = Manifest(
        name="mine & yours",
        recipe_hash="",
        source_digest="",
        versions={},
        shards=2,
        rows_in=1200,
        kept=900,
        dropped={STEP: 300},
        errors={"truncated": 2},
        steps=STEPS,
        unreadable={"b.parquet": "too short"},
        wrote_images=True,
        files_sha256="",
    )
    return Funnel(manifest=manifest, measured_rows={"text.length": 7}, seconds=1.5, corpus="c", cut="c/cuts/mine-1")


def test_numbers_are_those_of_the_manifest(funnel):
    assert (funnel.rows_in, funnel.kept, funnel.dropped) == (1200, 900, {STEP: 300})
    assert (funnel.errors, funnel.unreadable, funnel.steps) == ({"truncated": 2}, {"b.parquet": "too short"}, STEPS)
    assert json.loads(json.dumps(funnel.as_dict()))["measured_rows"] == {"text.length": 7}


def test_a_notebook_shows_a_table(funnel):
    table = ElementTree.fromstring(funnel._repr_html_())
    cells = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert table.findtext("caption") == "mine & yours"
    assert cells == [
        ["step", "rows in", "dropped", "share", "seconds"],
        ["text.length", "1,200", "", "", "0.2"],
        [STEP, "1,200", "300", "25.0%", "0.0"],
        ["kept", "900", "", "75.0%", "1.5"],
    ]


def test_print_shows_the_same_table(funnel):
    text = str(funnel)
    assert text.startswith("mine & yours: 1,200 rows in, 900 kept ")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows[1] == [STEP, "1,200", "300", "25.0%", "0.0"]
    assert rows[-1] == ["kept", "900", "", "75.0%", "1.5"]
    assert "\x1b" not in text


def test_rows_that_an_extractor_made_have_a_column(funnel):
    steps = [StepTotals(step="pair.augment", rows_in=1200, made=3500, childless=50, measured=1200), STEPS[0]]
    changes = {"name": "r", "kept": 700, "dropped": {}, "steps": steps}
    funnel = replace(funnel, manifest=funnel.manifest.model_copy(update=changes))
    assert funnel.made == funnel.as_dict()["made"] == {"pair.augment": 3500}
    text = str(funnel)
    assert text.startswith("r: 1,200 rows in, 3,500 made by pair.augment, 700 kept ")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["pair.augment", "1,200", "", "", "3,500", "0.0"],
        ["text.length", "1,200", "", "", "", "0.2"],
        ["kept", "700", "", "20.0%", "", "1.5"],
    ]
