"""Words by hand, with lists of one's own; the shipped lists by example."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text._words import read_words
from cupel.operators.text.web_words import WebWords

SOME = ["cat", "left-hand", "share", "don't", "qzx", "42", "&", "(The", "cookies!", "sign-up", "dog's", "qzx-cat"]


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "common.txt").write_text("cat\nthe\nleft\nhand\n", "utf-8")
    (folder / "spam.txt").write_text("share\nsign-up\n", "utf-8")
    return folder


@given(texts=st.lists(st.lists(st.sampled_from(SOME)).map(" ".join), min_size=1))
def test_with_lists_of_ones_own(measure, lists, texts):
    operator = WebWords(common_words=lists / "common.txt", spam_words=lists / "spam.txt")
    words = [[word.lower().strip("(!") for word in text.split() if word not in ("42", "&")] for text in texts]
    assert measure(operator, texts) == {
        "letter_words": [len(found) for found in words],
        "common_word_ratio": [sum(w in ("cat", "the", "left", "hand") for w in f) / (len(f) or 1) for f in words],
        "spam_word_ratio": [sum(w in ("share", "sign-up") for w in f) / (len(f) or 1) for f in words],
    }


@pytest.mark.parametrize(
    ("text", "words", "common", "spam"),
    [
        ("", 0, 0.0, 0.0),
        ("1 2 3 & 4", 0, 0.0, 0.0),
        ("The cat sat on the mat.", 6, 1.0, 0.0),
        ("Don't you like the left-hand side?", 6, 1.0, 1 / 6),
        ("Zxqv qjxz wvvq the", 4, 0.25, 0.0),
        ("Share Post Comment Subscribe", 4, 1.0, 1.0),
        ("newletter newsletter", 2, 0.5, 0.5),
    ],
)
def test_by_example(measure, text, words, common, spam):
    found = measure(WebWords(), [text])
    assert [values[0] for values in found.values()] == [words, common, spam]


def test_the_spam_list_is_the_published_one_in_size():
    assert len(read_words(WebWords().files[0])) == 40


def test_lists_are_among_the_files(lists):
    operator = WebWords(common_words=lists / "common.txt")
    assert lists / "common.txt" in operator.files
    assert len(operator.files) == 2
