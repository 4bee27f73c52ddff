"""Crop, flip and normalise uint8 images where the network is.

What is drawn for an image depends on (seed, epoch, row) alone: not on its batch, its rank or the number of threads.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ...schemas.train import Augment
from ..mixed import mixed
from .feed import on


def draws(seed: int, epochs: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Numbers in [0, 1) (rows, count) float64, a function of (seed, epoch, row)."""
    state = mixed(np.full(len(rows), seed, np.uint64))
    for part in (epochs, rows):
        state = mixed(state ^ part.astype(np.uint64))
    found = [mixed(state + np.uint64(k)) for k in range(count)]
    return (np.stack(found, axis=1) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class Views:
    """Makes a batch of network inputs of a batch of images."""

    augment: Augment
    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seed: int

    @property
    def read_px(self) -> int:
        """Side at which images are read: so large that the smallest crop is not blown up."""
        if self.augment.crop == 1:
            return self.side_px
        return math.ceil(self.side_px / math.sqrt(self.augment.crop))

    def __call__(self, images: torch.Tensor, rows: np.ndarray, epochs: np.ndarray) -> torch.Tensor:
        """Float (n, 3, side_px, side_px), normalised, of uint8 (n, read_px, read_px, 3) on their device."""
        pixels = images.permute(0, 3, 1, 2).float()
        if self.augment.crop < 1 or self.augment.flip:
            pixels = self._view(pixels, draws(self.seed, epochs, rows, 4))
        return pixels.sub_(_levels(self.mean, images.device)).div_(_levels(self.std, images.device))

    def _view(self, pixels: torch.Tensor, drawn: np.ndarray) -> torch.Tensor:
        """A square of `crop` to all of the area, somewhere in the image; every second one mirrored."""
        side = np.sqrt(self.augment.crop + (1 - self.augment.crop) * drawn[:, 0])
        theta = np.zeros((len(drawn), 2, 3), np.float32)
        theta[:, 0, 0] = np.where(self.augment.flip & (drawn[:, 3] < 0.5), -side, side)
        theta[:, 1, 1] = side
        theta[:, :, 2] = (1 - side[:, None]) * (2 * drawn[:, 1:3] - 1)
        shape = [len(drawn), 3, self.side_px, self.side_px]
        grid = F.affine_grid(on(pixels.device, theta), shape, align_corners=False)
        return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


@functools.cache
def _levels(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """A number a channel, of pixels from 0 to 255, (1, 3, 1, 1); copied to the device once."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255
