"""Arrow fields that explain themselves: unit, range and meaning travel in the field's metadata, into every file."""

from __future__ import annotations

import pyarrow as pa


def field(name: str, type: pa.DataType, doc: str, *, unit: str = "", range: str = "") -> pa.Field:
    """An Arrow field whose metadata holds `doc`, `unit` and `range` (empty ones are left out)."""
    notes = {"doc": doc, "unit": unit, "range": range}
    return pa.field(name, type, metadata={key: value for key, value in notes.items() if value})


def describe(field: pa.Field) -> dict[str, str]:
    """Name, type, unit, range and doc of a field, as strings."""
    notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return {"name": field.name, "type": str(field.type), **{k: notes.get(k, "") for k in ("unit", "range", "doc")}}
