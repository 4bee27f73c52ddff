"""Ranges of files far away, many at a time: by HTTP, from S3, or from a folder. What fails, fails for its row alone."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from ..decode import RowError
from .base import Piece
from .files import is_remote, read_pieces
from .images import Root

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from urllib3 import BaseHTTPResponse, PoolManager

MAX_RANGE_BYTES: Final = 64 << 20
THREADS: Final = 16
TRIES: Final = 5
CONNECT_S: Final = 10.0
READ_S: Final = 60.0
DEADLINE_S: Final = 600.0  # of a range with all its tries: 64 MiB at 110 KB/s
CHUNK_BYTES: Final = 1 << 20
MAX_WAIT_S: Final = 60  # longer than this no server may make us wait before a retry
_PASSING: Final = (403, 408, 429, 500, 502, 503, 504)  # 403 is what data.commoncrawl.org says to who asks too fast
# Names come out of tables: no scheme, no way up, nothing that a URL or a shell would read as more than a name.
_NAME: Final = re.compile(r"(?!/)(?!(?:.*/)?\.\.?(?:/|\Z))[A-Za-z0-9_./=+-]{1,1024}\Z")


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bytes [offset, offset + size) of a file below the base."""

    name: str
    offset: int
    size: int


def read_ranges(base: str, ranges: Sequence[Range]) -> list[bytes | RowError]:
    """The bytes of each range, or why there are none: invalid_row, too_large, missing_file, fetch_failed."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(functools.partial(_read, base), ranges))


def _read(base: str, wanted: Range) -> bytes | RowError:
    try:
        if not _NAME.match(wanted.name):
            raise RowError("invalid_row", f"no name of a file: {wanted.name[:200]!r}")
        if wanted.offset < 0 or wanted.size <= 0:
            raise RowError("invalid_row", f"no range of a file: {wanted.size} bytes at {wanted.offset}")
        if wanted.size > MAX_RANGE_BYTES:
            raise RowError("too_large", f"a range of {wanted.size:,} bytes; at most {MAX_RANGE_BYTES:,} are read")
        if base.startswith(("http://", "https://")):
            return _from_http(urljoin(base.rstrip("/") + "/", wanted.name), wanted)
        return _from_s3(base, wanted) if is_remote(base) else _from_folder(base, wanted)
    except RowError as error:
        return error.bare()


def _from_folder(folder: str, wanted: Range) -> bytes:
    piece = Root(folder=folder).piece(wanted.name)
    if isinstance(piece, Piece):
        (data,) = read_pieces([replace(piece, offset=wanted.offset, size=wanted.size)], MAX_RANGE_BYTES)
        if isinstance(data, bytes):
            return data
        raise data
    raise piece or RowError("missing_file", wanted.name)


def _from_s3(base: str, wanted: Range) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = base.removeprefix("s3://").strip("/").partition("/")
    key = f"{prefix}/{wanted.name}" if prefix else wanted.name
    try:
        answer = _s3_client().get_object(Bucket=bucket, Key=key, Range=_header(wanted))
        data = answer["Body"].read(wanted.size + 1)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise _failure(f"s3://{bucket}/{key}", status) from error
    except BotoCoreError as error:
        raise RowError("fetch_failed", f"s3://{bucket}/{key}: {error}"[:300], transient=True) from error
    return _whole(data, wanted)


def _from_http(url: str, wanted: Range) -> bytes:
    from urllib3.exceptions import HTTPError

    end = time.monotonic() + DEADLINE_S
    headers = {"Range": _header(wanted), "Accept-Encoding": "identity"}
    for left in reversed(range(TRIES)):
        try:  # urllib3 itself tries connections and passing statuses again, up to where the body begins
            answer = _http_pool().request("GET", url, headers=headers, preload_content=False, redirect=False)
        except HTTPError as error:
            raise RowError("fetch_failed", f"{url}: {error}"[:300], transient=True) from error
        try:
            if answer.status != 206:
                raise _failure(url, answer.status)
            return _whole(_body(answer, wanted.size + 1, end), wanted)
        except (HTTPError, TimeoutError) as error:
            if not left or time.monotonic() > end:
                raise RowError("fetch_failed", f"{url}: {error}"[:300], transient=True) from error
        finally:
            answer.release_conn() if answer.length_remaining == 0 else answer.close()
    raise AssertionError("the last try returns or raises")


def _body(answer: BaseHTTPResponse, most: int, end: float) -> bytes:
    """Up to `most` bytes as they come: a server that drips gets no further than the time that there is."""
    parts, size = list[bytes](), 0
    while size < most and (part := answer.read1(min(most - size, CHUNK_BYTES))):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError(f"no end after {DEADLINE_S:g} s and {size:,} bytes")
    return b"".join(parts)


def _header(wanted: Range) -> str:
    return f"bytes={wanted.offset}-{wanted.offset + wanted.size - 1}"


def _failure(where: str, status: int) -> RowError:
    if status in (404, 410, 416):
        return RowError("missing_file", f"{where}: HTTP status {status}")
    return RowError("fetch_failed", f"{where}: HTTP status {status}", transient=status in _PASSING)


def _whole(data: bytes, wanted: Range) -> bytes:
    if len(data) != wanted.size:
        raise RowError("truncated", f"{wanted.name} gave {len(data):,} bytes of {wanted.size:,}")
    return data


@functools.lru_cache(maxsize=1)
def _http_pool() -> PoolManager:
    from urllib3 import PoolManager, Retry, Timeout

    retry = Retry(
        total=TRIES - 1,
        redirect=False,
        status_forcelist=_PASSING,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        backoff_max=MAX_WAIT_S,
        retry_after_max=MAX_WAIT_S,
        raise_on_status=False,
    )
    return PoolManager(maxsize=THREADS, retries=retry, timeout=Timeout(connect=CONNECT_S, read=READ_S))


@functools.lru_cache(maxsize=1)
def _s3_client() -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 2 * TRIES},
        max_pool_connections=THREADS,
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
    )
    return boto3.client("s3", config=config)
