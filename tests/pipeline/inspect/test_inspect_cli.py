"""The commands as a stranger types them: what is printed, JSON alone on standard output, mistakes in a line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
import two_cuts
import typer
from drawing import write_jsonl
from two_cuts import HOSTILE
from typer.testing import CliRunner

from cupel import Recipe, run
from cupel.pipeline.inspect.cli import add_to
from cupel.pipeline.inspect.opened import open_cut

APP = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
add_to(APP)
COMMANDS = [command.callback.__name__ for command in APP.registered_commands]


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("texts", tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def pages(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("pages", tmp_path_factory.mktemp)


@pytest.fixture
def labels(tmp_path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(
        "key,label\n" + "".join(f"k{i},{'keep' if i % 3 else 'drop'}\n" for i in range(200)) + "nobody,keep\n"
    )
    return path


def cupel(*arguments: object):
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def printed(*arguments: object) -> str:
    result = cupel(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not [letter for letter in result.stdout if not letter.isprintable() and letter != "\n"], (
        "for people and logs"
    )
    return result.stdout


def as_json(*arguments: object) -> dict:
    result = cupel(*arguments, "--json")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_an_example(command):
    shown = cupel(command, "--help").stdout
    assert f"Example: cupel {command} " in shown


def test_nothing_in_the_corpus_is_written(texts, labels, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in texts.rglob("*")}
    a, b = (open_cut(str(texts), name).uri for name in "ab")
    commands = [
        ("stats", texts),
        ("diff", a, b, "--html", tmp_path / "d.html"),
        ("show", texts, "k1"),
        ("audit", texts, labels),
    ]
    for command in commands:
        printed(*command)
    assert {path: path.stat().st_mtime_ns for path in texts.rglob("*")} == before


def test_stats(texts):
    shown = printed("stats", texts, "--cut", "a")
    assert "Cuts of this corpus" in shown and "keep words, characters, site" in shown
    assert re.search(r"words, by text.length\n  699 rows, 1 without a value\n  least 0   5% 0 .* most 10\n", shown)
    assert "▲ min 2" in shown and "max 9" in shown
    assert re.search(r"test.raises +ZeroDivisionError +1", shown)
    told = as_json("stats", texts, "--cut", "a")
    assert told["cut"].startswith("a-") and told["manifest"]["rows_in"] == 700
    newest = as_json("stats", texts)
    assert newest["cut"] == newest["cuts"][0]["cut"]
    folder = open_cut(str(texts), "a").uri
    assert as_json("stats", folder) == told, "a cut by its own folder"


def test_diff(texts, pages, tmp_path):
    a, b = (open_cut(str(texts), name).uri for name in "ab")
    shown = printed("diff", a, b)
    told = as_json("diff", a, b, "--html", tmp_path / "d.html")
    rows = re.search(r"rows +([\d,]+) +([\d,]+) +([\d,]+)", shown)
    assert [int(number) for number in rows.groups()] == [told["both"], told["only_a"], told["only_b"]]
    assert told["only_a"] == sum(gone["rows"] for gone in told["lost_by_b"])
    assert "+    words:" not in shown and "-      min: 2" in shown and "+      min: 4" in shown
    assert (tmp_path / "d.html").stat().st_size > 1000
    documents = printed("diff", *(open_cut(str(pages), name).uri for name in "ab"))
    assert re.search(r"documents +\d+ +\d+ +\d+", documents) and "have other nodes" in documents


def test_show(texts, pages):
    shown = printed("show", texts, "k50", "--cut", "a")
    assert all(part in shown for part in ("<script>alert(1)</script>", "[U+001B][31mred", "[U+202E]"))
    told = as_json("show", texts, "k50", "--cut", "a")
    (row,) = told["rows"]
    assert {cell["name"]: cell["value"] for cell in row["source"]}["text"] == HOSTILE, "JSON is complete"
    assert (row["name"], told["more"]) == ("00000000:50", False)
    assert "fails: calm in [True], value –" in printed("show", texts, "k300", "--cut", "a")
    assert "not asked (nobody knows): score top 0.8" in printed("show", texts, "k300", "--cut", "a")
    several = printed("show", pages, "k15", "--cut", "a")
    names = [row["name"] for row in as_json("show", pages, "k15", "--cut", "a")["rows"]]
    assert f"{len(names)} rows share this key" in several and all(f"{name}, key k15" in several for name in names)
    node = printed("show", pages, names[-1], "--cut", "a")
    assert "of the document 00000000:15" in node


def test_audit(texts, labels):
    shown = printed("audit", texts, labels, "--cut", "a")
    assert "200 labelled rows" in shown and "1 labels are about no row of this cut: nobody" in shown
    told = as_json("audit", texts, labels, "--cut", "a")
    whole, *_ = told["audited"]
    kept = set(pl.read_parquet(f"{open_cut(str(texts), 'a').uri}/kept/*.parquet")["key"])
    gone = [i for i in range(200) if f"k{i}" not in kept]
    assert whole["counts"]["gone_bad"] == sum(i % 3 == 0 for i in gone)
    assert whole["quality"]["drop_precision"]["share"] == pytest.approx(sum(i % 3 == 0 for i in gone) / len(gone))
    assert (whole["step"], whole["rule"], told["unmatched"]) == (None, None, ["nobody"])
    assert {line["step"] for line in as_json("audit", texts, labels, "--step", "keep calm")["audited"]} == {"keep calm"}


MISTAKES = [
    (["stats", "absent"], "absent is neither a corpus folder nor a finished cut"),
    (["stats", "{texts}", "--cut", "c"], "there is no cut 'c'.*there are: b-"),
    (["inspect", "absent"], "absent is neither a corpus folder nor a finished cut"),
    (["inspect", "{empty}"], "has no finished cut; `cupel run` makes one"),
    (["diff", "{texts}", "{texts}"], "both are .*; give two cuts' folders, below .*cuts"),
    (["diff", "{a}", "{pages}"], "are cuts of different corpora"),
    (["diff", "{a}", "{b}", "--html", "absent/d.html"], "absent/.*: No such file or directory"),
    (["show", "{texts}", "nobody"], "has no row with the key 'nobody'"),
    (["audit", "{texts}", "absent.parquet"], "absent.parquet: there is no such file"),
    (["audit", "{texts}", "{labels}", "--step", "keep wrods"], "has no rule 'keep wrods'"),
]


@pytest.fixture(scope="module")
def places(texts, pages, tmp_path_factory) -> dict[str, str]:
    """Corpora that are there, one that has no cut, and one whose input is gone."""
    folder = tmp_path_factory.mktemp("places")
    source = write_jsonl(folder / "gone.jsonl", ["one", "two words"])
    run(Recipe.model_validate({"name": "r", "steps": ["text.length"]}), source, out=folder / "gone")
    source.unlink()
    (folder / "empty").mkdir()
    (folder / "empty" / "corpus.json").write_text("{}")
    cuts = {name: open_cut(str(texts), name).uri for name in "ab"}
    return {"texts": str(texts), "pages": str(pages), "empty": f"{folder}/empty", "gone": f"{folder}/gone", **cuts}


@pytest.mark.parametrize(("command", "message"), MISTAKES)
def test_a_mistake_is_one_line(command, message, places, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cupel(*(part.format(labels=labels, **places) for part in command))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("cupel: ") and result.stderr.count("\n") == 1
    assert re.search(message, result.stderr), result.stderr


def test_what_was_measured_is_shown_where_the_input_is_gone(places):
    shown = printed("show", places["gone"], "k1")
    assert re.search(r"Began with\n  cannot be read: .*gone.jsonl", shown)
    assert re.search(r"words +2 ", shown)
