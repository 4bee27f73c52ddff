"""Two cuts compared: against sets of kept rows that a plain loop finds, and the fates in the cuts' own files."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import two_cuts
from drawing import write_jsonl
from two_cuts import PAGE_CUTS, PAGES, SENTENCES, SHORTEST, TEXTS, WORD_CUTS, page_steps, word_steps

from cupel import Recipe, run
from cupel.pipeline.inspect.diff import CutDiff, diff_cuts
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.report.diff_page import render_page, write_page
from cupel.pipeline.read import CorpusError


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("texts", tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def pages(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("pages", tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def words(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("words", tmp_path_factory.mktemp)


def compared(corpus: Path, samples: int = 5) -> CutDiff:
    return diff_cuts(open_cut(str(corpus), "a"), open_cut(str(corpus), "b"), samples)


def keys(cut: str, folder: str) -> pl.DataFrame:
    return pl.read_parquet(f"{cut}/{folder}/*.parquet")


def kept_words(last: int, nth: int, width: int) -> set[tuple[int, int]]:
    """(sentence, word) of the pictures kept; a picture is a pixel wider than its word."""
    return {
        (i, j)
        for i, sentence in enumerate(SENTENCES)
        for j, word in enumerate(sentence.split())
        if i <= last and "FAIL" not in sentence and j <= nth and len(word) + 1 <= width
    }


def paragraphs(i: int) -> list[str]:
    """The nodes of a page, empty where they are images."""
    return ["" if node.startswith("IMG:") else node for node in PAGES[i].split("|") if node]


def kept_nodes(last: int, least: int, longest: int) -> set[tuple[int, int]]:
    """(page, node) of the nodes kept."""
    found = set()
    for i, page in enumerate(PAGES[: last + 1]):
        nodes = [node for node in page.split("|") if node]
        alive = [j for j, node in enumerate(nodes) if node.startswith("IMG:") or len(node.split()) >= least]
        texts = [len(nodes[j]) for j in alive if not nodes[j].startswith("IMG:")]
        if texts and min(texts) >= SHORTEST and max(texts) <= longest:
            found |= {(i, j) for j in alive}
    return found


@pytest.mark.parametrize(
    ("corpus", "kept", "cuts"), [("pages", kept_nodes, PAGE_CUTS), ("words", kept_words, WORD_CUTS)]
)
def test_children_are_matched_though_each_cut_numbers_them_anew(request, corpus, kept, cuts):
    found = compared(request.getfixturevalue(corpus))
    a, b = (kept(*bounds) for bounds in cuts.values())
    assert (found.both, found.only_a, found.only_b) == (len(a & b), len(a - b), len(b - a))
    assert sum(gone.rows for gone in found.lost_by_b) == len(a - b)
    assert sum(gone.rows for gone in found.lost_by_a) == len(b - a)
    if corpus == "words":
        assert found.documents is None
        return
    _, least, longest = cuts["b"]
    lengths = Counter(
        f"words min {least}" if 0 < len(paragraphs(i)[j].split()) < least else f"longest max {longest}"
        for i, j in a - b
    )
    assert {gone.why: gone.rows for gone in found.lost_by_b} == lengths
    of_a, of_b = ({page for page, _ in nodes} for nodes in (a, b))
    counts = found.documents
    assert counts is not None
    assert (counts.both, counts.only_a, counts.only_b) == (len(of_a & of_b), len(of_a - of_b), len(of_b - of_a))
    changed = [p for p in of_a & of_b if {n for n in a if n[0] == p} != {n for n in b if n[0] == p}]
    assert counts.changed == len(changed) > 0


def test_rows_are_lost_where_the_other_cut_dropped_them(texts):
    found = compared(texts)
    a, b = (open_cut(str(texts), name).uri for name in "ab")
    only_a = set(keys(a, "kept")["key"]) - set(keys(b, "kept")["key"])
    dropped = keys(b, "dropped").filter(pl.col("key").is_in(list(only_a)))
    expected = Counter(f"{column} {rule}" for column, rule in dropped.select("column", "rule").rows())
    assert {gone.why: gone.rows for gone in found.lost_by_b} == expected
    assert len(expected) > 1 and sum(expected.values()) == len(only_a)
    values = dict(dropped.select("key", "value").rows())
    for gone in found.lost_by_b:
        assert len(gone.samples) == min(5, gone.rows)
        for sample in gone.samples:
            assert sample.value == values[sample.key]
            assert sample.caption == TEXTS[int(sample.key[1:])]


def test_a_row_whose_page_went_is_lost_where_the_page_went(pages):
    """What B keeps of pages 331 to 360, A never took apart."""
    found = compared(pages)
    later = [node for node in kept_nodes(*PAGE_CUTS["b"]) if node[0] > PAGE_CUTS["a"][0]]
    (gone,) = [gone for gone in found.lost_by_a if gone.why == f"rank max {PAGE_CUTS['a'][0]}"]
    assert gone.rows == len(later) > 0
    assert all(int(sample.value) > PAGE_CUTS["a"][0] for sample in gone.samples)
    assert all(sample.row.space == 1 for sample in gone.samples)


def test_scores_are_those_of_the_kept_rows(texts):
    (words,) = [score for score in compared(texts).scores if score.column == "words"]
    for side, name in ((words.a, "a"), (words.b, "b")):
        cut = open_cut(str(texts), name).uri
        values = pl.read_parquet(f"{cut}/curated/*.parquet")["words"]
        assert side.kept == len(values)
    assert words.kept_a is not None and words.kept_b is not None
    assert [limit.text for limit in words.a.limits] == ["min 2", "max 9"]
    assert words.same
    assert (words.kept_a.low, words.kept_a.high) == (1.5, 9.5), "a whole number takes up its unit"


def test_what_belongs_to_its_cut_is_not_measured_alike(pages):
    same = {score.column: score.same for score in compared(pages).scores}
    assert same["words"] and same["rank"]
    assert not same["longest"], "other nodes are alive in the other cut"


def test_rows_of_files_that_were_added_since_are_told_apart(ray_session, tmp_path):
    (tmp_path / "in").mkdir()
    steps = ["text.length", {"keep": {"words": {"min": 2}}}]
    for name, count in (("a", 3), ("b", 5)):
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", ["two words"] * count)
        recipe = Recipe.model_validate({"name": name, "read": {"table": str(tmp_path / "in")}, "steps": steps})
        run(recipe, out=tmp_path / "c")
    found = compared(tmp_path / "c")
    assert (found.both, found.only_a, found.only_b) == (3, 0, 5)
    (gone,) = found.lost_by_a
    assert (gone.exit, gone.rows, gone.why) == (None, 5, "its shard is not in the cut")
    assert gone.samples[0].caption == "two words" and gone.samples[0].value is None


def test_cuts_that_cannot_be_compared_are_told(texts, pages, words, tmp_path, ray_session):
    a = open_cut(str(texts), "a")
    with pytest.raises(CorpusError, match=r"are cuts of different corpora: .*texts.* and .*pages"):
        diff_cuts(a, open_cut(str(pages), "a"))
    with pytest.raises(CorpusError, match=rf"both are {a.title}; give two"):
        diff_cuts(a, open_cut(str(texts), "a"))
    source = write_jsonl(tmp_path / "s.jsonl", SENTENCES[:9], rank=list(range(9)))
    for name, steps in (("w", word_steps(5, 5, 5)), ("p", page_steps(5, 1, 99)), ("n", ["text.length"])):
        run(Recipe.model_validate({"name": name, "steps": steps}), source, out=tmp_path / "c")
    w, p, n = (open_cut(str(tmp_path / "c"), name) for name in "wpn")
    with pytest.raises(CorpusError, match=r"cannot be matched: .* by test\.words, test\.draws, not test\.page"):
        diff_cuts(w, p)
    with pytest.raises(CorpusError, match=r"not no extractor"):
        diff_cuts(w, n)


def test_the_page_stands_alone_and_hides_nothing(texts, tmp_path):
    page = render_page(compared(texts, 700))
    assert "<script" not in page and 'http-equiv="Content-Security-Policy"' in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [U+001B][31mred [U+202E] evil words here" in page
    assert "\x1b" not in page and "\u202e" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*", page), "nothing is fetched"
    (tmp_path / "d.html").write_text("older")
    write_page(compared(texts), tmp_path / "d.html")
    assert [file.name for file in tmp_path.iterdir()] == ["d.html"]
    assert (tmp_path / "d.html").read_text().startswith("<!doctype html>")
