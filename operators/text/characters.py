"""text.characters: what a text's characters are."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._code_points import code_points, lengths_of, slices

# Every code point is in one of these classes, and ASCII or not; the measures are sums over classes.
_CLASSES: Final = ("upper", "letter", "digit", "punctuation", "mark", "other")
_NON_ASCII: Final = 8
_BINS: Final = 16


@operator
class Characters(RowOperator):
    """Shares of a text's code points that are letters, digits, punctuation, special, upper-case or non-ASCII.

    By Unicode general category (in the Unicode version of the running Python): letters are L*, digits Nd, punctuation
    P* (so `$`, `+`, `<`, `^` are not), upper case Lu. Special is all that is neither a letter nor a mark (M*): numbers,
    punctuation, symbols, emoji, white space, controls; OBELICS and ROOTS mean the same by a hand-made list
    (arXiv:2306.16527, table 3: at most 0.3 a paragraph). `uppercase_ratio` is a share of the letters, so that spaces
    and digits do not dilute it; the others are shares of all code points. 0 where there is nothing to take a share of.
    """

    reads = ("text",)
    adds = (
        field("letter_ratio", pa.float64(), "letters (L*) over code points", range="0 to 1"),
        field("digit_ratio", pa.float64(), "decimal digits (Nd) over code points", range="0 to 1"),
        field("punctuation_ratio", pa.float64(), "punctuation (P*) over code points", range="0 to 1"),
        field(
            "special_ratio",
            pa.float64(),
            "neither letter nor mark (N*, P*, S*, Z*, C*) over code points",
            range="0 to 1",
        ),
        field("uppercase_ratio", pa.float64(), "upper-case letters (Lu) over letters", range="0 to 1"),
        field("non_ascii_ratio", pa.float64(), "code points above U+007F over code points", range="0 to 1"),
    )

    def setup(self) -> None:
        _class_of_code_point()

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        counts, lengths = _count(pl.Series(batch.column("text")).to_list())
        of_class = dict(zip(_CLASSES, (counts[:, :_NON_ASCII] + counts[:, _NON_ASCII:]).T, strict=False))
        letters = of_class["upper"] + of_class["letter"]
        whole = np.maximum(lengths, 1)
        return {
            "letter_ratio": letters / whole,
            "digit_ratio": of_class["digit"] / whole,
            "punctuation_ratio": of_class["punctuation"] / whole,
            "special_ratio": (lengths - letters - of_class["mark"]) / whole,
            "uppercase_ratio": of_class["upper"] / np.maximum(letters, 1),
            "non_ascii_ratio": counts[:, _NON_ASCII:].sum(axis=1) / whole,
        }


def _count(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points of each class in each text (rows, 16), and in all of it (rows,)."""
    table = _class_of_code_point()
    lengths = lengths_of(texts)
    counts = np.zeros((len(texts), _BINS), np.int64)
    for rows in slices(lengths):
        width = rows.stop - rows.start
        bins = np.repeat(np.arange(0, width * _BINS, _BINS), lengths[rows])
        bins += table[code_points(texts[rows])]
        counts[rows] = np.bincount(bins, minlength=width * _BINS).reshape(width, _BINS)
    return counts, lengths


@functools.cache
def _class_of_code_point() -> np.ndarray:
    """Class of every code point, 1.1 million of them: uint8, 0.2 s, once a process."""
    names = {"Lu": "upper", "L": "letter", "Nd": "digit", "P": "punctuation", "M": "mark"}
    numbers = {category: _CLASSES.index(name) for category, name in names.items()}
    other = _CLASSES.index("other")
    categories = map(unicodedata.category, map(chr, range(0x110000)))
    found = (numbers.get(category, numbers.get(category[0], other)) for category in categories)
    table = np.fromiter(found, np.uint8, count=0x110000)
    table[0x80:] += _NON_ASCII
    return table
