"""What the perceptual hashes share: small grey pictures in, 64-bit numbers out."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from PIL import Image

from ..base import Batch
from ..decode import Pixels

Decode = Literal["full", "scaled"]

REQUESTS: Final = {
    "full": Pixels(mode="L"),  # as image.quality asks, so that they share the decoding
    # Three pixels for each of pHash's 32; infra/bench/image_operators.py measures speed and distances of other choices.
    "scaled": Pixels(mode="L", min_side_px=96),
}


def thumbnails(batch: Batch, decode: Decode, width: int, height: int) -> np.ndarray:
    """Grey pictures [rows, height, width] uint8, resized as imagehash does; zeros where the image did not decode."""
    grey = np.zeros((len(batch), height, width), np.uint8)
    for row, image in batch.images(REQUESTS[decode]):
        grey[row] = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return grey


def pack(bits: np.ndarray) -> np.ndarray:
    """bool [rows, 64] to uint64 [rows], the first bit highest: the hex of imagehash."""
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)
