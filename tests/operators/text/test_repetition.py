from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupel.operators.text import repetition
from cupel.operators.text.repetition import Repetition

ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]))  # lower case of what Python does not know may differ
PHRASES = st.lists(st.sampled_from(["abc", "A b", " ", "the cat, ", "é", "x", "日本", "...", "1"]), max_size=60).map(
    "".join
)


def words_by_hand(text: str) -> list[str]:
    """OBELICS's get_words_from_text, special characters being those that are neither letter nor mark."""

    def strip(word: str) -> str:
        inner = [i for i, character in enumerate(word) if unicodedata.category(character)[0] in "LM"]
        return word[inner[0] : inner[-1] + 1] if inner else ""

    return [stripped for word in text.split() if (stripped := strip(word.lower()))]


def characters_by_hand(text: str, n: int) -> float:
    """OBELICS's compute_character_repetition_ratio."""
    frequencies = sorted(Counter(text[i : i + n] for i in range(len(text) - n + 1)).values(), reverse=True)
    if not frequencies:
        return 0.0
    k = min(int(np.sqrt(len(frequencies))), len(frequencies) - frequencies.count(1))
    return sum(frequencies[:k]) / sum(frequencies)


def word_ngrams_by_hand(text: str, n: int) -> float:
    """OBELICS's compute_word_repetition_ratio."""
    words = words_by_hand(text)
    frequencies = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1)).values()
    return sum(one for one in frequencies if one > 1) / sum(frequencies) if frequencies else 0.0


def by_hand(texts: list[str], character_n: int = 10, word_n: int = 5) -> dict[str, list[float]]:
    return {
        "character_repetition": [characters_by_hand(text, character_n) for text in texts],
        "word_repetition": [word_ngrams_by_hand(text, word_n) for text in texts],
    }


@settings(deadline=None)
@given(texts=st.lists(PHRASES | ASSIGNED, min_size=1), character_n=st.integers(1, 13), word_n=st.integers(1, 6))
def test_any_text(measure, texts, character_n, word_n):
    operator = Repetition(character_n=character_n, word_n=word_n)
    assert measure(operator, texts) == by_hand(texts, character_n, word_n)


def test_real_captions_and_every_script(measure, captions, odd_texts):
    texts = [*captions, *odd_texts, "\n".join(captions[:3000])]
    assert measure(Repetition(), texts) == by_hand(texts)


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("", 0.0, 0.0),
        ("123456789", 0.0, 0.0),
        ("a" * 10, 0.0, 0.0),
        ("a" * 11, 1.0, 0.0),
        ("One two three four FIVE, one (two) three four five!", 6 / 42, 2 / 6),
    ],
)
def test_by_example(measure, text, characters, words):
    found = measure(Repetition(), [text])
    assert (found["character_repetition"], found["word_repetition"]) == ([characters], [words])


def test_exact_although_the_hash_is_bad(monkeypatch):
    """Different n-grams that share a hash make it take another one: here the first three are useless."""
    good = repetition._hash_64
    tried = []

    def bad_at_first(tokens, starts, rows, n, attempt):
        tried.append(attempt)
        return good(tokens, starts, rows, n, attempt) % (3 if attempt < 3 else 2**63)

    monkeypatch.setattr(repetition, "_hash_64", bad_at_first)
    tokens = np.array([1, 2, 1, 2, 3, 4, 3, 4, 5, 1, 2, 1, 2], np.uint32)
    rows, frequency = repetition.repeated(tokens, np.array([8, 5]), 2)
    assert sorted(zip(rows.tolist(), frequency.tolist(), strict=True)) == [(0, 2), (0, 2), (1, 2)]
    assert tried == [0, 1, 2, 3]
