"""Files on a local disk or on S3: list them, know them again, read ranges of them.

S3 goes through Arrow's own client, which takes credentials where the AWS tools take them; AWS_ENDPOINT_URL_S3 (or
AWS_ENDPOINT_URL) and AWS_REGION (or AWS_DEFAULT_REGION) are honoured and keep it from asking the network for either.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from ..decode import RowError
from .base import Piece, ShardError, SourceError

DIGEST_BYTES: Final = 64 << 10
MAX_IMAGE_BYTES: Final = 64 << 20
MAX_TEXT_BYTES: Final = 16 << 20
REQUEST_BYTES: Final = 32 << 20
REMOTE_GAP_BYTES: Final = 1 << 20  # a request to S3 costs as much time as reading about 1 MiB
LOCAL_GAP_BYTES: Final = 16 << 10
REMOTE_THREADS: Final = 16

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that a listing found."""

    path: str
    size: int


def is_remote(path: str) -> bool:
    """Is it on S3?"""
    return path.startswith("s3://")


@functools.lru_cache(maxsize=1)
def s3_filesystem() -> fs.S3FileSystem:
    """Arrow's S3 client as the environment describes it; one per process."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if endpoint else None)
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=10)  # SLOW_DOWN comes when many workers begin at once
    if endpoint is None:
        return fs.S3FileSystem(region=region, retry_strategy=retry)
    parts = urlsplit(endpoint)
    return fs.S3FileSystem(region=region, retry_strategy=retry, endpoint_override=parts.netloc, scheme=parts.scheme)


def open_file(path: str) -> pa.NativeFile:
    """Open for random access; FileNotFoundError if there is none."""
    if is_remote(path):
        return s3_filesystem().open_input_file(path.removeprefix("s3://"))
    return pa.OSFile(path)


@contextmanager
def reading(file: str) -> Iterator[None]:
    """What goes wrong in this block makes the file unreadable, but for faults of the network, which may pass."""
    try:
        yield
    except FileNotFoundError as error:
        raise ShardError(f"{file}: the file is gone") from error
    except (OSError, pa.ArrowException) as error:
        if is_remote(file) and isinstance(error, OSError) and "AWS Error" in str(error):
            raise
        raise ShardError(f"{file}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0].split(". Detail:")[0]


def digest(path: str) -> tuple[int, str]:
    """(size, digest of the size and the first and last 64 KiB): what a file is known by, for the price of two reads."""
    with open_file(path) as file:
        size = int(file.size())
        head = file.read_at(min(size, DIGEST_BYTES), 0)
        tail = file.read_at(min(size, DIGEST_BYTES), max(0, size - DIGEST_BYTES))
    return size, hashlib.blake2b(size.to_bytes(8, "little") + head + tail, digest_size=16).hexdigest()


def check_unchanged(file: str, expected: str) -> None:
    """ShardError when this is not the file that was scanned."""
    with reading(file):
        found = digest(file)[1]
    if found != expected:
        raise ShardError(f"{file}: the file has changed since it was scanned")


# Listing


def find(place: str) -> list[Entry]:
    """The files that a path, a folder (recursively) or a pattern (`data/*.tar`, `**` crosses folders) names, by path.

    Hidden files and folders are left out. SourceError when nothing is there.
    """
    found = _find_remote(place) if is_remote(place) else _find_local(place)
    if not found:
        raise SourceError(f"nothing matches {place!r}" if _is_pattern(place) else f"no files in {place!r}")
    return sorted(found, key=lambda entry: entry.path)


def is_folder(place: str) -> bool:
    """Is it a folder, and not a file or a pattern?"""
    if is_remote(place):
        kind = s3_filesystem().get_file_info(place.removeprefix("s3://").rstrip("/")).type
        return bool(kind == fs.FileType.Directory)
    return Path(place).is_dir()


def _is_pattern(place: str) -> bool:
    return any(character in place for character in "*?[")


def _find_local(place: str) -> list[Entry]:
    path = Path(place)
    if path.is_dir():
        return list(_walk(place, set()))
    if path.is_file():
        return [Entry(path=place, size=path.stat().st_size)]
    if not _is_pattern(place):
        raise SourceError(f"no such file or folder: {place!r}{_neighbours(path)}")
    anchor = path.anchor or "."
    matches = (match for match in Path(anchor).glob(str(path.relative_to(path.anchor))) if match.is_file())
    plain = (match for match in matches if not _is_hidden(str(match)[len(_fixed_part(place)) :]))
    return [Entry(path=str(match), size=match.stat().st_size) for match in plain]


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    return re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f" ({str(path.parent)!r} is not there either)"
    names = sorted(other.name for other in path.parent.iterdir() if not other.name.startswith("."))[:8]
    return f"; {str(path.parent)!r} holds {', '.join(names)}" if names else f"; {str(path.parent)!r} is empty"


def _walk(folder: str, seen: set[str]) -> Iterator[Entry]:
    """Links to folders are followed, each folder once: a link to a parent would never end."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    except PermissionError as error:
        raise SourceError(f"{folder}: this folder may not be read") from error
    for entry in listed:
        if entry.is_dir():
            yield from _walk(entry.path, seen)
        elif entry.is_file():
            yield Entry(path=entry.path, size=entry.stat().st_size)


def _find_remote(place: str) -> list[Entry]:
    inner = place.removeprefix("s3://").rstrip("/")
    base = _fixed_part(inner) if _is_pattern(inner) else inner
    if not base:
        raise SourceError(f"{place!r} does not name a bucket")
    try:
        info = s3_filesystem().get_file_info(inner) if base == inner else None
        if info is not None and info.type == fs.FileType.File:
            return [Entry(path=place, size=info.size)]
        if info is not None and info.type == fs.FileType.NotFound:
            raise SourceError(f"no such file or folder: {place!r}")
        below = s3_filesystem().get_file_info(fs.FileSelector(base, recursive=True))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceError(f"{place}: {_first_line(error)}") from error
    fits = _pattern(inner) if base != inner else re.compile("")
    plain = (info for info in below if info.type == fs.FileType.File and not _is_hidden(info.path.removeprefix(base)))
    return [Entry(path=f"s3://{info.path}", size=info.size) for info in plain if fits.match(info.path)]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _pattern(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay within a folder, `**` does not, as in glob."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part) or _class_or_text(part) for part in parts) + r"\Z", re.DOTALL)


def _class_or_text(part: str) -> str:
    return fnmatch.translate(part)[4:-3] if part.startswith("[") else re.escape(part)


# Reading ranges


def read_pieces(pieces: Sequence[Piece], limit: int) -> list[bytes | RowError]:
    """The bytes of each piece, or why there are none. Neighbours in a file come with one request."""
    results: list[bytes | RowError] = [RowError("too_large", f"more than {limit >> 20} MiB")] * len(pieces)
    fit = [i for i, piece in enumerate(pieces) if piece.size is None or piece.size <= limit]
    runs = list(_runs(pieces, sorted(fit, key=lambda i: (pieces[i].file, pieces[i].offset))))
    remote = any(is_remote(pieces[run[0]].file) for run in runs)
    read = _each(lambda run: _read_run([pieces[i] for i in run], limit), runs, remote)
    for run, found in zip(runs, read, strict=True):
        for i, data in zip(run, found, strict=True):
            results[i] = data
    return results


def _each(call: Callable[[T], R], items: Sequence[T], remote: bool) -> Iterable[R]:
    """`map`, with many at a time where each waits for the network."""
    if not remote or len(items) < 2:
        return map(call, items)
    with ThreadPoolExecutor(REMOTE_THREADS) as pool:
        return list(pool.map(call, items))


def _runs(pieces: Sequence[Piece], order: Sequence[int]) -> Iterator[list[int]]:
    """Indices of pieces that lie close together in one file, up to 32 MiB a run."""
    run: list[int] = []
    for i in order:
        if run and not _joins(pieces[run[0]], pieces[run[-1]], pieces[i]):
            yield run
            run = []
        run.append(i)
    if run:
        yield run


def _joins(first: Piece, last: Piece, piece: Piece) -> bool:
    if piece.file != first.file or piece.size is None or last.size is None or piece.whole or first.whole:
        return False
    gap = REMOTE_GAP_BYTES if is_remote(piece.file) else LOCAL_GAP_BYTES
    near = piece.offset - (last.offset + last.size) < gap
    return near and piece.offset + piece.size - first.offset <= REQUEST_BYTES


def _read_run(pieces: Sequence[Piece], limit: int) -> list[bytes | RowError]:
    first = pieces[0]
    path = first.file
    try:
        with open_file(path) as file:
            size = int(file.size())
            if first.whole and first.size != size:
                return [RowError("unreadable_file", f"{path}: the file has changed since it was scanned")]
            if first.size is None and size - first.offset > limit:
                return [RowError("too_large", f"{path}: {size - first.offset:,} bytes; at most {limit:,} are read")]
            ends = [size if piece.size is None else piece.offset + piece.size for piece in pieces]
            data = _read_range(file, first.offset, max(first.offset, min(size, max(ends))))
    except FileNotFoundError:
        return [RowError("missing_file", path)] * len(pieces)
    except OSError as error:
        return [RowError("unreadable_file", f"{path}: {_first_line(error)}", transient=is_remote(path))] * len(pieces)
    if len(pieces) == 1 and len(data) == ends[0] - first.offset:
        return [data]
    parts = [data[piece.offset - first.offset : end - first.offset] for piece, end in zip(pieces, ends, strict=True)]
    return [
        part if len(part) == end - piece.offset else RowError("unreadable_file", f"{path}: it ends before byte {end:,}")
        for part, piece, end in zip(parts, pieces, ends, strict=True)
    ]


def _read_range(file: pa.NativeFile, begin: int, end: int) -> bytes:
    if end - begin <= REQUEST_BYTES:
        return bytes(file.read_at(end - begin, begin))
    steps = range(begin, end, REQUEST_BYTES)
    return b"".join(file.read_at(min(REQUEST_BYTES, end - at), at) for at in steps)
