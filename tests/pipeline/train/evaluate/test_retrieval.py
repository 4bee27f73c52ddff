"""Recall: CLIP_benchmark's formulas written out again, closed forms, and the traps of ties and NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cupel.pipeline.read import CorpusError
from cupel.pipeline.train.errors import TrainError
from cupel.pipeline.train.evaluate import retrieval
from cupel.pipeline.train.evaluate.retrieval import recalls


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_the_book(images: np.ndarray, texts: np.ndarray, owner: np.ndarray, k: int) -> tuple[float, float]:
    """metrics/zeroshot_retrieval.py of CLIP_benchmark: (recall of true positives within top k) > 0, averaged."""
    scores = torch.from_numpy(texts @ images.T)
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(texts)), torch.from_numpy(owner)] = True

    def recall(scores: torch.Tensor, positive: torch.Tensor) -> float:
        top = torch.topk(scores, k, dim=1)[1]
        return float((positive.gather(1, top).sum(dim=1) / positive.sum(dim=1) > 0).float().mean())

    return recall(scores.T, positive.T), recall(scores, positive)


@pytest.mark.parametrize("cells", [1 << 24, 70])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_is_clip_benchmarks_recall(k: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CELLS", cells)  # in parts, and at once
    rng = np.random.default_rng(k)
    owner = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 6, 40)))
    images = unit(rng, 40, 8)
    texts = images[owner] + 0.8 * unit(rng, len(owner), 8)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found = recalls(images, texts, owner)
    assert found.recall(k) == pytest.approx(by_the_book(images, texts, owner, k))
    assert 0 < found.recall(1)[0] < 1


def test_own_captions_are_found_first() -> None:
    rng = np.random.default_rng(0)
    images, owner = unit(rng, 30, 16), np.repeat(np.arange(30), 2)
    told = recalls(images, images[owner], owner).as_dict()
    assert {told[way]["R@1"]["value"] for way in ("image_to_text", "text_to_image")} == {1.0}
    assert told["image_to_text"]["median_rank"] == told["text_to_image"]["median_rank"] == 1
    assert (told["images"], told["captions"]) == (30, 60)


def test_random_vectors_get_what_guessing_gets() -> None:
    """The chance levels that are told: over many draws the recall is that, and the median rank in the middle."""
    rng = np.random.default_rng(1)
    owner = np.repeat(np.arange(20), [1, 2, 3, 4] * 5)
    drawn = [recalls(unit(rng, 20, 8), unit(rng, len(owner), 8), owner) for _ in range(400)]
    told = drawn[0].as_dict()
    for k in (1, 5, 10):
        got = np.mean([each.recall(k) for each in drawn], axis=0)
        expected = [told[way][f"R@{k}"]["chance"] for way in ("image_to_text", "text_to_image")]
        assert got == pytest.approx(expected, abs=0.025)
    assert np.mean([np.median(each.text_to_image) for each in drawn]) == pytest.approx(10.5, abs=0.5)


def test_equal_captions_count_when_asked_to() -> None:
    """Two images with one caption each, the same words: by the benchmark one of them must lose."""
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[0.7, 0.7, 0], [0.7, 0.7, 0], [0, 0, 1]], np.float32)
    owner, same = np.arange(3), np.array([7, 7, 9])
    assert recalls(images, texts, owner).recall(1) == pytest.approx((2 / 3, 2 / 3))
    assert recalls(images, texts, owner, same_text=same).recall(1) == (1.0, 1.0)
    assert recalls(images, texts, owner, same_text=np.arange(3)).recall(1) == pytest.approx((2 / 3, 2 / 3))


def test_a_model_that_says_the_same_of_everything_only_guesses() -> None:
    flat = np.ones((50, 4), np.float32) / 2
    assert recalls(flat, flat, np.arange(50)).recall(1) == pytest.approx((0.02, 0.02))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused(bad: float) -> None:
    broken = np.eye(3)
    broken[1, 1] = bad
    with pytest.raises(TrainError, match="1 of 3 vectors hold NaN or infinity"):
        recalls(np.eye(3), broken, np.arange(3))


@pytest.mark.parametrize("owner", [np.array([0, 0, 1]), np.zeros(0, int)])
def test_images_without_captions_are_refused(owner: np.ndarray) -> None:
    with pytest.raises(CorpusError, match="have none"):
        recalls(np.eye(3)[: 3 if len(owner) else 0], np.eye(3)[: len(owner)], owner)
