"""Paint over places in a picture."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

_LONG_SIDE_PX: Final = 512  # of the copy that colours are taken from
_AROUND_PX: Final = 5  # how far from a place its surroundings reach, on that copy


def painted_over(image: Image.Image, polygons: np.ndarray) -> Image.Image:
    """An RGB picture, each polygon [x, y, ...] from 0 to 1 (polygons, 2 x corners) in its surroundings' mean colour.

    Surroundings are the pixels within 5 px of its edge, with the picture at a longer side of 512 px, that lie in no
    polygon. Where there are none, it is the mean of all pixels outside the polygons, or else of the whole picture.
    """
    small = image.copy()
    small.thumbnail((_LONG_SIDE_PX, _LONG_SIDE_PX), Image.Resampling.BILINEAR)
    pixels, points = np.asarray(small), polygons.reshape(len(polygons), polygons.shape[1] // 2, 2)
    cover = Image.new("1", small.size)
    for corners in points * small.size:
        ImageDraw.Draw(cover).polygon([tuple(corner) for corner in corners], fill=1)
    free = ~np.asarray(cover)
    everywhere = (pixels[free] if free.any() else pixels).reshape(-1, 3).mean(axis=0)
    painted = image.copy()
    for place in points:
        colour = _around(pixels, free, place * small.size, everywhere)
        ImageDraw.Draw(painted).polygon([tuple(corner) for corner in place * image.size], fill=colour)
    return painted


def _around(pixels: np.ndarray, free: np.ndarray, corners: np.ndarray, otherwise: np.ndarray) -> tuple[int, ...]:
    """Mean colour of the free pixels around a place."""
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - _AROUND_PX, 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + _AROUND_PX + 1
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    edge = Image.new("1", free[part].shape[::-1])
    closed = [*corners, corners[0], corners[1]]  # twice the first side: the line is joined at the first corner too
    ImageDraw.Draw(edge).line([tuple(c - low) for c in closed], fill=1, width=2 * _AROUND_PX + 1, joint="curve")
    around = pixels[part][np.asarray(edge) & free[part]]
    mean = around.mean(axis=0) if len(around) else otherwise
    return tuple(mean.round().astype(int).tolist())
