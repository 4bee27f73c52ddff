"""What is done to images on the device: a function of (seed, epoch, row), and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cupel.pipeline.train.augment import Views, draws
from cupel.schemas.train import Augment

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def views(side_px: int = 8, seed: int = 0, **settings: object) -> Views:
    return Views(augment=Augment(**settings), side_px=side_px, mean=MEAN, std=STD, seed=seed)


def images(rows: int, side: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), dtype=np.uint8))


def test_draws_are_even_and_depend_on_all_that_they_should():
    rows = np.arange(20_000)
    found = draws(0, np.zeros(20_000, np.int64), rows, 3)
    assert found.min() >= 0 and found.max() < 1
    assert np.abs(found.mean(axis=0) - 0.5).max() < 0.01 and np.abs(found.var(axis=0) - 1 / 12).max() < 0.005
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.03
    for other in (
        draws(1, np.zeros(9), rows[:9], 3),
        draws(0, np.ones(9), rows[:9], 3),
        draws(0, np.zeros(9), rows[9:18], 3),
    ):
        assert not np.isin(other, found[:9]).any()


def test_without_crop_and_flip_images_are_normalised_and_nothing_else():
    pixels = images(3, 8)
    found = views(crop=1.0)(pixels, np.arange(3), np.zeros(3, np.int64))
    wanted = (pixels.numpy() / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_a_view_does_not_depend_on_its_batch():
    look, pixels, rows, epochs = views(crop=0.5, flip=True), images(6, 12), np.arange(6), np.full(6, 2)
    assert look.read_px == 12
    whole = look(pixels, rows, epochs)
    some = look(pixels[[4, 1]], rows[[4, 1]], epochs[:2])
    assert torch.equal(some, whole[[4, 1]])
    assert not torch.equal(look(pixels, rows, epochs + 1), whole)


def test_a_crop_shows_a_share_of_the_image_and_nothing_else():
    """Pixels that hold their own place: a view of them tells where it was taken."""
    side, rows = 96, 200
    place = torch.arange(side, dtype=torch.float32) * 2
    pixels = torch.stack(torch.broadcast_tensors(place[:, None], place[None], torch.zeros(())), dim=-1).to(torch.uint8)
    look = views(side_px=64, crop=0.25)
    seen = look(pixels.expand(rows, -1, -1, -1), np.arange(rows), np.zeros(rows, np.int64))
    value = seen.numpy() * 255 * np.array(STD)[:, None, None] + 255 * np.array(MEAN)[:, None, None]
    tall = (value[:, 0, -1, 0] - value[:, 0, 0, 0]) / 2 * 64 / 63 / side
    wide = (value[:, 1, 0, -1] - value[:, 1, 0, 0]) / 2 * 64 / 63 / side
    np.testing.assert_allclose(tall, wide, atol=0.02)
    area = tall * wide
    assert 0.24 < area.min() < 0.3 and 0.95 < area.max() < 1.01
    assert abs(area.mean() - 0.625) < 0.05, "even in area"
    assert value[:, :2].min() > -0.5 and value[:, :2].max() < 2 * side - 1.5


@pytest.mark.parametrize("flip", [True, False])
def test_about_half_are_mirrored_where_it_is_asked_for(flip):
    pixels = images(1, 8).expand(400, -1, -1, -1)
    found = views(crop=1.0, flip=flip)(pixels, np.arange(400), np.zeros(400, np.int64))
    straight = views(crop=1.0)(pixels[:1], np.arange(1), np.zeros(1, np.int64))[0]
    mirrored = [torch.allclose(view, straight.flip(-1), atol=1e-4) for view in found]
    plain = [torch.allclose(view, straight, atol=1e-4) for view in found]
    assert sum(mirrored) + sum(plain) == 400
    assert 150 < sum(mirrored) < 250 if flip else not any(mirrored)
