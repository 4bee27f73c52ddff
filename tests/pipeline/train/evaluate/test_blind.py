"""Text-only models: probabilities that sum to one, and halves that do not see each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cupel.pipeline.train.evaluate.blind import Trigrams, by_captions, by_english

TEXTS = ["a red circle above a blue square", "a blue circle", "a red square below a red circle", "two circles"]


@pytest.mark.parametrize("context", [("<s>", "<s>"), ("a", "red"), ("never", "red"), ("never", "seen")])
def test_p_sums_to_one_after_any_words(context: tuple[str, str]) -> None:
    """Over the words seen, the end, and one more for all unknown ones."""
    model = Trigrams(TEXTS)
    words = {word for text in TEXTS for word in text.split()} | {"</s>", "unknown"}
    assert sum(model._p(*context, word) for word in words) == pytest.approx(1)


def test_witten_bell_by_hand() -> None:
    """One text, "a b": each word seen once, three types with the end, so that every weight is one half."""
    unigram = (1 + 3 / 4) / 6
    p = (1 + (1 + unigram) / 2) / 2
    assert Trigrams(["a b"]).log_p("A B") == pytest.approx(3 * math.log(p))


def test_the_other_half_of_the_images_judges() -> None:
    """Images 0 and 1 say different things: each half finds likely what the other one says."""
    texts, owner = ["x y z", "p q r"], np.array([0, 1])
    ask = ["x y z", "p q r", "x y z", "p q r"]
    found = by_captions(texts, owner, ask, np.array([0, 0, 1, 1]))
    assert found[0] < found[1]
    assert found[2] > found[3]


def test_cupel_en_prefers_english() -> None:
    fluent, shuffled = by_english(["the man is in the house", "house the in is man the"])
    assert fluent > shuffled
