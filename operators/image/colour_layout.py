"""image.colour_layout: roughly which colours lie where, which perceptual hashes do not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from PIL import Image

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..decode import Pixels

_REQUEST: Final = Pixels(min_side_px=32)  # means of quarters: a JPEG at 1/8 has the same to 1 or 2 of 255


@operator
class ColourLayout(RowOperator):
    """The mean colour of each quarter of the image, brightness left out: what pHash and dHash, being grey, do not see.

    A byte each for Cb and Cr (ITU-R BT.601, full range as in JPEG; 128 is grey) of the upper left, upper right, lower
    left and lower right quarter, the first highest. It is the coarsest form of MPEG-7's colour layout descriptor
    (Kasutani and Yamada, ICIP 2001). `dedup.near_images` compares it where `colours` names the column.
    """

    reads = ("image",)
    adds = (field("colour_layout", pa.uint64(), "mean Cb and Cr of the four quarters, a byte each", unit="64 bits"),)

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        means = np.zeros((len(batch), 2, 2, 3))
        for row, image in batch.images(_REQUEST):
            means[row] = np.asarray(image.resize((2, 2), Image.Resampling.BOX))
        red, green, blue = np.moveaxis(means, -1, 0)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        chroma = 128 + np.stack([(blue - luma) / 1.772, (red - luma) / 1.402], axis=-1)
        values = np.rint(chroma).clip(0, 255).astype(np.uint8).reshape(len(batch), 8)
        return {"colour_layout": values.view(">u8").ravel().astype(np.uint64)}
