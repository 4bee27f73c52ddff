"""CLIPScore: the paper's formula, and what shuffled pairs get."""

from __future__ import annotations

import numpy as np
import pytest

from cupel.pipeline.train.evaluate.clip_score import clip_score, clip_scores


def test_is_the_papers_formula() -> None:
    """2.5 * max(cos, 0): of the same direction, at right angles, opposite, at 60 degrees."""
    images = np.array([[1.0, 0.0], [0.5, 3**0.5 / 2]])
    texts = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    assert clip_scores(images, texts, np.array([0, 0, 0, 1])) == pytest.approx([2.5, 0, 0, 1.25])


def test_each_image_counts_once_and_none_keeps_its_own_when_shuffled() -> None:
    images = np.eye(4)
    owner = np.array([0, 0, 0, 1, 2, 3])
    texts = images[owner] * np.array([[1], [1], [1], [0], [1], [1]])
    found = clip_score(images, texts, owner)
    assert found["value"] == pytest.approx(2.5 * 3 / 4)  # by captions it would be 5/6
    assert found["shuffled"] == 0.0
    own = np.array([2.5, 0, 2.5, 2.5])
    assert found["high"] - found["value"] == pytest.approx(1.96 * own.std(ddof=1) / 2)


def test_one_image_has_no_interval() -> None:
    found = clip_score(np.eye(2)[:1], np.eye(2)[:1], np.array([0]))
    assert (found["value"], found["low"], found["shuffled"]) == (2.5, None, None)
