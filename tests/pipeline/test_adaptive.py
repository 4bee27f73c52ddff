"""Runs whose keep finds its own line: what stays, what is told of it, and that neither shards nor order matter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl
from typer.testing import CliRunner

from cupel import Recipe, RecipeError, run
from cupel.pipeline.check import check_recipe
from cupel.pipeline.cli import app
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.report.report import write_report
from cupel.pipeline.keep import decide, fit, rank, rules_of
from cupel.pipeline.mixture import adapt
from cupel.pipeline.recipe_file import load_recipe
from cupel.pipeline.store import open_store
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.corpus import Manifest
from cupel.schemas.recipe import Keep

ROWS = 900
RANDOM = np.random.default_rng(7)
BAD = RANDOM.random(ROWS) < 0.35
SCORE = np.where(BAD, RANDOM.normal(0.1, 0.03, ROWS), RANDOM.normal(0.3, 0.05, ROWS)).round(6)
SCORE[::50] = np.nan
WORDS = RANDOM.integers(1, 9, ROWS)
ADAPTIVE = {"keep": {"score": {"adaptive": True}}}


def write(folder: Path, rows: np.ndarray, files: int = 1) -> Path:
    """Some rows in that order, in so many Parquet files."""
    folder.mkdir()
    for i, part in enumerate(np.array_split(rows, files)):
        columns = {
            "key": [f"k{row}" for row in part.tolist()],
            "text": ["word " * int(count) for count in WORDS[part]],
            "score": pa.array(SCORE[part], pa.float64(), from_pandas=True),
        }
        pq.write_table(pa.table(columns), folder / f"{i}.parquet")
    return folder


def recipe(*steps, name="r") -> Recipe:
    return Recipe(name=name, steps=list(steps))


def keys(cut: str) -> set[str]:
    tables = [pq.read_table(path, columns=["key"]) for path in sorted(Path(cut, "curated").glob("*.parquet"))]
    return set(pa.concat_tables(tables).column("key").to_pylist())


def of(mask: np.ndarray) -> set[str]:
    return {f"k{row}" for row in np.flatnonzero(mask)}


@pytest.mark.usefixtures("ray_session")
def test_only_the_rows_alive_are_fitted_and_the_cut_says_what_was_found(tmp_path):
    source = write(tmp_path / "in", np.arange(ROWS))
    made = recipe("text.length", {"keep": {"words": {"min": 3}}}, ADAPTIVE)
    result = run(made, source, out=tmp_path / "c")
    found = adapt(SCORE[WORDS >= 3])
    assert found.threshold is not None
    assert result.steps[2].fitted == {"score": found}
    assert keys(result.cut) == of((WORDS >= 3) & (found.threshold <= SCORE))
    dropped = pq.read_table(f"{result.cut}/dropped").to_pylist()
    gone = [row for row in dropped if row["dropped_by"] == "keep score"]
    assert {(row["column"], row["rule"]) for row in gone} == {("score", "adaptive")}
    assert {row["key"] for row in gone} == of((WORDS >= 3) & ~(found.threshold <= SCORE))
    on_disk = Manifest.model_validate_json(Path(result.cut, "manifest.json").read_bytes())
    assert on_disk == result.manifest
    assert verify_corpus(str(tmp_path / "c")).faults == []
    assert f"score adaptive: from {found.threshold:.4g} on" in " ".join(str(result).split())
    assert found.text in result._repr_html_()
    assert result.as_dict()["fitted"] == {"keep score": {"score": found.model_dump()}}
    assert f"from {found.threshold:.4g} on" in Path(write_report(result.cut)).read_text()
    cut = open_cut(result.cut)
    near = next(near for near in cut.summary.near if near.side == "adaptive")
    first = np.cumsum([0, *(shard.rows for shard in cut.shards)])
    below, above = (SCORE[[first[at.shard] + at.row for at in some]] for some in (near.below, near.above))
    alive = np.sort(SCORE[(WORDS >= 3) & ~np.isnan(SCORE)])
    place = np.searchsorted(alive, found.threshold)
    assert (sorted(below), sorted(above)) == (alive[place - 6 : place].tolist(), alive[place : place + 6].tolist())
    assert near.limit == alive[place]
    told = CliRunner().invoke(app, ["stats", str(tmp_path / "c"), "--json"])
    (line,) = [line for line in json.loads(told.stdout)["manifest"]["steps"] if line["fitted"]]
    assert line["fitted"]["score"]["threshold"] == found.threshold
    bounds = [score["bounds"] for score in json.loads(told.stdout)["scores"] if score["column"] == "score"]
    assert [bound["side"] for bound in bounds[0]] == ["adaptive"]


@pytest.mark.usefixtures("ray_session")
def test_neither_shards_nor_order_matter_and_a_run_goes_on(tmp_path, monkeypatch):
    cuts = []
    for number, files in ((0, 1), (1, 4)):
        rows = np.random.default_rng(number).permutation(ROWS)
        result = run(recipe(ADAPTIVE), write(tmp_path / f"{number}", rows, files), out=tmp_path / f"c{number}")
        cuts.append((result.steps[0].fitted, keys(result.cut)))
    assert cuts[0] == cuts[1]
    monkeypatch.setattr("cupel.pipeline.run.Engine.part_bytes", 10_000)
    in_parts = run(recipe(ADAPTIVE), tmp_path / "1", out=tmp_path / "c2")
    assert (in_parts.steps[0].fitted, keys(in_parts.cut)) == cuts[0]
    (Path(result.cut) / "manifest.json").unlink()  # killed after the barrier: what it found is not found again
    again = run(recipe(ADAPTIVE), tmp_path / "1", out=tmp_path / "c1")
    assert again.steps[0].fitted == cuts[0][0]
    assert verify_corpus(str(tmp_path / "c1")).faults == []


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({"score": {"adaptive": True, "null": "keep"}}, lambda line: ~(line > SCORE)),
        ({"score": {"adaptive": True, "max": 0.35, "min": 0.25}}, lambda line: (SCORE <= 0.35) & (SCORE >= 0.25)),
        ({"any": [{"score": {"adaptive": True}}, {"words": {"min": 8}}]}, lambda line: (line <= SCORE) | (WORDS >= 8)),
        (
            {"score": {"adaptive": True}, "any": [{"score": {"adaptive": True, "top": 0.5}}, {"words": {"max": 2}}]},
            lambda line: (line <= SCORE) & ((np.nan_to_num(SCORE) >= np.nanmedian(SCORE)) | (WORDS <= 2)),
        ),
    ],
)
def test_beside_other_bounds(tmp_path, keep, expected):
    result = run(recipe("text.length", {"keep": keep}), write(tmp_path / "in", np.arange(ROWS)), out=tmp_path / "c")
    line = adapt(SCORE).threshold
    assert result.steps[1].fitted["score"].threshold == line
    assert keys(result.cut) == of(expected(line))


@pytest.mark.usefixtures("ray_session")
def test_a_clean_pool_loses_no_row_and_is_told_why(tmp_path):
    rows = np.flatnonzero(~BAD)
    result = run(recipe(ADAPTIVE), write(tmp_path / "in", rows), out=tmp_path / "c")
    assert keys(result.cut) == of(~BAD & ~np.isnan(SCORE))
    found = result.steps[0].fitted["score"]
    assert (found.threshold, found.kept_share) == (None, 1.0)
    assert f"all stay: {found.why}" in " ".join(str(result).split())


@pytest.mark.usefixtures("ray_session")
def test_where_no_row_is_alive_none_is_fitted(tmp_path):
    made = recipe("text.length", {"keep": {"words": {"min": 100}}}, ADAPTIVE)
    result = run(made, write(tmp_path / "in", np.arange(20)), out=tmp_path / "c")
    assert (result.kept, result.steps[2].fitted["score"].rows) == (0, 0)


@pytest.mark.usefixtures("ray_session")
def test_documents_are_fitted_once_each(tmp_path):
    texts = ["|".join(["some words"] * (1 + i % 4)) for i in range(ROWS)]
    source = write_jsonl(tmp_path / "in.jsonl", texts, score=[None if np.isnan(x) else x for x in SCORE.tolist()])
    made = recipe("test.page", "text.length", {"keep": {"score": {"adaptive": True}, "words": {"min": 1}}})
    result = run(made, source, out=tmp_path / "c")
    found = adapt(SCORE)
    assert result.steps[2].fitted == {"score": found}
    assert keys(result.cut) == of(found.threshold <= SCORE)
    mixed = recipe("test.page", "text.length", {"keep": {"score": {"adaptive": True}, "words": {"adaptive": True}}})
    with pytest.raises(RecipeError, match="top, bottom and adaptive take documents"):
        run(mixed, source, out=tmp_path / "c")


def test_a_run_to_s3_finds_the_same(s3, ray_session, tmp_path):
    source = write(tmp_path / "in", np.arange(ROWS), 2)
    local = run(recipe(ADAPTIVE), source, out=tmp_path / "c")
    remote = run(recipe(ADAPTIVE), source, out="s3://corpus/c")
    assert remote.steps[0].fitted == local.steps[0].fitted
    store = open_store(remote.cut)
    there = {path: store.read(path) for path in store.files("curated")}
    assert there == {f"curated/{path.name}": path.read_bytes() for path in Path(local.cut, "curated").iterdir()}
    assert verify_corpus("s3://corpus/c").faults == []


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("{text: {adaptive: true}}", "adaptive is for numbers, and 'text' holds string"),
        ("{score: {adaptive: false}}", "adaptive is true, or left out"),
        ("{score: {adaptive: 1}}", "adaptive: Input should be a valid boolean, not 1"),
        ("{score: {adaptiv: true}}", "unknown key 'adaptiv'; did you mean 'adaptive'?"),
        ("{score: {null: only, adaptive: true}}", "null: only stands alone"),
        ("{scor: {adaptive: true}}", "keep reads 'scor', which neither"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, ray_session, keep, message):
    source = write(tmp_path / "in", np.arange(20))
    (tmp_path / "r.yaml").write_text(f"steps:\n  - text.length\n  - keep: {keep}\n")
    with pytest.raises(RecipeError) as told:
        check_recipe(str(tmp_path / "r.yaml"), str(source))
    assert f"r.yaml:3: {message}" in str(told.value)


def test_the_plan_shows_a_barrier(tmp_path):
    (tmp_path / "r.yaml").write_text("steps:\n  - text.length\n  - keep: {words: {adaptive: true}}\n")
    assert [line.barrier for line in check_recipe(str(tmp_path / "r.yaml")).steps] == [False, True]
    assert load_recipe(tmp_path / "r.yaml").recipe.steps[1].bounds["words"].adaptive is True


def test_one_name_in_the_ledger_and_one_mask_for_all_that_ask():
    keep = Keep.model_validate({"x": {"adaptive": True}, "any": [{"x": {"adaptive": True}}, {"y": {"top": 0.5}}]})
    frame = pl.DataFrame({"shard": 0, "row": range(ROWS), "key": "k", "x": SCORE, "y": WORDS})
    ranks = rank(frame.lazy(), keep)
    assert ranks.columns == ["shard", "row", "top(y, 0.5)", "adaptive(x)"]
    assert [rule.text for rule in rules_of(keep)] == ["adaptive", "any"]
    line = fit(frame, keep)["x"].threshold
    masks = {name: ranks[name].to_numpy() for name in ranks.columns[2:]}
    columns = {"x": pa.array(SCORE, from_pandas=True), "y": pa.array(WORDS)}
    stays = decide(keep, columns, masks, np.ones(ROWS, bool)).stays
    assert stays.tolist() == (line <= SCORE).tolist()
