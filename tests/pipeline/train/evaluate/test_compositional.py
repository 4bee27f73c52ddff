"""Pairs of right and wrong captions, judged by encoders whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cupel.pipeline.train.evaluate.compositional import compositional, make_items, wins
from cupel.pipeline.train.negatives import KINDS

CAPTIONS = [
    f"{n} {a} circles above a {b} square" for n in ("two", "three") for a in ("red", "blue") for b in ("green", "grey")
]


class Listed:
    """An encoder that knows some captions: their pictures are unit vectors of their own, others get `other`."""

    def __init__(self, known: Sequence[str], other: np.ndarray) -> None:
        self.known, self.other = list(known), other

    def images(self, pixels: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        eye = np.eye(len(self.known))
        return np.array([eye[self.known.index(text)] if text in self.known else self.other for text in texts])


@pytest.mark.parametrize(("other", "accuracy"), [(0.0, 1.0), (1.0, 0.5)])
def test_knowing_all_wins_and_seeing_no_difference_is_chance(other: float, accuracy: float) -> None:
    eye = np.eye(8)
    encoder = Listed(CAPTIONS, np.zeros(8))
    if other:  # negatives look like the right ones: of every caption the same vector
        eye, encoder = np.tile(eye[:1], (8, 1)), Listed([], eye[0])
    found = compositional(encoder, eye, encoder.texts(CAPTIONS), CAPTIONS, np.arange(8))
    assert list(found) == list(KINDS)
    for kind in ("relation", "order", "negation"):
        assert found[kind]["items"] == found[kind]["images"] == 8
        assert found[kind]["accuracy"]["value"] == accuracy
        assert found[kind]["ties"] == (8 if other else 0)
    assert found["negation"]["blind"]["captions"]["value"] == 1.0  # "no circles" is said of none of the others


def test_a_coin_gets_half() -> None:
    rng = np.random.default_rng(0)
    assert wins(rng.normal(size=10_000), rng.normal(size=10_000)).mean() == pytest.approx(0.5, abs=0.02)
    assert wins(np.array([1, 2, 3.0]), np.array([2, 2, 2.0])).tolist() == [0, 0.5, 1]


def test_kinds_without_a_fitting_caption_have_no_items() -> None:
    found = compositional(Listed([], np.ones(2)), np.ones((1, 2)), np.ones((1, 2)), ["a dog"], np.array([0]))
    assert [found[kind]["items"] for kind in KINDS] == [0, 0, 0, 1, 0]


def test_items_are_the_same_for_a_seed_and_at_most_so_many() -> None:
    made = make_items(CAPTIONS, "counting", seed=1)
    assert made.negatives == make_items(CAPTIONS, "counting", seed=1).negatives
    assert made.captions.tolist() == list(range(8))
    few = make_items(CAPTIONS, "counting", seed=1, most=3)
    assert len(few.captions) == len(few.negatives) == 3
    every = dict(zip(made.captions.tolist(), made.negatives, strict=True))
    assert [every[i] for i in few.captions.tolist()] == list(few.negatives)


def test_images_with_many_captions_do_not_narrow_the_interval() -> None:
    eye, owner = np.eye(8), np.arange(8)
    encoder = Listed(CAPTIONS, np.zeros(8))
    once = compositional(encoder, eye, eye, CAPTIONS, owner)["order"]["accuracy"]
    thrice = compositional(encoder, eye, np.tile(eye, (3, 1)), CAPTIONS * 3, np.tile(owner, 3))["order"]["accuracy"]
    assert once == thrice
