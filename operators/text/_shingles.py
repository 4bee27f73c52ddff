"""Shingles for MinHash: what counts as a word of a text, and a 32-bit hash of every run of n of them.

Stored digests rest on every rule and constant here and in `minhash.py`: whoever changes one raises `Minhash.version`.
"""

from __future__ import annotations

import functools
from typing import Final, Literal

import numpy as np
import polars as pl

from ._code_points import CHUNK, code_points, lengths_of, slices
from ._normalise import UNSPACED, beyond_ascii, where_in

Unit = Literal["words", "characters"]
Numbers = Literal["zero", "keep"]

# Most texts beyond ASCII need no more than this. Trademark signs would become letters (NFKD).
_SIGNS: Final = {**dict.fromkeys("‘’“”„«»–—‑…•·®©™℠", " "), "،": ",", **dict.fromkeys("٫⎖⎗⎘", ".")}
_UNSEEN: Final = r"[\p{Mn}\p{Me}\p{Cf}]"  # accents, other marks without a width, joiners, soft hyphens
_APART: Final = r"[^\p{L}\p{Mc}\p{N}\x00-\x7f]"
_NUMBER: Final = r"[0-9]+(?:[.,][0-9]+)?"

# Odd, so that multiplying loses none of the 64 bits.
_CHARACTER_BASE: Final = 0x9E6C63D0876A9A4B
_TOKEN_BASE: Final = 0xD1B54A32D192ED03
_GOLDEN: Final = 0x9E3779B97F4A7C15


def simplified(texts: pl.Series, unit: Unit, numbers: Numbers) -> pl.Series:
    """Texts whose words are the runs of ASCII letters, ASCII digits and whatever is beyond ASCII.

    Compatible forms become one (NFKD), marks without a width and invisible characters go, lower case, a number is 0
    unless kept (a point or comma and the digits behind it belong to it); beyond ASCII, what is neither letter nor
    spacing mark nor number becomes a space. For words, each character of a script without spaces stands apart.
    """
    typed = beyond_ascii(texts, lambda some: some.str.replace_many(_SIGNS))
    lower = beyond_ascii(typed, _decomposed).str.to_lowercase()
    counted = lower if numbers == "keep" else _zeros(lower)
    spaced = beyond_ascii(counted, lambda some: some.str.replace_all(_APART, " "))
    if unit == "characters":
        return spaced
    return beyond_ascii(spaced, lambda some: some.str.replace_all(f"[{UNSPACED}]", " $0 "))


def _decomposed(texts: pl.Series) -> pl.Series:
    return texts.str.normalize("NFKD").str.replace_all(_UNSEEN, "")


def _zeros(texts: pl.Series) -> pl.Series:
    ascii_digits = beyond_ascii(texts, lambda some: some.str.replace_all(r"\p{Nd}", "0"))
    return where_in(ascii_digits, ascii_digits.str.contains("[0-9]"), lambda some: some.str.replace_all(_NUMBER, "0"))


def shingles(texts: pl.Series, unit: Unit, numbers: Numbers, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint32) of all runs of n tokens, text by text end to end, and how many each text has (int64).

    Tokens are words, or the characters of the words with one space between two words. A text of fewer than n has none.
    """
    plain = simplified(texts, unit, numbers).to_list()
    lengths = lengths_of(plain) + 1
    counts = np.zeros(len(plain), np.int64)
    parts = [np.zeros(0, np.uint32)]
    for rows in slices(lengths):
        tokens, found = (_words if unit == "words" else _characters)(plain[rows], lengths[rows])
        parts.append(_windows(tokens, found, n))
        counts[rows] = np.maximum(found - n + 1, 0)
    return np.concatenate(parts), counts


def _words(texts: list[str], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash (uint64) of each word, and how many words each text has.

    The hash is a polynomial of the characters: the sum up to the word's end less the sum up to its start, brought down
    to where all words start.
    """
    stream, _, starts, ends = _stream(texts)
    sums = stream.astype(np.uint64)
    sums *= _powers(_CHARACTER_BASE, len(stream))
    np.cumsum(sums, out=sums)
    tokens = sums[ends - 1] - sums[starts - 1]
    tokens *= _powers(pow(_CHARACTER_BASE, -1, 1 << 64), len(stream))[starts]
    return tokens, _counts(starts, lengths)


def _characters(texts: list[str], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The characters (uint64) of the words, a space between two words of a text, and how many each text has."""
    stream, inside, starts, _ = _stream(texts)
    words = _counts(starts, lengths)
    inner = np.ones(len(starts), bool)
    inner[(np.cumsum(words) - words)[words > 0]] = False
    spaces = starts[inner] - 1
    characters = stream.astype(np.uint64)
    characters[spaces] = ord(" ")
    inside[spaces] = True
    kept = np.flatnonzero(inside)
    return characters[kept], _counts(kept, lengths)


def _stream(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Code points, a line feed before and behind each text; which are of a word; where words start, and where end."""
    stream = code_points(["\n", "\n".join(texts), "\n"])
    letters, digits = (
        stream - np.uint32(ord("a")) < 26,
        stream - np.uint32(ord("0")) < 10,
    )  # below is far above: unsigned
    inside = letters | digits | (stream > 127)
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    return stream, inside, edges[::2], edges[1::2]


def _counts(positions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many of the positions lie in each text."""
    return np.diff(np.searchsorted(positions, np.cumsum(lengths) + 1), prepend=0)


def _windows(tokens: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    """Hash (uint32) of every n tokens of one text."""
    if len(tokens) < n:
        return np.zeros(0, np.uint32)
    many = len(tokens) - n + 1
    base = np.uint64(_TOKEN_BASE)
    sums = tokens[:many].copy()
    for i in range(1, n):
        sums *= base
        sums += tokens[i : i + many]
    ends = np.repeat(np.cumsum(counts), counts)
    return (mixed(sums[np.arange(n, n + many) <= ends[:many]]) >> np.uint64(32)).astype(np.uint32)


def _powers(base: int, count: int) -> np.ndarray:
    """base^0, base^1, ... modulo 2^64; those that nearly all slices need are kept."""
    return _first_powers(base)[:count] if count <= 2 * CHUNK else _accumulated(base, count)


@functools.cache
def _first_powers(base: int) -> np.ndarray:
    return _accumulated(base, 2 * CHUNK)


def _accumulated(base: int, count: int) -> np.ndarray:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (uint64 to uint64, one to one): every bit of the input moves every bit."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    whole: np.ndarray = numbers ^ (numbers >> np.uint64(31))
    return whole


def random_numbers(seed: int, count: int) -> np.ndarray:
    """The first numbers (uint64) of splitmix64, the same for ever, which NumPy does not promise of its generators."""
    states = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return mixed(states + mixed(np.array([seed], np.uint64)))
