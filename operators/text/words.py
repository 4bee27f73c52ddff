"""text.words: function words, flagged words and words of place."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._words import read_words, words

_FORMAT = "a file of one lower-case word a line, # for comments; default: our own"


@operator
class Words(RowOperator):
    """Shares of a text's words that are stop words and flagged words, and how many of its words say where things are.

    Words are lower case, split on white space, without special characters (neither letter nor mark) at their ends;
    what is left empty is no word, and a word is found when it equals a listed one. The first two are OBELICS's measures
    with lists of our own (arXiv:2306.16527, table 3: at least 0.3 stop words and at most 0.01 flagged words a
    paragraph); few captions have words of place, which text-to-image models then fail to learn (arXiv:2404.01197).
    0 for a text without words.
    """

    stop_words: Path | None = Field(None, description=f"{_FORMAT}, English function words")
    flagged_words: Path | None = Field(None, description=f"{_FORMAT}, English words of pornography")
    spatial_words: Path | None = Field(None, description=f"{_FORMAT}, English words of place")

    reads = ("text",)
    adds = (
        field("stop_word_ratio", pa.float64(), "stop words over words", range="0 to 1"),
        field(
            "flagged_word_ratio",
            pa.float64(),
            "flagged words over words",
            range="0 to 1",
            sensitive="blur: > 0.01; show: null",
        ),
        field("spatial_words", pa.int32(), "words that say where things are", unit="words", range=">= 0"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        here = Path(__file__).parent
        return (
            self.stop_words or here / "stop_words_en.txt",
            self.flagged_words or here / "flagged_words_en.txt",
            self.spatial_words or here / "spatial_words_en.txt",
        )

    @functools.cached_property
    def _lists(self) -> tuple[pl.Series, ...]:
        return tuple(read_words(path) for path in self.files)

    def setup(self) -> None:
        _ = self._lists

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        lists = words(batch.column("text"))
        counts = lists.list.len().to_numpy().astype(np.int64)
        flat = pl.Series(lists.to_arrow().flatten())
        stop, flagged, spatial = (_per_row(flat.is_in(listed).to_numpy(), counts) for listed in self._lists)
        whole = np.maximum(counts, 1)
        return {
            "stop_word_ratio": stop / whole,
            "flagged_word_ratio": flagged / whole,
            "spatial_words": spatial.astype(np.int32),
        }


def _per_row(found: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many of each row's words were found; the rows' words stand end to end."""
    total = np.concatenate([[0], np.cumsum(found)])
    ends = np.concatenate([[0], np.cumsum(counts)])
    counted: np.ndarray = total[ends[1:]] - total[ends[:-1]]
    return counted
