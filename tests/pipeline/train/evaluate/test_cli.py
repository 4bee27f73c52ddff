"""`cupel evaluate` as a stranger types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from cupel.operators.models.weights import SHIPPED
from cupel.pipeline.train.evaluate.cli import add_to

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback()(lambda: None)
add_to(app)


def cupel(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in ("evaluate", *arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.fixture
def few(class_folder: Path, tmp_path: Path) -> Path:
    for name in ("red_circle", "blue_square"):
        shutil.copytree(class_folder / name, tmp_path / "few" / name)
    return tmp_path / "few"


def test_a_table_for_people_and_a_file_in_the_run(few: Path, captioned: Path, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED["cupel-tiny"], tmp_path / "run/model")
    result = cupel(tmp_path / "run", "--on", few, "--on", captioned)
    assert result.exit_code == 0
    for told in (
        "16 images  2 classes",
        "zero-shot top-1",
        "linear probe",
        "40 images  80 captions",
        "image to text R@1",
    ):
        assert told in result.stdout
    assert "attribute (80 pairs)" in result.stdout
    assert "kept in" in result.stdout
    assert {f"{few}: 0/16 images", str(captioned)} < set(result.stderr.splitlines())
    assert set(json.loads((tmp_path / "run/evaluation.json").read_text())["on"]) == {str(few), str(captioned)}


def test_json_alone_on_standard_output_and_nothing_written_into_a_model(few: Path, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED["cupel-tiny"], tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    result = cupel(tmp_path / "model", "--on", few, "--json", "--template", "a {}", "--template", "one {}.")
    found = json.loads(result.stdout)
    assert found["on"][str(few)]["zero_shot"]["templates"] == ["a {}", "one {}."]
    assert {"model", "device", "seed", "weights"} <= set(found)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["runs/gone", "--on", "FEW"], "there is no run or model runs/gone"),
        (["cupel-tinny", "--on", "FEW"], "no model 'cupel-tinny'; did you mean 'cupel-tiny'?"),
        (["cupel-tiny", "--on", "gone"], "no such file or folder: "),
        (["cupel-tiny", "--on", "FEW", "--on", "EMPTY"], "no files in"),
        (["cupel-tiny", "--on", "FEW", "--classes", "gone.yaml"], "gone.yaml: No such file or directory"),
        (["cupel-tiny", "--on", "PAIRS", "--classes", "c.yaml"], "c.yaml names classes, and none of"),
        (["cupel-tiny", "--on", "FEW", "--template", "a photo"], "--template 'a photo' needs {} once"),
        (["cupel-tiny", "--on", "FEW", "--scorer", "ViT-B-23"], "no model 'ViT-B-23'; did you mean 'ViT-B-32'"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], told: str, few: Path, captioned: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FEW": str(few), "PAIRS": str(captioned), "EMPTY": str(tmp_path / "empty")}
    result = cupel(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.startswith("cupel: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_help_ends_with_an_example() -> None:
    assert "Example: cupel evaluate run --on" in " ".join(cupel("--help").stdout.split())
