"""A cut without one of its rules: what the rule alone needed goes with it, what a later step reads stays."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pydantic import ValidationError

from ....operators import registry
from ....operators.base import Operator, RowOperator
from ....schemas.recipe import Bound, Keep, Step
from ...columns import columns_of

LEARNED: Final = "learned"
MOST_TITLE: Final = 44  # letters; it names a cut, with more around it
Group = tuple[Step | Keep, ...]


def each_left_out(steps: Group, taken: Collection[str]) -> dict[str, Group]:
    """Name of an arm -> the steps without one rule. Equal names are numbered; `taken` ones are others'."""
    found: dict[str, Group] = {}
    for place, step in enumerate(steps):
        if not isinstance(step, Keep):
            continue
        title = name = f"without {', '.join(columns_of_rule(step))}"[:MOST_TITLE]
        number = 1
        while name in found or name in taken:
            number += 1
            name = f"{title} {number}"
        found[name] = without(steps, place)
    return found


def without(steps: Group, place: int) -> Group:
    """The steps without the rule at this place, nor the operators since the rule before that no later step reads."""
    first = place
    while first and isinstance(steps[first - 1], Step):
        first -= 1
    later = steps[place + 1 :]
    wanted = {column for step in later for column in _reads(step)}
    stay: Group = ()
    for step in reversed(steps[first:place]):
        if isinstance(step, Step) and _adds(step) & wanted:
            stay = (step, *stay)
            wanted |= _reads(step)
    return (*steps[:first], *stay, *later)


def columns_of_rule(rule: Keep) -> list[str]:
    """The columns that a rule bounds."""
    return list(dict.fromkeys(column for bounds in (rule.bounds, *rule.any) for column in bounds))


def _reads(step: Step | Keep) -> set[str]:
    if isinstance(step, Keep):
        bounds: list[Bound] = [bound for group in (step.bounds, *step.any) for bound in group.values()]
        ranked = [side for bound in bounds for side in (bound.top, bound.bottom) if side is not None]
        return {*columns_of_rule(step), *(side.by for side in ranked if side.by is not None)}
    operator = _operator(step)
    return {*operator.reads, *operator.takes} if operator is not None else set()


def _adds(step: Step) -> set[str]:
    """The columns that a step brings by the recipe's names, and those of which it makes another version."""
    operator = _operator(step)
    if operator is None:
        return set()
    names = [column.name for column in columns_of(operator)]
    if isinstance(step.rename, str):
        named = {f"{step.rename}_{name}" for name in names}
    else:
        named = {step.rename.get(name, name) for name in names}
    return named | (set(operator.replaces) if isinstance(operator, RowOperator) else set())


def _operator(step: Step) -> Operator | None:
    """The step's operator; None where there is none such, which `cupel run` tells."""
    params = {name: value for name, value in step.params.items() if value != LEARNED}
    try:
        return registry.find(step.operator)(**params)
    except (KeyError, ImportError, ValidationError, ValueError, TypeError):
        return None
