"""text.length: how long a text is."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator

# Python's str.split() also splits at U+001C..U+001F, which Unicode's White_Space leaves out.
WORD = r"[^\s\x1c-\x1f]+"


@operator
class Length(RowOperator):
    """Characters and words of a text, counted as Python's `len(text)` and `len(text.split())` count them.

    Characters are Unicode code points; words are what stands between white space, punctuation included. These are the
    counts of DataComp's basic filter (`len(text.split()) > 2 and len(text) > 5`, arXiv:2304.14108, appendix N).
    """

    reads = ("text",)
    adds = (
        field("characters", pa.int32(), "code points of the text", unit="characters", range=">= 0"),
        field("words", pa.int32(), "runs without white space", unit="words", range=">= 0"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        text = pl.Series(batch.column("text"))
        return {
            "characters": text.str.len_chars().to_arrow().cast(pa.int32()),
            "words": text.str.count_matches(WORD).to_arrow().cast(pa.int32()),
        }
