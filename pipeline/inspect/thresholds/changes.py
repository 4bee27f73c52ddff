"""Other bounds for a cut: as they stand in an address, checked against its plan, and the recipe that has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.types as types
from pydantic import ValidationError

from ....schemas.recipe import (
    Bound,
    Keep,
    Recipe,
    Step,
)
from ...keep import misfit
from ...plan import CorpusStep, KeepStep, Plan
from ...recipe_file import recipe_as_yaml
from ..opened import OpenedCut

Side = Literal["min", "max", "top", "bottom"]
SHARE_DIGITS: Final = 6  # of a share: as many as the ledger names it with
_OPTION = re.compile("any([0-9]{1,4})")
_INTEGER = re.compile("-?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|-?inf|nan")


@dataclass(frozen=True, kw_only=True)
class Change:
    """Another value for one side of one bound.

    `step` is the keep's index in the plan, `option` which alternative of its `any`, from 0 (None: none of them).
    `value` is the share for `top` and `bottom`; None takes the side away.
    """

    step: int
    column: str
    side: Side
    value: float | int | None
    option: int | None = None

    @classmethod
    def parse(cls, text: str) -> Change:
        """`3.words.min=4`; `3.words.min=` takes it away; `5.any1.aspect_ratio.max=3` is of the second alternative.

        Raises ValueError.
        """
        place, _, value = text.rpartition("=")
        step, *middle = place.split(".")
        if len(text) > 1000 or len(middle) < 2 or not re.fullmatch("[0-9]{1,4}", step):
            raise ValueError(f"{text[:100]!r} is no change of a bound; they look like 3.words.min=4")
        option = _OPTION.fullmatch(middle[0]) if len(middle) > 2 else None
        *names, side = middle[1:] if option else middle
        if side not in get_args(Side):
            raise ValueError(f"{side[:100]!r} is no side of a bound (there are: {', '.join(get_args(Side))})")
        return cls(
            step=int(step),
            column=unquote(".".join(names)),
            side=cast(Side, side),
            value=number_in(value) if value else None,
            option=int(option[1]) if option else None,
        )

    def format(self) -> str:
        """As `parse` takes it."""
        column = quote(self.column, safe="").replace(".", "%2E")
        option = "" if self.option is None else f"any{self.option}."
        return f"{self.step}.{option}{column}.{self.side}={'' if self.value is None else self.value}"


def number_in(text: str) -> float | int:
    """A number as recipes write it, or inf or nan; Python reads more as one (`1_0`, blanks, digits of other scripts).

    Raises ValueError.
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no number")
    return float(text)


def changed_keeps(plan: Plan, changes: Iterable[Change]) -> dict[int, Keep | None]:
    """The keeps that differ by these changes, by index; None where nothing is left of one.

    Of two changes of one side the later counts. A column whose bounds are all taken away goes, with what it says of
    nulls; an alternative of which nothing is left would hold for all rows, so its `any` goes. Raises ValueError.
    """
    by_step: dict[int, list[Change]] = {}
    for change in changes:
        by_step.setdefault(change.step, []).append(change)
    found = {}
    for index, several in sorted(by_step.items()):
        step = plan.steps[index] if 0 <= index < len(plan.steps) else None
        if not isinstance(step, KeepStep):
            raise ValueError(f"step {index} is no keep of this recipe")
        keep = _changed(step, _types_of(plan, step), several)
        if keep != step.keep:
            found[index] = keep
    return found


def _types_of(plan: Plan, step: KeepStep) -> dict[str, pa.DataType]:
    """The type of each column that a keep names."""
    space = next(space for space in plan.spaces if space.start <= step.index < space.stop)
    fields = {column.name: column for column in space.schema} | dict(space.fields)
    return {column: fields[step.reads[column]].type for column in step.columns}


def _changed(step: KeepStep, kinds: dict[str, pa.DataType], changes: Sequence[Change]) -> Keep | None:
    before = [step.keep.bounds, *step.keep.any]  # the bounds that stand alone, then the alternatives
    groups = [dict(group) for group in before]
    for change in changes:
        at = 0 if change.option is None else change.option + 1
        if at >= len(groups) or change.column not in groups[at]:
            of = "" if change.option is None else f"alternative {change.option} of "
            raise ValueError(f"{of}step {step.index} ({step.label}) has no bound on {change.column!r}")
        groups[at][change.column] = _moved(groups[at][change.column], change, kinds[change.column])
    (bounds, _), *rest = [_without_silent(group, old) for group, old in zip(groups, before, strict=True)]
    options = () if any(emptied for _, emptied in rest) else tuple(option for option, _ in rest)
    return Keep(bounds=bounds, any=options, on=step.keep.on) if bounds or options else None


def _without_silent(group: dict[str, Bound], before: Mapping[str, Bound]) -> tuple[dict[str, Bound], bool]:
    """The bounds but those that changes have left nothing to say; and whether all are gone by that."""
    left = {column: bound for column, bound in group.items() if _says_something(bound) or bound == before[column]}
    return left, bool(before) and not left


def _moved(bound: Bound, change: Change, kind: pa.DataType) -> Bound:
    """The bound with one side changed."""
    value = change.value
    if bound.null == "only":
        raise ValueError(f"{change.column!r} must be null, and no other bound goes with that")
    if value is not None and not _is_finite(value):
        raise ValueError(f"{change.column} {change.side}: {value} is no number that can be a bound")
    if change.side in ("min", "max"):
        if isinstance(value, float) and types.is_integer(kind) and value.is_integer():
            value = int(value)
        if value is not None and (told := misfit(change.column, Bound.model_validate({change.side: value}), kind)):
            raise ValueError(told[1])
        return bound.model_copy(update={change.side: value})
    ranked = bound.top if change.side == "top" else bound.bottom
    if ranked is None:
        raise ValueError(f"{change.column!r} has no {change.side} here whose share could be another")
    if value is None:
        return bound.model_copy(update={change.side: None})
    share = round(float(value), SHARE_DIGITS)
    if not 0 < share <= 1:
        raise ValueError(f"{change.column} {change.side}: a share is above 0 and at most 1, not {value}")
    return bound.model_copy(update={change.side: ranked.model_copy(update={"share": share})})


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _says_something(bound: Bound) -> bool:
    rules = (bound.min, bound.max, bound.in_, bound.not_in, bound.top, bound.bottom, bound.adaptive)
    return bound.null == "only" or any(rule is not None for rule in rules)


def edited_name(cut: OpenedCut) -> str:
    """What a recipe made from this cut's may be called: NAME_edited."""
    name = cut.plan.recipe.name
    return name if name.endswith("_edited") else f"{name[:73]}_edited"


def changed_recipe(cut: OpenedCut, changes: Iterable[Change], name: str | None = None) -> str:
    """The cut's recipe with other bounds, as YAML for `cupel run`; a keep that says nothing any more is left out.

    Raises ValueError where a change or the name does not fit, or where duplicates would be found and not dropped.
    """
    plan = cut.plan
    keeps = changed_keeps(plan, changes)
    _check_verdicts(plan, keeps)
    steps = [keeps.get(i, step) for i, step in enumerate(plan.recipe.steps)]
    try:
        recipe = Recipe(
            name=edited_name(cut) if name is None else name,
            read=plan.recipe.read,
            steps=tuple(cast(Iterator[Step | Keep], filter(None, steps))),
            write=plan.recipe.write,
        )
    except ValidationError as error:
        raise ValueError(f"{name!r} cannot be a recipe's name: {error.errors()[0]['msg']}") from error
    return recipe_as_yaml(recipe)


def _check_verdicts(plan: Plan, keeps: dict[int, Keep | None]) -> None:
    """What names duplicates must be read by a keep, or the recipe would be refused."""
    read = set[str]()
    for step in reversed(plan.steps):
        if isinstance(step, KeepStep):
            keep = keeps.get(step.index, step.keep)
            read |= {column for group in (keep.bounds, *keep.any) for column in group} if keep else set()
        elif isinstance(step, CorpusStep):
            for column in step.names.values():
                if column.endswith(("_of", "_by")) and column not in read:
                    raise ValueError(f"{step.label} adds {column!r}, and no keep would read it: its bound must stay")
