"""image.phash: a 64-bit fingerprint that survives resizing, recompression and small edits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy import fftpack

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._hash import Decode, pack, thumbnails


@operator
class Phash(RowOperator):
    """The 64-bit perceptual hash of the image, bit for bit that of `imagehash.phash` (which prints 16 hex digits).

    The grey image is resized to 32 x 32 (Lanczos) and transformed (DCT-II over columns, then lines); each of the 8 x 8
    lowest frequencies gives a bit: 1 where it is above their median. Near-duplicates differ in few of the 64 bits; COYO
    drops images of equal hash, OBELICS those within 5 or 10 bits. (Krawetz, "Looks Like It", hackerfactor.com, 2011.)
    """

    decode: Decode = Field(
        "full",
        description="full: of all the pixels. scaled: of a JPEG decoded at 1/2 to 1/8, several times faster for large "
        "ones; most hashes stay the same or change by 2 bits, so use it for the whole corpus or not at all",
    )

    reads = ("image",)
    adds = (field("phash", pa.uint64(), "perceptual hash (DCT), as imagehash.phash", unit="64 bits"),)

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        grey = thumbnails(batch, self.decode, 32, 32)
        # All rows at once. SciPy's fftpack, as imagehash has it: a product of matrices would round ties differently.
        lowest = fftpack.dct(fftpack.dct(grey, axis=1), axis=2)[:, :8, :8].reshape(len(batch), 64)
        return {"phash": pack(lowest > np.median(lowest, axis=1, keepdims=True))}
