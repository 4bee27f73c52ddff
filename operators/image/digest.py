"""image.digest: which images are the same file, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator


@operator
class Digest(RowOperator):
    """SHA-256 and MD5 of the encoded image's bytes, in lower-case hex, whether or not it decodes.

    DataComp publishes SHA-256, to tell whether a download is still the same file (arXiv:2304.14108); the lists of
    images to be removed that made Re-LAION-5B are of MD5. Neither sees a recompressed copy; `image.phash` does.
    """

    reads = ("image",)
    adds = (
        field("sha256", pa.string(), "SHA-256 of the encoded image", unit="hex", range="64 digits"),
        field("md5", pa.string(), "MD5 of the encoded image", unit="hex", range="32 digits"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, list[str | None]]:
        columns: dict[str, list[str | None]] = {"sha256": [None] * len(batch), "md5": [None] * len(batch)}
        for row, data in batch.image_bytes():
            columns["sha256"][row] = hashlib.sha256(data).hexdigest()
            columns["md5"][row] = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return columns
