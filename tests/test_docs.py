"""Nothing ships undocumented, and what the README shows runs."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawing import write_folder
from typer.core import TyperCommand as Command
from typer.core import TyperGroup as Group
from typer.main import get_command

from cupel.operators import registry
from cupel.pipeline.catalogue import about
from cupel.pipeline.cli import app
from cupel.pipeline.recipe_file import parse_recipe, shipped_recipes
from cupel.pipeline.train.recipe_file import load_train_recipe, train_recipes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OURS = [name for name in registry.names() if not name.startswith("test.")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands(group: Group, *names: str) -> Iterator[tuple[str, Command]]:
    """Every command with all its names, those of groups too."""
    for name, command in group.commands.items():
        if isinstance(command, Group):
            yield from commands(command, *names, name)
        else:
            yield " ".join([*names, name]), command


@pytest.mark.parametrize("command", [name for name, _ in commands(get_command(app))])
def test_every_command_has_a_line_in_the_readme(command):
    *group, name = command.split()
    line = rf"^\| `cupel {' '.join([*group, ''])}[a-z|\\]*\b{name}\b"
    assert re.search(line, README, re.MULTILINE)


@pytest.mark.parametrize("command", [name for name, _ in commands(get_command(app))])
def test_every_commands_help_ends_with_an_example(command):
    found = dict(commands(get_command(app)))[command]
    assert found.help.split("\n\n")[-1].strip().startswith(f"Example: cupel {command}")


def test_every_option_that_the_readme_names_exists():
    parameters = [item for _, command in commands(get_command(app)) for item in command.params]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named <= {option for parameter in parameters for option in parameter.opts}


@pytest.mark.parametrize("recipe", [*shipped_recipes(), *train_recipes()])
def test_every_recipe_has_a_line_in_the_readme(recipe):
    assert re.search(rf"^\| `{recipe}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_every_operator_has_its_line_in_the_table(name):
    """The line as it must be is in the message: paste it."""
    entry = about(name)
    names = (", ".join(f"`{item['name']}`" for item in entry[part]) for part in ("adds", "parameters"))
    line = "| " + " | ".join([f"`{name}`", entry["summary"], *names]) + " |"
    assert line in (ROOT / "operators" / "README.md").read_text(encoding="utf-8").splitlines()


def test_the_table_has_no_operator_that_is_gone():
    table = (ROOT / "operators" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_.]+)`", table, re.MULTILINE) == OURS
    assert "(operators/README.md)" in README


def test_recipes_in_the_readme_are_recipes(tmp_path):
    for text in blocks("yaml"):
        if text.startswith("base:"):
            (tmp_path / "mine.yaml").write_text(text)
            assert load_train_recipe(tmp_path / "mine.yaml").name == "mine"
        else:
            assert parse_recipe(text.encode(), "README.md").recipe.steps


def test_files_that_the_readme_names_are_there():
    for path in re.findall(r"(?<=[`(])((?:pipeline|operators|schemas|recipes|tests|infra)/[\w/.]*)(?=[`)])", README):
        assert (ROOT / path).exists(), path
    tree = README[README.index("## The tree") :]
    folder = ""
    for line in tree.split("\n\n")[1].splitlines():
        names, _, _ = line.strip().partition("  ")
        deep = line.startswith(" " * 6)
        folder = "" if not deep else folder
        for name in names.split():
            assert (ROOT / (f"{folder}/{name}" if deep else name)).exists(), line
        folder = folder if deep else names.split()[0].rstrip("/")


def test_python_in_the_readme_runs(tmp_path, monkeypatch, ray_session):
    write_folder(tmp_path / "photos", 3)
    monkeypatch.chdir(tmp_path)
    curate, train = blocks("python")
    (tmp_path / "example.py").write_text(curate)
    names = runpy.run_path("example.py")
    assert (names["funnel"].rows_in, names["funnel"].kept) == (3, 3)
    assert "<table>" in names["funnel"]._repr_html_()
    assert list((tmp_path / "corpus" / "cuts").glob("mine-*/curated/*.parquet"))
    (tmp_path / "example.py").write_text(train)
    assert runpy.run_path("example.py")["batch"].images.shape == (256, 224, 224, 3)
