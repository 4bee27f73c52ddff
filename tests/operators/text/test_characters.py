from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupel.operators.text.characters import Characters

SCRIPTS = st.text(st.characters(exclude_categories=["Cs"]))


def by_hand(text: str) -> dict[str, float]:
    """The definitions, a code point at a time."""
    categories = [unicodedata.category(character) for character in text]
    letters = sum(category[0] == "L" for category in categories)
    whole = len(text) or 1
    return {
        "letter_ratio": letters / whole,
        "digit_ratio": sum(character.isdecimal() for character in text) / whole,
        "punctuation_ratio": sum(category[0] == "P" for category in categories) / whole,
        "special_ratio": sum(category[0] not in "LM" for category in categories) / whole,
        "uppercase_ratio": sum(category == "Lu" for category in categories) / (letters or 1),
        "non_ascii_ratio": sum(not character.isascii() for character in text) / whole,
    }


def rows(columns: dict[str, list[object]]) -> list[dict[str, object]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@settings(deadline=None)
@given(texts=st.lists(SCRIPTS | st.text("aA1 .$é😀\u0301"), min_size=1))
def test_any_text(measure, texts):
    assert rows(measure(Characters(), texts)) == [by_hand(text) for text in texts]


def test_real_captions_and_every_script(measure, captions, odd_texts):
    texts = [*captions, *odd_texts]
    assert rows(measure(Characters(), texts)) == [by_hand(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        ("", "letter_ratio", 0.0),
        ("", "special_ratio", 0.0),
        ("AbC 12!?", "letter_ratio", 3 / 8),
        ("AbC 12!?", "digit_ratio", 2 / 8),
        ("AbC 12!?", "punctuation_ratio", 2 / 8),
        ("AbC 12!?", "special_ratio", 5 / 8),
        ("AbC 12!?", "uppercase_ratio", 2 / 3),
        ("123", "uppercase_ratio", 0.0),
        ("$5 < 6", "punctuation_ratio", 0.0),
        ("😀é", "non_ascii_ratio", 1.0),
        ("😀é", "special_ratio", 0.5),
        ("日本語", "letter_ratio", 1.0),
        ("هذا", "uppercase_ratio", 0.0),
    ],
)
def test_by_example(measure, text, column, value):
    assert measure(Characters(), [text])[column] == [value]


def test_obelics_special_characters_are_special(measure):
    """ASCII punctuation, digits and white space are in OBELICS's list, letters are not: `string`'s own constants."""
    import string

    special = string.punctuation + string.digits + string.whitespace
    assert measure(Characters(), [special, string.ascii_letters])["special_ratio"] == [1.0, 0.0]
