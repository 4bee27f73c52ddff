"""text.boilerplate: how much of a text is what pages write beside any picture."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, operator
from ._boilerplate import PatternOperator


@operator
class Boilerplate(PatternOperator):
    """The share of a text's characters that are boiler-plate, such as `click to enlarge`, and of which group it is.

    The share counts the characters of all that a list's patterns find, nothing twice, over all characters; it is 1 for
    a text that is nothing but a file name, a URL, an image's size or a word for any picture, and 0 for an empty text.
    The groups in the order of the list: `cc3m_dropped` (what CC3M publishes of what it drops), `avatar`, `missing`, and
    of whole texts `align_shared`, `w3c_f30`, `no_words`, `file_name`, `url`; `cc3m_cropped` (what it publishes of what
    it crops), `click`, `stock`, `shop`, `site`. CC3M: Sharma et al. 2018, section 3; it publishes four examples and not
    its list. The others are ours, for English, and for stock agencies' words in a dozen languages. A rule like CC3M's:
    `text.crop_boilerplate`, and `keep` on `boilerplate_pattern` with `not_in` for the groups whose texts are to go.
    """

    adds = (
        field("boilerplate_share", pa.float64(), "characters of boiler-plate over characters", range="0 to 1"),
        field("boilerplate_pattern", pa.string(), "the first group of the list that the text has, null for none"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text"))
        shares = pl.zeros(len(texts), pl.Float64, eager=True)
        names = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
        if len(rows := self.found.rows_of(texts)):
            some = texts.gather(rows)
            shares = shares.scatter(rows, self.found.share(some))
            names = names.scatter(rows, self.found.names(some))
        return {"boilerplate_share": shares.to_arrow(), "boilerplate_pattern": names.to_arrow()}
