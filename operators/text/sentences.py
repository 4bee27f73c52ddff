"""text.sentences: how many sentences a text has, and whether it ends as one does."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._sentences import ends_in_mark, sentences


@operator
class Sentences(RowOperator):
    """Sentences of a text by rules for `. ! ?` and `。！？`, and whether the last one is closed by such a mark.

    C4 keeps lines that end in a terminal punctuation mark (arXiv:1910.10683, 2.2), MMC4's core documents of 4 to 40
    sentences (arXiv:2304.06939, 3). A full stop of an abbreviation before a name or a number, of an initial, or before
    a lower-case word ends none, and quotes and brackets may close behind the mark. Both are by rules, not by NLTK's
    trained splitter, which MMC4 used. A text of white space has none.
    """

    reads = ("text",)
    adds = (
        field("sentences", pa.int32(), "sentences of the text", unit="sentences", range=">= 0"),
        field("ends_sentence", pa.bool_(), "whether the text ends in . ! ? … 。 ！ ？, closing quotes aside"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text")).to_list()
        return {
            "sentences": pa.array([len(sentences(text)) for text in texts], pa.int32()),
            "ends_sentence": pa.array([ends_in_mark(text) for text in texts], pa.bool_()),
        }
