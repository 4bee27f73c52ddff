"""Zero-shot accuracy: CLIP_benchmark's formulas written out again, prompts by hand, chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from cupel.pipeline.train.errors import TrainError
from cupel.pipeline.train.evaluate.zero_shot import class_vectors, zero_shot_accuracy


class Letters:
    """An encoder whose vector of a text counts its letters."""

    def images(self, pixels: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) + 1.0 for letter in "abcd"] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_class_vectors_are_unit_means_of_unit_prompts() -> None:
    found = class_vectors(Letters(), ["a", "bb", "c"], ["{}", "a {}", "dd {} dd"], rows=2)
    for name, vector in zip(["a", "bb", "c"], found, strict=True):
        mean = Letters().texts([name, f"a {name}", f"dd {name} dd"]).mean(axis=0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_is_clip_benchmarks_accuracy() -> None:
    """metrics/zeroshot_classification.py: top-k of 100 * cosine; and the mean recall of the classes that are there."""
    rng = np.random.default_rng(0)
    images, classes = rng.normal(size=(300, 8)), rng.normal(size=(12, 8))
    labels = rng.integers(0, 11, 300)  # class 11 has no image
    images += 0.7 * classes[labels]
    logits = torch.from_numpy(100.0 * images @ classes.T)
    top = logits.topk(5, 1, True, True)[1].t().eq(torch.from_numpy(labels).view(1, -1))
    found = zero_shot_accuracy(images, classes, labels)
    assert (found.top1, found.top5) == pytest.approx((float(top[:1].sum()) / 300, float(top.sum()) / 300))
    guesses = logits.argmax(dim=1).numpy()
    per_class = [np.mean(guesses[labels == label] == label) for label in range(11)]
    assert found.mean_per_class == pytest.approx(np.mean(per_class))
    assert found.as_dict()["top5"]["chance"] == pytest.approx(5 / 12)
    assert (found.images, found.classes) == (300, 12)
    assert found.top1 not in (found.mean_per_class, 0.0, 1.0)


def test_five_of_three_classes_are_all() -> None:
    told = zero_shot_accuracy(np.eye(3), np.eye(3)[[1, 2, 0]], np.arange(3)).as_dict()
    assert (told["top1"]["value"], told["top5"]["value"], told["top5"]["chance"]) == (0.0, 1.0, 1.0)


def test_a_model_that_says_the_same_of_everything_only_guesses() -> None:
    flat = np.ones((100, 4))
    assert zero_shot_accuracy(flat, flat[:10], np.repeat(np.arange(10), 10)).top1 == pytest.approx(0.1)


def test_vectors_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TrainError, match="2 of 2 vectors hold NaN"):
        zero_shot_accuracy(np.full((2, 3), np.nan), np.eye(3), np.array([0, 1]))
