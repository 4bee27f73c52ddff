"""Tables in parts: how a corpus operator works on more rows than one machine holds.

`Frames` is a table cut into parts, each of which fits in a worker's memory. `map` runs a function on every part,
`shuffle` brings rows with equal values into one part, `arrange` sorts across parts. An `Exchange` says where: in this
process (`InMemory`, also the rig of tests), or on the cluster's workers, files between them (pipeline/exchange.py).
What comes out must not depend on how rows were spread, so functions sort where order matters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

PART_BYTES: Final = 128 << 20  # of a part in memory; a worker holds a few times that
_SAMPLES: Final = 200  # sort keys looked at for each part to come

Function = Callable[..., pl.DataFrame]  # as many frames as there are tables -> a frame


class Piece(Protocol):
    """Some rows, in memory or in a file; small enough to send around."""

    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def read(self) -> pl.DataFrame: ...


Bag = Sequence[Piece]  # the pieces of one part


@dataclass(frozen=True, kw_only=True)
class Order:
    """A sort: columns, and which of them descend. Nulls come last; make the columns a total order (end on identity)."""

    columns: tuple[str, ...]
    descending: tuple[bool, ...]

    def sort(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows in this order."""
        return frame.sort(self.columns, descending=self.descending, nulls_last=True)


class Split(ABC):
    """Which of `into` parts each row goes to."""

    into: int

    @abstractmethod
    def place(self, frame: pl.DataFrame) -> np.ndarray:
        """The part of each row, int64."""

    def apart(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """The rows of each part."""
        if self.into == 1:
            return [frame]
        place = self.place(frame)
        ends = np.cumsum(np.bincount(place, minlength=self.into)).tolist()
        frame = frame[np.argsort(place, kind="stable")]
        return [frame.slice(start, stop - start) for start, stop in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True, kw_only=True)
class ByValue(Split):
    """Rows with equal values come together."""

    columns: tuple[str, ...]
    into: int

    def place(self, frame: pl.DataFrame) -> np.ndarray:
        digest = frame.select(pl.struct(self.columns).hash(seed=0)).to_series()
        return (digest % self.into).cast(pl.Int64).to_numpy()


@dataclass(frozen=True, kw_only=True)
class ByRange(Split):
    """Part i begins with the i-th of the `bounds` (part 0 before all of them): sorted, with the columns of `order`."""

    order: Order
    bounds: pl.DataFrame

    @property
    def into(self) -> int:  # type: ignore[override]
        return self.bounds.height + 1

    def place(self, frame: pl.DataFrame) -> np.ndarray:
        keys, number, mark = frame.select(self.order.columns), "cupel row", "cupel bound"  # no names of columns
        both = pl.concat(
            [keys.with_columns(pl.lit(False).alias(mark)), self.bounds.with_columns(pl.lit(True).alias(mark))]
        )
        # A row equal to a bound stands behind it.
        order = Order(columns=(*self.order.columns, mark), descending=(*self.order.descending, True))
        ordered = order.sort(both.with_row_index(number))
        part = ordered.select(number, part=pl.col(mark).cum_sum().cast(pl.Int64)).sort(number)["part"]
        return part.head(frame.height).to_numpy()


class Exchange(ABC):
    """What the pipeline lends a corpus operator: workers, and room between them."""

    part_bytes: int = PART_BYTES

    @abstractmethod
    def run(self, function: Function, calls: Sequence[Sequence[Bag]], split: Split | None = None) -> list[list[Piece]]:
        """Call the function on the frames of each call's bags, wherever there is room; the split pieces of each."""

    def discard(self, bags: Iterable[Bag]) -> None:
        """These parts are not needed again: what they take outside of memory may be freed."""
        return

    def frames(self, *frames: pl.DataFrame) -> Frames:
        """Frames at hand as a table, a part each."""
        return Frames(self, [[InHand(frame)] for frame in frames])


class Frames:
    """A table in parts. Each method gives a new table; nothing is lazy."""

    def __init__(self, exchange: Exchange, bags: Iterable[Bag]) -> None:
        self.exchange, self.bags = exchange, list(bags)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.bags)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(piece.rows for bag in self.bags for piece in bag)

    @property
    def bytes(self) -> int:
        """Bytes of all parts in memory, about."""
        return sum(piece.bytes for bag in self.bags for piece in bag)

    def map(self, function: Function, *others: Frames) -> Frames:
        """The function of every part, and of the same part of other tables."""
        return Frames(self.exchange, self.exchange.run(function, list(zip(self.bags, *_bags(others), strict=True))))

    def shuffle(
        self, by: Sequence[str], function: Function | None = None, *, into: int | None = None, growth: float = 1.0
    ) -> Frames:
        """The function of every part, then parts anew: rows with equal values of `by` stand in one part.

        Rows of one value are never parted: as many of them as there are have to fit in a worker. `growth` is how many
        times larger the function's result is, about; tables to be joined need the same `into`.
        """
        into = into or self._into(growth)
        return self._split(function or _same, ByValue(columns=tuple(by), into=into))

    def arrange(self, order: Order) -> Frames:
        """The same rows sorted, in consecutive parts."""
        into = self._into()
        if into == 1:
            return self._split(_same, ByValue(columns=order.columns, into=1)).map(order.sort)
        every = max(1, self.rows // (into * _SAMPLES))
        keys = self.map(lambda frame: frame.select(order.columns).gather_every(every)).collect()
        bounds = order.sort(keys)[[(i * keys.height) // into for i in range(1, into)]].unique(maintain_order=True)
        return self.cut(ByRange(order=order, bounds=bounds))

    def cut(self, split: ByRange) -> Frames:
        """The same rows sorted, in parts that begin at given bounds."""
        return self._split(_same, split).map(split.order.sort)

    def collect(self) -> pl.DataFrame:
        """All rows in this process: for what is known to be small, or has nowhere else to go."""
        return pl.concat([piece.read() for bag in self.bags for piece in bag], how="diagonal")

    def with_rows_of(self, *others: Frames) -> Frames:
        """This table and others, one below the other; a column that one lacks is null there."""
        return Frames(self.exchange, [*self.bags, *(bag for other in others for bag in other.bags)])

    def _into(self, growth: float = 1.0) -> int:
        return max(1, -int(-self.bytes * growth // self.exchange.part_bytes))

    def _split(self, function: Function, split: Split) -> Frames:
        pieces = self.exchange.run(function, [(bag,) for bag in self.bags], split)
        return Frames(self.exchange, zip(*pieces, strict=True))


@dataclass(frozen=True)
class InHand:
    """A piece in memory."""

    frame: pl.DataFrame

    @property
    def rows(self) -> int:
        return self.frame.height

    @property
    def bytes(self) -> int:
        return int(self.frame.estimated_size())

    def read(self) -> pl.DataFrame:
        return self.frame


class InMemory(Exchange):
    """Everything in this process: what few rows need."""

    def __init__(self, part_bytes: int = PART_BYTES) -> None:
        self.part_bytes = part_bytes

    def run(self, function: Function, calls: Sequence[Sequence[Bag]], split: Split | None = None) -> list[list[Piece]]:
        return [[InHand(part) for part in parts] for parts in (perform(function, call, split) for call in calls)]


def bagged(pieces: Iterable[Piece], part_bytes: int) -> Iterator[list[Piece]]:
    """Neighbouring pieces as parts of up to so many bytes, at least one piece each."""
    bag: list[Piece] = []
    held = 0
    for piece in pieces:
        if bag and held + piece.bytes > part_bytes:
            yield bag
            bag, held = [], 0
        bag.append(piece)
        held += piece.bytes
    if bag:
        yield bag


def perform(function: Function, bags: Sequence[Bag], split: Split | None) -> list[pl.DataFrame]:
    """One call: read, compute, split."""
    found = function(*(pl.concat([piece.read() for piece in bag], how="diagonal") for bag in bags))
    return split.apart(found) if split else [found]


def _bags(tables: Sequence[Frames]) -> list[list[Bag]]:
    return [table.bags for table in tables]


def _same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame
