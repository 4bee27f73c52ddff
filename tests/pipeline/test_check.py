"""`cupel check`: the plan as it will run, and what a sample says of the whole, leaving nothing behind."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from drawing import write_folder, write_jsonl
from rich.console import Console

from cupel import Recipe, RecipeError, run
from cupel.operators.source.base import SourceError
from cupel.pipeline.check import check_recipe
from cupel.pipeline.read import CorpusError

STEPS = [
    *("text.length", {"keep": {"words": {"min": 4}}}),
    *({"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}),
    *("text.language", {"keep": {"characters": {"top": 0.5}}}),
]
TEXTS = [f"{'word ' * (4 * (i % 2))}number {i}" for i in range(1000)]


def recipe(*steps: object) -> Recipe:
    return Recipe(name="r", steps=list(steps or STEPS))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where temporary folders go, to see that they are gone."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield
    assert list((tmp_path / "temporary").iterdir()) == []


def test_groups_and_barriers():
    """Steps between barriers go over a shard together; duplicates and ranks need all the rows alive."""
    plan = check_recipe(recipe())
    assert [(line.step, line.group, line.barrier) for line in plan.steps] == [
        ("text.length", 1, False),
        ("keep words", 1, False),
        ("dedup.exact", 2, True),
        ("keep exact_of", 3, False),
        ("text.language", 3, False),
        ("keep characters", 4, True),
    ]
    first, second, third = plan.steps[:3]
    assert (first.reads, first.adds, first.resources) == (("text",), ("characters", "words"), "1 CPU, 1 GB")
    assert (second.reads, second.adds, second.resources) == (("words",), (), "")
    assert (third.reads, third.adds) == (("text",), ("exact_of",))
    assert (plan.shards, plan.sample, first.measured_shards) == (None, None, None)


def test_a_gpu_is_told():
    assert check_recipe(recipe("test.pid")).steps[0].resources == "1 CPU, 1 GPU, 1 GB"


def test_what_is_measured_already_is_told_without_ray(tmp_path, ray_session, monkeypatch):
    source = write_jsonl(tmp_path / "t.jsonl", TEXTS)
    before = check_recipe(recipe(), source, out=str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()
    assert (before.shards, before.steps[0].measured_shards) == (4, 0)
    run(recipe(), source, out=tmp_path / "c")
    made = files(tmp_path / "c")
    monkeypatch.setattr("cupel.pipeline.check.ray_session", lambda _: pytest.fail("nothing is to be run"))
    after = check_recipe(recipe(*STEPS, "text.characters"), source, out=str(tmp_path / "c"))
    counts = {line.step: line.measured_shards for line in after.steps if line.measured_shards is not None}
    assert counts == {"text.length": 4, "text.language": 4, "text.characters": 0}
    assert check_recipe(recipe(), out=str(tmp_path / "c")).steps[0].measured_shards == 4
    assert files(tmp_path / "c") == made
    with pytest.raises(CorpusError, match="belongs to another corpus"):
        check_recipe(recipe(), write_jsonl(tmp_path / "other.jsonl", ["a"]), out=str(tmp_path / "c"))


@pytest.mark.parametrize("known", [False, True])
def test_a_sample_tells_yield_and_cost_of_the_whole(tmp_path, ray_session, known):
    source = write_jsonl(tmp_path / "t.jsonl", TEXTS)
    if known:
        run(recipe("text.length"), source, out=tmp_path / "c")
    made = files(tmp_path)
    checked = check_recipe(recipe(*STEPS[:2]), source, out=str(tmp_path / "c"), sample=80)
    assert files(tmp_path) == made
    found = checked.sample
    assert (found.rows, found.kept) == (80, 40)
    assert (found.rows_in_corpus, found.kept_of_corpus) == (1000, 500)
    length, keep = checked.steps
    assert (length.rows_in, length.measured_shards) == (80, 4 if known else 0)
    assert (keep.dropped, keep.ms_per_row) == (40, None)
    assert found.seconds == pytest.approx(length.ms_per_row * 1000 / 1000 / found.cores, abs=0.06)
    assert found.core_hours == pytest.approx(found.seconds * found.cores / 3600, abs=1e-4)


@pytest.mark.parametrize("known", [False, True])
def test_a_sample_of_a_folder_reads_the_heads_of_its_shards(tmp_path, ray_session, known):
    """Shards of a folder need the lists of their files, which lie in the corpus folder when it was scanned before."""
    folder = write_folder(tmp_path / "photos", 300)
    if known:
        run(recipe("text.length"), folder, out=tmp_path / "c", write=False)
    checked = check_recipe(recipe("image.size", "text.length"), folder, out=str(tmp_path / "c"), sample=40)
    assert (checked.shards, checked.sample.rows, checked.sample.kept) == (2, 40, 40)
    assert not any((tmp_path / "c").glob("tmp/*"))


def test_lists_of_captions_are_sampled_by_rows(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", [[f"{i}", f"{i} and {i}"] for i in range(30)])
    checked = check_recipe(recipe("text.length", {"keep": {"words": {"min": 2}}}), source, sample=10)
    assert (checked.sample.rows, checked.sample.kept, checked.sample.rows_in_corpus) == (10, 5, 60)


def test_a_sample_larger_than_the_corpus_is_all_of_it(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", TEXTS[:50])
    found = check_recipe(recipe(), source, sample=10**6).sample
    assert (found.rows, found.kept, found.kept_of_corpus) == (50, 13, 13)


def test_mistakes_are_those_of_a_run(tmp_path):
    with pytest.raises(RecipeError, match="no earlier step adds; text.length adds it"):
        check_recipe(recipe({"keep": {"words": {"min": 3}}}))
    with pytest.raises(RecipeError, match="the recipe has no `read`"):
        check_recipe(recipe(), sample=5)
    with pytest.raises(SourceError, match="no such"):
        check_recipe(recipe(), str(tmp_path / "absent"))


def test_shown_as_table_and_json(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", TEXTS)
    checked = check_recipe(recipe(), source, sample=80)
    told = json.loads(json.dumps(checked.as_dict()))
    assert told["sample"]["rows"] == 80
    about = {"step": "dedup.exact", "group": 2, "barrier": True, "extracts": False, "reads": ["text"]}
    about |= {"adds": ["exact_of"], "resources": "1 CPU, 1 GB", "measured_shards": None}
    about |= {"rows_in": 40, "dropped": 0, "made": None, "ms_per_row": None}
    assert told["steps"][2] == about
    text = io.StringIO()
    Console(file=text, width=80).print(checked.table())
    assert "dedup.exact (barrier)" in text.getvalue()
    assert "50.0%" in text.getvalue()
    assert "sample: 80 rows in, 20 kept" in text.getvalue()
