from __future__ import annotations

import unicodedata

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.base import Batch
from cupel.operators.pair.text_in_image import TextInImage


def share(*pairs: tuple[str, str], **parameters: object) -> list[float]:
    operator = TextInImage(**parameters)
    captions, written = zip(*pairs, strict=True)
    rows = pa.table({"text": pa.array(captions, pa.string()), operator.column: pa.array(written, pa.string())})
    return operator(Batch(rows))["caption_words_in_image"].to_pylist()


@pytest.mark.parametrize(
    ("caption", "written", "expected"),
    [
        ("A stop sign", "STOP", 1 / 3),
        ("Keep calm and carry on", "KEEP\nCALM\nAND\nCARRY\nON", 1),
        ("the the the end", "the", 1 / 2),  # each word once
        ("50% off: summer sale!", "SALE\nup to 50 %", 2 / 4),
        ("don't stop", "DON'T", 2 / 3),
        ("cat", "category", 0),
        ("naïve Café", "CAFÉ", 1 / 2),
        ("新年快乐 2020", "新年快乐\n2020", 1),
        ("a dog", "", 0),
        ("", "STOP", 0),
        ("!!! ...", "!!!", 0),
        ("", "", 0),
    ],
)
def test_by_hand(caption, written, expected):
    assert share((caption, written)) == [pytest.approx(expected)]


def words(text: str) -> set[str]:
    """Runs of letters, marks and digits, by Python's own table of characters."""
    kept = (letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in text)
    return set("".join(kept).split())


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cn")))  # what is assigned later is a letter to polars alone


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_as_sets_have_it(pairs):
    pairs += [(caption, caption) for caption, _ in pairs]
    lower = [tuple(pl.Series(pair, dtype=pl.String).str.to_lowercase()) for pair in pairs]
    expected = [len(words(c) & words(w)) / len(words(c)) if words(c) else 0 for c, w in lower]
    assert share(*pairs) == pytest.approx(expected)


def test_a_caption_of_a_million_letters():
    assert share(("word " * 250_000, "word"), ("x" * 1_000_000, "x")) == [1, 0]


def test_another_column():
    assert TextInImage(column="ocr").reads == ("text", "ocr")
    assert share(("stop", "stop"), column="ocr") == [1]
