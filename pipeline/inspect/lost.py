"""The rows of one cut that another lost: how many at which place, and some of them, drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from ...operators.source.base import ShardError, SourceError
from ..mixed import mixed
from ..shard import ShardView
from .fates import Exit, Fates, each, path_columns
from .find import Found
from .opened import OpenedCut

SAMPLED_SHARDS: Final = 8
UNSEEN: Final = -3  # its shard is not in the cut: it was added since, or could not be read
OTHERS: Final = -4  # other rows were made of what it was made of
_WORDS: Final = {UNSEEN: "its shard is not in the cut", OTHERS: "other rows were made since of what it was made of"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A row that one cut kept, and why the other did not."""

    row: Found  # where it is in the cut that kept it
    key: str | None
    caption: str | None  # its text, or an image's address; None too where the input cannot be read any more
    value: str | None  # what the other cut dropped it for


@dataclass(frozen=True, kw_only=True)
class Gone:
    """Rows that one cut kept, and the other lost at one place."""

    exit: Exit | None
    why: str
    rows: int
    samples: Sequence[Sample]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        samples = [{**vars(sample), "row": {**vars(sample.row), "name": str(sample.row)}} for sample in self.samples]
        return {**vars(self), "exit": None if self.exit is None else vars(self.exit), "samples": samples}


class Lost:
    """Gathers what one cut lost of the other's rows; samples are drawn by lot, from few shards where they have some."""

    def __init__(self, fates: Fates, shards: Sequence[int], samples: int) -> None:
        self.fates, self.samples = fates, samples
        places = np.linspace(0, len(shards) - 1, min(len(shards), SAMPLED_SHARDS)).round().astype(int)
        self._sampled = {shards[place] for place in places.tolist()}
        self._rows = Counter[int]()
        self._drawn: dict[int, list[tuple[bool, int, int, int]]] = {}  # fate -> is it of another shard, lot, shard, row

    def add(self, shard: int, rows: pl.DataFrame) -> None:
        """Rows of the other cut with their `fate` in this one."""
        for fate, numbers in rows.group_by("fate").agg("row").rows():
            self._rows[fate] += len(numbers)
            lots = mixed(np.array(numbers) + (shard << 32))
            first = np.argsort(lots)[: self.samples].tolist()
            drawn = [(shard not in self._sampled, int(lots[i]), shard, numbers[i]) for i in first]
            self._drawn[fate] = sorted(self._drawn.get(fate, []) + drawn)[: self.samples]

    def told(self, kept_by: OpenedCut) -> list[Gone]:
        """By place, in the order of the recipe; `kept_by` has the rows."""
        exits = self.fates.exits
        order = sorted(self._rows, key=lambda fate: fate if fate >= 0 else len(exits) - fate)
        drawn = {fate: [(shard, row) for _, _, shard, row in self._drawn[fate]] for fate in order}
        told = _told(kept_by, self.fates, {place for places in drawn.values() for place in places})
        return [
            Gone(
                exit=exits[fate] if fate >= 0 else None,
                why=str(exits[fate]) if fate >= 0 else _WORDS[fate],
                rows=self._rows[fate],
                samples=[told[place] for place in drawn[fate]],
            )
            for fate in order
        ]


def _told(cut: OpenedCut, lost_by: Fates, places: Set[tuple[int, int]]) -> dict[tuple[int, int], Sample]:
    """(shard, row) of a cut -> key, caption, and the value for which another lost it; a shard at a time."""
    own, space = Fates(cut), len(cut.plan.spaces) - 1

    def in_shard(shard: int) -> dict[tuple[int, int], Sample]:
        rows = np.array(sorted(row for of, row in places if of == shard))
        kept = own.shard(shard, ["key"])[-1].filter(pl.col("row").is_in(rows)).drop("fate")
        values = _values_in(lost_by.shard(shard, ["value"]) if shard in lost_by else [], kept)
        captions = _captions(cut, space, shard, rows)
        return {
            (shard, row): Sample(
                row=Found(space=space, shard=shard, row=row),
                key=key,
                caption=captions.get(row),
                value=values.get(row),
            )
            for row, key in kept.select("row", "key").rows()
        }

    parts = each(sorted({shard for shard, _ in places}), in_shard)
    return {place: sample for part in parts for place, sample in part.items()}


def _values_in(rows: Sequence[pl.DataFrame], paths: pl.DataFrame) -> dict[int, str | None]:
    """Row -> the value that dropped it, or the nearest row above it."""
    levels, found = path_columns(paths), dict[int, str | None]()
    for depth in range(len(rows), 0, -1):
        hits = paths.join(rows[depth - 1].select(*levels[:depth], "value"), on=levels[:depth])
        found |= dict(hits.select("row", "value").rows())
        paths = paths.join(hits, on="row", how="anti")
    return found


def _captions(cut: OpenedCut, space: int, shard: int, rows: np.ndarray) -> dict[int, str]:
    """Row -> its text, or the address of its image or page; none where the input cannot be read any more."""
    try:
        view = cut.view(space, shard)
        return {row: text for row, text in zip(rows.tolist(), _texts(view, rows), strict=True) if text}
    except (ShardError, SourceError, OSError):
        return {}


def _texts(view: ShardView, rows: np.ndarray) -> list[str | None]:
    texts: list[str | None] = [None] * len(rows)
    for name in ("text", "image_url", "page_url"):
        if name in view.space.view and not all(texts):
            more = view.take(view.space.view[name], rows).to_pylist()
            texts = [own or (str(other) if other else None) for own, other in zip(texts, more, strict=True)]
    return texts
