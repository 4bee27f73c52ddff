"""The columns that operators add, as far as they can be told without a plan, and those that rows begin with."""

from __future__ import annotations

import pyarrow as pa
from pydantic import ValidationError

from ..operators import registry
from ..operators.base import DocumentOperator, Extractor, FetchOperator, Operator
from ..schemas.page import PAGE
from ..schemas.pair import PAIR
from ..schemas.recipe import Recipe, Step


def supposed(recipe: Recipe) -> pa.Schema:
    """What the rows begin with where nobody says: pages, if the recipe takes them apart, else pairs, their images where
    it does not fetch them. Operators that are not there are told later."""
    there: set[str] = set()
    for step in recipe.steps:
        operator = defaults(step.operator) if isinstance(step, Step) else None
        if operator is not None and "html" in operator.reads and "html" not in there:
            return PAGE
        there |= {column.name for column in columns_of(operator)} if operator else set()
        if isinstance(operator, FetchOperator) or (isinstance(operator, Extractor) and operator.asks_hosts):
            return pa.schema([column for column in PAIR if column.name != "image"])
    return PAIR


def defaults(name: str) -> Operator | None:
    """An operator with its default parameters; None where it has required ones, or is none."""
    try:
        return registry.find(name)()
    except (KeyError, ImportError, ValidationError):
        return None


def columns_of(operator: Operator) -> tuple[pa.Field, ...]:
    """All that it adds, to documents and to nodes."""
    return (*operator.adds, *(operator.adds_to_nodes if isinstance(operator, DocumentOperator) else ()))


def added_by(name: str) -> set[str]:
    """Columns that an operator adds with its default parameters; none when it has required ones."""
    operator = defaults(name)
    return {column.name for column in columns_of(operator)} if operator else set()
