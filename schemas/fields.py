"""Arrow fields that explain themselves: unit, range and meaning travel in the field's metadata, into every file."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as types

from .sensitive import Mark, read_marks


def field(name: str, type: pa.DataType, doc: str, *, unit: str = "", range: str = "", sensitive: str = "") -> pa.Field:
    """An Arrow field whose metadata holds `doc`, `unit` and `range` (empty ones are left out).

    `sensitive` says which values mean that the row's picture is not to be seen just so, as `blur: >= 0.5` or
    `hide: true` (see sensitive.py). Raises ValueError where it says something else.
    """
    if sensitive:
        read_marks(sensitive)
    notes = {"doc": doc, "unit": unit, "range": range, "sensitive": sensitive}
    return pa.field(name, type, metadata={key: value for key, value in notes.items() if value})


def describe(field: pa.Field) -> dict[str, str]:
    """Name, type, unit, range and doc of a field, as strings."""
    notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return {"name": field.name, "type": str(field.type), **{k: notes.get(k, "") for k in ("unit", "range", "doc")}}


def marks_of(field: pa.Field) -> tuple[Mark, ...]:
    """Which of its values make a picture one to blur or to hide; most columns have no such marks."""
    note = (field.metadata or {}).get(b"sensitive", b"").decode("utf-8", "replace")
    return read_marks(note) if note else ()


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type lie along an axis and may have limits."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
