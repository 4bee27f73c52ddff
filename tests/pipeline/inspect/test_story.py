"""One row's story, and how it is found: held against the ledger, the scores on disk and the source's own texts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import two_cuts
from drawing import write_folder, write_jsonl
from two_cuts import PAGE_CUTS, PAGES, SCORES, TEXTS

from cupel import Recipe, run
from cupel.pipeline.inspect.fates import Fates, path_of
from cupel.pipeline.inspect.find import LIMIT, Found, find_rows
from cupel.pipeline.inspect.opened import OpenedCut, open_cut
from cupel.pipeline.inspect.story import CHILDREN, Story, tell
from cupel.pipeline.read import CorpusError


@pytest.fixture(scope="module", params=["texts", "pages", "words"])
def cut(request, ray_session, tmp_path_factory) -> OpenedCut:
    return open_cut(str(two_cuts.corpus(request.param, tmp_path_factory.mktemp)), "a")


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory) -> OpenedCut:
    return open_cut(str(two_cuts.corpus("texts", tmp_path_factory.mktemp)), "a")


@pytest.fixture(scope="module")
def pages(ray_session, tmp_path_factory) -> OpenedCut:
    return open_cut(str(two_cuts.corpus("pages", tmp_path_factory.mktemp)), "a")


def story(cut: OpenedCut, key: str) -> Story:
    rows, more = find_rows(cut, key)
    assert not more
    return tell(cut, rows[0].space, rows[0].shard, rows[0].row)


def step(found: Story, label: str):
    return next(step for step in found.steps if step.step == label)


def test_the_first_rule_that_fails_is_the_one_that_the_ledger_blames(cut):
    """Every rule is asked anew of each row, and what comes out is what was decided."""
    ledger = pl.read_parquet(f"{cut.uri}/dropped/*.parquet", include_file_paths="file")
    assert ledger.height
    for row in ledger.sample(60, seed=0, shuffle=True).rows(named=True):
        shard = int(Path(row["file"]).stem)
        spaces = [
            i
            for i, s in enumerate(cut.plan.spaces)
            for p in cut.plan.steps[s.start : s.stop]
            if p.label == row["dropped_by"]
        ]
        found = tell(cut, spaces[0], shard, row["row"])
        asked = [(s.step, rule) for s in found.steps for rule in s.rules if rule.asked]
        label, first = next((label, rule) for label, rule in asked if rule.holds is False)
        assert (label, first.column, first.rule) == (row["dropped_by"], row["column"], row["rule"])
        assert found.fate == "dropped" and found.dropped_for == row["value"]
        assert found.dropped_by is not None and str(found.dropped_by) == f"{row['column']} {row['rule']}"
        assert all(s.came for s in found.steps[: found.steps.index(step(found, label)) + 1])
        assert not any(s.came for s in found.steps[found.steps.index(step(found, label)) + 1 :])


def test_of_a_kept_row_every_rule_holds(cut):
    kept = pl.read_parquet(f"{cut.uri}/kept/*.parquet", include_file_paths="file")
    for row in kept.sample(20, seed=0).rows(named=True):
        found = tell(cut, len(cut.plan.spaces) - 1, int(Path(row["file"]).stem), row["row"])
        assert found.fate == "kept" and found.key == row["key"]
        assert {rule.holds for s in found.steps for rule in s.rules} <= {True}
        assert {s.state for s in found.steps if s.kind == "rule"} <= {"passed"}


def test_fates_add_up_to_the_manifest_and_paths_are_those_of_the_views(cut):
    fates = Fates(cut)
    gone = dict.fromkeys(range(len(fates.exits)), 0)
    for shard in cut.shards:
        for space, rows in enumerate(fates.shard(shard.id)):
            view = cut.view(space, shard.id)
            assert rows["row"].to_list() == list(range(view.shard.rows))
            for row in range(0, view.shard.rows, 17):
                path = rows.row(row, named=True)
                assert path_of(view, row) == "/".join(str(path[f"n{i}"]) for i in range(space + 1))
            for fate in rows["fate"].to_list():
                gone |= {fate: gone[fate] + 1} if fate >= 0 else {}
    counted = {(line.step, rule): rows for line in cut.manifest.steps for rule, rows in line.rules.items()}
    childless = {line.step: line.childless for line in cut.manifest.steps}
    for i, each in enumerate(fates.exits):
        expected = counted.get((each.label, str(each)), 0) if each.column else childless[each.label]
        assert gone[i] == expected, each


def test_columns_are_told_with_what_they_mean_and_who_measured_them(texts):
    found = story(texts, "k24")
    assert {cell.name: cell.value for cell in found.source} == {
        "key": "k24",
        "text": TEXTS[24],
        "score": SCORES[24],
        "site": two_cuts.SITES[24],
    }
    (words,) = [cell for cell in step(found, "text.length").cells if cell.name == "words"]
    assert (words.value, words.unit, words.range, words.type) == (2, "words", ">= 0", "int32")
    assert words.doc
    any_of = step(found, "keep words, characters, site").rules[-1]
    assert (any_of.rule, any_of.value) == ("any", {"characters": len(TEXTS[24]), "site": two_cuts.SITES[24]})


def test_what_failed_says_how_and_what_was_gone_was_not_asked(texts):
    found = story(texts, "k300")
    raised = step(found, "test.raises")
    assert (raised.state, raised.error, raised.message) == ("failed", "ZeroDivisionError", "asked to")
    assert (found.dropped_by.column, found.dropped_for) == ("calm", None)
    assert step(found, "dedup.exact").state == "unseen"
    rank = step(found, "keep score").rules[0]
    assert (rank.asked, rank.holds, rank.value) == (False, None, SCORES[300]), "nobody ranked it"
    nothing = story(texts, "k7")
    assert step(nothing, "text.length").state == "not_applicable"
    assert step(nothing, "test.raises").state == "unseen"


def test_what_another_cut_measured_is_told_as_such(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", ["one", "one two three"])
    for name, least in (("loose", 1), ("strict", 2)):
        steps = ["text.length", {"keep": {"words": {"min": least}}}, "text.characters"]
        steps.append({"keep": {"letter_ratio": {"min": 0.1}}})
        run(Recipe.model_validate({"name": name, "steps": steps}), source, out=tmp_path / "c")
    found = story(open_cut(str(tmp_path / "c"), "strict"), "k0")
    measured = step(found, "text.characters")
    assert (measured.came, measured.state) == (False, "measured")
    later = step(found, "keep letter_ratio").rules[0]
    assert (later.asked, later.holds, later.value) == (False, True, 1.0)


def test_duplicates_know_each_other(texts):
    of = {text: [i for i, other in enumerate(TEXTS) if other == text] for text in TEXTS if text}
    group = next(rows for text, rows in of.items() if len(rows) > 1 and 2 <= len(text.split()) <= 9)
    rows = {f"k{i}": find_rows(texts, f"k{i}")[0][0] for i in group}
    keeper, *others = sorted(rows)
    for key in rows:
        (found,) = story(texts, key).duplicates
        assert found.column == "exact_of" and found.complete
        assert found.is_keeper == (key == keeper)
        assert found.keeper == rows[keeper]
        assert list(found.members) == sorted(rows[key] for key in others)
    alone = next(i for i, text in enumerate(TEXTS) if text and len(of[text]) == 1 and 2 <= len(text.split()) <= 9)
    assert not story(texts, f"k{alone}").duplicates


def test_a_page_knows_its_nodes_and_a_node_its_page(pages):
    (i,) = [i for i in range(60, 80) if i % 8 == 7 and len([n for n in PAGES[i].split("|") if n]) >= 6][:1]
    page = story(pages, f"k{i}")
    nodes = [node for node in PAGES[i].split("|") if node]
    assert page.fate == "used_up" and page.parent is None
    assert page.children_in_all == len(page.children) == len(nodes)
    for j, child in enumerate(page.children):
        node = tell(pages, child.row.space, child.row.shard, child.row.row)
        assert node.parent == page.row and node.key == f"k{i}"
        assert node.document is not None
        assert (node.document.position, node.document.nodes) == (j, len(nodes))
        assert (child.fate == "kept") == (node.fate == "kept")
        assert node.document.kept == sum(each.fate == "kept" for each in page.children)
        assert {cell.name: cell.value for cell in node.source}["text"] == (None if nodes[j][:4] == "IMG:" else nodes[j])
        if nodes[j].startswith("IMG:"):
            assert step(node, "keep words").rules[0].holds, "a bound on texts is nothing to an image"


def test_a_row_of_which_nothing_was_made_left_there(pages):
    found = story(pages, "k0")
    assert (found.fate, found.children_in_all) == ("dropped", 0)
    assert str(found.dropped_by) == "test.page made nothing of it"


def test_rows_are_found_by_key_and_by_name(pages):
    assert len([node for node in PAGES[15].split("|") if node]) < LIMIT
    rows, more = find_rows(pages, "k15")
    assert (rows[0], more) == (Found(space=0, shard=0, row=15), False)
    assert {row.space for row in rows[1:]} == {1}
    for row in rows:
        assert find_rows(pages, str(row)) == ([row], False)
    for i in range(20, 40):
        rows, _ = find_rows(pages, f"k{i}")
        assert rows == sorted(rows), "the source's first, then by place, whatever became of them"
    late = PAGE_CUTS["a"][0] + 5
    (gone,), _ = find_rows(pages, f"k{late}")
    assert tell(pages, gone.space, gone.shard, gone.row).dropped_by.column == "rank"


@pytest.mark.parametrize("asked", ["nobody", "00000000:99999", "00000009:1", "7/00000000:1", "k1\n", "%"])
def test_who_is_not_there_is_told_so(pages, asked):
    with pytest.raises(CorpusError, match="has no row .*rows are named by their key, or as 00000003:17"):
        find_rows(pages, asked)


def test_a_key_that_many_rows_share_is_cut_short(tmp_path, ray_session):
    source = tmp_path / "t.csv"
    source.write_text("key,text\n" + "same,some words\n" * 30 + "other,words\n")
    run(Recipe.model_validate({"name": "r", "steps": ["text.length"]}), source, out=tmp_path / "c")
    cut = open_cut(str(tmp_path / "c"))
    assert find_rows(cut, "same") == ([Found(space=0, shard=0, row=row) for row in range(LIMIT)], True)
    assert find_rows(cut, "other") == ([Found(space=0, shard=0, row=30)], False)


def test_many_children_are_counted_and_not_all_told(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", [" ".join(["word"] * 90)])
    run(Recipe.model_validate({"name": "r", "steps": ["test.words"]}), source, out=tmp_path / "c")
    found = tell(open_cut(str(tmp_path / "c")), 0, 0, 0)
    assert (len(found.children), found.children_in_all) == (CHILDREN, 90)


def test_a_story_is_told_of_an_input_that_changed_since(tmp_path, ray_session):
    photos = write_folder(tmp_path / "photos", 3)
    run(Recipe.model_validate({"name": "r", "steps": ["image.size"]}), photos, out=tmp_path / "c")
    (photos / "p0001.txt").unlink()
    (photos / "p0001.jpg").unlink()
    found = tell(open_cut(str(tmp_path / "c")), 0, 0, 1)
    assert found.fate == "kept"
    assert found.unreadable or not any(cell.value for cell in found.source if cell.name == "text")
    assert {cell.name for cell in found.steps[0].cells} >= {"width_px"}
