"""Which entries of a list stand in a text as whole words: MetaCLIP's substring matching, for many entries and texts.

" entry " stands in a text exactly where the entry's words follow each other among the text's words, when both are cut
at single spaces. So entries are kept as a tree of words and a whole column of texts walks down it at once, a level at a
time. With 500,000 entries this matches three times as many texts a second as the Aho-Corasick automata with wheels
(ahocorasick_rs, pyahocorasick), which are stepped through by characters (infra/bench/balance.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

_SLICE_BYTES: Final = 4 << 20  # of texts at a time: words and their places take up to thirty times that


@dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """A list of entries, each numbered by its place; built by `tree_of`.

    A node is a beginning of entries. The first nodes are single words, numbered as the words are.
    """

    words: pl.DataFrame  # word, number (int64)
    edges: np.ndarray  # int64, ascending: node * len(words) + number of the word that follows
    into: np.ndarray  # int64: the node that each edge leads to
    entry: np.ndarray  # int64, of each node: the entry that ends there, or -1

    def match(self, texts: pl.Series) -> pl.Series:
        """The numbers of the entries in each text, ascending, each once: List(UInt32). No nulls in `texts`."""
        found = [self._match(part) for part in _slices(texts)]
        return pl.concat(found) if found else pl.Series(dtype=pl.List(pl.UInt32))

    def _match(self, texts: pl.Series) -> pl.Series:
        words = wrapped(texts).str.split(" ")
        of_text = np.repeat(np.arange(len(texts)), words.list.len().to_numpy())
        looked_up = (
            words.explode().alias("word").to_frame().join(self.words, on="word", how="left", maintain_order="left")
        )
        number = looked_up["number"].fill_null(-1).to_numpy()
        hits = np.concatenate([(of_text[first] << 32) | entry for first, entry in self._walk(number, of_text)])
        hits = np.sort(hits)
        hits = hits[np.diff(hits, prepend=-1) > 0]
        ends = np.searchsorted(hits, np.arange(len(texts) + 1) << 32)
        lists = pa.LargeListArray.from_arrays(ends, (hits & 0xFFFFFFFF).astype(np.uint32))
        return pl.Series(lists)

    def _walk(self, number: np.ndarray, of_text: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Place of the first word, and entry, of all matches, by their count of words."""
        follows = np.append(np.where(of_text[1:] == of_text[:-1], number[1:], -1), -1)
        first = np.flatnonzero(number >= 0)
        node, last = number[first], first
        while True:
            entry = self.entry[node]
            yield first[entry >= 0], entry[entry >= 0]
            more = follows[last] >= 0
            first, node, last = first[more], node[more], last[more] + 1
            if not (len(first) and len(self.edges)):
                return
            wanted = node * len(self.words) + number[last]
            place = np.minimum(np.searchsorted(self.edges, wanted), len(self.edges) - 1)
            known = self.edges[place] == wanted
            first, node, last = first[known], self.into[place[known]], last[known]


def tree_of(entries: Iterable[str]) -> Entries:
    """The tree of some entries: different, none empty, none with a space at an end."""
    listed = pl.Series("word", entries, pl.String).str.split(" ")
    length = listed.list.len().to_numpy().astype(np.int64)
    flat = listed.explode().to_frame()
    words = flat.unique(maintain_order=True).with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64))
    number = flat.join(words, on="word", how="left", maintain_order="left")["number"].to_numpy()
    start = np.cumsum(length) - length
    node, nodes = number[start], words.height
    ends, edges = [(node[length == 1], np.flatnonzero(length == 1))], [np.zeros(0, np.int64)]
    for depth in range(1, int(length.max(initial=0))):
        longer = np.flatnonzero(length > depth)
        steps, step = np.unique(node[longer] * words.height + number[start[longer] + depth], return_inverse=True)
        node[longer] = nodes + step
        nodes += len(steps)
        edges.append(steps)
        done = np.flatnonzero(length == depth + 1)
        ends.append((node[done], done))
    entry = np.full(nodes, -1)
    for at, which in ends:
        entry[at] = which
    edge = np.concatenate(edges)
    order = np.argsort(edge)
    return Entries(words=words, edges=edge[order], into=(words.height + np.arange(len(edge)))[order], entry=entry)


def read_entries(path: Path) -> Entries:
    """The tree of a text file with an entry a line; kept in this process until the file changes.

    White space around an entry is cut, empty lines are passed over, an entry listed twice is one. ValueError where it
    holds none, or is no UTF-8 text.
    """
    stat = path.stat()
    return _read(path, (stat.st_size, stat.st_mtime_ns))


@functools.lru_cache(maxsize=1)
def _read(path: Path, _state: tuple[int, int]) -> Entries:
    return tree_of(listed(path))


def listed(path: Path) -> list[str]:
    """The entries of a file, in its order."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text with an entry a line ({error})") from error
    entries = list(dict.fromkeys(entry for line in lines if (entry := line.strip())))
    if not entries:
        raise ValueError(f"{path} holds no entry: give it one a line")
    return entries


def wrapped(texts: pl.Series) -> pl.Series:
    """Texts with spaces around `, . ; : ? ! `` and for tabs and line ends, as MetaCLIP has them before it matches."""
    return texts.str.replace_all("[,.;:?!`]", " $0 ").str.replace_all("[\t\n\r]", " ")


def _slices(texts: pl.Series) -> Iterator[pl.Series]:
    """Consecutive texts of some megabytes together, at least one."""
    size = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() // _SLICE_BYTES
    starts = np.flatnonzero(np.diff(size, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(texts)], strict=False):
        yield texts[int(start) : int(stop)]
