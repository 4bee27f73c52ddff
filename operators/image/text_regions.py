"""image.text_regions: where text stands in a picture, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, Resources, RowOperator, operator
from ..decode import Pixels
from ..models._text_reader import DETECTOR, READER, model_file, text_reader
from ._boxes import fitted

_READ_AT_MOST: Final = 50  # lines of a picture, the largest: a page of small print would take a core half a minute
_TALL, _LONG = 0.3, 2.5  # of the picture's longer side, of its own height: what is taller, and not so long, is no line
_SURE: Final = 0.5  # confidence below which rapidocr takes what it reads for no text


@operator
class TextRegions(RowOperator):
    """Lines of text found in the picture by PP-OCRv6 (small, of rapidocr 3.10), and with `read` what they say.

    The upright picture is searched at a longer side of `long_side_px` (enlarged twofold at most) with PaddleOCR's own
    thresholds (pixels 0.3, boxes 0.5, grown by 1.6). What is taller than 30 % of the picture's longer side, and not
    2.5 times as long as it is tall, is no line. `text_polygons` are the four corners of each, clockwise from the upper
    left, from top to bottom; `text_area_share` is the area of their union. They are what T-MARS masks
    (arXiv:2307.03132, with another detector): `pair.masked_clip_similarity` does that. Patterns and round things are
    sometimes taken for text.

    `read` gives `image_text`: those of the 50 largest lines that are read with a confidence of 0.5 and more, in their
    order, one a line; "" where there are none. Latin, Chinese and Japanese script, upright or from top to bottom. It
    takes about 0.03 s for a short line, beside 0.1 s for each picture.
    """

    read: bool = Field(False, description="also read the text, for pair.text_in_image")
    long_side_px: int = Field(640, ge=64, le=2048, description="size searched; the time grows with its square")

    needs = Resources(memory_gb=1.5)
    reads = ("image",)

    @property
    def adds(self) -> tuple[pa.Field, ...]:
        places = (
            field("text_regions", pa.int32(), "lines of text found", unit="lines", range=">= 0"),
            field("text_area_share", pa.float64(), "share of the picture that they cover together", range="0 to 1"),
            field("text_polygons", pa.list_(pa.list_(pa.float32())), "[x, y] of four corners of each, from 0 to 1"),
        )
        if not self.read:
            return places
        return (
            *places,
            field("image_text", pa.string(), "what is read in the picture, a line each"),
            field("image_text_confidence", pa.float32(), "mean over these lines; null: there are none", range="0 to 1"),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(map(model_file, (DETECTOR, READER) if self.read else (DETECTOR,)))

    def setup(self) -> None:
        text_reader()

    def __call__(self, batch: Batch) -> Mapping[str, list[object]]:
        columns: dict[str, list[object]] = {added.name: [None] * len(batch) for added in self.adds}
        for row, image in batch.images(Pixels(min_side_px=self.long_side_px)):
            for name, value in self._measured(fitted(image, self.long_side_px)).items():
                columns[name][row] = value
        return columns

    def _measured(self, picture: Image.Image) -> dict[str, object]:
        lines = _plausible(text_reader().find(picture), max(picture.size))
        corners = np.clip(lines / picture.size, 0, 1)
        values: dict[str, object] = {
            "text_regions": len(lines),
            "text_area_share": _union(corners),
            "text_polygons": corners.reshape(-1, 8).tolist(),
        }
        return values | _read(picture, lines) if self.read else values


def _plausible(lines: np.ndarray, long_side_px: int) -> np.ndarray:
    """Without those that are too tall for a line of text: PP-OCRv6 takes one photograph in ten for text as a whole."""
    sides = np.linalg.norm(np.diff(lines[:, :3], axis=1), axis=2)
    short, long = sides.min(axis=1), sides.max(axis=1)
    return np.asarray(lines[(short <= _TALL * long_side_px) | (long >= _LONG * short)])


def _union(corners: np.ndarray) -> float:
    """Area of the union of polygons (polygons, corners, 2)."""
    import shapely

    return float(shapely.union_all(shapely.make_valid(shapely.polygons(corners))).area)


def _read(picture: Image.Image, lines: np.ndarray) -> dict[str, object]:
    import shapely

    largest = np.sort(np.argsort(-shapely.area(shapely.polygons(lines)), kind="stable")[:_READ_AT_MOST])
    texts, confidences = text_reader().read(picture, lines[largest])
    sure = [(text, confidence) for text, confidence in zip(texts, confidences, strict=True) if confidence >= _SURE]
    return {
        "image_text": "\n".join(text for text, _ in sure),
        "image_text_confidence": float(np.mean([confidence for _, confidence in sure])) if sure else None,
    }
