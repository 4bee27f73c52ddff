"""text.boilerplate: how much of a text is what pages write beside any picture."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from . import _boilerplate


@operator
class Boilerplate(RowOperator):
    """The share of a text's characters that are boiler-plate, such as `click to enlarge`, and of which group it is.

    The share counts the characters of all that a list's patterns find, nothing twice, over all characters; it is 1 for
    a text that is nothing but a file name, a URL, an image's size or a word for any picture, and 0 for an empty text.
    The groups in the order of the list: `cc3m_dropped` (what CC3M publishes of what it drops), `avatar`, `missing`, and
    of whole texts `align_shared`, `w3c_f30`, `no_words`, `file_name`, `url`; `cc3m_cropped` (what it publishes of what
    it crops), `click`, `stock`, `shop`, `site`. CC3M: Sharma et al. 2018, section 3; it publishes four examples and not
    its list. The others are ours, for English, and for stock agencies' words in a dozen languages. A rule like CC3M's:
    `text.crop_boilerplate`, and `keep` on `boilerplate_pattern` with `not_in` for the groups whose texts are to go.
    """

    patterns: Path | None = Field(None, description=_boilerplate.DESCRIPTION)

    reads = ("text",)
    adds = (
        field("boilerplate_share", pa.float64(), "characters of boiler-plate over characters", range="0 to 1"),
        field("boilerplate_pattern", pa.string(), "the first group of the list that the text has, null for none"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.patterns or _boilerplate.SHIPPED,)

    @functools.cached_property
    def _patterns(self) -> _boilerplate.Patterns:
        return _boilerplate.Patterns(*self.files)

    def setup(self) -> None:
        _ = self._patterns

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text"))
        shares = pl.zeros(len(texts), pl.Float64, eager=True)
        names = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
        if len(rows := self._patterns.rows_of(texts)):
            some = texts.gather(rows)
            shares = shares.scatter(rows, self._patterns.share(some))
            names = names.scatter(rows, self._patterns.names(some))
        return {"boilerplate_share": shares.to_arrow(), "boilerplate_pattern": names.to_arrow()}
