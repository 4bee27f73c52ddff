"""`engine: img2dataset`: img2dataset's own Downloader, and what it says in our words.

It runs as a program of its own, by the Python that CUPEL_IMG2DATASET_PYTHON names (else by ours), and is ended when the
shard's time is over. It asks no robots.txt, knows no budgets of domains, has no cap on bytes and no deadline for a
whole request; only its sockets are kept to public addresses. Rows come when all are done. Images come as they were
sent: checks, sizes and resizing are the same as with our own fetcher.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ._addresses import on_list, vet_url
from ._fetch import FetchSettings
from ._img2dataset_child import MISSING
from ._outcome import Outcome, refused_outcome
from ._reasons import FetchError, Reason, http_reason

VERSION: Final = "1.47.0"  # whose Downloader's arguments and messages these are
PYTHON: Final = "CUPEL_IMG2DATASET_PYTHON"
THREADS: Final = 256  # img2dataset's default is as many
_CHILD: Final = Path(__file__).with_name("_img2dataset_child.py")

# What urllib and img2dataset write into `error_message`; the first that fits.
_SAID: Final = tuple((re.compile(pattern), reason) for pattern, reason in (
    (r"disallowed by X-Robots-Tag", Reason.OPTED_OUT),
    (r"is no global address", Reason.BLOCKED_ADDRESS),
    (r"Redirection to url .* is not allowed", Reason.REFUSED_URL),
    (r"would lead to an infinite loop", Reason.TOO_MANY_REDIRECTS),
    (r"unknown url type|control characters|nonnumeric port|no host given|invalid URL", Reason.INVALID_URL),
    (r"Errno -\d+\]|getaddrinfo|name resolution|'idna' codec", Reason.DNS_FAILED),
    (r"Errno (111|113|101|99)\]", Reason.CONNECT_FAILED),
    (r"urlopen error (timed out|.*handshake operation timed out)", Reason.CONNECT_TIMEOUT),
    (r"timed out", Reason.TIMEOUT),
    (r"\[SSL|SSLError|CERTIFICATE", Reason.TLS_FAILED),
    (r"IncompleteRead|Remote end closed|Errno (104|32)\]", Reason.TRUNCATED),
))  # fmt: skip


def check_installed() -> None:
    """Raises ModuleNotFoundError with the commands to install it."""
    done = subprocess.run([_python(), "-I", str(_CHILD)], input="null", text=True, capture_output=True)
    if done.returncode == MISSING:
        raise ModuleNotFoundError(
            f"engine img2dataset: {done.stderr.strip()}; pip install img2dataset=={VERSION}, or, so that its pins bind "
            f"nothing else, python3.12 -m venv FOLDER && FOLDER/bin/pip install img2dataset=={VERSION}, "
            f"and set {PYTHON}=FOLDER/bin/python"
        )
    if done.returncode:
        raise RuntimeError(f"engine img2dataset: {_python()} ended with {done.returncode}: {done.stderr[-500:]}")


def fetch_with_img2dataset(urls: Sequence[str], fetch: FetchSettings) -> Iterator[list[tuple[list[int], Outcome]]]:
    """(places, outcome) of the URLs, each distinct one fetched once, in chunks of at most 100."""
    places: dict[str, list[int]] = {}
    for place, url in enumerate(urls):
        places.setdefault(url, []).append(place)
    of = list(places.values())
    for chunk in _fetch(list(places), fetch):
        yield [(of[outcome.index], outcome) for outcome in chunk]


def _fetch(urls: list[str], fetch: FetchSettings) -> Iterator[list[Outcome]]:
    asked, refused = _vetted(urls, fetch)
    if refused:
        yield refused
    if not asked:
        return
    with tempfile.TemporaryDirectory() as name:
        missing = dict(enumerate(asked))
        error = _run(Path(name), [urls[row] for row in asked], fetch)
        for batch in _written(Path(name) / "00000.parquet"):
            yield [_outcome(missing.pop(int(found["key"])), found, fetch) for found in batch.to_pylist()]
    if missing:
        why = error or FetchError(Reason.BAD_RESPONSE, "img2dataset lost this row")
        yield [refused_outcome(row, why) for row in missing.values()]


def _vetted(urls: Sequence[str], fetch: FetchSettings) -> tuple[list[int], list[Outcome]]:
    """Rows to be asked for, and those that are not."""
    asked, refused = [], []
    for row, text in enumerate(urls):
        try:
            host = vet_url(text, fetch.allow_hosts).raw_host or ""
            if blocked := on_list(host, fetch.blocked_domains):
                raise FetchError(Reason.BLOCKED_DOMAIN, f"{blocked} is on the blocklist")
            asked.append(row)
        except FetchError as error:
            refused.append(refused_outcome(row, error))
    return asked, refused


def _run(folder: Path, urls: list[str], fetch: FetchSettings) -> FetchError | None:
    """Let it write `folder`/00000.parquet; a shard that takes too long ends as an error of all its rows."""
    table = pa.table({"url": pa.array(urls, pa.string())})
    with pa.ipc.new_file(str(folder / "urls.arrow"), table.schema) as writer:
        writer.write_table(table)
    try:
        done = subprocess.run(
            [_python(), "-I", str(_CHILD)],
            input=json.dumps(_wanted(folder, len(urls), fetch)),
            timeout=fetch.shard_timeout_s,
            text=True,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        return FetchError(Reason.NOT_REACHED, f"img2dataset was not done within {fetch.shard_timeout_s:g} s")
    if done.returncode:
        raise RuntimeError(f"img2dataset ended with {done.returncode}: {done.stderr[-1000:]}")
    return None


def _python() -> str:
    return os.environ.get(PYTHON) or sys.executable


def _wanted(folder: Path, rows: int, fetch: FetchSettings) -> Mapping[str, object]:
    """What the child is told: img2dataset's own arguments."""
    return {
        "folder": str(folder),
        "urls": str(folder / "urls.arrow"),
        "allowed": sorted(_allowed(fetch.allow_hosts), key=str),
        "resizer": {
            "image_size": 256,
            "resize_mode": "no",
            "resize_only_if_bigger": False,
            "disable_all_reencoding": True,
        },
        "downloader": {
            "thread_count": min(THREADS, fetch.connections),
            "save_caption": False,
            "extract_exif": False,
            "column_list": ["url"],
            "timeout": fetch.read_timeout_s,
            "number_sample_per_shard": max(2, rows),
            "oom_shard_count": 5,
            "compute_hash": None,
            "verify_hash_type": None,
            "encode_format": "jpg",
            "retries": fetch.retries,
            "user_agent_token": fetch.token,
            "disallowed_header_directives": sorted(fetch.refused_directives) or None,
        },
    }


def _allowed(hosts: frozenset[str]) -> set[tuple[str, int | None]]:
    """The addresses behind `allow_hosts`, with their ports."""
    found: set[tuple[str, int | None]] = set()
    for entry in hosts:
        name, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        for answer in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            found.add((str(answer[4][0]), int(port) if port else None))
    return found


def _written(path: Path) -> Iterator[pa.RecordBatch]:
    """What there is; a child that was ended has left nothing that could be read."""
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid):
        return
    with file:
        yield from file.iter_batches(100)


def _outcome(row: int, found: Mapping[str, object], fetch: FetchSettings) -> Outcome:
    body = found["jpg"]  # the column of its images, whatever they are
    if not isinstance(body, bytes):
        message = str(found["error_message"])
        reason, status = _sorted(message)
        return refused_outcome(row, FetchError(reason, message[:200], http_status=status))
    if len(body) > fetch.max_bytes:
        return refused_outcome(row, FetchError(Reason.TOO_LARGE, f"{len(body):,} bytes; at most {fetch.max_bytes:,}"))
    return Outcome(index=row, reason=Reason.OK, body=body, fetched_bytes=len(body), fetched_at=datetime.now(UTC))


def _sorted(message: str) -> tuple[Reason, int | None]:
    """The reason for an error message, and the HTTP status where it is one."""
    for pattern, reason in _SAID:
        if pattern.search(message):
            return reason, None
    if answered := re.match(r"HTTP Error (\d{3})", message):
        return http_reason(int(answered[1]), retry_after=False), int(answered[1])
    return Reason.BAD_RESPONSE, None
