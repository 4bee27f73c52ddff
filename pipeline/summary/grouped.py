"""Groups of duplicates, by the row kept in the others' stead: how large they are, and some of their members."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.summary import Example, Group
from .frequent import Coded, as_text

MAX_GROUPS: Final = 20_000  # that are counted: the largest where there are more
SHOWN_GROUPS: Final = 50
MEMBERS: Final = 12  # of a group that are examples
_MEMBER: Final = np.dtype([("group", "i4"), ("other", "?"), ("draw", "u8"), ("shard", "i4"), ("row", "i4")])


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouped:
    """Keepers as bytes, how many rows name each, and some of those: of sampled shards before `other` ones, by lot.

    Up to MAX_GROUPS, groups of any parts of the rows add up to those of all. Where there are more, the small ones are
    forgotten, and of others some rows may be missing: `rows` are so many at least.
    """

    keepers: pa.Array = field(default_factory=lambda: pa.array([], pa.large_binary()))
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    members: np.ndarray = field(default_factory=lambda: np.zeros(0, _MEMBER))  # by group

    @classmethod
    def of(cls, named: Coded, rows: np.ndarray, draws: np.ndarray, shard: int, *, sampled: bool) -> Grouped:
        """Of some rows of a shard and their random numbers; `named` says for every row of it who its keeper is."""
        there = named.codes[rows] >= 0
        members = np.zeros(int(there.sum()), _MEMBER)
        members["group"], members["row"], members["draw"] = named.codes[rows[there]], rows[there], draws[rows[there]]
        members["shard"], members["other"] = shard, not sampled
        counts = np.bincount(members["group"], minlength=len(named.values))
        return cls(keepers=named.values, rows=counts, members=members)._bounded()

    def __add__(self, other: Grouped) -> Grouped:
        both = pa.concat_arrays([self.keepers, other.keepers]).dictionary_encode()
        place = np.asarray(both.indices)
        rows = np.zeros(len(both.dictionary), np.int64)
        np.add.at(rows, place, np.concatenate([self.rows, other.rows]))
        members = np.concatenate([self.members, other.members])
        members["group"][: len(self.members)] = place[self.members["group"]]
        members["group"][len(self.members) :] = place[len(self.keepers) :][other.members["group"]]
        return Grouped(keepers=both.dictionary, rows=rows, members=members)._bounded()

    def _bounded(self) -> Grouped:
        there = np.argsort(-self.rows, kind="stable")[:MAX_GROUPS]
        there = np.sort(there[self.rows[there] > 0])
        place = np.full(len(self.rows), -1)
        place[there] = np.arange(len(there))
        members = self.members[place[self.members["group"]] >= 0]
        members["group"] = place[members["group"]]
        members = members[np.lexsort((members["draw"], 2 * members["group"] + members["other"]))]
        nth = np.arange(len(members)) - np.searchsorted(members["group"], members["group"])
        return Grouped(
            keepers=self.keepers.take(pa.array(there)), rows=self.rows[there], members=members[nth < MEMBERS]
        )

    def shown(self, space: int) -> list[Group]:
        """The largest groups, equal ones by their keepers."""
        names = [as_text(keeper) for keeper in self.keepers.to_pylist()]
        largest = sorted(range(len(names)), key=lambda group: (-int(self.rows[group]), names[group]))[:SHOWN_GROUPS]
        return [
            Group(keeper=names[group], rows=int(self.rows[group]), examples=self._of(group, space)) for group in largest
        ]

    def _of(self, group: int, space: int) -> list[Example]:
        first, end = np.searchsorted(self.members["group"], [group, group + 1])
        places = self.members[first:end][["shard", "row"]].tolist()
        return [Example(space=space, shard=shard, row=row) for shard, row in places]
