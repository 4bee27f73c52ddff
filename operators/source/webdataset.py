"""WebDataset: tar files whose members are grouped into samples by name.

The header of every member is read once; the offsets found are kept with the shards, and later passes go straight to
them. Nothing is ever unpacked to disk, so names such as `../x` do no harm; links and devices are passed over.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import IO, Final, cast

import pyarrow as pa

from ...schemas.recipe import Read
from ..decode import RowError
from .base import Rows, Scan, Shard, ShardError, Source, SourceError
from .files import MAX_TEXT_BYTES, check_unchanged, digest, find, is_folder, open_file, reading
from .records import Record, parse_json
from .samples import Member, Role, Sample, chunk_bytes, is_better, role_of, sample_runs, scan_samples
from .shape import Shape

BLOCK: Final = 512
MAX_HEADER_BYTES: Final = 1 << 20
COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
# webdataset's own rule: the key ends at the first dot of the last part of the path.
_NAME: Final = re.compile(r"((?:.*/)?[^/.]+)(\.[^/]*)\Z", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class WebDataset(Source):
    """Consecutive members whose names agree up to the first dot are a sample, and a row if it has image, text or JSON.

    The key is the JSON's `key`, else that part of the name. Other members are passed over.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        found = [entry.path for entry in find(self.place)]
        packed = [path for path in found if path.lower().endswith(COMPRESSED)]
        if packed:
            raise SourceError(
                f"{packed[0]}: compressed tars cannot be read in parts; unpack them first, as with gunzip"
            )
        tars = [path for path in found if path.lower().endswith(".tar")] if is_folder(self.place) else found
        if not tars:
            raise SourceError(f"no .tar files in {self.place!r}")
        return tars

    def scan(self, file: str) -> Scan:
        with reading(file):
            size, known = digest(file)
            with open_file(file) as handle:
                walk = _Walk(file, _Reader(handle, size, chunk_bytes(file)))
                return scan_samples(self.read, file, size, known, walk.samples(), size)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        check_unchanged(shard.file, shard.digest)
        shape = Shape(schema=schema, columns=columns, stem=PurePath(shard.file).stem)
        return shape.rows(sample_runs(shard, schema, columns, self.read, tar=True))


class _Walk:
    """Walks through a tar once, header by header."""

    def __init__(self, file: str, reader: _Reader) -> None:
        self._file, self._reader = file, reader
        self._found = self._members = 0
        self._other = ""  # a member that belongs to no sample, to show

    def samples(self) -> Iterator[Sample]:
        """The samples in order. ShardError where the tar is damaged or cut off, saying how far it could be read."""
        if self._reader.read_at(0, 2) == b"\x1f\x8b":
            raise ShardError(
                f"{self._file}: the tar is compressed and cannot be read in parts; unpack it first: gunzip"
            )
        key, members, begin = "", dict[Role, Member](), 0
        for offset, member in self._regular():
            name = _NAME.match(member.name)
            role = role_of(name[2]) if name else None
            if name is None or role is None:
                self._other = member.name
                continue
            if members and (name[1] != key or any(member.name == other.name for other in members.values())):
                yield self._sample(members, begin)
                members = {}
            if not members:
                key, begin = name[1], offset
            if role not in members or is_better(name[2], PurePosixPath(members[role].name).suffix, role):
                members[role] = member
        if members:
            yield self._sample(members, begin)
        if self._members and not self._found:
            raise ShardError(
                f"{self._file}: {self._members} members, such as {self._other!r}, but no sample: "
                f"names must be KEY.jpg, KEY.txt, KEY.json, with no other dot after the last slash"
            )

    def _sample(self, members: dict[Role, Member], begin: int) -> Sample:
        self._found += 1
        record: Record | None = None
        if "json" in members and members["json"].size <= MAX_TEXT_BYTES:
            try:
                record = parse_json(self._reader.read_at(members["json"].offset, members["json"].size))
            except RowError:  # told for the row when it is read
                record = None
        return Sample(members=members, record=record, offset=begin)

    def _regular(self) -> Iterator[tuple[int, Member]]:
        """(offset of its header, member) for each plain file in the tar."""
        at = -1
        try:
            with tarfile.open(fileobj=cast(IO[bytes], self._reader), mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
                    if info.size < 0 or tar.offset <= at:
                        raise tarfile.ReadError("a header with an impossible size")
                    at = tar.offset
                    self._members += 1
                    if info.isreg() and not info.issparse():
                        name = info.name.encode("utf-8", "backslashreplace").decode()
                        yield info.offset, Member(name=name, offset=info.offset_data, size=info.size)
                self._check_end(tar.offset)
        except (tarfile.TarError, RecursionError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise ShardError(
                f"{self._file}: the tar is damaged or cut off: {why}; {self._found} samples could be read before"
            ) from error

    def _check_end(self, offset: int) -> None:
        """tarfile takes any unreadable header, and the end of the file, for the end of the archive."""
        block = self._reader.read_at(offset, BLOCK)
        if len(block) < BLOCK:
            raise tarfile.ReadError("it has no end mark (was its writer killed?)")
        for at in range(offset, self._reader.size, MAX_HEADER_BYTES):
            if any(self._reader.read_at(at, MAX_HEADER_BYTES)):
                raise tarfile.ReadError(f"no header at byte {offset:,}, but more data")


class _Reader:
    """A file for tarfile: reads ahead by chunks, and refuses headers so long that they can only be an attack."""

    def __init__(self, handle: pa.NativeFile, size: int, chunk: int) -> None:
        self._handle, self.size, self._chunk = handle, size, chunk
        self._at = self._first = 0
        self._held = b""

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self.read_at(self._at, size)
        self._at += len(data)
        return data

    def seek(self, position: int) -> None:
        self._at = position

    def tell(self) -> int:
        return self._at

    def read_at(self, offset: int, size: int) -> bytes:
        begin = offset - self._first
        if not 0 <= begin <= begin + size <= len(self._held):
            self._first, begin = offset, 0
            self._held = bytes(self._handle.read_at(max(0, min(max(size, self._chunk), self.size - offset)), offset))
        return self._held[begin : begin + size]
