"""text.web_words: words that are letters, and how many of them are common, or stand around a page's text."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..models.ngram import shipped_model
from ._words import read_words, words

_HERE: Final = Path(__file__).parent
_PARTS: Final = r"[^\p{L}\p{M}]+"  # what parts the halves of left-hand and of don't


@operator
class WebWords(RowOperator):
    """Words with a letter in them, the share of them that are common words, and of those on sites' menus and forms.

    Words are `text.words`': lower case, split on white space, special characters off their ends. OBELICS counts them so
    (arXiv:2306.16527, table 3: 4 to 1,000 in a paragraph, 10 to 2,000 in a document), drops paragraphs with 0.12 and
    more of 40 spam words, and keeps those with 0.8 and more of common words (documents: 0.9). Its common words, those
    seen twice in 10 million documents, were never published in a place that lasts: by default a word is common when all
    its parts between signs are among the 40,000 of cupel-en or are stop words, which is a far stricter list, so its
    share is lower. Ratios are 0 for a text without words.
    """

    common_words: Path | None = Field(
        None, description="a file of one lower-case word a line, # for comments; default: the vocabulary of cupel-en"
    )
    spam_words: Path | None = Field(None, description="a file of the same form; default: the 40 words of OBELICS")

    reads = ("text",)
    adds = (
        field("letter_words", pa.int32(), "words with a letter in them", unit="words", range=">= 0"),
        field("common_word_ratio", pa.float64(), "common words over these words", range="0 to 1"),
        field("spam_word_ratio", pa.float64(), "words of menus and forms over these words", range="0 to 1"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        common = (self.common_words,) if self.common_words else (shipped_model(), _HERE / "stop_words_en.txt")
        return (self.spam_words or _HERE / "spam_words_en.txt", *common)

    @functools.cached_property
    def _spam(self) -> pl.Series:
        return read_words(self.files[0])

    @functools.cached_property
    def _common(self) -> pl.Series:
        if self.common_words:
            return read_words(self.common_words)
        return pl.concat([_vocabulary(shipped_model()), read_words(_HERE / "stop_words_en.txt")]).unique()

    def setup(self) -> None:
        _ = self._spam, self._common

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        found = words(batch.column("text"))
        counts = found.list.len().to_numpy().astype(np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        flat = pl.Series(found.to_arrow().flatten(), dtype=pl.String)
        whole = np.maximum(counts, 1)
        common, spam = (
            np.bincount(rows[listed.to_numpy()], minlength=len(counts)) / whole
            for listed in (self._are_common(flat), flat.is_in(self._spam))
        )
        return {"letter_words": counts.astype(np.int32), "common_word_ratio": common, "spam_word_ratio": spam}

    def _are_common(self, flat: pl.Series) -> pl.Series:
        """Which words are common, by their parts where the list has parts."""
        listed = flat.is_in(self._common)
        if self.common_words:
            return listed
        rest = flat.filter(~listed).unique()
        parts = pl.DataFrame({"word": rest, "part": rest.str.replace_all(_PARTS, " ").str.split(" ")}).explode("part")
        strange = parts["word"].filter(~parts["part"].is_in(self._common))
        return listed | flat.is_in(rest.filter(~rest.is_in(strange)))


def _vocabulary(path: Path) -> pl.Series:
    """The words of our own ARPA file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("\\1-grams"):
                break
        found = []
        for line in lines:
            if not line.strip():
                break
            found.append(line.split("\t")[1].strip())
    return pl.Series([word for word in found if word[0].isalpha()], dtype=pl.String)
