"""The contract of a source: files are scanned once and cut into shards; a shard is read again and again, in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ...schemas.pair import PAIR
from ..decode import RowError

MARK_ROWS = 256  # a scan notes its place every so many source rows; shards begin at marks
BATCH_BYTES = 64 << 20  # a batch of rows holds at most about so much, images not counted
BATCH_ROWS = 4096

PIECE: Final = pa.struct(
    [
        ("name", pa.string()),  # of a member of a tar, or of a file below its folder
        ("offset", pa.int64()),
        ("size", pa.int64()),
    ]
)
MEMBERS: Final = pa.list_(PIECE)  # one list per source row: its image and the texts beside it


class SourceError(Exception):
    """The input as a whole cannot be read: nothing there, columns not found, a format that is not supported."""


class ShardError(Exception):
    """One file or shard cannot be read (damaged, gone, changed since it was scanned); the others can."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Where the bytes of one image or text lie: a whole file, or a run of bytes in one (a member of a tar)."""

    file: str
    offset: int = 0
    size: int | None = None  # None: to the end of the file
    whole: bool = False  # it is the whole file: another size now means that the file has changed


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place where a shard may begin: source rows, rows (a list of captions gives several) and bytes before it."""

    source_row: int
    row: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one pass over a file found. The first mark stands at the file's first row, the last one at its end."""

    file: str
    bytes: int
    digest: str  # of the size and the first and last 64 KiB; for a folder: of its files' names and sizes
    schema: pa.Schema  # the columns of its rows, `image` (large_binary) included when it has images
    marks: Sequence[Mark]
    names: Mapping[str, str] = field(default_factory=dict)  # PAIR column -> what the file calls it
    members: pa.ListArray | None = None  # MEMBERS, where the source must list them (tar, folder)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A fixed run of source rows. Ids are given once, in order, and never again."""

    id: int
    file: str
    digest: str
    start: int  # source rows [start, stop) of the file
    stop: int
    rows: int  # rows after lists of captions were spread
    offset: int  # bytes [offset, end) of the file, for the sources that seek
    end: int
    names: Mapping[str, str] = field(default_factory=dict)  # as in Scan
    members: pa.ListArray | None = None  # MEMBERS of the source rows [start, stop)


class Images(Protocol):
    """The images of a batch, by slot. Nothing is read before it is asked for."""

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        """Encoded bytes, None where the row has no image; ShardError where the shard's file turns out to be damaged.

        Slots ascend, over all calls on this object too; asking for an earlier one is allowed, but may be slow.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A run of a shard's rows: `table` holds the columns asked for (never `image`); row i has the image slots[i].

    There are len(slots) rows, also when no column was asked for and `table` is empty.
    """

    first: int  # row number in the shard of the table's first row
    table: pa.Table
    images: Images
    slots: np.ndarray  # int64, ascending; -1 where the row has no image
    errors: dict[str, dict[int, RowError]] = field(default_factory=dict)  # column -> row of this table -> error


class Source(ABC):
    """Reads one kind of input. Instances are small and travel to workers."""

    @abstractmethod
    def files(self) -> list[str]:
        """The files to scan, sorted; raises SourceError when there is none. Listings only."""

    @abstractmethod
    def scan(self, file: str) -> Scan:
        """One pass over a file (footers only where that suffices).

        Raises ShardError when the file cannot be read, SourceError when it does not have the columns asked for.
        """

    @abstractmethod
    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        """The shard's rows in order, in batches, with these columns in the types of `schema` (a file that lacks a
        column gives nulls). Raises ShardError when the file has changed since it was scanned or cannot be read."""


def cut(scan: Scan, shard_rows: int, first_id: int) -> list[Shard]:
    """Shards between marks: each ends at the first mark where it has `shard_rows` rows; the last one may be shorter."""
    shards: list[Shard] = []
    begin = scan.marks[0]
    for mark in scan.marks[1:]:
        if mark.row - begin.row >= shard_rows or (mark is scan.marks[-1] and mark.row > begin.row):
            shards.append(_shard(scan, begin, mark, first_id + len(shards)))
            begin = mark
    return shards


def _shard(scan: Scan, begin: Mark, end: Mark, number: int) -> Shard:
    members = None
    if scan.members is not None:
        # concat_arrays copies: a slice would drag all the members of the file along when it is pickled.
        members = pa.concat_arrays([scan.members.slice(begin.source_row, end.source_row - begin.source_row)])
    return Shard(
        id=number,
        file=scan.file,
        digest=scan.digest,
        start=begin.source_row,
        stop=end.source_row,
        rows=end.row - begin.row,
        offset=begin.offset,
        end=end.offset,
        names=scan.names,
        members=members,
    )


def unify(schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """One schema for all files (file -> schema): PAIR columns first, the others in order of appearance.

    Whole numbers become floats where another file has floats, numbers become strings where another file has strings; a
    column that is null everywhere is a string. SourceError names file and column where types cannot be reconciled.
    """
    found: dict[str, tuple[pa.Field, str]] = {}
    for file, schema in schemas.items():
        for column in schema:
            earlier, where = found.get(column.name, (column, file))
            common = _common(earlier.type, column.type)
            if common is None:
                raise SourceError(
                    f"{file}: column {column.name!r} is {column.type}, but {earlier.type} in {where}; "
                    f"convert one of them, or leave it out with `drop: [{column.name}]`"
                )
            found[column.name] = (earlier if common == earlier.type else earlier.with_type(common), where)
    names = [*(name for name in PAIR.names if name in found), *(name for name in found if name not in PAIR.names)]
    columns = (PAIR.field(name) if name in PAIR.names else found[name][0] for name in names)
    return pa.schema([column.with_type(pa.string()) if types.is_null(column.type) else column for column in columns])


def _common(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, or None."""
    if one == two or types.is_null(two):
        return one
    if types.is_null(one):
        return two
    if types.is_integer(one) and types.is_integer(two):
        return pa.int64() if types.is_signed_integer(one) or types.is_signed_integer(two) else pa.uint64()
    if _is_number(one) and _is_number(two):
        return pa.float64()
    if all(_is_string(type) or _is_number(type) or types.is_boolean(type) for type in (one, two)):
        large = types.is_large_string(one) or types.is_large_string(two)
        return (pa.large_string() if large else pa.string()) if _is_string(one) or _is_string(two) else None
    if all(types.is_binary(type) or types.is_large_binary(type) for type in (one, two)):
        return pa.large_binary()
    return None


def _is_number(type: pa.DataType) -> bool:
    return bool(types.is_integer(type) or types.is_floating(type))


def _is_string(type: pa.DataType) -> bool:
    return bool(types.is_string(type) or types.is_large_string(type))
