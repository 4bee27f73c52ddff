"""Read a recipe's YAML and remember on which line everything stands.

YAML's surprises are refused or switched off: `no` is Norwegian and not false, anchors and aliases (which can blow up)
and repeated keys are errors. Nothing is evaluated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..operators.registry import did_you_mean
from ..schemas.recipe import Bound, Keep, Read, Recipe, Step, Write

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
Place = tuple[str | int, ...]
SHIPPED = Path(__file__).parent.parent / "recipes"
MAX_BYTES = 1 << 20


class RecipeError(ValueError):
    """A recipe that cannot run: says file, line, what is wrong and what is near."""


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe and where its parts stand; made in Python it has no lines."""

    recipe: Recipe
    file: str = ""
    lines: dict[Place, int] = field(default_factory=dict)

    def error(self, message: str, *place: str | int) -> RecipeError:
        """An error at a place such as `("steps", 2, "keep", "words")`, or the nearest one above with a line."""
        if not self.file:
            return RecipeError(f"{'.'.join(map(str, place))}: {message}" if place else message)
        return located(message, place, self.file, self.lines)


def located(message: str, place: Place, file: str, lines: dict[Place, int]) -> RecipeError:
    """An error at a place of a file, or at the nearest one above with a line."""
    while place and place not in lines:
        place = place[:-1]
    line = lines.get(place)
    return RecipeError(f"{file}:{line}: {message}" if line else f"{file}: {message}")


def complaint(found: ErrorDetails, name: str, known: Callable[[], Iterable[str]]) -> str:
    """What pydantic found wrong with the key `name`, in a line: what it is, and what is allowed there."""
    if found["type"] == "extra_forbidden":
        keys = list(known())
        return f"unknown key {name!r}{did_you_mean(name, keys)} (known: {', '.join(keys)})"
    if found["type"] == "missing":
        return f"{name!r} is missing"
    message = found["msg"].removeprefix("Value error, ")
    return message if found["type"].startswith("value_error") else f"{name}: {message}, not {found['input']!r}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans (true and false alone) and numbers (1e-3 is one) on the safe loader."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:bool"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|false|False)$"), list("tTfF"))


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that either YAML reads as something else."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def shipped_recipes() -> dict[str, Path]:
    """name -> file of the recipes that come with Cupel."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def load_recipe(name: str | os.PathLike[str] | Recipe | RecipeFile) -> RecipeFile:
    """A shipped recipe's name, a YAML file, or a Recipe made in Python. Raises RecipeError."""
    if isinstance(name, RecipeFile):
        return name
    if isinstance(name, Recipe):
        return RecipeFile(recipe=name)
    return parse_recipe(*read_recipe(os.fspath(name), shipped_recipes()))


def read_recipe(name: str, shipped: dict[str, Path]) -> tuple[bytes, str]:
    """The text of a shipped recipe or of a file, and the name that errors show. Raises RecipeError."""
    path = shipped.get(name, Path(name))
    if not path.is_file():
        known = list(shipped)
        if name not in known and (SHIPPED / "train" / f"{name.removeprefix('train/')}.yaml").is_file():
            raise RecipeError(f"{name} is a training run or an experiment: for `cupel train` or `cupel compare`")
        raise RecipeError(
            f"no recipe {name!r}: neither a file nor one of the shipped recipes {known}{did_you_mean(name, known)}"
        )
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{path}: larger than {MAX_BYTES} bytes; this is no recipe")
    return path.read_bytes(), name if path == Path(name) else path.name


def parse_recipe(data: bytes, file: str) -> RecipeFile:
    """Parse and check a recipe's text; `file` is the name that errors show."""
    value, lines = parse_yaml(data, file, "name, read, steps and write")
    parsed = RecipeFile(recipe=Recipe(name="unread"), file=file, lines=lines)
    return RecipeFile(recipe=_checked(value, parsed), file=file, lines=lines)


def parse_yaml(data: bytes, file: str, keys: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """A mapping with `keys` in plain Python, `name` from the file's name where it has none, and the line of each part.

    Raises RecipeError.
    """
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(data)
        try:
            node = loader.get_single_node()
            value = _value(loader, node, (), lines, file) if node is not None else {}
        finally:
            loader.dispose()
    except RecursionError as error:
        raise RecipeError(f"{file}: nested too deeply; this is no recipe") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        raise RecipeError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(value, dict):
        raise RecipeError(f"{file}:1: a recipe is a mapping with {keys}, not {type(value).__name__}")
    value.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(file).stem).lstrip("_.-")[:80] or "recipe")
    return value, lines


def _value(loader: _Loader, node: yaml.Node, place: Place, lines: dict[Place, int], file: str) -> Any:
    """A node as plain Python, its line noted."""
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if len(place) > 12:
        raise RecipeError(f"{file}:{line}: nested too deeply")
    if node.tag not in _TAGS:
        raise RecipeError(f"{file}:{line}: the tag {node.tag} is not used in recipes")
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*place, i), lines, file) for i, item in enumerate(node.value)]
    mapping: dict[Any, Any] = {}
    for key_node, item in node.value:
        key = loader.construct_object(key_node)
        here = (*place, "null" if key is None else key)
        if key in mapping:
            raise RecipeError(f"{file}:{key_node.start_mark.line + 1}: {key!r} stands here twice")
        lines[here] = key_node.start_mark.line + 1
        mapping[key] = _value(loader, item, here, lines, file)
    return mapping


def _compose_without_aliases(self: _Loader, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
    if self.check_event(yaml.events.AliasEvent):
        raise yaml.composer.ComposerError(None, None, "anchors and aliases are not used in recipes", _mark(self))
    return yaml.SafeLoader.compose_node(self, parent, index)


def _mark(loader: _Loader) -> Any:
    return loader.peek_event().start_mark  # type: ignore[no-untyped-call]


_Loader.compose_node = _compose_without_aliases  # type: ignore[method-assign, assignment]


def _checked(value: dict[str, Any], at: RecipeFile) -> Recipe:
    """The typed recipe. Steps are checked one by one, so that an error has its line."""
    steps = value.get("steps")
    for i, step in enumerate(steps if isinstance(steps, list) else []):
        try:
            Recipe(name="one", steps=(step,))
        except ValidationError as error:
            raise _explain(error, at, ("steps", i, *_name_of(step)), skip=2) from error
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise _explain(error, at, (), skip=0) from error


def _name_of(step: Any) -> tuple[str, ...]:
    return (str(next(iter(step))),) if isinstance(step, dict) and len(step) == 1 else ()


_UNSEEN = (
    "bounds",
    "Step",
    "Keep",
    "float",
    "int",
    "share",
    "Ranked",
    "bool",
    "str",
)  # of the types, not of the recipe
_KEYS = {"read": list(Read.model_fields), "write": list(Write.model_fields)}


def _explain(error: ValidationError, at: RecipeFile, base: Place, skip: int) -> RecipeError:
    """pydantic's first complaint as one line: where, what, what is allowed."""
    first = error.errors()[0]
    raw = [part for part in first["loc"][skip:] if part not in _UNSEEN]
    loc: Place = tuple("in" if part == "in_" else part for part in raw)
    name = str(loc[-1]) if loc else (str(base[-1]) if base else "recipe")
    message = complaint(first, name, lambda: ("in" if key == "in_" else key for key in _known_keys(loc, base)))
    return at.error(message, *base, *loc)


def _known_keys(loc: Place, base: Place) -> list[str]:
    if base and base[-1] == "keep":
        return list(Bound.model_fields)
    if base:
        return list(Step.model_fields)
    return _KEYS.get(str(loc[0]), list(Recipe.model_fields)) if len(loc) > 1 else list(Recipe.model_fields)


def recipe_as_yaml(recipe: Recipe) -> str:
    """The recipe as a file that reads back as the same recipe, every default written out."""
    steps = [_step_as_yaml(step) for step in recipe.steps]
    value: dict[str, Any] = {"name": recipe.name}
    if recipe.read is not None:
        read = recipe.read.model_dump(exclude_none=True)
        value["read"] = {key: list(item) if isinstance(item, tuple) else item for key, item in read.items()}
    value |= {"steps": steps, "write": recipe.write.model_dump()}
    return as_yaml(value)


def as_yaml(value: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back as the same values."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _step_as_yaml(step: Step | Keep) -> Any:
    if isinstance(step, Keep):
        bounds: dict[str, Any] = {column: _bound_as_yaml(bound) for column, bound in step.bounds.items()}
        if not bounds.keys().isdisjoint(Keep.model_fields):  # a column has the name of a key
            bounds = {"bounds": bounds}
        if step.any:
            bounds["any"] = [{c: _bound_as_yaml(b) for c, b in option.items()} for option in step.any]
        return {"keep": bounds | ({"on": step.on} if step.on != "nodes" else {})}
    params = dict(step.params) | ({"as": step.rename} if step.rename else {})
    params |= {"on": step.on} if step.on != "nodes" else {}
    return {step.operator: params} if params else step.operator


def _bound_as_yaml(bound: Bound) -> Any:
    if bound.null == "only":
        return None
    return bound.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True, mode="json")
