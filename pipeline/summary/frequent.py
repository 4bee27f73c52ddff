"""The values that come most often in a column of strings, counted so that counts of parts add up."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from ...operators.crawl._budgets import domain_of
from ...schemas.summary import Value
from ..keep import Mask
from .picks import Picks

MAX_VALUES: Final = 1000  # that are counted
SHOWN_VALUES: Final = 100
MAX_NAME_BYTES: Final = 100  # longer values are counted as one
_HOST: Final = re.compile(
    rb"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//(?:[^/?#\\]*@)?(\[[0-9A-Fa-f:.]+\]|[^/?#\\@:\[\]\s]{1,255})(?:[:/?#\\\s]|\Z)"
)


class Counted(NamedTuple):
    """How often a value comes, and how many of these rows are kept."""

    rows: int = 0
    kept: int = 0
    missed: int = 0  # at most so many more were forgotten before it was counted


@dataclass(frozen=True, kw_only=True)
class Frequent:
    """The values that come most often, and rows that have them.

    Up to MAX_VALUES are counted (SpaceSaving, Metwally et al. 2005, as it is merged by Agarwal et al. 2012): when more
    come together, those that can have come least go, and whoever comes back may have `missed` as many. So a value that
    comes in more than 1/MAX_VALUES of all rows is there for certain, `rows` of it at least and rows + missed at most.
    """

    rows: int = 0  # with a value
    kept: int = 0
    nulls: int = 0
    missed: int = 0  # a value that is not there has come so often at most
    values: dict[str, Counted] = field(default_factory=dict)
    picks: dict[str, Picks] = field(default_factory=dict)

    def __add__(self, other: Frequent) -> Frequent:
        absent = Counted(missed=self.missed), Counted(missed=other.missed)
        values = {
            value: _both(self.values.get(value, absent[0]), other.values.get(value, absent[1]))
            for value in {**self.values, **other.values}
        }
        picks = dict(self.picks)
        for value, more in other.picks.items():
            picks[value] = picks[value] + more if value in picks else more
        return Frequent(
            rows=self.rows + other.rows,
            kept=self.kept + other.kept,
            nulls=self.nulls + other.nulls,
            missed=self.missed + other.missed,
            values=values,
            picks=picks,
        )._bounded()

    def _bounded(self) -> Frequent:
        if len(self.values) <= MAX_VALUES:
            return self
        ranked = sorted(self.values, key=lambda value: (-_at_most(self.values[value]), value))
        there, first_gone = ranked[:MAX_VALUES], ranked[MAX_VALUES]
        return replace(
            self,
            missed=max(self.missed, _at_most(self.values[first_gone])),
            values={value: self.values[value] for value in there},
            picks={value: self.picks[value] for value in there if value in self.picks},
        )

    def shown(self) -> tuple[list[Value], int, int]:
        """The most frequent values, the rows with another, and how many of those are kept.

        Where they are not all there is, values that came only once are not among them.
        """
        all_there = len(self.values) <= SHOWN_VALUES and not self.missed
        first = sorted(self.values.items(), key=lambda item: (-item[1].rows, item[0]))[:SHOWN_VALUES]
        found = [Value(value=value, rows=n.rows, kept=n.kept) for value, n in first if all_there or n.rows > 1]
        return found, self.rows - sum(v.rows for v in found), self.kept - sum(v.kept for v in found)


def _both(one: Counted, two: Counted) -> Counted:
    return Counted(rows=one.rows + two.rows, kept=one.kept + two.kept, missed=one.missed + two.missed)


def _at_most(counted: Counted) -> int:
    return counted.rows + counted.missed


# Columns


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A column of strings: for each row which of the values it has (-1: null). They are bytes: not all are UTF-8."""

    codes: np.ndarray
    values: pa.Array

    @classmethod
    def of(cls, column: pa.Array) -> Coded:
        """Of strings or booleans, which become `true` and `false`."""
        column = pc.cast(column, pa.string()) if types.is_boolean(column.type) else column
        found = column.dictionary_encode()
        codes = np.asarray(found.indices.fill_null(-1))
        return cls(codes=codes, values=found.dictionary.cast(pa.large_binary()))

    @property
    def sites(self) -> Coded:
        """The registered domains of addresses; null where there is no host."""
        found = map(_HOST.match, self.values.to_pylist())  # Arrow's own takes four times as long
        hosts = [match[1] if match else None for match in found]
        site = {host: site_of(as_text(host)).encode() for host in dict.fromkeys(hosts) if host is not None}
        sites = pa.array([site.get(host) for host in hosts], pa.large_binary()).dictionary_encode()
        return Coded(codes=np.append(sites.indices.fill_null(-1), -1)[self.codes], values=sites.dictionary)

    def frequent(self, rows: np.ndarray, kept: Mask) -> Frequent:
        """The values of some rows, and whether each of those is kept. Long values are not told by name."""
        codes = self.codes[rows]
        there = codes >= 0
        counts = np.bincount(codes[there], minlength=len(self.values))
        kept_counts = np.bincount(codes[there & kept], minlength=len(self.values))
        short = np.asarray(pc.less_equal(pc.binary_length(self.values), MAX_NAME_BYTES))
        named = np.flatnonzero(short & (counts > 0))
        named = named[np.argsort(-counts[named], kind="stable")]
        first, gone = named[:MAX_VALUES], named[MAX_VALUES:]
        values: dict[str, Counted] = {}
        for name, *count in zip(self.names(first), counts[first].tolist(), kept_counts[first].tolist(), strict=True):
            values[name] = _both(values.get(name, Counted()), Counted(*count))  # what is no UTF-8 may look alike
        return Frequent(
            rows=int(there.sum()),
            kept=int((there & kept).sum()),
            nulls=int((~there).sum()),
            missed=int(counts[gone].max(initial=0)),
            values=values,
        )

    def names(self, codes: np.ndarray) -> list[str]:
        """Values as they can be shown."""
        return [as_text(value) for value in self.values.take(pa.array(codes)).to_pylist()]


def as_text(value: bytes) -> str:
    """What can be shown of it."""
    return value.decode("utf-8", "replace")


def site_of(host: str) -> str:
    """The registered domain of a host; an address, or a name that has none, is its own."""
    return domain_of(host.strip("[]").rstrip(".").lower())
