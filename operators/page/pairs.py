"""page.pairs: the images of a web page with the texts that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.document import NODE
from ...schemas.fields import field
from ..base import Batch, Values, operator
from ._operator import PAGE_COLUMNS, PageOperator

TextOf = Literal["alt_text", "caption", "title", "aria_label"]
_SOURCES: tuple[TextOf, ...] = ("alt_text", "title", "caption", "aria_label")  # as the parser gives them


@operator
class Pairs(PageOperator):
    """Gives every image of a web page, with the first text that describes it: a pair.

    All images that a browser would show, navigation's too, in reading order; URLs as in `page.document`. An image that
    nothing describes has a null `text`; LAION and its like keep those with an alt text (`text: [alt_text]`).
    """

    text: tuple[TextOf, ...] = Field(
        ("alt_text", "caption", "title", "aria_label"),
        min_length=1,
        description="what the text is taken from: the first that is not empty",
    )

    adds = (
        NODE.field("image_url"),
        field("text", pa.string(), "what describes the image; null if nothing does", unit="Unicode"),
        NODE.field("alt_text"),
        field("title", pa.string(), "the image's title attribute"),
        NODE.field("caption"),
        field("aria_label", pa.string(), "the image's aria-label attribute"),
        NODE.field("shown_width_px"),
        NODE.field("shown_height_px"),
        *PAGE_COLUMNS,
    )

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Values]:
        parents: list[int] = []
        rows: list[Sequence[object]] = []
        for row, about, pairs in self.read_pages("pairs", batch):
            for url, *values in pairs:
                texts = dict(zip(_SOURCES, values, strict=False))
                text = next((texts[name] for name in self.text if texts[name]), None)
                rows.append((url, text, *values, *about))
            parents += [row] * len(pairs)
        return self.children(parents, rows)
