"""What one keep decides about rows of which not all is known.

Each bound is put to `keep.decide` by itself and remembered, so that a moved bound costs that one; what is told from
values that nobody knows is then unknown, and so is what follows from it.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.corpus import Fitted
from ....schemas.recipe import Bound, Keep, Ranked
from ...keep import Mask, decide
from ...mixture import adapt, as_floats, stays
from ...plan import KeepStep
from ..rows import CutRows, SpaceRows
from .perhaps import Perhaps
from .ranking import Ranking

HELD = 64  # masks of bounds that are remembered in each space, a byte a row
Unknown = Callable[[str], Mask | None]  # the rows of which nobody knows a column's value; None: there are none


@dataclass(frozen=True, kw_only=True)
class At:
    """Where a keep is asked: the rows alive when it comes, and what is not known of them."""

    alive: Perhaps
    unknown: Unknown
    unmade: bool = False  # there may be more rows than these, that nobody knows


class Verdicts:
    """Decides on the rows of one space."""

    def __init__(self, rows: CutRows, space: SpaceRows) -> None:
        self._in_rows, self.rows = rows, space
        self._held: OrderedDict[tuple[str, Bound], Mask] = OrderedDict()
        self._rankings: dict[tuple[str, str | None, bool, bool], Ranking] = {}
        self._fits: OrderedDict[tuple[str, bytes], Fitted] = OrderedDict()
        self._other_nodes: dict[str, Mask] = {}  # than those of a kind
        self._everyone = np.ones(len(space), bool)

    def stays(self, step: KeepStep, keep: Keep, at: At) -> Perhaps:
        """The rows alive after a keep."""
        holds = self._holds(step, keep, at)
        if keep.on != "document" or self.rows.document is None:
            return (at.alive & holds).settled()
        fails = self._in_documents(at.alive.sure & ~holds.possible)
        may_fail = fails if at.alive.certain and holds.certain else self._in_documents(at.alive.possible & ~holds.sure)
        sure = at.alive.sure & ~may_fail
        if may_fail is fails:
            return Perhaps(sure, sure)
        return Perhaps(sure, at.alive.possible & holds.possible & ~fails).settled()

    def alone(self, step: KeepStep, column: str, bound: Bound, at: At) -> Perhaps:
        """The rows for which one bound holds; those that it is nothing to are among them."""
        exempt = self.exempt(step, column)
        holds = self._bound(step, column, bound, at)
        return holds if exempt is None else holds | Perhaps.of(exempt)

    def _holds(self, step: KeepStep, keep: Keep, at: At) -> Perhaps:
        """The rows for which all bounds hold, alive or not."""
        holds = Perhaps.of(self._everyone)
        for column, bound in keep.bounds.items():
            holds = holds & self.alone(step, column, bound, at)
        return holds & self._any(step, keep, at) if keep.any else holds

    def _any(self, step: KeepStep, keep: Keep, at: At) -> Perhaps:
        """The rows for which an alternative holds: as `keep.decide` has it, one about images is none for texts."""
        found, nothing_to = Perhaps.of(~self._everyone), self._everyone
        for option in keep.any:
            holds, foreign = Perhaps.of(self._everyone), ~self._everyone
            for column, bound in option.items():
                holds = holds & self._bound(step, column, bound, at)
                exempt = self.exempt(step, column)
                foreign = foreign if exempt is None else foreign | exempt
            found = found | (holds & Perhaps.of(~foreign))
            nothing_to = nothing_to & foreign
        return found | Perhaps.of(nothing_to)

    def exempt(self, step: KeepStep, column: str) -> Mask | None:
        """The nodes that a column says nothing of."""
        kind = step.about.get(column) if self.rows.document is not None else None
        if kind is not None and kind not in self._other_nodes:
            self._other_nodes[kind] = ~np.asarray(pc.equal(self.rows.column("kind"), kind).fill_null(False))
        return None if kind is None else self._other_nodes[kind]

    def _bound(self, step: KeepStep, column: str, bound: Bound, at: At) -> Perhaps:
        """The rows whose value satisfies a bound."""
        version = step.reads[column]
        unknown = at.unknown(version)
        plain = bound.model_copy(update=dict.fromkeys(("top", "bottom", "adaptive")))
        holds = Perhaps.of(self._mask(version, plain), unknown)
        for ranked, top in ((bound.top, True), (bound.bottom, False)):
            if ranked is not None:
                holds = holds & self._ranked(step, version, ranked, at, top=top, keep_null=bound.null == "keep")
        if bound.adaptive:
            holds = holds & self._adapted(step, version, at, keep_null=bound.null == "keep")
        return holds

    def _mask(self, version: str, bound: Bound) -> Mask:
        """The rows whose value satisfies a bound that looks at nothing else."""
        held = self._held.pop((version, bound), None)
        if held is None:
            held = self._everyone
            if not _is_empty(bound):
                held = decide(Keep(bounds={version: bound}), {version: self._values(version)}, {}, self._everyone).stays
        self._held[version, bound] = held
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return held

    def _values(self, version: str) -> pa.Array:
        """What a bound asks of a column: of bytes and lists no more than whether there are any."""
        if version in self.rows.columns.names:
            return self.rows.column(version)
        parts = [self._in_rows.cut.view(self.rows.index, shard.id) for shard in self._in_rows.shards]
        there = [
            sizes >= 0 if (sizes := view.sizes(version)) is not None else np.asarray(view.column(version).is_valid())
            for view in parts
        ]
        joined = np.concatenate([np.zeros(0, bool), *there])
        return pa.array(joined, mask=~joined)

    def _ranked(self, step: KeepStep, version: str, ranked: Ranked, at: At, *, top: bool, keep_null: bool) -> Perhaps:
        """The rows that are among the best share, or have no value where that is enough."""
        by = step.reads[ranked.by] if ranked.by else None
        unknown = _either(at.unknown(version), at.unknown(by) if by else None)
        ranking = self._ranking(version, by, top=top, documents=step.ranks_documents)
        if step.ranks_documents:
            unknown = None if unknown is None else unknown[self._firsts]
            found = ranking.select(self._documents(at.alive), ranked.share, unknown, unmade=at.unmade)
            found = found.take(_given(self.rows.document))
        else:
            found = ranking.select(at.alive, ranked.share, unknown, unmade=at.unmade)
        return self._or_null(found, version, at) if keep_null else found

    def _or_null(self, found: Perhaps, version: str, at: At) -> Perhaps:
        nulls = np.asarray(self.rows.column(version).is_null())
        return found | Perhaps.of(nulls, at.unknown(version))

    def _adapted(self, step: KeepStep, version: str, at: At, *, keep_null: bool) -> Perhaps:
        """The rows that `adaptive` lets through, fitted to those alive; where these are not known, it may be any."""
        values, alive, unknown = as_floats(pl.Series(self.rows.column(version))), at.alive, at.unknown(version)
        if step.ranks_documents:
            values, alive = values[self._firsts], self._documents(alive)
            unknown = None if unknown is None else unknown[self._firsts]
        blank = unknown is not None and bool((unknown & alive.possible).any())
        if blank or at.unmade or not alive.certain:
            found = Perhaps(
                np.zeros(len(values), bool), ~np.isnan(values) | (unknown if unknown is not None else False)
            )
        else:
            found = Perhaps.of(stays(values, self._fitted(version, values, alive.sure)))
        found = found.take(_given(self.rows.document)) if step.ranks_documents else found
        return self._or_null(found, version, at) if keep_null else found

    def _fitted(self, version: str, values: np.ndarray, alive: Mask) -> Fitted:
        """What `adaptive` finds among some rows."""
        key = (version, hashlib.sha256(np.packbits(alive).tobytes()).digest())
        if key not in self._fits:
            self._fits[key] = adapt(values[alive])
        self._fits.move_to_end(key)
        while len(self._fits) > HELD:
            self._fits.popitem(last=False)
        return self._fits[key]

    def beside(
        self, step: KeepStep, column: str, option: int | None, alive: Mask, share: float, *, top: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows alive that a ranking takes or not, and how far behind its border each is; the last taken is at -1."""
        bound = step.keep.bounds[column] if option is None else step.keep.any[option][column]
        ranked = bound.top if top else bound.bottom
        by = step.reads[ranked.by] if ranked and ranked.by else None
        ranking = self._ranking(step.reads[column], by, top=top, documents=step.ranks_documents)
        if not step.ranks_documents:
            return ranking.beside(alive, share)
        documents, behind = ranking.beside(self.documents_of(alive), share)
        first = np.zeros(self.rows.documents, np.int64)
        nodes = np.flatnonzero(alive)[::-1]
        first[_given(self.rows.document)[nodes]] = nodes
        return first[documents], behind

    def _ranking(self, version: str, by: str | None, *, top: bool, documents: bool) -> Ranking:
        """The order in which rows, or documents, are taken."""
        key = (version, by, top, documents)
        if key not in self._rankings:
            take = pa.array(self._firsts) if documents else None

            def column(name: str) -> pa.Array:
                values = self.rows.column(name)
                return values if take is None else values.take(take)

            groups = column(by) if by else None
            self._rankings[key] = Ranking(column(version), groups, top=top, keys=lambda: column("key"))
        return self._rankings[key]

    @functools.cached_property
    def _firsts(self) -> np.ndarray:
        """The first node of each document."""
        return np.searchsorted(_given(self.rows.document), np.arange(self.rows.documents))

    def _documents(self, alive: Perhaps) -> Perhaps:
        """The documents with a node alive."""
        sure = self.documents_of(alive.sure)
        return Perhaps(sure, sure if alive.certain else self.documents_of(alive.possible))

    def documents_of(self, nodes: Mask) -> Mask:
        """The documents that have one of these nodes."""
        found = np.zeros(self.rows.documents, bool)
        found[_given(self.rows.document)[nodes]] = True
        return found

    def _in_documents(self, nodes: Mask) -> Mask:
        """All nodes of the documents that have one of these."""
        found: Mask = self.documents_of(nodes)[_given(self.rows.document)]
        return found


def _is_empty(bound: Bound) -> bool:
    rules = (bound.min, bound.max, bound.in_, bound.not_in)
    return bound.null != "only" and all(rule is None for rule in rules)


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    both: Mask = one | other
    return both


def _given(document: np.ndarray | None) -> np.ndarray:
    """Whose nodes the rows are: known to be nodes where this is asked."""
    assert document is not None
    return document
