"""Read the YAML of training runs and of experiments: typed, errors with file and line.

`base: NAME` takes another recipe's keys where the file has none of its own: whole keys, nothing is merged below them.
"""

from __future__ import annotations

import os
import types
import typing
from dataclasses import dataclass
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
    written = _read(name, ", ".join(list(kind.model_fields)[:4]) + " and more", ())
    if (other := _other_command(kind, written.value)) is not None:
        raise RecipeError(f"{written.file} is for `cupel {other}`")
    try:
        return kind.model_validate(written.value)
    except ValidationError as error:
        raise _explain(error, kind, written) from error


def _other_command(kind: type[BaseModel], value: dict[str, Any]) -> str | None:
    """The command that takes a recipe with keys that only its kind has."""
    of = {"steps": "run", "cuts": "compare", "model": "train"}
    there = [key for key in of if key in value]
    return of[there[0]] if there and not any(key in kind.model_fields for key in there) else None


@dataclass(frozen=True, kw_only=True)
class _Written:
    """A recipe as it stands in its file, and in that of its base what it does not say itself."""

    file: str
    value: dict[str, Any]
    lines: dict[Place, int]
    base: _Written | None

    def error(self, message: str, place: Place) -> RecipeError:
        """One that names the file and line where this place is written."""
        at: _Written | None = self
        while at is not None and place[:1] not in at.lines:
            at = at.base
        at = at or self
        return located(message, place, at.file, at.lines)


def _read(name: str, keys: str, before: tuple[str, ...]) -> _Written:
    shipped = train_recipes()
    data, file = read_recipe(name, shipped | {f"train/{stem}": path for stem, path in shipped.items()})
    value, lines = parse_yaml(data, file, keys)
    own = _Written(file=file, value=value, lines=lines, base=None)
    if "base" not in value:
        return own
    base = value.pop("base")
    if not isinstance(base, str) or not base:
        raise own.error(f"base is the name of a recipe, or a file beside this one, not {base!r}", ("base",))
    if not {base, base.removeprefix("train/")} & set(shipped):
        base = str(Path(name).parent / base)
    if base in before or base == name:
        raise own.error(f"base: {base} is made of itself", ("base",))
    try:
        under = _read(base, keys, (*before, name))
    except RecipeError as error:
        raise own.error(f"base: {error}", ("base",)) from error
    return _Written(file=file, value=under.value | value, lines=lines, base=under)


def _explain(error: ValidationError, kind: type[BaseModel], written: _Written) -> RecipeError:
    """pydantic's first complaint as one line: where, what, what is allowed."""
    first = error.errors()[0]
    place = tuple(part for part in first["loc"] if isinstance(part, str | int))
    message = complaint(first, str(place[-1]) if place else "recipe", lambda: _keys_at(kind, place[:-1]))
    return written.error(message, place)


def _keys_at(kind: type[BaseModel], place: Place) -> list[str]:
    """The keys that are known at a place of a recipe."""
    for part in place:
        if isinstance(part, str) and part in kind.model_fields:
            inner = _model_in(kind.model_fields[part].annotation)
            kind = inner or kind
    return [*kind.model_fields, *([] if place else ["base"])]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None`, `tuple[Model, ...]` or `dict[str, Model]`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
