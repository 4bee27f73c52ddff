"""Records of JSON and CSV: what types their columns have, and their values as Arrow arrays of those types."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.types as types

from ..decode import RowError
from .base import SourceError
from .names import OBJECTS

Record = Mapping[str, object]

MAX_COLUMNS: Final = 1000
INT64: Final = range(-(2**63), 2**63)
# Only what survives the way back: `007` and `+1` are strings, or an article number would lose its zeros.
_INT: Final = re.compile(r"(0|-?[1-9][0-9]{0,17})\Z")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+([eE][+-]?[0-9]{1,3})?|[eE][+-]?[0-9]{1,3})\Z")
_BOOL: Final = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def parse_json(line: str | bytes) -> dict[str, object]:
    """A JSON object; raises RowError(invalid_json) for anything else. Lone surrogates are left to the UTF-8 check."""
    try:
        text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError("invalid_json", f"{error}: {line[:40]!r}") from error
    if not isinstance(value, dict):
        raise RowError("invalid_json", f"not an object: {line[:40]!r}")
    try:
        "".join(value).encode()
    except UnicodeEncodeError as error:
        raise RowError("invalid_utf8", f"the name of a field is not valid UTF-8: {line[:40]!r}") from error
    return value


class Inference:
    """Learns the columns' types from values: int64, float64, bool, list<string> (captions), OBJECTS, else string."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = defaultdict(set)
        self._more: Counter[str] = Counter()

    def see(self, record: Record) -> None:
        """Take note of one record's values."""
        for name, value in record.items():
            self._kinds[name].add(_kind(value))
            if isinstance(value, list):
                self._more[name] += max(len(value), 1) - 1
        self._check_columns()

    def see_text(self, fields: Mapping[str, str]) -> None:
        """Take note of one line of CSV; an empty field is null."""
        for name, value in fields.items():
            kinds = self._kinds[name]
            if "string" not in kinds:
                kinds.add(_kind_of_text(value))

    def more_rows(self) -> Counter[str]:
        """For each column with lists: how many rows it would give beyond one per record, so far."""
        return self._more.copy()

    def schema(self) -> pa.Schema:
        """Columns in order of appearance."""
        return pa.schema([pa.field(name, _type(kinds - {"null"})) for name, kinds in self._kinds.items()])

    def _check_columns(self) -> None:
        if len(self._kinds) > MAX_COLUMNS:
            names = ", ".join(repr(name) for name in list(self._kinds)[-3:])
            raise SourceError(f"more than {MAX_COLUMNS} columns, the last of them {names}: is this one record a line?")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int" if value in INT64 else "string"
        case float():
            return "float"
        case str():
            return "string"
        case list() if all(item is None or isinstance(item, str) for item in value):
            return "strings"
    return "json"


def _kind_of_text(value: str) -> str:
    if not value:
        return "null"
    if _INT.match(value):
        return "int"
    if value in _BOOL:
        return "bool"
    return "float" if _FLOAT.match(value) else "string"


def _type(kinds: set[str]) -> pa.DataType:
    if not kinds:
        return pa.null()
    if kinds <= {"strings", "string"} and "strings" in kinds:
        return pa.list_(pa.string())
    if kinds <= {"int", "float"}:
        return pa.float64() if "float" in kinds else pa.int64()
    if kinds == {"bool"}:
        return pa.bool_()
    return OBJECTS if "json" in kinds else pa.string()


def extra_type(type: pa.DataType) -> pa.DataType:
    """The type of a column that travels along: lists and objects become JSON text there."""
    return pa.string() if types.is_nested(type) else type


def json_column(values: Sequence[object], type: pa.DataType) -> pa.Array:
    """Values of JSON as an array of the type that `Inference` found for them (or a wider one)."""
    if types.is_string(type) or types.is_large_string(type):
        return strings([None if value is None else _as_text(value) for value in values], type)
    if types.is_floating(type):
        return pa.array([None if value is None else float(value) for value in values], type)  # type: ignore[arg-type]
    return pa.array(values, type)


def captions_column(values: Sequence[object]) -> pa.Array:
    """Texts, or a list<string> where some record has a list of them."""
    if not any(isinstance(value, list) for value in values):
        return json_column(values, pa.string())
    lists = [_captions(value) for value in values]
    flat = strings([_as_text(item) if item is not None else None for items in lists for item in items], pa.string())
    ends = [0]
    for items in lists:
        ends.append(ends[-1] + len(items))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)


def csv_column(values: Sequence[str | None], type: pa.DataType) -> pa.Array:
    """Fields of CSV as an array of the type that `Inference` found (or a wider one); an empty field is null."""
    if not any(values):
        return pa.nulls(len(values), type)
    if types.is_boolean(type):
        return pa.array([_BOOL[value] if value else None for value in values], type)
    array = strings([value or None for value in values], pa.string())
    return array if array.type == type else array.cast(type)


def strings(values: list[str | None], type: pa.DataType) -> pa.Array:
    """Strings of which some may hold lone surrogates: those come out as bytes that are not UTF-8, to be found later."""
    try:
        return pa.array(values, type)
    except UnicodeEncodeError:
        encoded = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
        binary = pa.large_binary() if types.is_large_string(type) else pa.binary()
        return pa.array(encoded, binary).view(type)


def _captions(value: object) -> list[object]:
    if isinstance(value, list):
        return value or [None]
    return [value]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
