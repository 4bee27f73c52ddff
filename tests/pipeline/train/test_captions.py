"""Noun phrases of captions, and when two captions mean the same."""

from __future__ import annotations

import pytest

from cupel.pipeline.train.captions import Caption, is_plural, meaning


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a red circle above two blue squares", ["a red circle", "two blue squares"]),
        ("The big, old house", ["old house"]),  # no more is known of what a comma parts
        ("A cat walks on a street sign.", ["A cat", "a street sign"]),
        ("dogs play in the park", ["dogs", "the park"]),
        ("an orange", ["an orange"]),
        ("", []),
    ],
)
def test_finds_noun_phrases(caption: str, phrases: list[str]) -> None:
    said = Caption(caption)
    assert [" ".join(said.words[phrase.start : phrase.end]) for phrase in said.phrases] == phrases


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A dog and a cat.", "the cat and the dog", True),
        ("2 gray dogs", "Two grey dogs!", True),
        ("a ball next to a box", "a box next to a ball", True),
        ("a ball on a box", "a box on a ball", False),
        ("a red ball, a blue box", "a blue ball, a red box", False),
        ("a dog", "no dog", False),
    ],
)
def test_equal_captions(one: str, other: str, same: bool) -> None:
    assert (meaning(one) == meaning(other)) is same


@pytest.mark.parametrize(
    ("word", "plural"), [("dogs", True), ("grass", False), ("people", True), ("bus", False), ("boxes", True)]
)
def test_plurals(word: str, plural: bool) -> None:
    assert is_plural(word) is plural
