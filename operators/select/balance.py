"""select.balance: fewer texts about what everybody writes about, by MetaCLIP's rule."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import CorpusOperator, Frames, operator
from ..draws import draws, uniform
from ._entries import read_entries

T: Final = 20_000


@operator
class Balance(CorpusOperator):
    """Balances texts over the entries of a list: matched, counted over the rows alive, and drawn (MetaCLIP).

    Xu et al., arXiv:2309.16671. An entry matches a text that holds it as whole words: spaces are set around the text
    and around each of `, . ; : ? ! `` in it, tabs and line ends become spaces, and " entry " must stand in the outcome,
    case and all. Nothing is done to the entries, so one with such a mark at a letter (`St. Louis`) matches no text, as
    published. All entries count that match, overlapping ones and those within others, each once a text.

    An entry that `count` texts match keeps each of them with probability min(1, t / count), so about t of them; a text
    is kept if any of its entries keeps it: `balance_probability` is 1 - prod(1 - min(1, t / count)), 0 for a text that
    matches none. `balance_drawn` says whether a number drawn by seed, key and text (BLAKE2b; shard and row where there
    is no key) is below that: `keep: {balance_drawn: {in: [true]}}`. Texts of one key are drawn apart. A long text
    matches many entries and is nearly always kept: bound lengths before this step.

    Which `t` balances depends on the size of the corpus. Published: 20,000 (1.6 billion texts that match become 400
    million; the entries above t held 94.5 % of all matches), 170,000 (10.7 become 2.5 billion). For other corpora
    `tail_share` picks it, in the way MetaCLIP 2 carries it over to other languages (arXiv:2507.22062): the smallest
    count for which the entries that have so many matches or fewer hold this share of all; published first is 0.055.

    MetaCLIP's list of 500,000 entries (WordNet, words, pairs of words and titles of Wikipedia) is JSON in its
    repository; `jq -r '.[]' metadata.json` makes it the text file that is read here.
    """

    metadata: str = Field(
        min_length=1,
        description="text file with an entry a line; white space around it and empty lines do not count, nor does an "
        "entry that was listed before",
    )
    column: str = Field("text", description="column of the texts")
    t: int | None = Field(None, ge=1, description=f"rows that an entry keeps, about; default {T:,} without tail_share")
    tail_share: float | None = Field(None, gt=0, le=1, description="choose t by the share of matches in the tail")
    seed: int = Field(0, ge=0, lt=2**63, description="another seed draws other rows")

    adds = (
        field("balance_matches", pa.int32(), "entries that stand in the text", unit="entries", range=">= 0"),
        field("balance_probability", pa.float64(), "with which the row is kept", range="0 to 1"),
        field("balance_drawn", pa.bool_(), "whether it was drawn, with that probability"),
    )

    def __post_init__(self) -> None:
        if self.t is not None and self.tail_share is not None:
            raise ValueError("t and tail_share both say how many rows an entry keeps; give one of them")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def files(self) -> tuple[Path, ...]:
        if not Path(self.metadata).is_file():
            raise FileNotFoundError(f"there is no list of entries {self.metadata!r} (metadata)")
        return (Path(self.metadata),)

    def __call__(self, rows: Frames) -> Frames:
        read_entries(*self.files)  # what is wrong with the list is told before anything is matched
        matched = rows.map(self._match)
        counts = matched.shuffle(["entry"], _counts).map(_sum).collect()  # as many as there are entries, at most
        return matched.map(functools.partial(self._findings, self._chances(counts)))

    def _match(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The entries of each text; 4 bytes a match, where matching twice would take twice the time."""
        rows = rows.drop_nulls(self.column)
        entries = read_entries(*self.files).match(rows[self.column])
        return rows.select("shard", "row", draw=draws(rows, self.seed, self.column), entries=entries)

    def _chances(self, counts: pl.DataFrame) -> np.ndarray:
        """With which probability each entry keeps a text, by its number; up to the last that matches any."""
        rows = np.zeros(int(counts["entry"].max() or 0) + 1, np.int64)  # type: ignore[arg-type]
        rows[counts["entry"].to_numpy()] = counts["rows"].to_numpy()
        t = self.t or T
        if self.tail_share is not None and rows.any():
            t = _t_of_tail(rows, self.tail_share)
        return np.minimum(1.0, t / np.maximum(rows, 1))

    def _findings(self, chances: np.ndarray, rows: pl.DataFrame) -> pl.DataFrame:
        matches = rows["entries"].list.len().to_numpy().astype(np.int64)
        entries = rows["entries"].rechunk().to_arrow().flatten().to_numpy()
        some, starts = np.flatnonzero(matches), np.cumsum(matches) - matches
        probability = np.zeros(rows.height)
        probability[some] = 1 - np.multiply.reduceat(1 - chances[entries], starts[some])
        return rows.select(
            "shard",
            "row",
            balance_matches=pl.Series(matches, dtype=pl.Int32),
            balance_probability=pl.Series(probability),
            balance_drawn=pl.Series(uniform(rows["draw"]) < probability),
        )


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    """entry, and rows that match it."""
    return (
        rows.select(entry=pl.col("entries").explode()).drop_nulls().group_by("entry").agg(rows=pl.len().cast(pl.Int64))
    )


def _sum(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.group_by("entry").agg(pl.col("rows").sum())


def _t_of_tail(rows: np.ndarray, share: float) -> int:
    """The smallest count such that entries with no more rows hold this share of all matches."""
    ascending = np.sort(rows)
    reached = np.cumsum(ascending) >= share * ascending.sum()
    return int(ascending[reached.argmax()])
