"""Words as OBELICS gets them, and lists of words to look for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

# From the first letter or mark between white spaces to the last; white space is Python's (U+001C..U+001F included).
_WORD = r"[\p{L}\p{M}](?:[^\s\x1c-\x1f]*[\p{L}\p{M}])?"


def words(texts: pa.Array) -> pl.Series:
    """A list of words for each text: lower case, split on white space, special characters off both ends, none empty.

    Special is what is neither a letter nor a mark, so `"Left-hand` gives `left-hand`, `42` and `&` give nothing.
    OBELICS does the same steps (`get_words_from_text`) with a hand-made list of special characters.
    """
    return pl.Series(texts).str.to_lowercase().str.extract_all(_WORD)


def read_words(path: Path) -> pl.Series:
    """A word list: one word a line, lines that start with # are comments. ValueError for a line that cannot match."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    listed = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    found = words(pa.array([line for _, line in listed], pa.large_string())).to_list()
    for (number, line), parts in zip(listed, found, strict=True):
        if parts != [line]:
            raise ValueError(
                f"{path}:{number}: {line!r} can never match; words are compared in lower case, one by one, without "
                f"special characters at their ends" + (f": write {parts[0]!r}" if len(parts) == 1 else "")
            )
    return pl.Series(sorted({line for _, line in listed}), dtype=pl.String)
