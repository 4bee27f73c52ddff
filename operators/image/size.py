"""image.size: what the header of an image says, without decoding a pixel."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator


@operator
class Size(RowOperator):
    """Width, height and format from the header alone; width and height as seen upright (EXIF orientation applied).

    `min_side_px` and `aspect_ratio` (longer side over shorter side) are DataComp's (`min(w, h) >= 200`,
    `max / min <= 3.0`, arXiv:2304.14108, appendix N). `frames` is above 1 for animations.
    """

    reads = ("image",)
    adds = (
        field("width_px", pa.int32(), "width as seen", unit="px", range=">= 1"),
        field("height_px", pa.int32(), "height as seen", unit="px", range=">= 1"),
        field("min_side_px", pa.int32(), "the shorter side", unit="px", range=">= 1"),
        field("aspect_ratio", pa.float64(), "longer side over shorter side", range=">= 1"),
        field("pixels", pa.int64(), "width times height", unit="px", range=">= 1"),
        field("image_bytes", pa.int64(), "length of the encoded image", unit="bytes", range=">= 1"),
        field("image_format", pa.string(), "format by its magic bytes", range="jpeg, png, webp, gif, avif"),
        field("frames", pa.int32(), "frames of an animation", range=">= 1"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, list[object]]:
        sizes = {row: len(data) for row, data in batch.image_bytes()}
        columns: dict[str, list[object]] = {added.name: [None] * len(batch) for added in self.adds}
        for row, header in batch.headers():
            short, long = sorted((header.width_px, header.height_px))
            values = (
                *(header.width_px, header.height_px, short, long / short, short * long),
                *(sizes[row], header.format, header.frames),
            )
            for column, value in zip(columns.values(), values, strict=True):
                column[row] = value
        return columns
