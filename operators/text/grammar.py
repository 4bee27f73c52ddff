"""text.grammar: nouns, determiners and prepositions of an English text, capitals, and repeated words."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._grammar import LEXICON, Kind, read_lexicon, tag


@operator
class Grammar(RowOperator):
    """Nouns, determiners and prepositions of an English text, and how its words are capitalised and repeated.

    A word is a run of letters, marks and digits with at least one letter; `'`, `’`, `.`, `-`, `&` and `_` may stand
    inside. Its class comes from a list of English words, from its ending and from its neighbours; what nothing is known
    of is a noun. Nouns include names; determiners are those of the Penn Treebank (a, the, this, some, each, no, ...)
    without possessives; prepositions include `to` before a noun, not particles (`looking out`) or conjunctions. 94 % of
    1,152 words of captions tagged by hand were right, 90 % by TextBlob's tagger. For English alone: put `text.language`
    before it. A word without a Latin letter has no class; one of another language is a noun mostly.
    CC3M wants a noun, a determiner and a preposition, noun and repetition ratios that are not high, and a capital
    at the beginning, and publishes no numbers (Sharma et al. 2018, section 3); CC12M a noun, a determiner and at most
    0.2 repeated words, which it does not define (arXiv:2102.08981, section 2); COYO a noun. Ratios are 0 without words.
    """

    reads = ("text",)
    adds = (
        field("nouns", pa.int32(), "nouns and names", unit="words", range=">= 0"),
        field("determiners", pa.int32(), "determiners", unit="words", range=">= 0"),
        field("prepositions", pa.int32(), "prepositions", unit="words", range=">= 0"),
        field("noun_ratio", pa.float64(), "nouns over words", range="0 to 1"),
        field("capitalized_ratio", pa.float64(), "words that begin with a capital letter over words", range="0 to 1"),
        field("first_capitalized", pa.bool_(), "whether the first word begins with a capital letter"),
        field(
            "repeated_word_ratio",
            pa.float64(),
            "words that stood before in the text, whatever their case, over words",
            range="0 to 1",
        ),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        return (LEXICON,)

    @functools.cached_property
    def _lexicon(self) -> dict[str, Kind]:
        return read_lexicon(*self.files)

    def setup(self) -> None:
        _ = self._lexicon

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        words = tag(pl.Series(batch.column("text")), self._lexicon)
        count = functools.partial(_count, words.row, len(batch))
        whole = np.maximum(count(), 1)
        nouns = count(words.kind == Kind.NOUN)
        first = np.flatnonzero(np.diff(words.row, prepend=-1))
        begins = np.zeros(len(batch), bool)
        begins[words.row[first]] = words.capital[first]
        distinct = np.unique(words.row * (words.number.max(initial=0) + 1) + words.number, return_index=True)[1]
        return {
            "nouns": nouns.astype(np.int32),
            "determiners": count(words.kind == Kind.DETERMINER).astype(np.int32),
            "prepositions": count(words.kind == Kind.PREPOSITION).astype(np.int32),
            "noun_ratio": nouns / whole,
            "capitalized_ratio": count(words.capital) / whole,
            "first_capitalized": begins,
            "repeated_word_ratio": (count() - np.bincount(words.row[distinct], minlength=len(batch))) / whole,
        }


def _count(row: np.ndarray, rows: int, among: np.ndarray | None = None) -> np.ndarray:
    """Words of each text, or those among them of which it is so."""
    counted: np.ndarray = np.bincount(row if among is None else row[among], minlength=rows)
    return counted
