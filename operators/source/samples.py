"""Samples that lie in several files or members of a tar: an image, a text, a JSON object with more columns.

The text is that of .txt (or .caption), white space around it removed; without one, that of the JSON. A list of captions
in the JSON gives a row each. What else the JSON holds becomes columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..decode import RowError
from .base import BATCH_BYTES, BATCH_ROWS, MARK_ROWS, MEMBERS, PIECE, Mark, Piece, Scan, Shard
from .files import MAX_TEXT_BYTES, is_remote, read_pieces
from .images import PieceImages
from .names import extras, find_names, needed
from .records import Inference, Record, captions_column, extra_type, json_column, parse_json
from .shape import Run

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")  # the first that is there is the image
TEXT_SUFFIXES: Final = (".txt", ".caption")
JSON_SUFFIXES: Final = (".json",)

Role = Literal["image", "text", "json"]
_ROLES: Final[dict[Role, tuple[str, ...]]] = {"image": IMAGE_SUFFIXES, "text": TEXT_SUFFIXES, "json": JSON_SUFFIXES}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file or a member of a tar that belongs to a sample."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One source row: what belongs to it, and the JSON if it could be read."""

    members: dict[Role, Member]
    record: Record | None
    offset: int = 0  # where it begins in its tar


def role_of(suffix: str) -> Role | None:
    """What a file with this suffix is in a sample."""
    return next((role for role, suffixes in _ROLES.items() if suffix.lower() in suffixes), None)


def is_better(suffix: str, other: str, role: Role) -> bool:
    """Of two images (or texts) of a sample, is this the one to take?"""
    return _ROLES[role].index(suffix.lower()) < _ROLES[role].index(other.lower())


def scan_samples(read: Read, file: str, size: int, digest: str, samples: Iterator[Sample], end: int) -> Scan:
    """What a scan says of these samples; `end` is the offset after the last one."""
    inference, lengths = Inference(), defaultdict[str, dict[int, int]](dict)
    kept: list[list[Member]] = []
    offsets: list[int] = []
    has: set[Role] = set()
    for i, sample in enumerate(samples):
        has |= set(sample.members)
        kept.append(list(sample.members.values()))
        offsets.append(sample.offset)
        if sample.record is None:
            continue
        inference.see(sample.record)
        if "text" not in sample.members or read.text is not None:
            for name, value in sample.record.items():
                if isinstance(value, list) and len(value) > 1:
                    lengths[name][i] = len(value)
    columns = inference.schema()
    names = find_names(read, columns, file, own=("image",)) if len(columns) or read.text else {}
    counts = np.ones(len(kept), np.int64)
    for i, length in lengths[names.get("text", "")].items() if "text" in names else ():
        counts[i] = length
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    pairs = {"key", *names, *(role for role in ("image", "text") if role in has)}
    fields = [PAIR.field(name) for name in PAIR.names if name in pairs]
    fields += [pa.field(name, extra_type(columns.field(name).type)) for name in extras(names, columns, read.drop)]
    at = [*range(0, len(kept), MARK_ROWS), len(kept)] if kept else [0]
    marks = [Mark(source_row=row, row=int(first[row]), offset=[*offsets, end][row]) for row in at]
    schema, members = pa.schema(fields), _as_arrow(kept)
    return Scan(file=file, bytes=size, digest=digest, schema=schema, marks=marks, names=names, members=members)


def _as_arrow(samples: Sequence[Sequence[Member]]) -> pa.ListArray:
    flat = [member for members in samples for member in members]
    names = pa.array([member.name for member in flat], pa.string())
    numbers = (pa.array([getattr(member, field) for member in flat], pa.int64()) for field in ("offset", "size"))
    ends = np.cumsum([0, *(len(members) for members in samples)])
    pieces = pa.StructArray.from_arrays([names, *numbers], fields=list(PIECE))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pieces).cast(MEMBERS)


def sample_runs(shard: Shard, schema: pa.Schema, columns: Sequence[str], read: Read, *, tar: bool) -> Iterator[Run]:
    """The shard's samples, so many at a time that their texts fit."""
    samples = _Samples(shard, schema, columns, read, tar)
    first, held, some = shard.start, 0, list[dict[Role, Member]]()
    assert shard.members is not None
    for members in shard.members.to_pylist():
        sample: dict[Role, Member] = {}
        for member in members:
            role = role_of(PurePosixPath(member["name"]).suffix)
            assert role is not None
            sample[role] = Member(**member)
        size = sum(member.size for role, member in sample.items() if role != "image")
        if some and (len(some) == BATCH_ROWS or held + size > BATCH_BYTES):
            yield samples.run(first, some)
            first, held, some = first + len(some), 0, []
        some.append(sample)
        held += min(size, MAX_TEXT_BYTES)
    if some:
        yield samples.run(first, some)


class _Samples:
    """Reads the texts of some samples, those that are needed."""

    def __init__(self, shard: Shard, schema: pa.Schema, columns: Sequence[str], read: Read, tar: bool) -> None:
        self._shard, self._schema, self._columns, self._tar = shard, schema, columns, tar
        own = {*shard.names.values(), *(name for name in schema.names if name not in PAIR.names)}
        self._wanted = needed(shard.names, columns, sorted(own))
        self._wanted.pop("text", None)
        self._text = shard.names.get("text")
        self._json_wins = read.text is not None
        spread = shard.rows != shard.stop - shard.start
        self._reads_text = "text" in columns or spread
        self._reads_json = bool(self._wanted) or (self._reads_text and self._text is not None)

    def run(self, first: int, samples: Sequence[dict[Role, Member]]) -> Run:
        texts = self._read("text", samples) if self._reads_text else {}
        objects = self._read("json", samples) if self._reads_json else {}
        records: dict[int, Record] = {}
        broken: dict[int, RowError] = {}
        for i, data in objects.items():
            try:
                records[i] = parse_json(_bytes(data))
            except RowError as error:
                broken[i] = error
        rows = range(len(samples))
        arrays = {
            name: json_column([records.get(i, {}).get(own) for i in rows], self._schema.field(name).type)
            for name, own in self._wanted.items()
        }
        errors = dict.fromkeys(set(arrays) - {"key"}, broken)
        if self._reads_text and "text" in self._schema.names:
            captions, bad = self._captions(texts, records, broken, len(samples))
            arrays["text"] = captions_column(captions)
            errors["text"] = bad
        pieces = [self._piece(sample["image"]) if "image" in sample else None for sample in samples]
        slots = np.array([i if piece else -1 for i, piece in enumerate(pieces)], np.int64)
        stems = (next(iter(sample.values())).name for sample in samples)
        keys = pa.array([name[: -len(PurePosixPath(name).suffix)] for name in stems], pa.string())
        return Run(first=first, columns=arrays, images=PieceImages(pieces), slots=slots, paths=keys, errors=errors)

    def _captions(
        self, texts: dict[int, bytes | RowError], records: dict[int, Record], broken: dict[int, RowError], rows: int
    ) -> tuple[list[object], dict[int, RowError]]:
        """Text, or list of captions, per sample: from .txt, else from JSON (the other way round if `read` names it)."""
        captions: list[object] = []
        bad: dict[int, RowError] = {}
        for i in range(rows):
            given = records.get(i, {}).get(self._text) if self._text is not None else None
            text = texts.get(i)
            if text is None or (self._json_wins and given is not None):
                captions.append(given)
                if i in broken and self._text is not None:
                    bad[i] = broken[i]
            elif isinstance(text, RowError):
                captions.append(None)
                bad[i] = text
            else:
                captions.append(text.decode("utf-8-sig", "surrogateescape").strip())
        return captions, bad

    def _read(self, role: Role, samples: Sequence[dict[Role, Member]]) -> dict[int, bytes | RowError]:
        there = [i for i, sample in enumerate(samples) if role in sample]
        pieces = [self._piece(samples[i][role]) for i in there]
        return dict(zip(there, read_pieces(pieces, MAX_TEXT_BYTES), strict=True))

    def _piece(self, member: Member) -> Piece:
        if self._tar:
            return Piece(file=self._shard.file, offset=member.offset, size=member.size)
        return Piece(file=f"{self._shard.file.rstrip('/')}/{member.name}", size=member.size, whole=True)


def _bytes(data: bytes | RowError) -> bytes:
    if isinstance(data, RowError):
        raise data
    return data


def chunk_bytes(file: str) -> int:
    """How much of a file to read at a time when it is walked through."""
    return (8 << 20) if is_remote(file) else (64 << 10)
