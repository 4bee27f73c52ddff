"""The ratio against Python's own regular expressions, which define it in OBELICS."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text.punctuation import Punctuation

MARKS = set(",;:?!.")


def by_hand(text: str, least: int) -> float | None:
    tokens = re.findall(r"[\w']+|[,;:?!.]", text)
    if tokens and len(tokens) < least:
        return None
    return sum(token in MARKS for token in tokens) / (len(tokens) or 1)


def test_tokens_of_every_code_point(measure):
    texts = [f"a{chr(code)}b." for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    found = measure(Punctuation(), texts)["sentence_mark_ratio"]
    assert found == [by_hand(text, 0) for text in texts]


@given(texts=st.lists(st.text(st.sampled_from("ab _'-.,;:?!\n7é")), min_size=1), least=st.integers(0, 5))
def test_any_text(measure, texts, least):
    found = measure(Punctuation(min_tokens=least), texts)["sentence_mark_ratio"]
    assert found == [by_hand(text, least) for text in texts]


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("", 0.0),
        ("& - /", 0.0),
        ("home", None),
        ("one two three four five six seven eight nine ten eleven", None),
        ("one two three four five six seven eight nine ten eleven twelve", 0.0),
        ("one two three four five six seven eight nine ten eleven.", 1 / 12),
        ("one two three four five six seven eight nine ten, eleven.", 2 / 13),
    ],
)
def test_a_paragraph_of_fewer_than_twelve_tokens_says_nothing(measure, text, ratio):
    assert measure(Punctuation(min_tokens=12), [text])["sentence_mark_ratio"] == [ratio]
