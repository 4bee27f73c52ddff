"""text.punctuation: whether a text is punctuated as sentences are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator

# Python's \w is letters, numbers of every kind and the underscore; Rust's has marks too, and lacks some numbers.
_WORD_OR_MARK: Final = r"[\p{L}\p{N}_']+|[,;:?!.]"
_MARK: Final = r"[,;:?!.]"


@operator
class Punctuation(RowOperator):
    """Share of a text's tokens that are one of `, ; : ? ! .`: a list of names or a menu has hardly any.

    Tokens are these marks and the runs of letters, numbers, `_` and `'`; other characters part them, as OBELICS takes
    them (arXiv:2306.16527, table 3, `compute_punctuation_ratio`: at least 0.001 in a paragraph of 12 tokens and more,
    0.03 in a document). 0 for a text without a token; null for one of fewer tokens than `min_tokens`, which says
    nothing: keep those by `null: keep`.
    """

    min_tokens: int = Field(0, ge=0, description="a text of fewer tokens gets null; OBELICS has 12 for a paragraph")

    reads = ("text",)
    adds = (
        field("sentence_mark_ratio", pa.float64(), "marks , ; : ? ! . over tokens; null: too short", range="0 to 1"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text"))
        tokens = texts.str.count_matches(_WORD_OR_MARK).to_numpy()
        marks = texts.str.count_matches(_MARK).to_numpy()
        short = (tokens > 0) & (tokens < self.min_tokens)
        return {"sentence_mark_ratio": pa.array(marks / np.maximum(tokens, 1), pa.float64(), mask=short)}
