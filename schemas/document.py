"""DOCUMENT: texts and images of one page in reading order.

A document is a list of nodes, each a paragraph or an image. Operators see the nodes of a batch flattened under their
offsets (`Batch.of_nodes`), so one operator measures captions and paragraphs alike.
"""

from __future__ import annotations

import pyarrow as pa

from .fields import field

NODE = pa.struct(
    [
        field("kind", pa.string(), "text or image"),
        field("text", pa.string(), "one paragraph; for an image its alt text", unit="Unicode"),
        field("image_url", pa.string(), "where the image was found", unit="URL"),
        field("image", pa.large_binary(), "the encoded image", unit="bytes"),
    ]
)

DOCUMENT = pa.schema(
    [
        field("key", pa.string(), "the source's own name for the document"),
        field("page_url", pa.string(), "where the page was found", unit="URL"),
        field("nodes", pa.list_(NODE), "paragraphs and images in reading order"),
    ]
)
