"""Probes: the optimum by another road, separable and hopeless classes, and splits that do not leak."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from cupel.pipeline.train.evaluate.probe import few_shot, fit, linear_probe, split


def blobs(classes: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return rng.normal(size=(classes, 6))[labels] + spread * rng.normal(size=(len(labels), 6)), labels


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_finds_the_optimum_of_penalised_cross_entropy(penalty: float) -> None:
    """By scipy with numerical gradients, on the same centred and scaled vectors."""
    x, y = blobs(3, 20, 1.5)
    z = (x - x.mean(axis=0)) / np.sqrt(np.mean((x - x.mean(axis=0)) ** 2))

    def loss(flat: np.ndarray) -> float:
        w, b = flat[:18].reshape(6, 3), flat[18:]
        return float(-log_softmax(z @ w + b, axis=1)[np.arange(60), y].mean() + penalty / 2 * (w**2).sum())

    best = minimize(loss, np.zeros(21), method="BFGS", options={"gtol": 1e-6})
    probe = fit(x, y, 3, (penalty,))[0]
    assert loss(probe.weights.ravel()) == pytest.approx(best.fun, abs=1e-6)
    odds = z @ best.x[:18].reshape(6, 3) + best.x[18:]
    ours = probe.logits(x)
    assert np.abs((ours - ours.mean(axis=1, keepdims=True)) - (odds - odds.mean(axis=1, keepdims=True))).max() < 0.02


def test_separable_classes_are_all_told_apart_and_noise_is_not() -> None:
    x, y = blobs(5, 24, 0.05)
    parts = split(y)
    assert parts is not None
    told = linear_probe(x, y, parts, 5)
    assert (told["top1"]["value"], told["images"], told["trained_on"]) == (1.0, 60, 60)
    shots = few_shot(x, y, parts, 5)
    assert list(shots) == ["1", "2", "4", "8"]  # 10 of 24 are there to train on: no 16
    assert [shots[k]["value"] for k in shots] == [1.0] * 4
    noise = np.random.default_rng(1).normal(size=x.shape)
    assert linear_probe(noise, y, parts, 5)["top1"]["value"] < 0.4


def test_the_same_again_and_more_shots_help() -> None:
    x, y = blobs(4, 48, 1.2)
    parts = split(y, seed=3)
    assert parts is not None
    shots = few_shot(x, y, parts, 4)
    assert shots == few_shot(x, y, parts, 4)
    assert shots["16"]["value"] > shots["1"]["value"]
    assert linear_probe(x, y, parts, 4) == linear_probe(x, y, parts, 4)


@pytest.mark.parametrize("given", [False, True])
def test_every_image_is_in_one_part_and_every_class_in_all(given: bool) -> None:
    labels = np.repeat(np.arange(6), [5, 6, 7, 8, 9, 40])
    trains = np.tile([True, True, False], 25) if given else None
    parts = split(labels, trains)
    assert parts is not None
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(75))
    for part in (parts.train, parts.validation, parts.test):
        assert set(labels[part]) == set(range(6))
    if trains is not None:
        assert not trains[parts.test].any()
        assert trains[parts.train].all()


def test_no_split_of_a_class_with_few_images() -> None:
    assert split(np.array([0] * 20 + [1] * 4)) is None
