"""summary.json as a file: of empty corpora, of sampled shards, small, and held against the manifest by `verify`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline.funnel import Funnel
from cupel.pipeline.planner import make_plan
from cupel.pipeline.recipe_file import RecipeFile
from cupel.pipeline.store import sha256
from cupel.pipeline.summary.outline import Outline
from cupel.pipeline.summary.picks import Picks
from cupel.pipeline.summary.sketch import Drawn
from cupel.pipeline.summary.spread import Spread
from cupel.pipeline.summary.summarise import (
    disagreement,
    nothing,
    sampled_places,
    told,
)
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.corpus import Manifest
from cupel.schemas.pair import PAIR
from cupel.schemas.summary import Summary

pytestmark = pytest.mark.usefixtures("ray_session")


def summary_of(made: Funnel) -> Summary:
    return Summary.model_validate_json(Path(made.cut, "summary.json").read_bytes())


def test_a_cut_of_nothing_has_a_summary(tmp_path):
    steps = [
        "text.length",
        {"keep": {"words": {"min": 99}}},
        "text.characters",
        {"keep": {"letter_ratio": {"top": 0.5}}},
    ]
    made = run(Recipe(name="r", steps=steps), write_jsonl(tmp_path / "t.jsonl", ["a", "b c"]), out=tmp_path / "c")
    found = summary_of(made)
    assert (found.rows_kept, found.kept) == (0, [])
    ratio = next(column for column in found.numbers if column.column == "letter_ratio")
    assert (ratio.edges, ratio.nulls, ratio.least) == ([], 0, None)
    assert found.near[-1].limit is None
    write_jsonl(tmp_path / "t.jsonl", ["another text", "that was not there"])
    lost = run(Recipe(name="s", steps=steps), tmp_path / "t.jsonl", out=tmp_path / "c")
    assert (lost.rows_in, len(lost.unreadable)) == (0, 1)
    assert summary_of(lost).numbers[0].edges == []
    assert verify_corpus(made.corpus).faults == []


def test_a_cut_that_is_there_keeps_its_summary(tmp_path):
    source, made = write_jsonl(tmp_path / "t.jsonl", ["a", "b c"] * 300), Recipe(name="r", steps=["text.length"])
    first = run(made, source, out=tmp_path / "c", write=False)
    path = Path(first.cut, "summary.json")
    path.write_text("{}")
    run(made, source, out=tmp_path / "c", write=False)
    assert path.read_text() == "{}"
    again = run(made, source, out=tmp_path / "c")
    assert summary_of(again).rows_kept == 600, "images are written now, and all shards decided anew"


def test_what_a_cut_tells_does_not_depend_on_other_cuts(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", [f"{'word ' * (i % 9)}{i}" for i in range(600)])
    made = {}
    for corpus, bounds in (("used", (2, 7, 5)), ("fresh", (5,))):
        for least in bounds:
            steps = [
                "text.length",
                {"keep": {"words": {"min": least}}},
                "text.characters",
                {"keep": {"digit_ratio": {"top": 0.5}}},
            ]
            made[corpus] = run(Recipe(name="r", steps=steps), source, out=tmp_path / corpus)
    assert made["used"].measured_rows == {"text.length": 0, "text.characters": 0}
    assert summary_of(made["used"]) == summary_of(made["fresh"])


def test_examples_come_from_sampled_shards_where_those_have_any(tmp_path, monkeypatch):
    monkeypatch.setattr("cupel.pipeline.summary.summarise.SAMPLED_SHARDS", 2)
    texts = [f"{'word ' * (i % 9)}{i}" for i in range(2000)]
    texts[1000] = "x" * 500
    steps = ["text.length", {"keep": {"characters": {"max": 300}, "words": {"min": 3}}}]
    made = run(Recipe(name="r", steps=steps), write_jsonl(tmp_path / "t.jsonl", texts), out=tmp_path / "c")
    found, last = summary_of(made), len(list(Path(made.cut, "kept").iterdir())) - 1
    long, short = found.dropped
    assert last > 4
    assert {example.shard for example in (*found.kept, *short.examples, *found.near[1].below)} == {0, last}
    assert [example.shard not in (0, last) for example in long.examples] == [True], "nowhere else is there any"


@pytest.mark.parametrize("shards", [0, 1, 2, 23, 24, 25, 1000])
def test_sampled_shards_are_spread_evenly(shards):
    found = sorted(sampled_places(shards))
    assert len(found) == min(shards, 24)
    assert set(found) <= set(range(shards))
    if len(found) > 1:
        gaps = np.diff(found)
        assert (found[0], found[-1]) == (0, shards - 1)
        assert gaps.max() - gaps.min() <= 1


def test_thirty_columns_of_any_numbers_take_less_than_two_megabytes():
    steps = [
        step
        for i in range(15)
        for step in ({"text.length": {"as": f"c{i}"}}, {"keep": {f"c{i}_words": {"min": 1, "max": 9}}})
    ]
    recipe = Recipe(name="r", steps=steps)
    outline = Outline(make_plan(RecipeFile(recipe=recipe), PAIR))
    random = np.random.default_rng(5)
    many = 10.0 ** random.uniform(-300, 300, 300_000) * random.choice([-1, 1], 300_000)
    numbers = tuple(Spread.of(many * (1 + i), random.integers(0, 3, len(many))) for i in range(len(outline.numbers)))
    assert len(numbers) == 30
    rows = tuple((False, 0.123456789, 2**60 + i, 10**8, 10**4) for i in range(99))
    drawn = tuple(Drawn(rows=10**9, picks=Picks(most=8, rows=rows[:8])) for _ in outline.rules)
    sketch = nothing(outline)
    whole = told(outline, type(sketch)(**{**vars(sketch), "numbers": numbers, "dropped": drawn}))
    assert sum(map(sum, (whole.numbers[7].kept, whole.numbers[7].dropped, whole.numbers[7].dropped_here))) == 300_000
    assert len(whole.model_dump_json()) < 2_000_000


# What verify says


@pytest.fixture
def corpus(tmp_path):
    texts = [f"{'word ' * (i % 9)}{i}" for i in range(600)]
    steps = ["text.length", {"keep": {"words": {"min": 3}}}, "test.raises", "text.language"]
    run(
        Recipe(name="r", steps=steps),
        write_jsonl(tmp_path / "t.jsonl", [*texts, "please do RAISE"]),
        out=tmp_path / "c",
    )
    return tmp_path / "c"


def rewrite(corpus: Path, change: Callable[[dict], object]) -> None:
    """Change summary.json, and make the file list and the manifest agree with it, as a fault of ours would."""
    (path,) = corpus.glob("cuts/*/summary.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    listed = pq.read_table(path.with_name("files.parquet"))
    rows = listed.to_pylist()
    for row in rows:
        if row["path"] == "summary.json":
            row |= {"bytes": path.stat().st_size, "sha256": sha256(path)}
    pq.write_table(pa.Table.from_pylist(rows, listed.schema), path.with_name("files.parquet"))
    manifest = json.loads(path.with_name("manifest.json").read_text())
    manifest["files_sha256"] = sha256(path.with_name("files.parquet"))
    path.with_name("manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(rows_kept=s["rows_kept"] + 1), r"rows kept; the manifest"),
        (
            lambda s: s["dropped"][0].update(rows=1),
            r"counts 1 rows dropped by keep words: words min 3; the manifest 134",
        ),
        (lambda s: s["dropped"].clear(), r"counts 0 rows dropped by keep words"),
        (
            lambda s: s["numbers"][0]["kept"].__setitem__(0, 10**6),
            r"counts characters of 10\d+ rows; the manifest says.* 601",
        ),
        (
            lambda s: s["values"][1].update(others=7),
            r"counts language of 474 rows; the manifest says that there were 467",
        ),
        (lambda s: s["failures"].clear(), r"counts other failures"),
        (lambda s: s.update(rows_kept="many"), r"cannot be read: "),
        (lambda s: s.pop("numbers"), r"cannot be read: "),
        (lambda s: s.update(more=1), r"cannot be read: "),
    ],
)
def test_a_summary_that_does_not_agree_is_told(corpus, change, expected):
    (summary,) = corpus.glob("cuts/*/summary.json")
    rewrite(corpus, lambda content: None)
    assert verify_corpus(str(corpus)).faults == []
    rewrite(corpus, change)
    (fault,) = verify_corpus(str(corpus)).faults
    assert fault.startswith(f"{summary.relative_to(corpus)}: ")
    assert re.search(expected, fault), fault


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:50], lambda data: data.replace(b"kept", b"kepd"), None]
)
def test_a_damaged_summary_is_told(corpus, damage):
    (summary,) = corpus.glob("cuts/*/summary.json")
    data = summary.read_bytes()
    summary.unlink()
    if damage:
        summary.write_bytes(damage(data))
    (fault,) = verify_corpus(str(corpus)).faults
    assert fault.startswith(f"{summary.relative_to(corpus)}: {'has changed' if damage else 'is missing'}")


def test_cuts_from_before_there_were_summaries_are_sound(corpus):
    (summary,) = corpus.glob("cuts/*/summary.json")
    rewrite(corpus, lambda content: None)
    summary.unlink()
    path = summary.with_name("files.parquet")
    pq.write_table(pq.read_table(path).filter(pc.field("path") != "summary.json"), path)
    manifest = json.loads(summary.with_name("manifest.json").read_text())
    manifest.pop("finished_at")
    for line in manifest["steps"]:
        line.pop("fingerprint")
    summary.with_name("manifest.json").write_text(json.dumps(manifest | {"files_sha256": sha256(path)}))
    assert verify_corpus(str(corpus)).faults == []


def test_a_manifest_says_when_it_was_made_and_what_of(corpus):
    (path,) = corpus.glob("cuts/*/manifest.json")
    manifest = Manifest.model_validate_json(path.read_bytes())
    assert manifest.finished_at is not None
    assert manifest.finished_at[4] + manifest.finished_at[10] + manifest.finished_at[-1] == "-TZ"
    found = {line.step: line.fingerprint for line in manifest.steps}
    assert found.pop("keep words") is None
    folders = {folder.name for folder in (corpus / "scores").iterdir()}
    assert folders == {f"{step}-{fingerprint[:8]}" for step, fingerprint in found.items()}
    summary = Summary.model_validate_json(path.with_name("summary.json").read_bytes())
    assert disagreement(summary, manifest) == ""
