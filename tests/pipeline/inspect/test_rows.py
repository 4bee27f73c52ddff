"""A cut opened again says what its own files say, for pairs, children and documents."""

from __future__ import annotations

from concurrent.futures import CancelledError
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_folder, write_jsonl

from cupel import Recipe, run
from cupel.operators.source.base import ShardError
from cupel.pipeline.cuts import list_cuts
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.thresholds.whatif import WhatIf
from cupel.pipeline.read import CorpusError
from cupel.pipeline.recipe_file import RecipeError
from cupel.pipeline.store import open_store

TEXTS = [" ".join(["word"] * (i % 11)) for i in range(600)]
PAGES = ["|".join(f"IMG:{j}" if j % 3 == 0 else "w " * (i % 7 + j) for j in range(i % 6)) for i in range(300)]


def recipe(*steps, name="r"):
    return Recipe.model_validate({"name": name, "steps": list(steps)})


def files(cut: str, folder: str) -> list[tuple[int, dict[str, object]]]:
    """(shard, line) of every line of kept/ or dropped/."""
    paths = sorted(Path(cut, folder).glob("*.parquet"))
    return [(int(path.stem), line) for path in paths for line in pq.read_table(path).to_pylist()]


def check_against_files(result) -> None:
    """Every line of kept/ and dropped/ is a row in memory with the same fate, and there are no others."""
    rows = load_rows(open_cut(result.cut))
    assert rows.agrees
    keys = [space.column("key").to_pylist() for space in rows.spaces]
    space_of = {rule.label: rule.space for rule in rows.rules}
    kept, dropped = files(result.cut, "kept"), files(result.cut, "dropped")
    for shard, line in kept:
        at = rows.last.row_of(shard, line["row"])
        assert rows.last.gone_by[at] == -1 and keys[-1][at] == line["key"]
        assert rows.last.place_of(at) == (shard, line["row"])
    for shard, line in dropped:
        space = rows.spaces[space_of[line["dropped_by"]]]
        rule = rows.rules[space.gone_by[space.row_of(shard, line["row"])]]
        assert (rule.label, rule.column, rule.text) == (line["dropped_by"], line["column"], line["rule"])
    assert rows.last.kept.sum() == len(kept) == result.kept
    assert sum(int((space.gone_by >= 0).sum()) for space in rows.spaces) == len(dropped)
    for line, step in zip(result.steps, rows.cut.plan.steps, strict=True):
        space = next(s for s in rows.spaces if s.space.start <= step.index < s.space.stop)
        assert space.alive_at(step.index).sum() == line.rows_in


@pytest.mark.usefixtures("ray_session")
def test_pairs(tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", TEXTS)
    steps = ["text.length", {"keep": {"words": {"min": 2, "max": 9}}}, {"dedup.exact": {"columns": ["text"]}}]
    steps.append({"keep": {"exact_of": None}})
    result = run(recipe(*steps), data, out=tmp_path / "c")
    check_against_files(result)
    rows = load_rows(open_cut(str(tmp_path / "c")))
    words = rows.last.column("words").to_pylist()
    assert words == [i % 11 for i in range(600)]
    assert rows.last.known(0).all() and not rows.last.failed(0).any()
    assert rows.last.columns.field("words").metadata[b"doc"]


@pytest.mark.usefixtures("ray_session")
def test_nodes_of_documents_and_their_parents(tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", PAGES)
    steps = [
        *("test.page", "text.length", {"keep": {"words": {"min": 3}}}),
        *("test.longest", {"keep": {"longest": {"max": 20}}}),
    ]
    result = run(recipe(*steps), data, out=tmp_path / "c")
    check_against_files(result)
    rows = load_rows(open_cut(result.cut))
    pages, nodes = rows.spaces
    assert nodes.documents == sum(bool(page) for page in PAGES)
    owner = pages.column("key").take(pa.array(nodes.parents))
    assert owner.equals(nodes.column("key")), "nodes have their document's key"
    assert nodes.document.tolist() == sorted(nodes.document.tolist())
    assert nodes.column("kind").to_pylist() == ["image" if n.startswith("IMG") else "text" for n in nodes_of(PAGES)]


def nodes_of(pages: list[str]) -> list[str]:
    return [node for page in pages for node in page.split("|") if node]


@pytest.mark.usefixtures("ray_session")
def test_a_large_corpus_is_loaded_in_part(tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", TEXTS)
    result = run(recipe("text.length", {"keep": {"words": {"min": 2}}}), data, out=tmp_path / "c")
    cut = open_cut(result.cut)
    assert len(cut.shards) == 3
    rows = load_rows(cut, max_rows=300)
    assert len(rows.last) == cut.shards[0].rows and rows.share == cut.shards[0].rows / 600
    with pytest.raises(CancelledError):
        load_rows(cut, wanted=lambda: False)
    with pytest.raises(KeyError, match="no row 0 in shard 2"):
        rows.last.row_of(2, 0)
    with pytest.raises(KeyError, match=r"no column 'wrds' \(there are: key, text"):
        rows.last.column("wrds")


@pytest.mark.usefixtures("ray_session")
def test_a_cut_is_opened_without_what_its_steps_depend_on(tmp_path):
    """Whoever looks at a cut may lack the weights and lists that it was made with."""
    listed = tmp_path / "bad.txt"
    listed.write_text("0" * 64 + "\n")
    steps = [{"image.blocklist": {"lists": [str(listed)]}}, {"keep": {"blocked": {"in": [False]}}}]
    result = run(recipe(*steps), write_folder(tmp_path / "in", 5), out=tmp_path / "c")
    listed.unlink()
    assert load_rows(open_cut(result.cut)).agrees


@pytest.mark.usefixtures("ray_session")
def test_cuts_are_found_by_name_and_the_newest_first(tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", TEXTS[:20])
    cuts = {}
    for name, least in (("a", 1), ("b", 2), ("a", 3)):
        cuts[name, least] = run(
            recipe("text.length", {"keep": {"words": {"min": least}}}, name=name), data, out=tmp_path / "c"
        )
    corpus = str(tmp_path / "c")
    assert open_cut(corpus, "b").uri == cuts["b", 2].cut
    assert open_cut(corpus, "a").uri == cuts["a", 3].cut, "the one that was made last"
    older = Path(cuts["a", 1].cut).name
    assert open_cut(corpus, older).folder == f"cuts/{older}"
    assert {entry.title for entry in list_cuts(open_store(corpus))} == {Path(c.cut).name for c in cuts.values()}
    with pytest.raises(CorpusError, match="there is no cut 'aa'"):
        open_cut(corpus, "aa")
    with pytest.raises(CorpusError, match="neither a corpus folder nor a finished cut"):
        open_cut(str(tmp_path))


@pytest.mark.usefixtures("ray_session")
def test_a_corpus_on_s3(s3, tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", TEXTS[:50])
    result = run(recipe("text.length", {"keep": {"words": {"min": 4}}}), data, out="s3://corpus/c")
    for place in ("s3://corpus/c", result.cut):
        rows = load_rows(open_cut(place))
        assert rows.cut.uri == result.cut and int(rows.last.kept.sum()) == result.kept


@pytest.mark.usefixtures("ray_session")
def test_scores_can_be_looked_at_where_the_input_is_gone(tmp_path):
    data = write_folder(tmp_path / "in", 5)
    steps = ["image.size", {"keep": {"width_px": {"min": 10}}}]
    result = run(recipe(*steps), data, out=tmp_path / "c")
    data.rename(tmp_path / "elsewhere")
    rows = load_rows(open_cut(result.cut))
    assert rows.agrees and rows.last.column("width_px").to_pylist() == [240] * 5
    with pytest.raises(ShardError, match="in"):
        rows.last.column("text")


@pytest.mark.usefixtures("ray_session")
def test_a_cut_stays_what_it_was_when_rows_are_measured_again(tmp_path):
    """A later run tries errors again, and has values now: this cut dropped those rows all the same."""
    urls = [f"{'slow' if i % 3 == 0 else ''}{i}" for i in range(60)]
    data = write_jsonl(tmp_path / "t.jsonl", ["a text"] * 60, image_url=urls)
    mark = tmp_path / "works"
    steps = [{"test.brings": {"mark": str(mark)}}, {"keep": {"brought": {"in": ["ok"]}}}]
    first = run(recipe(*steps), data, out=tmp_path / "c")
    assert (first.kept, first.errors) == (40, {"slow_host": 20})
    assert load_rows(open_cut(first.cut)).agrees
    mark.touch()
    second = run(recipe(*steps, name="again"), data, out=tmp_path / "c", retry_errors=list(first.errors))
    assert second.kept == 60
    rows = load_rows(open_cut(first.cut))
    assert int(rows.last.kept.sum()) == first.kept and not rows.agrees
    outcome = WhatIf(rows).decide([])
    assert not outcome.exact and (outcome.kept_at_least, outcome.kept_at_most) == (0, None)
    assert "measured again" in outcome.why


@pytest.mark.usefixtures("ray_session")
def test_a_later_file_with_other_columns_and_a_damaged_cut_leave_the_others_alone(tmp_path):
    data = tmp_path / "in"
    data.mkdir()
    write_jsonl(data / "a.jsonl", TEXTS[:30], score=list(range(30)))
    result = run(recipe({"keep": {"score": {"min": 9}}}), data, out=tmp_path / "c")
    write_jsonl(data / "b.jsonl", TEXTS[:5], score=["many"] * 5)
    with pytest.raises(RecipeError):
        run(recipe({"keep": {"score": {"min": 9}}}), data, out=tmp_path / "c")
    assert load_rows(open_cut(result.cut)).last.column("score").to_pylist() == list(range(30))
    damaged = tmp_path / "c/cuts/other-12345678"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")
    (tmp_path / "c/cuts/r.json").write_text("[")
    assert [entry.title for entry in list_cuts(open_store(tmp_path / "c"))] == [Path(result.cut).name]


def test_a_cut_alone_is_told(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="a cut without its corpus"):
        open_cut(".")
