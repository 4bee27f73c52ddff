"""Sources: where rows come from, read in place, shard by shard."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

from ...schemas.recipe import Read
from .base import Source, SourceError
from .cdx import Cdx
from .files import find, is_folder, is_remote
from .folder import Folder
from .names import USUAL_NAMES
from .samples import IMAGE_SUFFIXES
from .table import FORMATS, Table, format_of
from .urls import Urls, is_url, lists_urls
from .warc import LISTS, Warc, is_archive
from .warc import SUFFIXES as WARC_SUFFIXES
from .wat import SUFFIXES as WAT_SUFFIXES
from .wat import Wat, is_wat
from .webdataset import COMPRESSED, WebDataset

__all__ = ["open_source"]

_KINDS: Final[dict[str, Callable[..., Source]]] = {
    "folder": Folder,
    "table": Table,
    "webdataset": WebDataset,
    "warc": Warc,
    "wat": Wat,
    "cdx": Cdx,
    "urls": Urls,
}
_OWN_COLUMNS: Final = ("warc", "wat", "cdx", "urls")


def open_source(read: Read) -> Source:
    """The source that a recipe's `read` names; for `input` the one that fits what is there, or SourceError."""
    kind, place = next((kind, place) for kind, place in read.places.items() if place is not None)
    place = _absolute(place)
    if kind == "input":
        kind = detect(place)
    named = next((name for name in USUAL_NAMES if getattr(read, name) is not None), None)
    if named is not None and kind in _OWN_COLUMNS:
        raise SourceError(f"read.{named} names a column of a table, but this is a {kind}: its columns have names")
    if kind != "table" and read.image is not None:
        raise SourceError(f"read.image names a column of a table, but this is a {kind}: its images are files")
    folders = {name: _absolute(value) for name in ("root", "base") if (value := getattr(read, name)) is not None}
    read = read.model_copy(update=folders)
    return _KINDS[kind](place=place, read=read)


def detect(place: str) -> str:
    """The kind of source, by the suffixes of what is there.

    Tars beside tables are img2dataset's output: its tables then repeat what is in the tars.
    """
    if is_url(place):
        return "urls"
    found = [entry.path for entry in find(place)]
    if not is_folder(place) and len(found) == 1 and _kind(found[0]) is None:
        if lists_urls(found[0]):
            return "urls"
        format_of(found[0])  # by its first bytes; says so when they are no table's
        return "table"
    kinds = Counter(kind for path in found if (kind := _kind(path)) is not None)
    if kinds["webdataset"]:
        del kinds["table"]
    if len(kinds) > 1:
        counts = " and ".join(f"{number} files for `{kind}`" for kind, number in sorted(kinds.items()))
        raise SourceError(
            f"{place!r} holds {counts}; give the table or the folder of images itself, or say which is meant "
            f"in the recipe, as in `read: {{folder: {place}}}`"
        )
    if not kinds:
        known = ", ".join((".tar", *FORMATS, *WARC_SUFFIXES, *WAT_SUFFIXES, *IMAGE_SUFFIXES))
        names = ", ".join(sorted({PurePath(path).suffix or PurePath(path).name for path in found})[:8])
        raise SourceError(f"nothing to read in {place!r}: it holds {names}; these are read: {known}")
    return next(iter(kinds))


def _kind(path: str) -> str | None:
    name = path.lower()
    suffix = PurePath(name).suffix
    if suffix == ".tar" or name.endswith(COMPRESSED):
        return "webdataset"
    if is_archive(name) or name.endswith(LISTS):
        return "warc"
    if is_wat(name):
        return "wat"
    if suffix in FORMATS:
        return "table"
    return "folder" if suffix in IMAGE_SUFFIXES else None


def _absolute(place: str) -> str:
    """Workers may stand in another folder than the driver."""
    return place if is_remote(place) or is_url(place) else os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111
