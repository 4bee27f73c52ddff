"""What the operators share that find places in a picture, or change it there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from PIL import Image

from ..base import Batch
from ..decode import RowError
from ..models.weights import ModelError


def fitted(image: Image.Image, long_side_px: int) -> Image.Image:
    """The picture at a longer side of so many pixels, antialiased; enlarged twofold at most."""
    scale = min(long_side_px / max(image.size), 2.0)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def union_share(boxes: np.ndarray) -> float:
    """Area of the union of boxes [x0, y0, x1, y1] from 0 to 1 (boxes, 4)."""
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    covered = np.zeros((max(len(x) - 1, 0), max(len(y) - 1, 0)), bool)
    for box in boxes:
        x0, x1 = np.searchsorted(x, box[[0, 2]])
        y0, y1 = np.searchsorted(y, box[[1, 3]])
        covered[x0:x1, y0:y1] = True
    return float(np.diff(x) @ covered @ np.diff(y))


def places(batch: Batch, column: str) -> pa.Array:
    """A column of lists. ModelError, which stops the run, where it is none: all rows would fail."""
    found = batch.column(column)
    if not (pa.types.is_list(found.type) or pa.types.is_large_list(found.type)):
        raise ModelError(f"column {column!r} holds {found.type}, and no lists of places in the picture")
    return found


def shares(place: pa.Scalar, numbers: int) -> np.ndarray:
    """A row's places, one or more: x, y, ... from 0 to 1 (places, numbers), cut at the edges; RowError where not."""
    listed = place.as_py()
    try:
        found = np.array(listed, np.float64).reshape(len(listed), -1)
    except (TypeError, ValueError):  # of different lengths, or nulls among them
        found = np.full((1, 0), np.nan)
    if found.shape[1] != numbers or not ((found > -1) & (found < 2)).all():
        raise RowError("ValueError", f"{str(listed)[:80]}: no lists of {numbers} shares of width and height")
    return np.clip(found, 0, 1)
