from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text._grammar import LEXICON, Kind, read_lexicon, tag
from cupel.operators.text.grammar import Grammar

LINES = (Path(__file__).parent / "tagged_captions.txt").read_text("utf-8").splitlines()
TAGS = dict(line.split() for line in LINES if not line.startswith("#"))  # by digest of the caption
LEXICON_READ = read_lexicon(LEXICON)
OPERATOR = Grammar()
WORDS = [
    "a",
    "The",
    "cat",
    "cats",
    "on",
    "to",
    "sit",
    "of",
    "that",
    "red",
    "running",
    "no",
    "can",
    "7",
    "42nd",
    "U.S.",
    "!",
]
TEXTS = st.lists(
    st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=4), max_size=12
).map(" ".join)


def letters(texts: list[str]) -> list[str]:
    """The tags of each text's words, as in tagged_captions.txt."""
    of_kind = {Kind.NOUN: "N", Kind.DETERMINER: "D", Kind.PREPOSITION: "A"}
    found = [""] * len(texts)
    words = tag(pl.Series(texts), LEXICON_READ)
    for row, kind in zip(words.row, words.kind, strict=True):
        found[row] += of_kind.get(kind, "O")
    return found


@pytest.fixture(scope="module")
def tagged(shared_data):
    """(tags, caption) of every caption tagged by hand."""
    tables = [pq.read_table(path) for path in (shared_data / "url_lists" / "laion-sample").glob("test_1000*.parquet")]
    texts = [text or "" for table in tables for text in table.column("TEXT").to_pylist()]
    for name in ("coco-mini", "openstax"):
        for line in (shared_data / "pairs" / name / "captions.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            texts += [*row.get("captions", ()), row.get("caption") or "", row.get("alt") or ""]
    found = {}
    for text in (" ".join(text.split()) for text in texts):
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if digest in TAGS:
            found[digest] = (TAGS[digest], text)
    assert len(found) == len(TAGS) == 240
    return list(found.values())


def test_captions_tagged_by_hand(tagged):
    found = letters([caption for _, caption in tagged])
    assert [len(tags) for tags in found] == [len(tags) for tags, _ in tagged]
    pairs = Counter(
        (right, ours)
        for (tags, _), mine in zip(tagged, found, strict=True)
        for right, ours in zip(tags, mine, strict=True)
    )
    assert sum(pairs.values()) == 2448
    assert sum(n for (right, ours), n in pairs.items() if right == ours) > 0.96 * sum(pairs.values())
    for kind, least in (("N", 0.96), ("D", 0.98), ("A", 0.97)):
        of_ours = sum(n for (_, ours), n in pairs.items() if ours == kind)
        of_right = sum(n for (right, _), n in pairs.items() if right == kind)
        assert pairs[kind, kind] > least * max(of_ours, of_right), kind


def test_the_rules_of_cc3m_and_cc12m_on_captions_tagged_by_hand(measure, tagged):
    """Whether a text has at least one of a class is right for nearly all."""
    found = measure(OPERATOR, [caption for _, caption in tagged])
    for column, kind in (("nouns", "N"), ("determiners", "D"), ("prepositions", "A")):
        right = sum((n > 0) == (kind in tags) for n, (tags, _) in zip(found[column], tagged, strict=True))
        assert right >= len(tagged) - 8, column


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a dog chases its tail", "DNOON"),
        ("the use of a can of food that can be opened", "DNADNANOOOO"),
        ("That man said that that is the man", "DNOOOODN"),
        ("how to use microscopes to focus light on walls", "OOONOONAN"),
        ("a walk to the park", "DNADN"),
        ("No dogs; No. 7 and no. 8", "DNOOO"),
        ("a) image of frost-covered two-story T-shirts", "ONAOON"),
        ("people coming in across the looking glass, holding on", "NOOADONOO"),
        ("a painting of a man painting a wall", "DNADNODN"),
        ("as he runs like the wind, faster than cars", "OOOADNOAN"),
        ("a medical professional is making a quick making of", "DONOODONA"),
        ("Maxking family lived in Puthuppally", "ONOAN"),
        ("日本語 кошка 3D", "OOO"),
        ("", ""),
    ],
)
def test_words_that_neighbours_decide(text, tags):
    assert letters([text]) == [tags]


def by_hand(text: str) -> dict[str, object]:
    words = regex.findall(r"[\p{L}\p{M}\p{N}]+(?:['’.\-&_][\p{L}\p{M}\p{N}]+)*", text)
    words = [word for word in words if regex.search(r"\p{L}", word)]
    whole = len(words) or 1
    return {
        "capitalized_ratio": sum(bool(regex.match(r"\p{Lu}", word)) for word in words) / whole,
        "first_capitalized": bool(words and regex.match(r"\p{Lu}", words[0])),
        "repeated_word_ratio": (len(words) - len({word.lower() for word in words})) / whole,
    }


@given(texts=st.lists(TEXTS, max_size=5))
def test_any_text(measure, texts):
    found = measure(OPERATOR, texts)
    for i, text in enumerate(texts):
        assert {name: found[name][i] for name in by_hand(text)} == pytest.approx(by_hand(text))
        assert [values[0] for values in measure(OPERATOR, [text]).values()] == [values[i] for values in found.values()]
        tags = letters([text])[0]
        assert (found["nouns"][i], found["determiners"][i], found["prepositions"][i]) == tuple(map(tags.count, "NDA"))
        assert found["noun_ratio"][i] == tags.count("N") / (len(tags) or 1)


def test_real_captions(measure, captions, odd_texts):
    texts = [*captions[::2], *odd_texts]
    found = measure(OPERATOR, texts)
    expected = [by_hand(text) for text in texts]
    for name in by_hand(""):
        assert found[name] == [one[name] for one in expected], name


def test_by_example(measure):
    found = measure(OPERATOR, ["The cat and the Dog on The mat in 1999", ""])
    assert {name: values[0] for name, values in found.items()} == {
        "nouns": 3,
        "determiners": 3,
        "prepositions": 2,
        "noun_ratio": 3 / 9,
        "capitalized_ratio": 3 / 9,
        "first_capitalized": True,
        "repeated_word_ratio": 2 / 9,
    }
    assert [values[1] for values in found.values()] == [0, 0, 0, 0.0, 0.0, False, 0.0]


def test_the_list_is_sane():
    lines = [line for line in LEXICON.read_text("utf-8").splitlines() if line and line[0] not in "#["]
    words = [word for line in lines for word in line.split()]
    assert len(words) == len(set(words)), "a word stands once"
    assert all(word == word.lower() for word in words)
    assert {"wears", "carries", "watches", "bigger", "happiest", "larger"} <= LEXICON_READ.keys()


@pytest.mark.parametrize("text", ["a", "ing", "the cat ", "no. ", "a-", "that ", "to use "])
def test_a_megabyte(measure, text):
    found = measure(OPERATOR, [text * (1_000_000 // len(text)), "a cat"])
    assert [values[1] for values in found.values()] == [1, 1, 0, 0.5, 0.0, False, 0.0]
