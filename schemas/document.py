"""DOCUMENT: the texts and images of one page in reading order.

While a document is curated its nodes are rows, so every operator for captions and images measures them; `keep` drops
nodes, or documents (`on: document`). The curated rows are documents again, with what was measured beside each node.
"""

from __future__ import annotations

import pyarrow as pa

from .fields import field

NODE = pa.schema(
    [
        field("kind", pa.string(), "text or image"),
        field("text", pa.string(), "one paragraph; null for an image", unit="Unicode"),
        field("tag", pa.string(), "what it was on the page: p, h1 to h6, li, pre, blockquote, img"),
        field("image_url", pa.string(), "where the image was found; null for a text", unit="URL"),
        field("alt_text", pa.string(), "the image's alternative text"),
        field("caption", pa.string(), "the image's caption on the page"),
        field("shown_width_px", pa.int32(), "the width that the page gives the image", unit="px", range=">= 0"),
        field("shown_height_px", pa.int32(), "the height that the page gives the image", unit="px", range=">= 0"),
    ]
)

IMAGE_COLUMNS = ("image_url", "image", "alt_text", "caption", "shown_width_px", "shown_height_px")  # null for texts

DOCUMENT = pa.schema(
    [
        field("key", pa.string(), "the source's own name for the document"),
        field("page_url", pa.string(), "where the page was found", unit="URL"),
        field("nodes", pa.list_(pa.struct(list(NODE))), "paragraphs and images in reading order"),
    ]
)
