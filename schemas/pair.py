"""PAIR: one image with one text. Any of the fields may be null: a row may be text only, or an image without a text."""

from __future__ import annotations

import pyarrow as pa

from .fields import field

PAIR = pa.schema(
    [
        field("key", pa.string(), "the source's own name for the row; two rows may share one"),
        field("text", pa.string(), "caption or alt text", unit="Unicode"),
        field("image_url", pa.string(), "where the image was found", unit="URL"),
        field("page_url", pa.string(), "the page that showed the image", unit="URL"),
        field("image", pa.large_binary(), "the encoded image, byte for byte as the source has it", unit="bytes"),
    ]
)
