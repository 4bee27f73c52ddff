"""Documents on a real Ray: nodes are measured and dropped as rows, documents as a whole, and the ledger tells which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline import measure_documents
from cupel.pipeline.documents import Documents
from cupel.pipeline.planner import make_plan
from cupel.pipeline.read import CorpusError
from cupel.pipeline.recipe_file import RecipeError, RecipeFile
from cupel.pipeline.run import Engine
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.pair import PAIR

PAGE = "test.page"


def paragraph(i: int, j: int) -> str:
    return " ".join(f"w{(i * 7 + j * 3 + k) % 50}" for k in range((i * 5 + j) % 9))


PAGES = [
    "|".join(f"IMG:{(i + j) % 40}" if (i + j) % 3 == 0 else paragraph(i, j) for j in range(i % 8)) for i in range(300)
]


def recipe(*steps, **rest):
    return Recipe.model_validate({"name": "r", "steps": list(steps), **rest})


def table(folder: str | Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(Path(folder).glob("*.parquet"))])


def curated(funnel) -> list[dict[str, object]]:
    return table(f"{funnel.cut}/curated").to_pylist()


def sound(funnel) -> None:
    used_up = sum(line.rows_in for line in funnel.steps if line.made is not None)
    assert funnel.rows_in + sum(funnel.made.values()) == funnel.kept + sum(funnel.dropped.values()) + used_up
    assert verify_corpus(funnel.corpus).faults == []


def nodes_of(page: str) -> list[str]:
    return [node for node in page.split("|") if node]


def is_image(node: str) -> bool:
    return node.startswith("IMG:")


def as_text(documents: list[dict[str, object]]) -> dict[str, list[str]]:
    """key -> its nodes, as the page had them."""
    named = {d["key"]: [n["text"] or f"IMG:{n['image_url']}" for n in d["nodes"]] for d in documents}
    assert len(named) == len(documents)
    return named


@pytest.fixture
def pages(tmp_path):
    return write_jsonl(tmp_path / "pages.jsonl", PAGES)


@pytest.mark.usefixtures("ray_session")
def test_nodes_and_documents_are_kept_as_a_plain_loop_would(pages, tmp_path):
    steps = [
        *(PAGE, "text.length", {"keep": {"words": {"min": 3}}}),
        *("test.longest", {"keep": {"longest": {"max": 26}}}),
        *({"text.length": {"on": "document", "as": "document"}}, {"keep": {"document_words": {"min": 6}}}),
    ]
    result = run(recipe(*steps), pages, out=tmp_path / "c")
    expected = {}
    for i, page in enumerate(PAGES):
        alive = [node for node in nodes_of(page) if is_image(node) or len(node.split()) >= 3]
        texts = [node for node in alive if not is_image(node)]
        if texts and max(map(len, texts)) <= 26 and len("\n\n".join(texts).split()) >= 6:
            expected[f"k{i}"] = alive
    rows = curated(result)
    assert as_text(rows) == expected
    assert (result.documents, result.kept) == (len(expected), sum(map(len, expected.values())))
    for row in rows:
        texts = [node for node in expected[row["key"]] if not is_image(node)]
        assert (row["longest"], row["seen"]) == (max(map(len, texts)), len(expected[row["key"]]))
        assert row["document_words"] == len("\n\n".join(texts).split())
        words = [None if is_image(node) else len(node.split()) for node in expected[row["key"]]]
        assert [node["words"] for node in row["nodes"]] == words
        longest = [None if is_image(node) else len(node) == row["longest"] for node in expected[row["key"]]]
        assert [node["is_longest"] for node in row["nodes"]] == longest
    assert table(f"{result.cut}/curated").schema.field("nodes").type.value_type.get_field_index("kind") == 0
    sound(result)
    line = {line.step: line for line in result.steps}
    assert line["keep words"].documents_in == sum(bool(nodes_of(page)) for page in PAGES)
    assert "documents" in str(result) and f"{len(expected):,} documents" in str(result)
    dropped = table(f"{result.cut}/dropped").to_pylist()
    for row in dropped:
        node = row["node"]
        if row["dropped_by"] == "keep words":
            page = nodes_of(PAGES[int(row["key"][1:])])
            assert len(page[node].split()) == int(row["value"]) < 3
        else:
            assert node is None, "the whole document went"


@pytest.mark.usefixtures("ray_session")
def test_a_looser_bound_measures_the_documents_that_have_other_nodes_now(pages, tmp_path):
    def steps(least):
        keep = {"keep": {"words": {"min": least}}}
        return recipe(PAGE, "text.length", keep, "test.longest", {"keep": {"longest": {"min": 1}}})

    def alive(page, least):
        return [node for node in nodes_of(page) if is_image(node) or len(node.split()) >= least]

    first = run(steps(5), pages, out=tmp_path / "c")
    with_nodes = sum(bool(alive(page, 5)) for page in PAGES)
    assert first.measured_rows["test.longest"] == with_nodes
    second = run(steps(3), pages, out=tmp_path / "c")
    changed = sum(alive(page, 5) != alive(page, 3) for page in PAGES)
    assert second.measured_rows == {PAGE: 0, "text.length": 0, "test.longest": changed}
    assert 0 < changed < with_nodes
    third = run(steps(5), pages, out=tmp_path / "c")
    assert (third.measured_rows["test.longest"], third.kept) == (0, first.kept), "both are known now"
    fresh = run(steps(3), pages, out=tmp_path / "fresh")
    assert curated(fresh) == curated(second)
    sound(second)


@pytest.mark.usefixtures("ray_session")
def test_a_bound_on_what_texts_have_is_nothing_to_images(pages, tmp_path):
    steps = [PAGE, "test.longest", {"keep": {"is_longest": {"in": [True]}}}]
    result = run(recipe(*steps), pages, out=tmp_path / "c")
    expected = {}
    for i, nodes in enumerate(map(nodes_of, PAGES)):
        longest = max((len(node) for node in nodes if not is_image(node)), default=0)
        expected |= {f"k{i}": [n for n in nodes if is_image(n) or len(n) == longest]} if nodes else {}
    assert as_text(curated(result)) == expected
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_on_document_a_rule_drops_the_documents_of_the_nodes_that_fail(pages, tmp_path):
    keep = {"keep": {"words": {"min": 2}, "on": "document"}}
    result = run(recipe(PAGE, "text.length", keep), pages, out=tmp_path / "c")
    expected = {
        f"k{i}": nodes
        for i, page in enumerate(PAGES)
        if (nodes := nodes_of(page)) and all(is_image(node) or len(node.split()) >= 2 for node in nodes)
    }
    assert as_text(curated(result)) == expected
    sound(result)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("part_bytes", [Engine.part_bytes, 500])
def test_barriers_see_documents_or_nodes(pages, tmp_path, monkeypatch, part_bytes):
    monkeypatch.setattr(Engine, "part_bytes", part_bytes)
    steps = [
        *(PAGE, {"dedup.exact": {"columns": ["text"], "on": "document"}}, {"keep": {"exact_of": None}}),
        *({"select.frequency": {"column": "image_url"}}, {"keep": {"frequency": {"max": 4}}}),
        *({"text.length": {"on": "document"}}, {"keep": {"words": {"top": 0.3}}}),
    ]
    result = run(recipe(*steps), pages, out=tmp_path / "c")
    first, alive = {}, []
    for i, page in enumerate(PAGES):
        nodes = nodes_of(page)
        text = "\n\n".join(node for node in nodes if not is_image(node))
        if nodes and (not text or text not in first):
            first.setdefault(text, i)
            alive.append((f"k{i}", nodes))
    images = [node for _, nodes in alive for node in nodes if is_image(node)]
    alive = [(key, [n for n in nodes if not is_image(n) or images.count(n) <= 4]) for key, nodes in alive]
    words = {key: len(" ".join(n for n in nodes if not is_image(n)).split()) for key, nodes in alive}
    has_text = [key for key, nodes in alive if any(not is_image(node) for node in nodes)]
    best = sorted(has_text, key=lambda key: (-words[key], key))[: -(-len(has_text) * 3 // 10)]
    assert as_text(curated(result)) == {key: nodes for key, nodes in alive if key in best}
    sound(result)
    names = {row["value"] for row in table(f"{result.cut}/dropped").to_pylist() if row["column"] == "exact_of"}
    shards = pq.read_table(tmp_path / "c" / "source.parquet").to_pylist()
    rows = [f"{s['id']:08d}:{i}" for s in shards for i in range(s["rows"])]
    assert names <= {rows[i] for i in first.values()}, "a document is named by the row that it was made of"


@pytest.mark.usefixtures("ray_session")
def test_what_is_fetched_is_measured_written_and_never_fetched_twice(pages, tmp_path):
    extra = write_jsonl(tmp_path / "more.jsonl", ["a|IMG:gone|IMG:7", "IMG:slow|b c", "IMG:gone"])
    steps = [PAGE, "test.brings", {"keep": {"brought": {"in": ["ok"]}}}, "image.size"]
    kept = {"keep": {"width_px": {"min": 47}}}
    result = run(recipe(*steps, kept), extra, out=tmp_path / "c")
    assert result.errors == {"gone_host": 2, "slow_host": 1}
    assert as_text(curated(result)) == {"k0": ["a", "IMG:7"], "k1": ["b c"]}
    (image,) = [node for row in curated(result) for node in row["nodes"] if node["image"]]
    assert (image["width_px"], image["brought"], image["image"][:4]) == (47, "ok", b"\x89PNG")
    dropped = {(r["key"], r["value"]) for r in table(f"{result.cut}/dropped").to_pylist()}
    assert dropped == {("k0", "gone"), ("k1", "slow"), ("k2", "gone")}
    sound(result)
    again = run(recipe(*steps, {"keep": {"width_px": {"min": 48}}}), extra, out=tmp_path / "c")
    assert (again.measured_rows["test.brings"], again.kept) == (0, 2)
    tried = run(recipe(*steps), extra, out=tmp_path / "c", retry_errors=["slow_host"])
    assert (tried.measured_rows["test.brings"], tried.errors) == (1, {"gone_host": 2, "slow_host": 1})
    sound(tried)

    many = run(recipe(*steps, kept, {"image.phash": {}}), pages, out=tmp_path / "many")
    expected = {}
    for i, page in enumerate(PAGES):
        nodes = [node for node in nodes_of(page) if not is_image(node) or int(node[4:]) >= 7]
        if nodes:
            expected[f"k{i}"] = nodes
    assert as_text(curated(many)) == expected
    images = [node for row in curated(many) for node in row["nodes"] if node["kind"] == "image"]
    assert all(node["width_px"] == 40 + int(node["image_url"]) for node in images)
    assert all(node["image"] and node["phash"] is not None for node in images)
    sound(many)


@pytest.mark.usefixtures("ray_session")
def test_errors_of_nodes_and_of_documents_are_tried_again_in_one_go(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", ["a RAISE|b", "c|d", "IMG:slow|RAISE"])
    steps = [PAGE, "test.raises", "test.longest", {"test.raises": {"as": "again"}}, "test.brings"]
    result = run(recipe(*steps), source, out=tmp_path / "c")
    assert result.errors == {"ZeroDivisionError": 3, "slow_host": 1}, "rows, by what failed last"
    counts = {"test.raises": 2, "test.longest": 2, "test.raises (2)": 2, "test.brings": 1, PAGE: 0}
    tried = run(recipe(*steps), source, out=tmp_path / "c", retry_errors=["ZeroDivisionError", "slow_host"])
    assert (tried.measured_rows, tried.errors) == (counts, result.errors)
    sound(tried)


@pytest.mark.usefixtures("ray_session")
def test_fetched_pages_are_read_as_they_are_asked_for(pages, tmp_path):
    """Bytes feed an extractor; other columns do not hold them; a stricter rule first, then a looser one."""
    page = {PAGE: {"column": "html"}}
    for least in (20, 10):
        keep = {"keep": {"characters": {"min": least}}}
        result = run(recipe("text.length", keep, "test.brings_text", page), pages, out=tmp_path / "c")
        expected = {f"k{i}": nodes for i, p in enumerate(PAGES) if len(p) >= least and (nodes := nodes_of(p))}
        assert as_text(curated(result)) == expected
        sound(result)
    assert "html" not in table(f"{result.cut}/curated").column_names
    assert len(list((tmp_path / "c" / "fetched").rglob("*+1.parquet"))) > 0
    whole = run(recipe("test.brings_text"), pages, out=tmp_path / "c")
    assert [row["html"].decode() for row in curated(whole)] == PAGES


@pytest.mark.usefixtures("ray_session")
def test_a_document_that_fails_or_kills_its_worker_costs_one_document(tmp_path, monkeypatch):
    monkeypatch.setattr(measure_documents, "AT_ONCE", 2)
    source = write_jsonl(tmp_path / "p.jsonl", ["one two|three", "x|FAIL y", "so|RAISE", "IMG:3|KILL it", "last"])
    result = run(recipe(PAGE, "test.longest"), source, out=tmp_path / "c")
    assert result.errors == {"no_words": 2, "ZeroDivisionError": 2, "worker_died": 2}, "by node"
    assert [row["longest"] for row in curated(result)] == [7, None, None, None, 4]
    assert [[n["is_longest"] for n in row["nodes"]] for row in curated(result)][1] == [None, None]
    sound(result)
    kept = run(recipe(PAGE, "test.longest", {"keep": {"longest": {"min": 0}}}), source, out=tmp_path / "c")
    assert list(as_text(curated(kept))) == ["k0", "k4"]
    assert kept.measured_rows["test.longest"] == 0


@pytest.mark.usefixtures("ray_session")
def test_documents_of_rows_that_were_made_and_pairs_of_documents(tmp_path):
    """An extractor before, whose rows are the documents, and one after, whose rows are no nodes any more."""
    source = write_jsonl(tmp_path / "p.jsonl", ["a|b c d|e", "f|IMG:2|g"])
    page = {PAGE: {"column": "text"}}
    result = run(recipe("test.words", page, "test.longest", {"keep": {"seen": {"min": 2}}}), source, out=tmp_path / "c")
    assert [[node["text"] for node in row["nodes"]] for row in curated(result)] == [
        ["a", "b"],
        ["d", "e"],
        ["f", None, "g"],
    ]
    sound(result)
    after = run(recipe(PAGE, "test.longest", "test.words"), source, out=tmp_path / "d")
    assert [(row["text"], row["longest"]) for row in curated(after)] == [
        *((word, 5) for word in "abcde"),
        *((word, 1) for word in "fg"),
    ]
    assert after.documents is None
    sound(after)


@pytest.mark.usefixtures("ray_session")
def test_what_failed_and_comes_after_all_is_measured_by_all_that_lacked_it(tmp_path):
    """Row operators, extractors and documents; and what has come is not asked for again."""
    source = write_jsonl(tmp_path / "p.jsonl", ["a|IMG:slow5", "b|IMG:6", "c|IMG:slow8"])
    mark = tmp_path / "mark"
    steps = [PAGE, {"test.brings": {"mark": str(mark)}}, "image.size", "test.invert", "test.pictures"]
    first = run(recipe(*steps), source, out=tmp_path / "c")
    assert [row["pictures"] for row in curated(first)] == [0, 1, 0]
    mark.touch()
    second = run(recipe(*steps), source, out=tmp_path / "c", retry_errors=["slow_host"])
    assert second.measured_rows == {PAGE: 0, "test.brings": 2, "image.size": 2, "test.invert": 2, "test.pictures": 2}
    assert [row["pictures"] for row in curated(second)] == [1, 1, 1]
    widths = [node["width_px"] for row in curated(second) for node in row["nodes"] if node["kind"] == "image"]
    assert widths == [45, 46, 48]
    sound(second)
    mark.unlink()
    third = run(recipe(*steps), source, out=tmp_path / "c", retry_errors=["slow_host"])
    assert (third.measured_rows["test.brings"], third.errors) == (0, {})
    sound(third)


@pytest.mark.usefixtures("ray_session")
def test_pages_that_come_after_all_become_documents_once(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", ["1", "2"], image_url=["slow1", "2"])
    mark = tmp_path / "mark"
    size = {"test.brings": {"mark": str(mark)}}
    steps = [size, "image.size", {PAGE: {"column": "brought"}}]
    first = run(recipe(*steps), source, out=tmp_path / "c")
    assert [row["nodes"][0]["text"] for row in curated(first)] == ["slow", "ok"]
    mark.touch()
    for _ in range(2):
        later = run(recipe(*steps), source, out=tmp_path / "c", retry_errors=["slow_host"])
        assert later.measured_rows["image.size"] == later.measured_rows["test.brings"]
        sound(later)
    assert [row["width_px"] for row in curated(later)] == [41, 42]


@pytest.mark.usefixtures("ray_session")
def test_a_row_on_which_fetching_raises_costs_itself(tmp_path):
    urls = ["3", "RAISE", "4", "5", "gone", "6"]
    source = write_jsonl(tmp_path / "p.jsonl", ["t"] * 6, image_url=urls)
    result = run(recipe("test.brings", "image.size"), source, out=tmp_path / "c")
    assert result.errors == {"ZeroDivisionError": 1, "gone_host": 1}
    assert [row["width_px"] for row in curated(result)] == [43, None, 44, 45, None, 46]
    again = run(recipe({"test.brings": {"hurry": 9}}, "image.size"), source, out=tmp_path / "c")
    assert set(again.measured_rows.values()) == {0}, "how fast it is to be changes nothing"
    with pytest.raises(CorpusError, match="belongs to another corpus"):
        run(recipe("test.brings"), write_jsonl(tmp_path / "q.jsonl", ["t"], image_url=["1"]), out=tmp_path / "c")
    sound(again)


@pytest.mark.usefixtures("ray_session")
def test_alternatives_are_about_the_nodes_that_have_their_columns(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", ["a b c|a b|IMG:2|IMG:9|a"])
    either = {"keep": {"any": [{"words": {"min": 3}}, {"width_px": {"min": 45}}]}}
    result = run(recipe(PAGE, "text.length", "test.brings", "image.size", either), source, out=tmp_path / "c")
    assert as_text(curated(result)) == {"k0": ["a b c", "IMG:9"]}
    images = {"keep": {"any": [{"width_px": {"min": 45}}, {"height_px": {"min": 99}}]}}
    result = run(recipe(PAGE, "text.length", "test.brings", "image.size", images), source, out=tmp_path / "c")
    assert as_text(curated(result)) == {"k0": ["a b c", "a b", "IMG:9", "a"]}


@pytest.mark.usefixtures("ray_session")
def test_a_rule_on_a_column_with_a_comma_in_its_name(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", ["x", "y"], **{"a, b": [0, 2]})
    result = run(recipe({"keep": {"a, b": {"min": 1}}}), source, out=tmp_path / "c")
    assert (result.kept, result.dropped) == (1, {"keep a, b": 1})


def test_what_asks_hosts_is_a_stretch_of_its_own():
    made = make_plan(RecipeFile(recipe=recipe("text.length", "crawl.site", "text.language")), PAIR)
    assert made.stretches == ((0, 1), (1, 2), (2, 3))
    assert [made.fetches(stretch) for stretch in made.stretches] == [False, True, False]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["test.longest"], "test.longest measures documents, and there are none here: page.document makes some"),
        ([{"text.length": {"on": "document"}}], "there are none here"),
        ([{"keep": {"text": {"in": ["a"]}, "on": "document"}}], "on: document: there are no documents here"),
        ([PAGE, {"test.words": {"on": "document"}}], "test.words goes from row to row"),
        ([PAGE, "test.brings", {"image.size": {"on": "document"}}], "reads 'image', of which each node has its own"),
        ([PAGE, "test.brings", "pair.clip_similarity"], "reads texts and images, and no node of a document has both"),
        (
            [PAGE, "test.longest", {"keep": {"longest": {"top": {"share": 0.5, "by": "kind"}}}}],
            "but 'kind' is of nodes",
        ),
        ([PAGE, "test.brings", {"test.brings": {"as": {"brought": "b"}}}], "has a column of that name"),
        (
            [PAGE, "test.longest", {PAGE: {"column": "text"}}, {"text.length": {"on": "document"}}, "test.longest"],
            "has a",
        ),
        ([{PAGE: {"as": "p"}}], "`kind` keeps its name"),
        ([{PAGE: {"as": {"image_url": "nodes"}}}], "get a column 'nodes'"),
        ([PAGE, {"text.length": {"as": {"words": "nodes"}}}], "adds 'nodes', which documents have"),
        ([{"text.length": {"on": "pages"}}], "Input should be 'nodes' or 'document'"),
    ],
)
def test_mistakes_are_told(pages, tmp_path, ray_session, steps, message):
    with pytest.raises((RecipeError, ValueError)) as told:
        run(recipe(*steps), pages, out=tmp_path / "c")
    assert message in str(told.value)


def test_a_digest_tells_sets_of_nodes_apart_whatever_their_order():
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(0, 50, 1000))
    documents = Documents(owners, np.arange(50), np.arange(1000))
    seen = {}
    for _ in range(200):
        alive = rng.random(1000) < 0.5
        for document, digest in enumerate(documents.digests(alive).tolist()):
            nodes = frozenset(np.flatnonzero(alive & (documents.of == document)).tolist())
            assert seen.setdefault((document, digest), nodes) == nodes
    permuted = rng.permutation(1000)
    other = Documents(owners, np.arange(50), permuted)
    assert (other.digests(np.ones(1000, bool)) != documents.digests(np.ones(1000, bool))).any()
