"""Full-text search over the captions of a cut's rows: all words must occur, quotes make phrases, a minus excludes.

A search goes over the texts as they lie in memory, on both cores of a small machine. The regular expressions are ours;
what the user typed stands in them escaped, and they take time in proportion to the text, whatever it says. An index
would take more memory than the texts do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow.types as types

from .rows import SpaceRows

QUERY_CHARACTERS: Final = 1000
QUERY_TERMS: Final = 32
RANKED_ROWS: Final = 50_000  # of more finds, the shortest are ranked and the others follow
THREADS: Final = 2
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')
# Scripts that put no space between words: there a word may begin anywhere.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class SearchError(ValueError):
    """A query that cannot be answered, in words for the user."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A word or a phrase that must occur, or must not."""

    words: tuple[str, ...]
    excluded: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression: the words as they are but for case, from the beginning of a word on."""
        inner = r"\s+".join(map(pl.escape_regex, self.words))
        return "(?i)" + (r"\b" if _bounds_word(self.words[0][0]) else "") + inner

    @property
    def whole(self) -> str:
        """The same, up to the end of a word."""
        return self.pattern + (r"\b" if _bounds_word(self.words[-1][-1]) else "")


@dataclass(frozen=True, kw_only=True)
class Matches:
    """What a query found: numbers of rows, the best first."""

    rows: np.ndarray
    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        return len(self.rows)


def read_query(query: str) -> tuple[Term, ...]:
    """The terms of a query. SearchError where there are none, or too many."""
    if len(query) > QUERY_CHARACTERS:
        raise SearchError(f"the query has {len(query):,} characters; at most {QUERY_CHARACTERS:,} are looked for")
    terms = []
    for minus, phrase, word in _TERM.findall(query.replace("\0", " ")):
        words = tuple((phrase or word).split())
        if words and words != ("-",):  # a dash between words is none of them
            terms.append(Term(words=words, excluded=bool(minus)))
    terms = list(dict.fromkeys(terms))
    if not terms:
        raise SearchError('nothing to search for: give a word, or a "phrase in quotes"')
    if len(terms) > QUERY_TERMS:
        raise SearchError(f"the query has {len(terms)} words; at most {QUERY_TERMS} are looked for")
    return tuple(terms)


def search_texts(rows: SpaceRows, query: str, *, column: str | None = None) -> Matches:
    """The rows whose text holds all that is asked for, in any case of letters.

    Of two, first comes the one in which more of the words stand whole (`cat` finds `cats`, too), then the one of which
    they are more (hits by length), then the earlier. The text is the version that is written, or another `column`.
    Raises SearchError.
    """
    terms = read_query(query)
    name = column if column is not None else rows.space.view.get("text", "text")
    if name not in rows.columns.names or not _is_text(rows, name):
        raise SearchError(f"there is no text to search: these rows have no column {name!r}")
    texts = pl.Series(rows.column(name))
    found = np.concatenate(list(_in_parts(lambda part: _holding(part, terms), texts)))
    return Matches(rows=_ranked(texts, np.flatnonzero(found), terms), terms=terms)


def _bounds_word(letter: str) -> bool:
    """May a word begin or end at this letter only?"""
    return (letter.isalnum() or letter == "_") and not _UNSPACED.match(letter)


def _is_text(rows: SpaceRows, name: str) -> bool:
    kind = rows.columns.field(name).type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _holding(texts: pl.Series, terms: Sequence[Term]) -> np.ndarray:
    """Which texts hold all terms, and none that is excluded; the later terms are looked for in what is left."""
    found = np.zeros(len(texts), bool)
    at = np.flatnonzero(texts.is_not_null().to_numpy())
    texts = texts.drop_nulls()
    for term in sorted(terms, key=lambda term: (term.excluded, -len(term.pattern))):
        holds = texts.str.contains(term.pattern)
        holds = ~holds if term.excluded else holds
        texts, at = texts.filter(holds), at[holds.to_numpy()]
    found[at] = True
    return found


def _ranked(texts: pl.Series, found: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    """The rows found, the best first."""
    wanted = [term for term in terms if not term.excluded]
    if not wanted:
        return found
    some = texts.gather(found)
    length = some.str.len_chars().to_numpy()
    few = np.arange(len(found))
    if len(found) > RANKED_ROWS:
        few = np.sort(np.argpartition(length, RANKED_ROWS)[:RANKED_ROWS])
        some = some.gather(few)
    scores = np.concatenate(list(_in_parts(lambda part: _scores(part, wanted), some)), axis=1)
    order = few[np.lexsort((-scores[1] / np.maximum(length[few], 1), -scores[0]))]
    rest = np.ones(len(found), bool)
    rest[few] = False
    return np.concatenate([found[order], found[rest]])


def _scores(texts: pl.Series, terms: Sequence[Term]) -> np.ndarray:
    """How many of the terms stand there as whole words, and how often they all occur (2, texts)."""
    scores = np.zeros((2, len(texts)), np.int64)
    for term in terms:
        scores[0] += texts.str.contains(term.whole).to_numpy()
        scores[1] += texts.str.count_matches(term.pattern).to_numpy()
    return scores


def _in_parts(measure: Callable[[pl.Series], np.ndarray], texts: pl.Series) -> Iterator[np.ndarray]:
    """Parts of a column, measured side by side."""
    size = max(1, -(-len(texts) // THREADS))
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(measure, [texts.slice(start, size) for start in range(0, max(len(texts), 1), size)])
