"""image.quality: sharpness, brightness, contrast and entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from PIL import Image

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..decode import Pixels

_LONG_SIDE_PX: Final = 256
_LEVELS: Final = np.arange(256)


@operator
class Quality(RowOperator):
    """Four simple measures of the grey image (ITU-R 601 luma, 0 to 255), for finding blank, dark or blurred pictures.

    `brightness` and `contrast` are the mean and the standard deviation (divisor n) of all pixels; `entropy` is
    Shannon's, of their 256 levels, `-sum(p log2 p)`: 0 for a blank image. `sharpness` is the variance of the Laplacian
    (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000) at one size, so that it can be
    compared: resized (Pillow's bilinear, antialiased, enlarging too) to a longer side of 256 px, kernel
    `[[0, 1, 0], [1, -4, 1], [0, 1, 0]]`, edge pixels repeated outwards.
    """

    reads = ("image",)
    adds = (
        field("sharpness", pa.float64(), "variance of the Laplacian at 256 px", unit="grey levels^2", range=">= 0"),
        field("brightness", pa.float64(), "mean luma", unit="grey levels", range="0 to 255"),
        field("contrast", pa.float64(), "standard deviation of luma", unit="grey levels", range="0 to 127.5"),
        field("entropy", pa.float64(), "Shannon entropy of the histogram of luma", unit="bits", range="0 to 8"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        measured = np.zeros((len(batch), len(self.adds)))
        for row, grey in batch.images(Pixels(mode="L")):
            measured[row] = _sharpness(grey), *_tones(grey)
        return {added.name: column for added, column in zip(self.adds, measured.T, strict=True)}


def _sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian of the image at a longer side of 256 px."""
    scale = _LONG_SIDE_PX / max(grey.size)
    width, height = (max(1, round(side * scale)) for side in grey.size)
    small = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))
    p = np.pad(small.astype(np.int16), 1, mode="edge")
    return float(np.var(p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]))


def _tones(grey: Image.Image) -> tuple[float, float, float]:
    """Mean, standard deviation and entropy, all from the histogram."""
    share = np.array(grey.histogram()) / (grey.width * grey.height)
    mean = float(share @ _LEVELS)
    deviation = float(np.sqrt(share @ (_LEVELS - mean) ** 2))
    seen = share[share > 0]
    return mean, deviation, abs(float(seen @ np.log2(seen)))
