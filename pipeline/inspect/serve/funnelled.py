"""A cut's steps as lines, each number with the address of the rows behind it. Made of manifest and recipe alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ....schemas.corpus import StepTotals
from ....schemas.recipe import Bound, Keep
from ...keep import rules_of
from ..charts.chart import Side
from ..opened import OpenedCut


def funnel_lines(cut: OpenedCut) -> list[dict[str, Any]]:
    """One for each step: its counts, its rules with theirs, and of its space how many rows came in at the top."""
    found: list[dict[str, Any]] = []
    space, whole, first = 0, cut.manifest.rows_in, 0
    for index, (step, line) in enumerate(zip(cut.recipe.steps, cut.manifest.steps, strict=True)):
        rules = list(_rules(step, line, first)) if isinstance(step, Keep) else []
        first += len(rules)
        found.append({**_counts(index, line), "space": space, "of": whole, "kind": _kind(step, line), "rules": rules})
        if line.made is not None:
            space, whole = space + 1, line.made
    return found


def _counts(index: int, line: StepTotals) -> dict[str, Any]:
    return {
        "index": index,
        "step": line.step,
        "rows_in": line.rows_in,
        "documents_in": line.documents_in,
        "dropped": line.dropped,
        "made": line.made,
        "childless": line.childless,
        "measured": line.measured,
        "failed": line.failed,
        "seconds": line.seconds,
        "rows_per_s": line.measured / line.seconds if line.seconds >= 0.01 and line.measured else None,
    }


def _kind(step: object, line: StepTotals) -> str:
    """rule, extract (makes other rows) or measure."""
    return "rule" if isinstance(step, Keep) else "extract" if line.made is not None else "measure"


def _rules(step: Keep, line: StepTotals, first: int) -> Iterator[dict[str, Any]]:
    """The rules of a keep, numbered over the whole recipe as CutRows.rules are."""
    for i, rule in enumerate(rules_of(step), first):
        dropped = line.rules.get(f"{rule.column} {rule.text}", 0)
        fitted = line.fitted.get(rule.column) if rule.text == "adaptive" else None
        text = f"{rule.text}: {fitted.text}" if fitted is not None else rule.text
        yield {"index": i, "column": rule.column, "text": text, "dropped": dropped}


@dataclass(frozen=True, kw_only=True)
class Held:
    """One side of a bound that the recipe sets by a number."""

    space: int
    column: str
    side: Side
    value: float  # of `top` and `bottom` a share, of `adaptive` what it found
    place: str  # its name on the page of thresholds: 3.words, or 3.any0.words


def bounds_of(cut: OpenedCut) -> Iterator[Held]:
    """Every bound of the recipe that parts rows by a number, alternatives included."""
    space = 0
    for index, (step, line) in enumerate(zip(cut.recipe.steps, cut.manifest.steps, strict=True)):
        if isinstance(step, Keep):
            yield from _held(step.bounds, space, f"{index}", line)
            for i, option in enumerate(step.any):
                yield from _held(option, space, f"{index}.any{i}", line)
        space += line.made is not None


def _held(bounds: Mapping[str, Bound], space: int, place: str, line: StepTotals) -> Iterator[Held]:
    for column, bound in bounds.items():
        ranked = {"top": bound.top, "bottom": bound.bottom}
        values = {"min": bound.min, "max": bound.max} | {s: r.share if r else None for s, r in ranked.items()}
        fitted = line.fitted.get(column) if bound.adaptive else None
        values["adaptive"] = fitted.threshold if fitted is not None else None
        for side in get_args(Side):
            if (value := values[side]) is not None:
                yield Held(space=space, column=column, side=side, value=float(value), place=f"{place}.{column}")
