"""page.document: the main content of a web page, its paragraphs and images in reading order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from ...schemas.document import NODE
from ..base import Batch, DocumentExtractor, Values, operator
from ._operator import PAGE_COLUMNS, PageOperator


@operator
class Document(PageOperator, DocumentExtractor):
    """Finds the main content of a web page, and gives its paragraphs and images in reading order.

    What is content is scored as in Mozilla's Readability (text, commas, density of links, names of classes); left out
    are navigation, share bars, related links, cookie banners, comments, footers, bylines, and the headline, which is
    `page_title`. A paragraph, a heading, an item of a list and a row of a table (` | ` between its cells) are a node
    each; whitespace is collapsed but for `pre` and line breaks. A caption is its image's, and no text. The texts are
    the same whether `images` are asked for or not.

    An image's URL is absolute: the largest candidate of `srcset` and `<source>`, what scripts would load late, or
    `src`; placeholders, 1 x 1 pixels, and `data:` beyond 100,000 characters are left out. Relative URLs need `page_url`
    or `final_url`. The charset is the BOM's, the one of `content_type` or of a meta tag, else what the bytes look like.

    A page fails as `too_large`, `too_deep` (512 elements), `timed_out`, or `parser_crash`, each at its own cost alone.
    """

    images: bool = Field(True, description="images too; the texts are the same either way")

    adds = (*NODE, *PAGE_COLUMNS)

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Values]:
        parents: list[int] = []
        rows: list[Sequence[object]] = []
        for row, about, nodes in self.read_pages("document", batch):
            kept = [(*node, *about) for node in nodes if self.images or node[0] == "text"]
            rows += kept
            parents += [row] * len(kept)
        return self.children(parents, rows)
