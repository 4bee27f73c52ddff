"""The bounds of a recipe, each with what a page shows of it: what it dropped, charts, rows next to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from ....schemas.fields import describe
from ....schemas.recipe import Bound, Keep, Ranked
from ....schemas.summary import (
    Dropped,
    Example,
    Near,
    Numbers,
    Summary,
    Values,
)
from ...keep import rules_of
from ...plan import KeepStep
from ..charts.buckets import Buckets
from ..charts.chart import (
    Bar,
    Limit,
    Side,
    bars,
    curve,
    histogram,
)
from ..opened import OpenedCut
from ..pictures.gallery import address_of
from ..serve.words import number

VALUES_SHOWN: Final = 12
TEXT: Final = 120  # letters of a bound's text


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Rows that are shown beside each other."""

    title: str
    kind: str  # dropped or kept: what became of them here
    columns: Sequence[str]  # whose values mattered
    near: bool = False  # next to the bound
    examples: Sequence[Example]


@dataclass(frozen=True, kw_only=True)
class BoundView:
    """All bounds that one keep has on one column; or one `any`."""

    anchor: str
    step: int
    space: int
    names: Sequence[str]  # of the rules' columns, as the ledger has them
    columns: Sequence[str]  # the same as the keep reads them
    title: str
    texts: Sequence[str]  # the bounds as the recipe has them
    doc: str
    unit: str
    rows_in: int
    dropped: int
    of_documents: bool  # values are documents'
    takes_documents: bool  # a document goes whole
    charts: Sequence[str]  # SVG
    without_value: int  # rows that have none
    strips: Sequence[Strip]

    @property
    def text(self) -> str:
        """The bounds in a line."""
        return " · ".join(self.texts)

    def with_examples(self, most: int) -> BoundView:
        """The same with so many rows in each strip at most; what would be shown twice is shown once."""
        strips: list[Strip] = []
        for strip in self.strips:
            examples = strip.examples[: most if not strip.near else max(2, most // 2)]
            shown = [set(map(address_of, other.examples)) for other in strips]
            if not any(set(map(address_of, examples)) <= others for others in shown):
                strips.append(replace(strip, examples=examples))
        return replace(self, strips=strips)


def bounds_of(cut: OpenedCut, summary: Summary) -> list[BoundView]:
    """Every bound, in the order of the recipe."""
    return [
        view
        for i, space in enumerate(cut.plan.spaces)
        for step in cut.plan.steps[space.start : space.stop]
        if isinstance(step, KeepStep)
        for view in _of_step(_Place(cut, summary, i, step))
    ]


@dataclass(frozen=True)
class _Place:
    """A keep of a cut."""

    cut: OpenedCut
    summary: Summary
    space: int
    step: KeepStep

    def rules(self, column: str, *, is_any: bool) -> list[Dropped]:
        """What the ledger says of its rules on one column, or of its `any`."""
        own = [rule for rule in self.summary.dropped if rule.step == self.step.index]
        return [rule for rule in own if (rule.rule == "any") == is_any and (is_any or rule.column == column)]

    def near(self, column: str, option: int | None, side: str) -> Near | None:
        """The rows next to a bound."""
        asked = (self.step.index, column, option, side)
        return next((n for n in self.summary.near if (n.step, n.column, n.option, n.side) == asked), None)

    def numbers(self, column: str) -> Numbers | None:
        """How the values are spread that the keep reads under this name."""
        return next((n for n in self.summary.numbers if (n.space, n.column) == (self.space, self.read(column))), None)

    def values(self, column: str) -> Values | None:
        """The most frequent values, where they are no numbers."""
        return next((v for v in self.summary.values if (v.space, v.column) == (self.space, self.read(column))), None)

    def field(self, column: str) -> dict[str, str]:
        """What the column says of itself."""
        space, name = self.cut.plan.spaces[self.space], self.read(column)
        known = space.fields.get(name) or (space.schema.field(name) if name in space.schema.names else None)
        return describe(known) if known is not None else {"doc": "", "unit": ""}

    def read(self, column: str) -> str:
        """The version of a column that the keep gets."""
        return self.step.reads.get(column, column)


def _of_step(place: _Place) -> Iterator[BoundView]:
    keep = place.step.keep
    for column, bound in keep.bounds.items():
        yield _view(place, column, [(None, column, bound)])
    if keep.any:
        options = [(i, column, bound) for i, option in enumerate(keep.any) for column, bound in option.items()]
        columns = dict.fromkeys(column for _, column, _ in options)
        yield _view(place, " or ".join(columns), options)


def _view(place: _Place, title: str, bounds: Sequence[tuple[int | None, str, Bound]]) -> BoundView:
    """`bounds` are one column's, or those of all alternatives of an `any`."""
    is_any, column = bounds[0][0] is not None, bounds[0][1]
    rules = place.rules(column, is_any=is_any)
    about = place.field(column)
    limits = {(i, c): _limits(place, i, c, bound) for i, c, bound in bounds}
    texts = [text for i, c, bound in bounds for text in _texts(place, i, c, bound)]
    counted = place.numbers(column) or place.values(column)
    return BoundView(
        anchor=f"bound-{place.step.index}-{list(place.step.keep.bounds).index(column) if not is_any else 'any'}",
        step=place.step.index,
        space=place.space,
        names=list(dict.fromkeys(rule.column for rule in rules)) or [column],
        columns=[place.step.reads.get(c, c) for _, c, _ in bounds],
        title=title,
        texts=texts,
        doc="rows stay for which one of the alternatives holds" if is_any else about["doc"],
        unit="" if is_any else about["unit"],
        rows_in=place.cut.manifest.steps[place.step.index].rows_in,
        dropped=sum(rule.rows for rule in rules),
        of_documents=counted is not None and counted.of_documents,
        takes_documents=place.step.keep.on == "document",
        charts=[chart for c in dict.fromkeys(c for _, c, _ in bounds) for chart in _charts(place, c, limits)],
        without_value=counted.nulls if counted is not None and not is_any else 0,
        strips=[*_dropped(place, rules, bounds), *(strip for each in bounds for strip in _next_to(place, *each))],
    )


def _texts(place: _Place, option: int | None, column: str, bound: Bound) -> list[str]:
    """The bounds on a column in the recipe's words, and what `adaptive` found; those of an alternative say which."""
    texts = [rule.text[:TEXT] for rule in rules_of(Keep(bounds={column: bound}))]
    fitted = place.cut.manifest.steps[place.step.index].fitted.get(column)
    if bound.adaptive and fitted is not None:
        texts[-1] = f"{texts[-1]}: {fitted.text}"
    return texts if option is None else [f"{option + 1}: {column[:TEXT]} {text}" for text in texts]


def _limits(place: _Place, option: int | None, column: str, bound: Bound) -> list[Limit]:
    """The bounds that can be drawn on an axis; a ranking's, where it ranks all rows as one."""
    found: list[tuple[Side, float | None]] = [("min", bound.min), ("max", bound.max)]
    limits = [Limit(value=float(at), side=side, text=f"{side} {at:.6g}") for side, at in found if at is not None]
    for side, ranked in (("top", bound.top), ("bottom", bound.bottom)):
        near = place.near(column, option, side) if ranked is not None else None
        if ranked is not None and near is not None and near.limit is not None:
            text = f"{side} {ranked.share:.4g} = {number(near.limit)}"
            limits.append(Limit(value=near.limit, side=cast(Side, side), text=text))
    fitted = place.cut.manifest.steps[place.step.index].fitted.get(column)
    if bound.adaptive and fitted is not None and fitted.threshold is not None:
        limits.append(Limit(value=fitted.threshold, side="adaptive", text=f"adaptive {number(fitted.threshold)}"))
    return [limit for limit in limits if math.isfinite(limit.value)]


def _charts(place: _Place, column: str, limits: dict[tuple[int | None, str], list[Limit]]) -> Iterator[str]:
    """A histogram with the bounds and a curve for each; bars where the values are no numbers."""
    numbers, values = place.numbers(column), place.values(column)
    buckets = Buckets.of(numbers) if numbers is not None else None
    unit = place.field(column)["unit"]
    if buckets is not None:
        own = [limit for (_, name), found in limits.items() if name == column for limit in found]
        yield histogram(buckets, title=f"How {column} is spread", limits=own, unit=unit)
        for found in (found for (_, name), found in limits.items() if name == column):
            for limit in found:
                others = [other for other in found if other is not limit]
                yield curve(
                    buckets, limit, title=f"What other bounds on {column} would yield", others=others, unit=unit
                )
    elif values is not None:
        items = [Bar(label=v.value, kept=v.kept, dropped=v.rows - v.kept) for v in values.values[:VALUES_SHOWN]]
        yield bars(items, title=f"The most frequent values of {column}")


def _dropped(
    place: _Place, rules: Sequence[Dropped], bounds: Sequence[tuple[int | None, str, Bound]]
) -> Iterator[Strip]:
    columns = list(dict.fromkeys(place.read(column) for _, column, _ in bounds))
    for rule in rules:
        if rule.examples:
            by = "" if rule.rule == "any" else f" by {rule.rule[:TEXT]}"
            title = f"Dropped{by}, drawn at random"
            yield Strip(title=title, kind="dropped", columns=columns, examples=rule.examples)


def _next_to(place: _Place, option: int | None, column: str, bound: Bound) -> Iterator[Strip]:
    """Rows next to each bound, those outside first."""
    for side in ("min", "max", "top", "bottom", "adaptive"):
        near, limit = place.near(column, option, side), getattr(bound, side)
        if near is None or limit is None:
            continue
        outside, inside = (near.above, near.below) if side in ("max", "bottom") else (near.below, near.above)
        named = side if limit is True else f"{side} {number(limit.share if isinstance(limit, Ranked) else limit)}"
        named = named if option is None else f"{option + 1}: {column} {named}"
        for where, kind, examples in (("outside", "dropped", outside), ("inside", "kept", inside)):
            if examples:
                title = f"Just {where} of {named}"
                yield Strip(title=title, kind=kind, columns=[place.read(column)], near=True, examples=examples)
