"""Read the YAML of training runs and of experiments: typed, errors with file and line."""

from __future__ import annotations

import os
import types
import typing
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from ...schemas.train import TrainRecipe
from ..recipe_file import SHIPPED, Place, RecipeError, complaint, located, parse_yaml, read_recipe

FOLDER: Final = SHIPPED / "train"
Kind = TypeVar("Kind", bound=BaseModel)


def train_recipes() -> dict[str, Path]:
    """name -> file of the training runs and experiments that come with Cupel: `smoke`, or `train/smoke`."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load_train_recipe(name: str | os.PathLike[str] | TrainRecipe) -> TrainRecipe:
    """A shipped training run's name, a YAML file, or a recipe made in Python. Raises RecipeError."""
    return name if isinstance(name, TrainRecipe) else load_as(TrainRecipe, os.fspath(name))


def load_as(kind: type[Kind], name: str) -> Kind:
    """A recipe of this kind by a shipped name or a file. Raises RecipeError, saying file, line and what is near."""
    shipped = train_recipes()
    data, file = read_recipe(name, shipped | {f"train/{stem}": path for stem, path in shipped.items()})
    value, lines = parse_yaml(data, file, ", ".join(list(kind.model_fields)[:4]) + " and more")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _explain(error, kind, file, lines) from error


def _explain(error: ValidationError, kind: type[BaseModel], file: str, lines: dict[Place, int]) -> RecipeError:
    """pydantic's first complaint as one line: where, what, what is allowed."""
    first = error.errors()[0]
    place = tuple(part for part in first["loc"] if isinstance(part, str | int))
    message = complaint(first, str(place[-1]) if place else "recipe", lambda: _fields_at(kind, place[:-1]))
    return located(message, place, file, lines)


def _fields_at(kind: type[BaseModel], place: Place) -> dict[str, Any]:
    """The keys that are known at a place of a recipe."""
    for part in place:
        if isinstance(part, str) and part in kind.model_fields:
            inner = _model_in(kind.model_fields[part].annotation)
            kind = inner or kind
    return dict(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None`, `tuple[Model, ...]` or `dict[str, Model]`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
