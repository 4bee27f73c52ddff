"""image.blur_faces: the picture with its faces blurred, for those who may not keep them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..decode import Pixels, RowError
from ._boxes import places, shares

_MARGIN: Final = 0.1  # of a box's longer side: it grows by this on each side, and this is the blur's sigma
_REACH: Final = 3  # sigmas after which a Gaussian is as good as nothing
_FORMATS: Final = {"jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}


@operator
class BlurFaces(RowOperator):
    """A transform: the image with every box of `column` blurred; later steps read it, and it is what is written.

    Each box grows by 10 % of its longer side on all sides and is blurred by a Gaussian with that as its sigma
    (Pillow's, three box filters); the edge fades by the same Gaussian. These are the numbers of ImageNet's obfuscation
    (Yang et al., arXiv:2103.06191) and of DataComp (img2dataset's BoundingBoxBlurrer), but for two faults: there all
    boxes fade by the largest one's sigma, so that a small face beside a large one stays almost as it was, and a box
    that grows over the picture's left or upper edge is not blurred at all.

    A picture without boxes keeps its bytes. JPEG, WebP and AVIF stay what they are, PNG and GIF become PNG; what is
    encoded again is the first frame, upright, on white where it was transparent, and without metadata. A row whose
    boxes are unknown or no boxes has no image afterwards, so that no face slips through.
    """

    column: str = Field("face_boxes", description="boxes [x0, y0, x1, y1] from 0 to 1 of the upright picture")
    quality: int = Field(95, ge=1, le=100, description="of JPEG, WebP and AVIF")

    replaces: ClassVar[Mapping[str, str]] = {"image": "blurred_image"}
    adds = (field("blurred_image", pa.large_binary(), "the encoded image, its faces blurred", unit="bytes"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.column)

    def __call__(self, batch: Batch) -> Mapping[str, list[bytes | None]]:
        blurred: list[bytes | None] = [None] * len(batch)
        for row, data in batch.image_bytes():
            blurred[row] = data
        boxes = places(batch, self.column)
        rows = np.flatnonzero(boxes.value_lengths().to_numpy())
        part = batch.take(rows)
        formats = {i: _FORMATS.get(header.format, "PNG") for i, header in part.headers()}
        for i, image in part.images(Pixels()):
            try:
                picture = blur(image, shares(boxes[int(rows[i])], 4))
            except RowError as error:
                part.fail(i, error)
            else:
                blurred[rows[i]] = encode(picture, formats[i], self.quality)
        for i, failure in part.failures.items():
            batch.fail(int(rows[i]), failure)
        return {"blurred_image": blurred}


def blur(image: Image.Image, boxes: np.ndarray) -> Image.Image:
    """A copy with these boxes [x0, y0, x1, y1] from 0 to 1 blurred (boxes, 4)."""
    if not (boxes[:, :2] <= boxes[:, 2:]).all():
        raise RowError("ValueError", f"a box ends before it begins: {boxes.round(3).tolist()!s:.80}")
    image = image.copy()
    for box in boxes * (2 * image.size):
        low, high = np.floor(box[:2]), np.ceil(box[2:])
        sigma = max(_MARGIN * float((high - low).max()), 1.0)
        reach = (1 + _REACH) * sigma
        begin, end = np.maximum(low - reach, 0).astype(int), np.minimum(high + reach, image.size).astype(int)
        around = (*begin.tolist(), *end.tolist())
        mask = Image.new("L", tuple(end - begin))
        ImageDraw.Draw(mask).rectangle([*(low - sigma - begin), *(high + sigma - begin - 1)], fill=255)
        gaussian = ImageFilter.GaussianBlur(sigma)
        image.paste(image.crop(around).filter(gaussian), around, mask.filter(gaussian))
    return image


def encode(image: Image.Image, format: str, quality: int) -> bytes:
    """The encoded picture, without metadata; PNG takes no quality."""
    out = io.BytesIO()
    image.save(out, format, quality=quality)
    return out.getvalue()
