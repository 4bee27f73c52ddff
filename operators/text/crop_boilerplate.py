"""text.crop_boilerplate: the text without the boiler-plate around its caption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, operator
from ._boilerplate import PatternOperator

_BRACKETS: Final = r"\(\s*\)|\[\s*\]"
_ENDS: Final = r"[\s\-–—|:,;/#·•»«~]+$|^[\s\-–—|:,;/·•»«~.!]+"
_ROUNDS: Final = 4


@operator
class CropBoilerplate(PatternOperator):
    """The text without what `text.boilerplate`'s groups for cropping find; later steps read it.

    `Pancake — Stock Photo #39050545` becomes `Pancake`. CC3M crops the same way where a text begins or ends with such
    a phrase, and publishes two of them (Sharma et al. 2018, section 3); here it may stand anywhere. Where something was
    cropped, empty brackets and separators at the ends go, too, and white space becomes one space; what then shows at
    an end is cropped as well, up to four times in all. Other texts stay as they are. If nothing is left the text is
    empty: a rule on `text.length` stands best behind.
    """

    adds = (
        field("cropped_text", pa.string(), "the text, cropped"),
        field("cropped_characters", pa.int32(), "code points fewer than before", unit="characters", range=">= 0"),
    )
    replaces: ClassVar[Mapping[str, str]] = {"text": "cropped_text"}

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = cropped = pl.Series(batch.column("text"))
        rows = texts.str.contains(self.found.crop).arg_true()
        for _ in range(_ROUNDS):
            if not len(rows):
                break
            cropped = cropped.clone().scatter(rows, self._crop(cropped.gather(rows)))
            rows = rows.filter(cropped.gather(rows).str.contains(self.found.crop))
        fewer = texts.str.len_chars().cast(pl.Int32) - cropped.str.len_chars().cast(pl.Int32)
        return {"cropped_text": cropped.to_arrow(), "cropped_characters": fewer.to_arrow()}

    def _crop(self, texts: pl.Series) -> pl.Series:
        bare = texts.str.replace_all(self.found.crop, " ").str.replace_all(_BRACKETS, " ")
        return bare.str.replace_all(r"\s+", " ").str.replace_all(_ENDS, "")
