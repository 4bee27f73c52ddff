"""image.dhash: a 64-bit fingerprint of where the image gets brighter from left to right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._hash import Decode, pack, thumbnails


@operator
class Dhash(RowOperator):
    """The 64-bit difference hash of the image, bit for bit that of `imagehash.dhash` (which prints 16 hex digits).

    The grey image is resized to 9 x 8 (Lanczos); each pixel gives a bit: 1 where it is brighter than the one to its
    left. (Krawetz, "Kind of Like That", hackerfactor.com, 2013.)
    """

    decode: Decode = Field(
        "full",
        description="full: of all the pixels. scaled: of a JPEG decoded at 1/2 to 1/8, several times faster for large "
        "ones; some bits change, so use it for the whole corpus or not at all",
    )

    reads = ("image",)
    adds = (field("dhash", pa.uint64(), "difference hash, as imagehash.dhash", unit="64 bits"),)

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        grey = thumbnails(batch, self.decode, 9, 8)
        return {"dhash": pack((grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(batch), 64))}
