"""The command as a stranger types it: exit codes, one line for every mistake, JSON alone on standard output."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_folder, write_jsonl
from typer.testing import CliRunner

from cupel.pipeline.cli import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]
RECIPE = """\
name: mine
steps:
  - text.length
  - keep: {words: {min: 4}}
  - select.frequency: {column: text}
  - keep: {frequency: {max: 2}}
  - image.size
"""
MINIMUM = {"recipe", "rows_in", "kept", "dropped", "errors", "measured_rows", "seconds"}


def cupel(*arguments: str | Path):
    """The command in this process, on the Ray that runs (if it runs)."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def start(*arguments: str | Path, **options):
    """The command in a process of its own, with an embedded Ray."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "cupel", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=env, **options
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a recipe, photos and a few things that are neither."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", 12)
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "afile").write_text("just text\n")
    (tmp_path / "only_name.yaml").write_text("name: only\n")
    (tmp_path / "typo.yaml").write_text("name: t\nsteps:\n  - text.length\n  - text.lenght\n")
    (tmp_path / "keep.yaml").write_text("steps:\n  - text.length\n  - keep: {words: {mni: 3}}\n")
    (tmp_path / "unended.yaml").write_text("steps: [text.length\n")
    (tmp_path / "nothing").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_help_has_an_example(command):
    result = cupel(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: cupel {command[0] if command else 'run'}" in result.stdout
    assert "[[" not in result.stdout


MISTAKES = [
    ("run typo.yaml photos", "typo.yaml:4: no operator 'text.lenght'; did you mean 'text.length'"),
    ("run keep.yaml photos", "keep.yaml:3: unknown key 'mni'; did you mean 'min'"),
    ("run unended.yaml photos", "unended.yaml:2: not YAML"),
    ("run pairs_startr photos", "no recipe 'pairs_startr'.*did you mean 'pairs_starter'"),
    ("run photos photos", "no recipe 'photos': neither a file nor one of the shipped recipes"),
    ("run afile photos", "afile:1: a recipe is a mapping"),
    ("run only_name.yaml", "only: the recipe has no `read`, so give an INPUT"),
    ("run r.yaml absent", "no such file or folder: .*absent.* holds afile, .*photos"),
    ("run r.yaml nothing", "nothing"),
    ("run r.yaml afile", "afile: neither its name nor its first bytes say what it is"),
    ("run r.yaml photos --out afile", "afile.*: Not a directory"),
    ("run r.yaml photos --out afile/below", "afile.*: Not a directory"),
    ("run r.yaml photos --out photos/../photos/corpus", "corpus lies in the input .*photos, .*give another --out"),
    ("run r.yaml . --out r", "r lies in the input"),
    ("run r.yaml photos --ray-address 127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: Connection refused"),
    ("check typo.yaml", "typo.yaml:4: no operator"),
    ("check only_name.yaml --sample 5", "the recipe has no `read`"),
    ("check r.yaml absent", "no such file or folder"),
    ("verify photos", "photos is no corpus folder"),
    ("verify absent", "absent is no corpus folder"),
    ("export photos --to uids --out x.npy", "photos is neither a finished cut nor a corpus folder"),
    ("operators image.phsh", "no operator 'image.phsh'; did you mean 'image.phash'.*`cupel operators` lists them"),
    ("recipes nope", "no recipe 'nope'; there are .*pairs_starter"),
]


@pytest.mark.parametrize(("command", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_costs_nothing(here, monkeypatch, command, message):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started for a run that cannot begin"))
    before = set(here.rglob("*"))
    result = cupel(*command.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("cupel: ")
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr), result.stderr
    assert set(here.rglob("*")) == before


@pytest.mark.parametrize(
    "command", [("run", "r.yaml", ""), ("run", "", "photos"), ("run", "r.yaml", "photos", "--out", ""), ("verify", "")]
)
def test_an_unset_shell_variable_is_not_the_current_folder(here, command):
    result = cupel(*command)
    assert result.exit_code == 2
    assert "is empty" in result.stderr


@pytest.mark.parametrize("command", ["run r.yaml photos --deadline 0", "export c --to tar --out x", "run", "fly"])
def test_wrong_usage(here, command):
    result = cupel(*command.split())
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_run_check_verify_export(here, ray_session):
    """One corpus through all commands: what is printed, what is measured again, what each exit code means."""
    planned = json.loads(cupel("check", "r.yaml", "photos", "--json").stdout)
    assert (planned["recipe"], planned["shards"], len(planned["steps"])) == ("mine", 1, 5)
    first = cupel("run", "r.yaml", "photos", "--out", "c", "--json")
    assert first.exit_code == 0
    counts = json.loads(first.stdout)
    assert set(counts) >= MINIMUM
    assert counts["measured_rows"] == {"text.length": 12, "image.size": 12}
    again = json.loads(cupel("run", "r.yaml", "photos", "--out", "c", "--json").stdout)
    assert set(again["measured_rows"].values()) == {0}
    assert {name: again[name] for name in ("rows_in", "kept", "dropped", "cut")} == {
        name: counts[name] for name in ("rows_in", "kept", "dropped", "cut")
    }
    table = cupel("run", "r.yaml", "photos", "--out", "c")
    assert "mine: 12 rows in, 12 kept" in table.stdout
    assert f"cut: {counts['cut']}\n" in table.stdout
    other = cupel("run", "r.yaml", write_jsonl(here / "t.jsonl", ["a b c d"]), "--out", "c")
    assert other.exit_code == 2
    assert "belongs to another corpus" in other.stderr
    exported = cupel("export", "c", "--to", "parquet", "--out", "handed", "--json")
    assert json.loads(exported.stdout) == {"rows": 12, "files": 1}
    sound = cupel("verify", "c")
    assert (sound.exit_code, sound.stderr) == (0, "")
    (curated,) = Path(counts["cut"], "curated").iterdir()
    curated.write_bytes(curated.read_bytes()[:-1])
    damaged = cupel("verify", "c", "--json")
    assert damaged.exit_code == 1
    assert any("00000000.parquet" in fault for fault in json.loads(damaged.stdout)["faults"])


def test_names_of_files_are_anybodys(here, ray_session):
    recipe, photos = here / "my récipe 1.yaml", here / "-my photos ø"
    recipe.write_text("steps: [image.size]\n")
    write_folder(photos, 2)
    counts = json.loads(cupel("run", recipe, photos, "--out", here / "[red] out", "--json").stdout)
    assert (counts["recipe"], counts["kept"]) == ("my_r_cipe_1", 2)
    shown = cupel("run", recipe, photos, "--out", here / "[red] out").stdout
    assert f"cut: {counts['cut']}\n" in shown


def test_where_nothing_is_kept_it_says_what_the_rows_had(here, ray_session):
    (here / "no.yaml").write_text("steps: [text.length, {keep: {words: {min: 1}}}, {keep: {text: {in: [x]}}}]\n")
    shown = cupel("run", "no.yaml", write_jsonl(here / "t.jsonl", ["a", "b", "a"]), "--out", "c").stdout
    assert "nothing was kept; dropped by text in ['x']: a (2)\n" in shown


def test_a_shard_that_cannot_be_read_is_exit_code_3(here, ray_session):
    for name in "abc":
        pq.write_table(pa.table({"key": [name], "text": ["one two three four"]}), here / "nothing" / f"{name}.parquet")
    broken = here / "nothing" / "b.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    recipe = here / "t.yaml"
    recipe.write_text("steps: [text.length]\n")
    result = cupel("run", recipe, "nothing", "--out", "c", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["kept"] == 2
    assert "cupel: incomplete: " in result.stderr
    assert "b.parquet" in result.stderr


def test_in_a_process_of_its_own(here):
    """An embedded Ray; standard output is one JSON object, standard error plain lines."""
    (here / "elsewhere").mkdir()
    process = start("run", "../r.yaml", "../photos", "--out", "c", "--json", cwd=here / "elsewhere")
    out, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert out.count("\n") == 1
    counts = json.loads(out)
    assert (counts["rows_in"], counts["kept"]) == (12, 12)
    assert counts["cut"].startswith(str(here / "elsewhere" / "c" / "cuts" / "mine-"))
    assert "\x1b" not in told
    assert "scan: 1/1 files" in told
    assert "decide: 12/12 rows" in told
    assert all(
        line.split(":")[0].split()[0] in {"scan", "to", "select.frequency", "decide", "weigh", "write"}
        for line in told.splitlines()
    )


def test_ctrl_c_stops_in_words_and_the_same_command_goes_on(here, ray_session):
    source = write_jsonl(here / "t.jsonl", [f"{'word ' * (i % 9)}number {i}" for i in range(4000)])
    (here / "t.yaml").write_text(RECIPE.replace("  - image.size\n", "  - text.language\n"))
    command = ("run", here / "t.yaml", source, "--out", here / "c", "--json")
    process = start(*command, start_new_session=True)
    told = ""
    while "to select.frequency: 0/" not in told:
        told += process.stderr.readline()
        assert process.poll() is None, told
    os.killpg(process.pid, signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert out == ""
    assert "stopped; what was measured is kept, and the same command goes on from there" in rest
    assert "Traceback" not in rest
    again = json.loads(cupel(*command).stdout)
    fresh = json.loads(cupel(*command[:4], here / "fresh", "--json").stdout)
    assert {name: again[name] for name in ("rows_in", "kept", "dropped")} == {
        name: fresh[name] for name in ("rows_in", "kept", "dropped")
    }


def test_operators_and_recipes_are_told_in_full():
    listed = json.loads(cupel("operators", "--json").stdout)
    assert {"text.length", "dedup.exact", "test.shout"} <= {entry["name"] for entry in listed}
    page = json.loads(cupel("operators", "image.phash", "--json").stdout)
    assert (page["kind"], page["reads"], page["adds"][0]["name"]) == ("row", ["image"], "phash")
    assert page["parameters"][0] | {"doc": ""} == {
        "name": "decode",
        "type": "full | scaled",
        "default": "full",
        "doc": "",
    }
    required = cupel("operators", "dedup.exact").stdout
    assert "Parameter columns (list of string, required)" in required
    assert "Parameter prefer ({highest, lowest} | null, default null)" in required
    assert "image.phash" in cupel("operators").stdout
    names = [entry["name"] for entry in json.loads(cupel("recipes", "--json").stdout)]
    assert "pairs_starter" in names
    text = cupel("recipes", "pairs_starter").stdout
    assert text.startswith("# ")
    assert json.loads(cupel("recipes", "pairs_starter", "--json").stdout)["yaml"] == text


def test_an_operator_that_cannot_be_loaded_does_not_hide_the_others(monkeypatch):
    from cupel.operators import registry

    def broken(name):
        raise ImportError("No module named 'acme'")

    monkeypatch.setattr(
        registry, "find", lambda name, find=registry.find: broken(name) if name == "test.shout" else find(name)
    )
    entries = {entry["name"]: entry for entry in json.loads(cupel("operators", "--json").stdout)}
    assert entries["test.shout"]["summary"] == "cannot be loaded: No module named 'acme'"
    assert entries["text.length"]["kind"] == "row"
