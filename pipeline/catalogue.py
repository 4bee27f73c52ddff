"""What there is: operators and recipes, from their own docstrings, types and comments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..operators import registry
from ..operators.base import CorpusOperator, DocumentExtractor, DocumentOperator, Extractor, FetchOperator, Operator
from ..operators.registry import did_you_mean
from ..schemas.fields import describe
from .columns import columns_of
from .recipe_file import load_recipe, shipped_recipes
from .train.recipe_file import train_recipes


@dataclass(frozen=True, kw_only=True)
class Page:
    """Something to show, in a terminal or as JSON."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    json: object
    before: str = ""

    def renderable(self) -> RenderableType:
        """For rich."""
        table = Table(title=self.title, title_justify="left")
        for name in self.head:
            table.add_column(name, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return Group(Text(self.before), table) if self.before else table


def kind_of(operator: type[Operator]) -> str:
    """What kind of operator it is, in a word."""
    kinds = {
        CorpusOperator: "corpus",
        DocumentExtractor: "documents",
        Extractor: "extractor",
        DocumentOperator: "document",
        FetchOperator: "fetch",
    }
    return next((word for kind, word in kinds.items() if issubclass(operator, kind)), "row")


def about(name: str) -> dict[str, Any]:
    """All that is known of an operator without running it. Raises KeyError."""
    try:
        found = registry.find(name)
    except (ImportError, AttributeError, TypeError) as error:  # a third party's that is broken; the others are not
        nothing: dict[str, Any] = {"version": 0, "parameters": [], "reads": [], "adds": [], "needs": {}}
        return {"name": name, "kind": "broken", "summary": f"cannot be loaded: {error}", "doc": str(error), **nothing}
    parameters = TypeAdapter(found).json_schema()
    required = parameters.get("required", [])
    doc = inspect.cleandoc(found.__doc__ or "")
    return {
        "name": name,
        "kind": kind_of(found),
        "summary": doc.split("\n")[0],
        "doc": doc,
        "version": found.version,
        "parameters": [
            {
                "name": key,
                "type": _type_name(value, parameters.get("$defs", {})),
                "default": "required" if key in required else value.get("default"),
                "doc": value.get("description", ""),
            }
            for key, value in parameters.get("properties", {}).items()
        ],
        **_columns(found),
        "needs": {key: value for key, value in vars(found.needs).items() if value},
    }


def _reflowed(doc: str) -> str:
    """Paragraphs as one line each, for a terminal of any width; lines that are indented stay as they are."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", doc)


def _columns(found: type[Operator]) -> dict[str, Any]:
    """reads and adds, where the defaults suffice to know them."""
    try:
        operator = found()
    except ValidationError:
        fields = found.__dict__.get("adds", ())
        return {
            "reads": ["by its parameters"],
            "adds": [describe(f) for f in fields] if isinstance(fields, tuple) else [],
        }
    takes = [f"{name} (if there is one)" for name in operator.takes]
    return {"reads": [*operator.reads, *takes], "adds": [describe(column) for column in columns_of(operator)]}


def _type_name(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "{" + ", ".join(definitions[schema["$ref"].split("/")[-1]].get("properties", ())) + "}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type_name(option, definitions) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {}), definitions)}"
    return str(schema.get("type", "any"))


def operators_table() -> Page:
    """Every operator with its first sentence and its columns."""
    entries = [about(name) for name in registry.names()]
    rows = [
        (entry["name"], entry["kind"], entry["summary"], ", ".join(column["name"] for column in entry["adds"]))
        for entry in entries
    ]
    return Page(title="Operators", head=("name", "kind", "measures", "adds"), rows=rows, json=entries)


def operator_page(name: str) -> Page:
    """One operator in full. Raises KeyError with near names."""
    entry = about(name)
    lines = [f"{name} ({entry['kind']} operator, version {entry['version']})", "", _reflowed(entry["doc"]), ""]
    lines.append(f"Reads: {', '.join(entry['reads']) or 'nothing but the key'}")
    for parameter in entry["parameters"]:
        default = parameter["default"]
        shown = default if default == "required" else f"default {'null' if default is None else default}"
        lines.append(f"Parameter {parameter['name']} ({parameter['type']}, {shown}): {parameter['doc']}")
    if not entry["parameters"]:
        lines.append("No parameters.")
    rows = [tuple(column[key] for key in ("name", "type", "unit", "range", "doc")) for column in entry["adds"]]
    head = ("adds", "type", "unit", "range", "meaning")
    return Page(title="", head=head, rows=rows, json=entry, before="\n".join(lines))


def recipes_table() -> Page:
    """Every shipped recipe with the first sentence of its comment."""
    entries = [recipe_page(name) for name in (*shipped_recipes(), *_train_recipes())]
    rows = [[str(entry[key]) for key in ("name", "steps", "about")] for entry in entries]
    entries = [{key: value for key, value in entry.items() if key != "yaml"} for entry in entries]
    return Page(title="Recipes", head=("name", "steps", "what it does"), rows=rows, json=entries)


def recipe_page(name: str) -> dict[str, Any]:
    """One shipped recipe: what it does, how many steps (`train`: none), its text. Raises KeyError with near names."""
    shipped = shipped_recipes() | _train_recipes()
    if name not in shipped:
        raise KeyError(f"no recipe {name!r}{did_you_mean(name, list(shipped))}; there are {', '.join(shipped)}")
    text = shipped[name].read_text(encoding="utf-8")
    about = text.split("\n")[0].lstrip("# ").strip()
    steps = len(load_recipe(name).recipe.steps) if "/" not in name else "train"
    return {"name": name, "about": about, "steps": steps, "yaml": text}


def _train_recipes() -> dict[str, Path]:
    """Training runs and experiments, named as in `cupel train train/smoke`; the folder may be left out there."""
    return {f"train/{name}": path for name, path in train_recipes().items()}
