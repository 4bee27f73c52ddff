"""Crop, flip and normalise uint8 images where the network is.

What is drawn for an image depends on (seed, epoch, row) alone: not on its batch, its rank or the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ...schemas.train import Augment

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_STIRS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def draws(seed: int, epochs: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Numbers in [0, 1) (rows, count) float64, by splitmix64 of (seed, epoch, row)."""
    with np.errstate(over="ignore"):
        state = stirred(np.full(len(rows), seed, np.uint64))
        for part in (epochs, rows):
            state = stirred(state ^ part.astype(np.uint64))
        found = [stirred(state + np.uint64(k)) for k in range(count)]
    return (np.stack(found, axis=1) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def stirred(x: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele, Lea, Flood 2014) of uint64."""
    with np.errstate(over="ignore"):
        x = x + _GOLDEN
        for shift, factor in _STIRS:
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        return np.asarray(x ^ (x >> np.uint64(31)))


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
        mean, std = (torch.tensor(x, device=images.device).view(1, 3, 1, 1) * 255 for x in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)

    def _view(self, pixels: torch.Tensor, drawn: np.ndarray) -> torch.Tensor:
        """A square of `crop` to all of the area, somewhere in the image; every second one mirrored."""
        side = np.sqrt(self.augment.crop + (1 - self.augment.crop) * drawn[:, 0])
        theta = np.zeros((len(drawn), 2, 3), np.float32)
        theta[:, 0, 0] = np.where(self.augment.flip & (drawn[:, 3] < 0.5), -side, side)
        theta[:, 1, 1] = side
        theta[:, :, 2] = (1 - side[:, None]) * (2 * drawn[:, 1:3] - 1)
        shape = [len(drawn), 3, self.side_px, self.side_px]
        grid = F.affine_grid(torch.from_numpy(theta).to(pixels.device), shape, align_corners=False)
        return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
