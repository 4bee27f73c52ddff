"""text.repetition: how much of a text says the same again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._code_points import code_points, lengths_of, slices
from ._words import words

_BASE: Final = 0x9E3779B1  # odd, so that multiplying loses nothing
_SIEVES: Final = (0x85EBCA6B, 0xC2B2AE35)


@operator
class Repetition(RowOperator):
    """Share of a text's n-grams that are repeated, by characters and by words, as OBELICS and ROOTS define it.

    `character_repetition`: with the frequencies of all character n-grams in falling order, the sum of the first
    k over the sum of all, k = min(floor(sqrt(distinct n-grams)), n-grams that occur more than once).
    `word_repetition`: the n-grams (as occurrences) whose frequency is above 1, over all; words are lower case, split
    on white space, without special characters (neither letter nor mark) at their ends. 0 for a text shorter than n.
    OBELICS drops a paragraph above 0.1 in either (arXiv:2306.16527, table 3; ROOTS: arXiv:2303.03915).
    """

    character_n: int = Field(10, ge=1, description="characters in a character n-gram")
    word_n: int = Field(5, ge=1, description="words in a word n-gram")

    reads = ("text",)
    adds = (
        field("character_repetition", pa.float64(), "share of the most repeated character n-grams", range="0 to 1"),
        field("word_repetition", pa.float64(), "share of repeated word n-grams", range="0 to 1"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        column = batch.column("text")
        return {
            "character_repetition": self._of_characters(pl.Series(column).to_list()),
            "word_repetition": self._of_words(words(column)),
        }

    def _of_characters(self, texts: list[str]) -> np.ndarray:
        lengths = lengths_of(texts)
        ratios = np.zeros(len(texts))
        for rows in slices(lengths):
            found = repeated(code_points(texts[rows]), lengths[rows], self.character_n)
            ratios[rows] = _share_of_top(*found, _windows(lengths[rows], self.character_n))
        return ratios

    def _of_words(self, lists: pl.Series) -> np.ndarray:
        lengths = lists.list.len().to_numpy().astype(np.int64)
        numbers = lists.to_arrow().flatten().dictionary_encode().indices.to_numpy().astype(np.uint32)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        ratios = np.zeros(len(lists))
        for rows in slices(lengths):
            row, frequency = repeated(numbers[ends[rows.start] : ends[rows.stop]], lengths[rows], self.word_n)
            windows = _windows(lengths[rows], self.word_n)
            ratios[rows] = np.bincount(row, frequency, minlength=len(windows)) / np.maximum(windows, 1)
        return ratios


def repeated(tokens: np.ndarray, lengths: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and frequency of every n-gram that occurs more than once in its row; tokens uint32, rows end to end.

    Exact: a sieve finds the few windows that may have an equal, these are grouped by a 64-bit hash, and every group is
    compared token by token; should two different n-grams share a hash, another hash is taken.
    """
    ends = np.cumsum(lengths)
    starts = _suspects(tokens, lengths, n)
    rows = np.searchsorted(ends, starts, side="right")
    within = starts + n <= ends[rows]
    starts, rows = starts[within], rows[within]
    for attempt in itertools.count():
        keys = _hash_64(tokens, starts, rows, n, attempt)
        order = np.argsort(keys)
        same = keys[order][1:] == keys[order][:-1]
        one, other = order[1:][same], order[:-1][same]
        if np.array_equal(rows[one], rows[other]) and all(
            np.array_equal(tokens[starts[one] + i], tokens[starts[other] + i]) for i in range(n)
        ):
            break
    first = np.flatnonzero(np.concatenate([[True], ~same]))[: len(order)]
    frequency = np.diff(np.append(first, len(order)))
    again = frequency > 1
    return rows[order[first[again]]], frequency[again]


def _suspects(tokens: np.ndarray, lengths: np.ndarray, n: int) -> np.ndarray:
    """Starts of the windows that share a slot of a hash table with another: all that have an equal, and few others."""
    if len(tokens) < n:
        return np.zeros(0, np.int64)
    salt = np.arange(len(lengths), dtype=np.uint32) * np.uint32(_BASE)  # equal windows of two rows are not equals
    hashes = _rolling(tokens, n) + np.repeat(salt, lengths)[: len(tokens) - n + 1]
    starts = np.arange(len(hashes))
    bits = max(len(hashes).bit_length() + 2, 4)
    for sieve in _SIEVES:
        slots = ((hashes * np.uint32(sieve)) >> np.uint32(32 - bits)).astype(np.intp)
        shared = (np.bincount(slots, minlength=1 << bits) > 1)[slots]
        starts, hashes = starts[shared], hashes[shared]
    return starts


def _rolling(tokens: np.ndarray, n: int) -> np.ndarray:
    """Polynomial hash (uint32) of every window of n tokens, in about log2(n) passes: two halves make a whole."""
    if n == 1:
        return tokens
    half = n // 2
    part = _rolling(tokens, half)
    whole: np.ndarray = part[:-half] * np.uint32(pow(_BASE, half, 1 << 32)) + part[half:]
    if n % 2:
        whole = whole[:-1] * np.uint32(_BASE) + tokens[n - 1 :]
    return whole


def _hash_64(tokens: np.ndarray, starts: np.ndarray, rows: np.ndarray, n: int, attempt: int) -> np.ndarray:
    """Hash (uint64) of row and window for the given starts."""
    base = np.uint64(0x9E3779B97F4A7C15 ^ (attempt << 1))
    keys = rows.astype(np.uint64)
    for i in range(n):
        keys = (keys ^ (keys >> np.uint64(29))) * base + tokens[starts + i]
    return keys


def _windows(lengths: np.ndarray, n: int) -> np.ndarray:
    windows: np.ndarray = np.maximum(lengths - n + 1, 0)
    return windows


def _share_of_top(rows: np.ndarray, frequency: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Sum of the k highest frequencies over all windows, for each row; those that occur once are never among the k."""
    groups = np.bincount(rows, minlength=len(windows))
    distinct = windows - np.bincount(rows, frequency - 1, minlength=len(windows)).astype(np.int64)
    k = np.minimum(np.sqrt(distinct).astype(np.int64), groups)
    order = np.lexsort((-frequency, rows))
    rows, frequency = rows[order], frequency[order]
    rank = np.arange(len(rows)) - (np.cumsum(groups) - groups)[rows]
    top = rank < k[rows]
    shares: np.ndarray = np.bincount(rows[top], frequency[top], minlength=len(windows)) / np.maximum(windows, 1)
    return shares
