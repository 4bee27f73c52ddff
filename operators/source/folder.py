"""A folder of images, each with a .txt or a .json of the same name beside it, or neither."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from ...schemas.recipe import Read
from ..decode import RowError
from .base import Piece, Rows, Scan, Shard, ShardError, Source, SourceError
from .files import MAX_TEXT_BYTES, find, is_folder, read_pieces
from .records import Record, parse_json
from .samples import IMAGE_SUFFIXES, Member, Role, Sample, is_better, role_of, sample_runs, scan_samples
from .shape import Shape

SOME: int = 256  # .json files read at a time


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """An image is a row, subfolders included, by path; its key is the path below the folder without the suffix.

    Texts without an image are no rows: a folder's README.txt is no sample.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        if not is_folder(self.place):
            find(self.place)  # says what is there instead
            raise SourceError(
                f"{self.place!r} is no folder; for one file or a pattern use read.table or read.webdataset"
            )
        if not any(PurePosixPath(entry.path).suffix.lower() in IMAGE_SUFFIXES for entry in find(self.place)):
            raise SourceError(f"no images in {self.place!r}; {', '.join(IMAGE_SUFFIXES)} are read")
        return [self.place]

    def scan(self, file: str) -> Scan:
        listed = _listed(file)
        names = hashlib.blake2b(digest_size=16)
        for member in listed:
            names.update(f"{member.name}\n{member.size}\n".encode())
        size = sum(member.size for member in listed)
        return scan_samples(self.read, file, size, names.hexdigest(), _samples(file, listed), 0)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        shape = Shape(schema=schema, columns=columns, stem=PurePosixPath(shard.file).name)
        return shape.rows(sample_runs(shard, schema, columns, self.read, tar=False))


def _listed(folder: str) -> list[Member]:
    """Images and texts below the folder, by path."""
    try:
        entries = find(folder)
    except SourceError as error:
        raise ShardError(str(error)) from error
    cut = len(folder.rstrip("/")) + 1
    members = [Member(name=entry.path[cut:], offset=0, size=entry.size) for entry in entries]
    odd = next((member.name for member in members if not member.name.isprintable()), None)
    if odd is not None:
        raise ShardError(f"{folder}: the name {odd!r} is not plain UTF-8 text; rename the file")
    return [member for member in members if role_of(PurePosixPath(member.name).suffix)]


def _samples(folder: str, listed: Sequence[Member]) -> Iterator[Sample]:
    beside: dict[str, dict[Role, Member]] = {}
    images: list[tuple[str, Member]] = []
    for member in listed:
        path = PurePosixPath(member.name)
        stem, role = member.name[: -len(path.suffix)], role_of(path.suffix)
        assert role is not None
        if role == "image":
            images.append((stem, member))
            continue
        others = beside.setdefault(stem, {})
        if role not in others or is_better(path.suffix, PurePosixPath(others[role].name).suffix, role):
            others[role] = member
    for start in range(0, len(images), SOME):
        some = [{"image": image, **beside.get(stem, {})} for stem, image in images[start : start + SOME]]
        yield from _with_records(folder, some)


def _with_records(folder: str, samples: Sequence[dict[Role, Member]]) -> Iterator[Sample]:
    there = [i for i, members in enumerate(samples) if "json" in members]
    pieces = [Piece(file=f"{folder.rstrip('/')}/{samples[i]['json'].name}") for i in there]
    read = dict(zip(there, read_pieces(pieces, MAX_TEXT_BYTES), strict=True))
    for i, members in enumerate(samples):
        yield Sample(members=members, record=_record(read.get(i)))


def _record(data: bytes | RowError | None) -> Record | None:
    if data is None or isinstance(data, RowError):
        return None
    try:
        return parse_json(data)
    except RowError:  # told for the row when it is read
        return None
