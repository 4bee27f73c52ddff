"""Which of a file's columns are the key, the text, the image and the addresses; the others travel along."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.types as types

from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..registry import did_you_mean
from .base import SourceError

# Tried in this order, upper and lower case alike; the first that is there with a fitting type is taken.
USUAL_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "key": ("key", "uid", "__key__", "id"),
    "text": ("text", "caption", "captions", "alt_text", "alt", "txt", "title"),
    "image_url": ("image_url", "url", "img_url"),
    "page_url": ("page_url", "source_url"),
    "image": (
        *("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes"),
        *("file", "path", "filepath", "file_path", "filename", "file_name", "image_path", "image_file"),
    ),
}
_PANDAS_INDEX: Final = re.compile(
    r"__index_level_\d+__"
)  # a row counter that pandas leaves behind; it means nothing here
OBJECTS: Final = pa.struct([])  # what JSON holds in a column that travels along as JSON text
_HOLDS: Final = {
    "key": "strings or whole numbers",
    "text": "strings or lists of strings",
    "image_url": "strings",
    "page_url": "strings",
    "image": "bytes, paths, or structs of both",
}


def is_string(type: pa.DataType) -> bool:
    """Any of Arrow's string types, or null, which may be one."""
    return bool(
        types.is_string(type)
        or types.is_large_string(type)
        or types.is_string_view(type)
        or types.is_null(type)
        or (types.is_dictionary(type) and is_string(type.value_type))
    )


def is_list_of_strings(type: pa.DataType) -> bool:
    """One row has several captions."""
    return bool((types.is_list(type) or types.is_large_list(type)) and is_string(type.value_type))


def is_bytes(type: pa.DataType) -> bool:
    """Encoded images."""
    return bool(types.is_binary(type) or types.is_large_binary(type) or types.is_binary_view(type))


def is_bytes_and_path(type: pa.DataType) -> bool:
    """How Hugging Face stores images: struct<bytes, path>."""
    if not types.is_struct(type):
        return False
    fields = {field.name: field.type for field in type}
    return {"bytes", "path"} == set(fields) and is_bytes(fields["bytes"]) and is_string(fields["path"])


_FITS: Final[Mapping[str, Callable[[pa.DataType], bool]]] = {
    "key": lambda type: is_string(type) or types.is_integer(type),
    "text": lambda type: is_string(type) or is_list_of_strings(type),
    "image_url": is_string,
    "page_url": is_string,
    "image": lambda type: is_bytes(type) or is_string(type) or is_bytes_and_path(type),
}


def find_names(read: Read, columns: pa.Schema, file: str, *, own: Sequence[str] = ()) -> dict[str, str]:
    """PAIR column -> the file's column. What `read` names wins; `own` are PAIR columns that the source makes itself.

    SourceError when a named column is not there or does not fit, or when an extra column has the name of a PAIR column.
    """
    repeated = sorted({name for name in columns.names if columns.names.count(name) > 1}) if len(columns) else []
    if repeated:
        raise SourceError(f"{file}: more than one column is called {repeated[0]!r}")
    left = {column.name: column.type for column in columns if column.name not in read.drop}
    names: dict[str, str] = {}
    for pair in USUAL_NAMES:
        asked = getattr(read, pair)
        if asked is not None and not (pair == "image" and "image" in own):
            names[pair] = _named(pair, asked, left, file)
    for pair in USUAL_NAMES:
        usual = None if pair in names or (pair == "image" and pair in own) else _usual(pair, left, set(names.values()))
        if usual is not None:
            names[pair] = usual
    _refuse_collisions(names, left, file, own)
    return {pair: names[pair] for pair in PAIR.names if pair in names}


def needed(names: Mapping[str, str], columns: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """Cupel's name -> the file's, for the columns asked for that this file has and those that make up its keys."""
    wanted = [name for name in columns if name != "image"]
    if "key" in columns and "key" not in names and "image_url" in names:
        wanted += ["image_url", "text"]
    mapped = set(names.values())
    found = ((name, names.get(name, None if name in mapped else name)) for name in dict.fromkeys(wanted))
    return {name: column for name, column in found if column is not None and column in own}


def refuse_nothing(names: Mapping[str, str], columns: pa.Schema, file: str) -> None:
    """SourceError when there is neither a text nor an image, nor a page, nor an address of one."""
    if not {"text", "image", "image_url", "page_url"} & set(names) and "html" not in columns.names:
        raise SourceError(
            f"{file}: found no captions, images or addresses among the columns "
            f"{', '.join(repr(name) for name in columns.names)}; name them, as in `read: {{text: ..., image: ...}}`"
        )


def extras(names: Mapping[str, str], columns: pa.Schema, drop: Sequence[str]) -> list[str]:
    """The file's columns that travel along under their own names."""
    taken = {*names.values(), *drop}
    return [name for name in columns.names if name not in taken and not _PANDAS_INDEX.fullmatch(name)]


def _named(pair: str, asked: str, left: Mapping[str, pa.DataType], file: str) -> str:
    if asked not in left:
        near, known = did_you_mean(asked, list(left)), ", ".join(left) or "none"
        raise SourceError(f"{file}: no column {asked!r} (read.{pair}){near}; there are {known}")
    if not _FITS[pair](left[asked]):
        raise SourceError(
            f"{file}: column {asked!r} (read.{pair}) holds {_says(left[asked])}; it must hold {_HOLDS[pair]}"
        )
    return asked


def _says(type: pa.DataType) -> str:
    return "JSON objects or lists" if type == OBJECTS else str(type)


def _usual(pair: str, left: Mapping[str, pa.DataType], taken: set[str]) -> str | None:
    for usual in USUAL_NAMES[pair]:
        same = [name for name in left if name.lower() == usual]
        for name in sorted(same, key=lambda name: name != usual):
            if name not in taken and _FITS[pair](left[name]):
                return name
    return None


def _refuse_collisions(
    names: Mapping[str, str], left: Mapping[str, pa.DataType], file: str, own: Sequence[str]
) -> None:
    mapped = set(names.values())
    for name in left:
        if name not in PAIR.names or name in mapped:
            continue
        taker = repr(names[name]) if name in names else "the files themselves" if name in own else None
        why = f"the {name} is taken from {taker}" if taker else f"it holds {_says(left[name])}, not {_HOLDS[name]}"
        raise SourceError(f"{file}: column {name!r} is in the way: {why}; leave it out with `drop: [{name}]`")
