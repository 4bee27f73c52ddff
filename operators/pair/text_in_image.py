"""pair.text_in_image: how much of a caption only spells what is written in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator

_WORD: Final = r"[\p{L}\p{M}\p{N}]+"


@operator
class TextInImage(RowOperator):
    """Share of a caption's different words that also stand in its picture, as `image.text_regions` with `read` has it.

    Words are runs of letters, marks and digits in lower case, each counted once; 0 for a caption without any, and for
    a picture without text. Lin et al. call it the co-embedded text rate, and find about 30 % of LAION's caption words
    in the pictures (arXiv:2312.14232, ECCV 2024): a model trained on such pairs learns to read. T-MARS masks the text
    instead (`pair.masked_clip_similarity`). Words that the reader runs together or misreads are not found; nor are
    those of a script that puts no space between them, unless a whole run is the same.
    """

    column: str = Field("image_text", description="what is written in the picture")

    adds = (
        field("caption_words_in_image", pa.float64(), "share of the caption's words in the picture", range="0 to 1"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("text", self.column)

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        said, written = (pl.Series(name, _words(batch.column(name))) for name in self.reads)
        words = pl.DataFrame({"said": said, "written": written})
        share = pl.col("said").list.set_intersection("written").list.len() / pl.col("said").list.n_unique()
        return {"caption_words_in_image": words.select(share.fill_nan(0.0)).to_series().to_arrow()}


def _words(texts: pa.Array) -> pl.Series:
    return pl.Series(texts, dtype=pl.String).str.to_lowercase().str.extract_all(_WORD)
