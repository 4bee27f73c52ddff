"""Captions by their words, and rows by what they mean: the same as a plain loop over what was written finds."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import open_clip
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from drawing import encoded, picture, write_folder, write_jsonl
from hypothesis import given
from hypothesis import strategies as st

from cupel import Recipe, run
from cupel.operators.models.weights import model_folder
from cupel.operators.pair.clip_similarity import ClipSimilarity
from cupel.pipeline.inspect import search
from cupel.pipeline.inspect.embeddings import EmbeddingSearch
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.search import QUERY_CHARACTERS, SearchError, Term, read_query, search_texts

TEXTS = [
    "a cat on a mat",
    "Cats, cats and more CATS",
    "education for all",
    "the red car",
    "the red\n  car of a friend",
    "a car, red and small",
    "a reddish carpet",
    "Straße in ΑΘΉΝΑ",
    "黒い猫の写真",
    "crawfish.JPG",
    "a (b) .* [c-d] $x ^y | z \\d a+ {2}",
    'a 12" plate, 50% off',
    "<script>alert(1)</script>",
    "e-book",
    "_private name",
    "",
    None,
    "x" * 5000,
]


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    place = write_jsonl(folder / "a.jsonl", TEXTS)
    run(Recipe(name="r", steps=["text.length", {"keep": {"words": {"min": 2}}}]), place, out=folder / "c")
    return load_rows(open_cut(str(folder / "c"))).last


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cat", [0, 1]),  # not edu-cat-ion
        ("CATS", [1]),
        ("red car", [3, 4, 5, 6]),
        ('"red car"', [3, 4]),
        ("red -reddish", [3, 4, 5]),
        ('car -"red car"', [5, 6]),
        ("-a -the", [7, 8, 9, 13, 14, 15, 17]),
        ("straße", [7]),
        ("αθήνα", [7]),
        ("猫", [8]),
        (".jpg", [9]),
        ("jpg", [9]),
        (".*", [10]),
        ("[c-d] $x", [10]),
        ("\\d", [10]),
        ("a+ {2}", [10]),
        ('12"', [11]),
        ("50%", [11]),
        ("<script>", [12]),
        ("book", [13]),
        ("_private", [14]),
        ("private", []),
        ("nothing of this kind", []),
        ('"unclosed red', []),
        ('"the red', [3, 4]),
        ("red - car", [3, 4, 5, 6]),
    ],
)
def test_words_phrases_and_what_is_left_out(texts, query, expected):
    found = search_texts(texts, query)
    assert sorted(found.rows.tolist()) == expected
    assert found.total == len(found.rows)


def test_the_best_come_first(texts):
    """Whole words before beginnings, then more of the words in fewer letters."""
    assert search_texts(texts, "cat").rows.tolist() == [0, 1]
    assert search_texts(texts, "red car").rows.tolist() == [3, 5, 4, 6]


def holds(text: str, term: Term) -> bool:
    """By Python's own regular expressions."""
    start = r"\b" if re.match(r"[^\W猫]", term.words[0]) else ""
    found = re.search(start + r"\s+".join(map(re.escape, term.words)), text, re.IGNORECASE) is not None
    return found != term.excluded


LETTERS = st.text("abAB é猫.-_*\n", max_size=12)


@given(st.lists(LETTERS, max_size=6), st.text('abA é猫.-_*"', min_size=1, max_size=12))
def test_texts_are_found_as_by_a_loop(captions, query):
    try:
        terms = read_query(query)
    except SearchError:
        return
    expected = [all(holds(text, term) for term in terms) for text in captions]
    assert search._holding(pl.Series(captions, dtype=pl.String), terms).tolist() == expected


def test_ranking_a_part_loses_no_row(texts, monkeypatch):
    whole = search_texts(texts, "a").rows.tolist()
    monkeypatch.setattr(search, "RANKED_ROWS", 2)
    some = search_texts(texts, "a").rows.tolist()
    assert sorted(some) == sorted(whole) and len(some) > 4
    lengths = [len(TEXTS[row]) for row in some]
    assert max(lengths[:2]) <= min(lengths[2:]) and all(a < b for a, b in pairwise(some[2:]))


@pytest.mark.parametrize("query", ["", "  ", "-", '""', '-""', "\0", "x" * (QUERY_CHARACTERS + 1), "x y " * 2500])
def test_queries_that_are_refused(texts, query):
    with pytest.raises(SearchError):
        search_texts(texts, query)


def test_too_many_words_are_refused():
    with pytest.raises(SearchError, match="40 words; at most 32"):
        read_query(" ".join(f"w{i}" for i in range(40)))


def test_columns_that_are_no_text(texts):
    with pytest.raises(SearchError, match="no column 'words'"):
        search_texts(texts, "a", column="words")
    assert search_texts(texts, "K3", column="key").rows.tolist() == [3]


def test_the_version_that_is_written_is_searched(ray_session, tmp_path):
    place = write_jsonl(tmp_path / "a.jsonl", ["a &lt;b&gt; c", "nothing"])
    run(Recipe(name="r", steps=["text.clean"]), place, out=tmp_path / "c")
    rows = load_rows(open_cut(str(tmp_path / "c"))).last
    assert search_texts(rows, "lt").total == 0
    assert search_texts(rows, "lt", column="text").rows.tolist() == [0]


# By meaning

PICTURES = 40
SHARDS = 2


@pytest.fixture(scope="module")
def meant(ray_session, tmp_path_factory):
    """The folder of a corpus with kept vectors, one of its pictures broken."""
    folder = tmp_path_factory.mktemp("meant")
    names = []
    for shard in range(SHARDS):
        place = write_folder(folder / f"in{shard}", PICTURES // SHARDS)
        names += sorted(place.glob("*.jpg"))
    for i, name in enumerate(names):
        name.write_bytes(encoded(picture(i)))
    names[7].write_bytes(b"broken")
    for shard in range(SHARDS):
        some = names[shard * 20 : shard * 20 + 20]
        keys = [{"image": str(name.relative_to(folder)), "text": f"a red circle {i}"} for i, name in enumerate(some)]
        images = pa.array([row["image"] for row in keys])
        pq.write_table(pa.table({"image": images, "text": [row["text"] for row in keys]}), folder / f"{shard}.parquet")
    steps = ["image.size", {"keep": {"pixels": {"null": "keep", "min": 1}}}]
    steps.append({"pair.clip_similarity": {"model": "cupel-tiny", "embeddings": True, "as": "tiny"}})
    read = {"table": str(folder / "*.parquet"), "root": str(folder)}
    run(Recipe.model_validate({"name": "r", "read": read, "steps": steps}), None, out=folder / "c")
    return folder / "c"


@pytest.fixture(scope="module")
def written(meant) -> np.ndarray:
    """The images' vectors as they were written (40, 192); NaN where there is none."""
    cut = open_cut(str(meant))
    files = sorted((meant / cut.folder / "curated").glob("*.parquet"))
    lists = [row for file in files for row in pq.read_table(file).column("tiny_image_embedding").to_pylist()]
    assert len(lists) == PICTURES and lists[7] is None
    return np.array([row or [np.nan] * 192 for row in lists], np.float32)


def numbers(near) -> list[int]:
    return [found.shard * (PICTURES // SHARDS) + found.row for found in near]


def expected(written: np.ndarray, query: np.ndarray, top: int) -> tuple[list[int], np.ndarray]:
    cosines = written @ (query / np.linalg.norm(query))
    best = np.argsort(-np.nan_to_num(cosines, nan=-2), kind="stable")[:top]
    return best.tolist(), cosines[best]


@pytest.mark.parametrize("cache_bytes", [0, 5000, 1 << 20])
def test_rows_like_a_row(meant, written, cache_bytes):
    search = EmbeddingSearch(open_cut(str(meant)), cache_bytes=cache_bytes)
    rows, cosines = expected(written, written[25], 11)
    for _ in range(2):  # read, then held
        found = search.like(0, 1, 5, top=10)
        assert numbers(found) == rows[1:] and rows[0] == 25
        assert np.allclose([near.cosine for near in found], cosines[1:], atol=2e-3)


def test_rows_by_a_text(meant, written):
    """The query's vector by open_clip itself."""
    model = open_clip.create_model(f"local-dir:{model_folder('cupel-tiny')}").eval()
    search = EmbeddingSearch(open_cut(str(meant)))
    tokens = open_clip.SimpleTokenizer(
        bpe_path=str(model_folder("cupel-tiny") / "bpe.txt.gz"), context_length=model.context_length
    )
    with torch.inference_mode():
        query = model.encode_text(tokens(["a blue square"]), normalize=True)[0].numpy()
    rows, cosines = expected(written, query, 39)
    found = search.by_text("a blue square", top=1000)
    assert len(found) == PICTURES - 1 and 7 not in numbers(found)
    assert np.allclose([near.cosine for near in found], cosines, atol=2e-3)
    assert numbers(found)[:3] == rows[:3]


def test_rows_by_a_picture(meant):
    search = EmbeddingSearch(open_cut(str(meant)))
    best = search.by_picture(encoded(picture(31)), top=1)[0]
    assert (best.shard, best.row) == (1, 11) and best.cosine > 0.999


def test_rows_may_be_kept_out(meant, written):
    search = EmbeddingSearch(open_cut(str(meant)))
    odd = np.arange(PICTURES // SHARDS) % 2 == 1
    found = search.like(0, 0, 3, top=100, allowed=lambda shard: odd)
    rows, _ = expected(written, written[3], PICTURES)
    assert numbers(found) == [row for row in rows if row % 2 and row not in (3, 7)]


def test_captions_can_be_searched_too(meant):
    search = EmbeddingSearch(open_cut(str(meant)))
    images, texts = search.columns
    assert (images.of_texts, texts.of_texts, images.model) == (False, True, "cupel-tiny")
    best = search.by_text("a red circle 4", column=texts, top=2)
    assert {near.row for near in best} == {4} and best[0].cosine > 0.999


@pytest.mark.parametrize("data", [b"", b"<svg/>", encoded(picture(1))[:500]])
def test_what_is_no_picture_is_told(meant, data):
    with pytest.raises(SearchError, match="no picture that can be read"):
        EmbeddingSearch(open_cut(str(meant))).by_picture(data)


def test_what_cannot_be_answered_is_told(meant, texts, tmp_path, monkeypatch):
    search = EmbeddingSearch(open_cut(str(meant)))
    with pytest.raises(SearchError, match="no vector of this row"):
        search.like(0, 0, 7)
    with pytest.raises(SearchError, match="1 to 1,000"):
        search.by_text("x" * 10_000)
    with pytest.raises(SearchError, match="16,777,216 are read"):
        search.by_picture(bytes((16 << 20) + 1))
    with pytest.raises(SearchError, match="embeddings: true"):
        EmbeddingSearch(texts._rows.cut).by_text("a cat")
    monkeypatch.setenv("CUPEL_MODELS", str(tmp_path))
    elsewhere = replace(search.columns[0], operator=ClipSimilarity(embeddings=True))
    with pytest.raises(SearchError, match="cupel models fetch ViT-B-32 openai"):
        search.by_text("a cat", column=elsewhere)
