"""The shard list: scan the input's files once, cut them into shards, record both in the corpus folder.

Shard ids are given in the order of the files and never again: when files were added since, their shards come after the
old ones. A corpus folder belongs to one input; another one is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..operators.source.base import Scan, Shard, Source, cut, unify
from ..schemas.corpus import FORMAT_VERSION, FOUND
from ..schemas.fields import field
from ..schemas.recipe import Read
from .store import Store

MIN_SHARD_ROWS = 256
MAX_SHARD_ROWS = 10_000
SHARDS_WANTED = 64  # a small corpus still keeps all cores busy

SOURCE = pa.schema(
    [
        field("id", pa.int32(), "the shard, append-only"),
        field("file", pa.string(), "the file it lies in"),
        field("digest", pa.string(), "of the file's size and its first and last 64 KiB"),
        field("start", pa.int64(), "first source row"),
        field("stop", pa.int64(), "source row after the last"),
        field("rows", pa.int32(), "rows, lists of captions spread"),
        field("offset", pa.int64(), "first byte", unit="bytes"),
        field("end", pa.int64(), "byte after the last", unit="bytes"),
        field("names", pa.map_(pa.string(), pa.string()), "PAIR column -> what the file calls it"),
    ]
)


class CorpusError(Exception):
    """The output folder cannot be used for this input."""


class RunError(Exception):
    """The run cannot go on: a full disk, an operator that breaks its contract, an unknown failure."""


@dataclass(frozen=True, kw_only=True)
class ShardList:
    """What the corpus reads."""

    shards: tuple[Shard, ...]
    schema: pa.Schema
    shard_rows: int

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)


def check_claim(store: Store, read: Read) -> None:
    """Is the folder this input's own, or free? Raises CorpusError. While nothing is measured it is free again."""
    for place in filter(None, read.places.values()):
        if _real(store.uri).is_relative_to(_real(place)):
            raise CorpusError(
                f"{store.uri} lies in the input {place}, so the next run would read it; give another --out"
            )
    theirs = _claimed(store)
    version = theirs.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise CorpusError(
            f"{store.uri} was made by another version of Cupel (format {version}, this is {FORMAT_VERSION}); "
            "give another --out"
        )
    if theirs.get("read") == _described(read):
        return
    if anything_measured(store):
        raise CorpusError(
            f"{store.uri} belongs to another corpus: it reads {theirs.get('read')}, and this run reads "
            f"{_described(read)}; give another --out"
        )
    store.delete("members")
    for path in ("source.parquet", "corpus.json"):
        store.delete_file(path)


def anything_measured(store: Store) -> bool:
    """Does the folder hold what a step found in its input?"""
    return any(store.files(folder) for folder in FOUND)


def _real(place: str) -> PurePath:
    return PurePath(place) if "://" in place else Path(place).resolve()


def _claimed(store: Store) -> dict[str, Any]:
    try:
        claimed: dict[str, Any] = json.loads(store.read("corpus.json"))
    except FileNotFoundError:
        return {}
    return claimed


def claim(store: Store, read: Read) -> None:
    """Make the folder this input's own."""
    mine = {"format_version": FORMAT_VERSION, "read": _described(read)}
    store.write("corpus.json", json.dumps(mine, indent=1, sort_keys=True).encode())


def _described(read: Read) -> dict[str, object]:
    return read.model_dump(mode="json", exclude_none=True)


def known_shards(store: Store) -> ShardList | None:
    """The shard list on disk, or None."""
    try:
        table = store.table("source.parquet")
    except FileNotFoundError:
        return None
    notes = table.schema.metadata
    schema = schema_of_text(notes[b"cupel:rows"])
    shards = tuple(Shard(**{**row, "names": dict(row["names"])}) for row in table.to_pylist())
    return ShardList(shards=shards, schema=schema, shard_rows=int(notes[b"cupel:shard_rows"]))


def schema_as_text(schema: pa.Schema) -> str:
    """A schema as Arrow IPC in base64."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def schema_of_text(text: str | bytes) -> pa.Schema:
    """What `schema_as_text` made."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def save_shards(store: Store, found: ShardList) -> None:
    """Publish the shard list in one piece."""
    notes = {
        "cupel:rows": schema_as_text(found.schema),
        "cupel:shard_rows": str(found.shard_rows),
    }
    rows = [
        {name: getattr(shard, name) for name in SOURCE.names} | {"names": list(shard.names.items())}
        for shard in found.shards
    ]
    store.write_table("source.parquet", pa.Table.from_pylist(rows, SOURCE.with_metadata(notes)), replace=True)


def grow(known: ShardList | None, scans: Mapping[str, Scan]) -> ShardList:
    """The shard list with the shards of newly scanned files at its end, in the order of their names."""
    new = [scans[file] for file in sorted(scans)]
    total = sum(scan.marks[-1].row for scan in new)
    shard_rows = known.shard_rows if known else min(max(-(-total // SHARDS_WANTED), MIN_SHARD_ROWS), MAX_SHARD_ROWS)
    shards = list(known.shards) if known else []
    for scan in new:
        shards += cut(scan, shard_rows, len(shards))
    schemas = ({"the corpus so far": known.schema} if known else {}) | {scan.file: scan.schema for scan in new}
    return ShardList(shards=tuple(shards), schema=unify(schemas), shard_rows=shard_rows)


def save_members(store: Store, scan: Scan) -> Scan:
    """Publish the list of a tar's or folder's members, so that neither the driver nor other shards carry it."""
    if scan.members is None:
        return scan
    store.write_table(_members_path(scan.file), pa.table({"members": scan.members}), row_group_size=MAX_SHARD_ROWS)
    return replace(scan, members=None)


def with_members(store: Store, shard: Shard) -> Shard:
    """The shard with its run of the file's members, where the file has a list of them."""
    try:
        file = store.open(_members_path(shard.file))
    except FileNotFoundError:
        return shard
    with file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        first, last = shard.start // MAX_SHARD_ROWS, (shard.stop - 1) // MAX_SHARD_ROWS
        members = parquet.read_row_groups(range(first, last + 1), use_threads=False).column("members").combine_chunks()
    begin = shard.start - first * MAX_SHARD_ROWS
    return replace(shard, members=members.slice(begin, shard.stop - shard.start))


def lend_members(store: Store, other: Store, shards: Iterable[Shard]) -> None:
    """Copy the lists of members that these shards need, for a run on a part that leaves no trace."""
    for path in {_members_path(shard.file) for shard in shards}:
        if store.exists(path):
            other.write(path, store.read(path))


def _members_path(file: str) -> str:
    return f"members/{hashlib.sha256(file.encode()).hexdigest()[:16]}.parquet"


def to_scan(source: Source, known: ShardList | None) -> list[str]:
    """Files of the input that have no shards yet."""
    seen = {shard.file for shard in known.shards} if known else set()
    return [file for file in source.files() if file not in seen]


def digest_parts(found: ShardList) -> Iterator[list[object]]:
    """What decides which rows the corpus has."""
    for shard in found.shards:
        yield [shard.id, shard.file, shard.digest, shard.start, shard.stop, shard.rows]
