"""Decide: bounds on columns to a mask of the rows that stay, and for each dropped row the bound that did it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from ..schemas.corpus import Fitted
from ..schemas.fields import is_number
from ..schemas.recipe import Bound, Keep, Ranked, Scalar
from .mixture import adapt, as_floats, stays

Mask = np.ndarray  # bool, one per row


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One bound of a keep, as the ledger names it."""

    column: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which rows stay, and the index in `rules` of the first rule that a row failed (-1: none)."""

    stays: Mask
    blame: np.ndarray  # int16
    rules: tuple[Rule, ...]


def rules_of(keep: Keep) -> tuple[Rule, ...]:
    """The rules of a keep in the order in which they are blamed; the alternatives of `any` are one rule."""
    rules = [Rule(column=column, text=text) for column, bound in keep.bounds.items() for text in _texts(bound)]
    if keep.any:
        columns = dict.fromkeys(column for option in keep.any for column in option)
        rules.append(Rule(column=", ".join(columns), text="any"))
    return tuple(rules)


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Rows that are nodes of documents, for one rule."""

    kind: pa.Array  # text or image
    document: np.ndarray  # whose each is
    about: Mapping[str, str]  # column -> the kind of node whose column it is, if of one


def decide(
    keep: Keep,
    columns: Mapping[str, pa.Array],
    ranks: Mapping[str, Mask],
    alive: Mask,
    nodes: Nodes | None = None,
) -> Verdict:
    """Evaluate a keep on the rows alive.

    `columns` are the values, one per row; `ranks` holds, for each `top`, `bottom` and `adaptive`, which rows it selects
    (see `rank_name` and `adaptive_name`). Rows that are not alive neither stay nor are blamed. A bound on a column that
    texts have is nothing to images, and the other way round. `on: document` drops all nodes of a document where one
    fails, by the rule that this one failed.
    """
    stays = alive.copy()
    blame = np.full(len(alive), -1, np.int16)
    checks = list(_checks(keep, columns, ranks, _exempt(nodes)))
    for i, holds in enumerate(checks):
        failed = stays & ~holds
        blame[failed] = i
        stays &= holds
    if keep.on == "document" and nodes is not None:
        stays, blame = _whole(nodes.document, alive, blame)
    return Verdict(stays=stays, blame=blame, rules=rules_of(keep))


def _exempt(nodes: Nodes | None) -> Mapping[str, Mask]:
    """Column -> the nodes that it says nothing of, because they are of another kind."""
    if nodes is None:
        return {}
    kinds = {kind: ~_true(pc.equal(nodes.kind, kind)) for kind in sorted(set(nodes.about.values()))}
    return {column: kinds[kind] for column, kind in nodes.about.items()}


def _whole(document: np.ndarray, alive: Mask, blame: np.ndarray) -> tuple[Mask, np.ndarray]:
    """The documents of blamed nodes go whole, each by the rule that its first such node failed."""
    failed = np.flatnonzero(blame >= 0)
    documents, first = np.unique(document[failed], return_index=True)
    rule = np.full(int(document.max(initial=-1)) + 1, -1, np.int16)
    rule[documents] = blame[failed[first]]
    found = np.where(alive, rule[document], np.int16(-1)).astype(np.int16)
    return alive & (found < 0), found


def rank_name(column: str, side: str, ranked: Ranked) -> str:
    """The name under which a rank is kept: `top(clip_similarity, 0.3, by=language)`."""
    by = f", by={ranked.by}" if ranked.by else ""
    return f"{side}({column}, {ranked.share:g}{by})"


def adaptive_name(column: str) -> str:
    """The same of what `adaptive` selects."""
    return f"adaptive({column})"


def _options(keep: Keep) -> Iterator[tuple[str, Bound]]:
    """(column, bound), those of the alternatives included."""
    for option in (keep.bounds, *keep.any):
        yield from option.items()


def ranked_bounds(keep: Keep) -> Iterator[tuple[str, str, Ranked]]:
    """(column, side, rank) of every `top` and `bottom`."""
    for column, bound in _options(keep):
        for side, ranked in (("top", bound.top), ("bottom", bound.bottom)):
            if ranked is not None:
                yield column, side, ranked


def adaptive_columns(keep: Keep) -> tuple[str, ...]:
    """The columns with an `adaptive`."""
    return tuple(dict.fromkeys(column for column, bound in _options(keep) if bound.adaptive))


def columns_at_barrier(keep: Keep) -> tuple[str, ...]:
    """What must be known of all the rows alive: the columns of `top`, `bottom` and `adaptive`, and those ranked by."""
    ranked = (name for column, _, ranked in ranked_bounds(keep) for name in (column, ranked.by) if name)
    return tuple(dict.fromkeys([*ranked, *adaptive_columns(keep)]))


def fit(rows: pl.DataFrame, keep: Keep) -> dict[str, Fitted]:
    """column -> what `adaptive` finds in its values."""
    return {column: adapt(as_floats(rows[column])) for column in adaptive_columns(keep)}


def rank(rows: pl.LazyFrame, keep: Keep, fitted: Mapping[str, Fitted] | None = None) -> pl.DataFrame:
    """shard, row and, for each `top`, `bottom` and `adaptive`, whether it selects the row.

    The best ceil(share x n) of the n rows with a value are selected, within each group where `by` is given; ties go by
    key, then identity, so the number is exact. Nulls and NaN take no part. `fitted` is what `fit` has found in these
    very rows, where that was asked.
    """
    frame = rows.select("shard", "row", "key", *columns_at_barrier(keep)).collect()
    fitted = fit(frame, keep) if fitted is None else fitted
    ranks = {rank_name(*bound): _select(frame, *bound) for bound in ranked_bounds(keep)}
    ranks |= {adaptive_name(column): stays(as_floats(frame[column]), found) for column, found in fitted.items()}
    return frame.select("shard", "row").with_columns(pl.Series(name, mask) for name, mask in ranks.items())


def _select(frame: pl.DataFrame, column: str, side: str, ranked: Ranked) -> Mask:
    """Which rows of the frame are among the best share."""
    value = pl.col(column).fill_nan(None) if frame.schema[column].is_float() else pl.col(column)
    frame = frame.with_columns(value)
    best_first = [side == "top", False, False, False]
    order = frame.select(pl.arg_sort_by(column, "key", "shard", "row", descending=best_first, nulls_last=True))
    position, count = pl.int_range(pl.len()), pl.col(column).count()
    if ranked.by:
        position, count = position.over(ranked.by), count.over(ranked.by)
    indices = order.to_series().to_numpy()
    selected = np.zeros(frame.height, bool)
    ranked_rows = frame[indices].select(position=position, count=count, valid=pl.col(column).is_not_null())
    limits = {count: _ceil_share(ranked.share, count) for count in ranked_rows["count"].unique().to_list()}
    limit = ranked_rows["count"].replace_strict(limits, return_dtype=pl.Int64)
    selected[indices] = ((ranked_rows["position"] < limit) & ranked_rows["valid"]).to_numpy()
    return selected


def _ceil_share(share: float, count: int) -> int:
    """ceil(share x count) of the share as it is written, in whole numbers that do not overflow."""
    exact = Fraction(str(share))
    return -(-count * exact.numerator // exact.denominator)


def _texts(bound: Bound) -> Iterator[str]:
    """One text per rule that `_bound_checks` makes, in the same order."""
    if bound.null == "only":
        yield "null"
        return
    if bound.min is not None:
        yield f"min {bound.min}"
    if bound.max is not None:
        yield f"max {bound.max}"
    if bound.in_ is not None:
        yield f"in {list(bound.in_)}"
    if bound.not_in is not None:
        yield f"not_in {list(bound.not_in)}"
    for side, ranked in (("top", bound.top), ("bottom", bound.bottom)):
        if ranked is not None:
            yield f"{side} {ranked.share:g}" + (f" by {ranked.by}" if ranked.by else "")
    if bound.adaptive:
        yield "adaptive"


def _checks(
    keep: Keep, columns: Mapping[str, pa.Array], ranks: Mapping[str, Mask], exempt: Mapping[str, Mask]
) -> Iterator[Mask]:
    for column, bound in keep.bounds.items():
        for mask in _bound_checks(column, bound, columns[column], ranks):
            yield mask | exempt[column] if column in exempt else mask
    if keep.any:  # an alternative about images is none for texts, but a rule about images alone is nothing to them
        never = np.zeros(len(next(iter(columns.values()))), bool)
        holds, foreign = [], []
        for option in keep.any:
            checks = [m for c, bound in option.items() for m in _bound_checks(c, bound, columns[c], ranks)]
            foreign.append(np.logical_or.reduce([never, *(exempt[c] for c in option if c in exempt)]))
            holds.append(np.logical_and.reduce(checks) & ~foreign[-1])
        yield np.logical_or.reduce(holds) | np.logical_and.reduce(foreign)


def _bound_checks(column: str, bound: Bound, values: pa.Array, ranks: Mapping[str, Mask]) -> Iterator[Mask]:
    null = values.is_null().to_numpy(zero_copy_only=False)
    if bound.null == "only":
        yield null
        return
    keep_null = null if bound.null == "keep" else np.zeros(len(values), bool)
    if bound.min is not None:
        yield (_numbers(values) >= _limit(bound.min, values.type, math.ceil)) & ~null | keep_null
    if bound.max is not None:
        yield (_numbers(values) <= _limit(bound.max, values.type, math.floor)) & ~null | keep_null
    if bound.in_ is not None:
        yield _true(pc.is_in(values, pa.array(bound.in_, values.type))) & ~null | keep_null
    if bound.not_in is not None:
        yield ~_true(pc.is_in(values, pa.array(bound.not_in, values.type))) & ~null | keep_null
    for side, ranked in (("top", bound.top), ("bottom", bound.bottom)):
        if ranked is not None:
            yield ranks[rank_name(column, side, ranked)] | keep_null
    if bound.adaptive:
        yield ranks[adaptive_name(column)] | keep_null


def _numbers(values: pa.Array) -> np.ndarray:
    """A column of numbers, nulls as zero."""
    values = values.cast(pa.float64()) if pa.types.is_decimal(values.type) else values
    return np.asarray(values.fill_null(0))


def _limit(limit: float, kind: pa.DataType, whole: Callable[[float], int]) -> float:
    """A limit that compares exactly: for whole numbers the next whole number inside the bound."""
    return whole(limit) if pa.types.is_integer(kind) and math.isfinite(limit) else limit


def _true(mask: pa.Array) -> Mask:
    """Nulls are false."""
    return np.asarray(mask.fill_null(False))


def misfit(column: str, bound: Bound, kind: pa.DataType) -> tuple[str, str] | None:
    """Which part of a bound does not fit the column's type, and why; None where all does."""
    number = is_number(kind)
    for name in ("min", "max", "top", "bottom", "adaptive"):
        if getattr(bound, name) is not None and not number:
            return name, f"{name} is for numbers, and {column!r} holds {kind}"
    for name, values in (("in", bound.in_), ("not_in", bound.not_in)):
        for value in values or ():
            if not _fits(value, kind):
                return name, f"{name} holds {value!r}, and {column!r} holds {kind}"
    return None


def _fits(value: Scalar, kind: pa.DataType) -> bool:
    try:
        return bool(pa.scalar(value, kind).as_py() == value) and isinstance(value, bool) == types.is_boolean(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return False
