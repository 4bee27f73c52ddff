"""How a URL ended: what the fetcher hands over."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from yarl import URL

from ._reasons import FetchError, Reason

DATA_URL_BYTES: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a URL ended. `index`: its place among those asked for."""

    index: int
    reason: Reason
    message: str = ""
    transient: bool = False
    http_status: int | None = None
    final_url: str | None = None
    body: bytes = b""
    fetched_bytes: int | None = None
    content_type: str = ""
    opt_out: str | None = None
    fetched_at: datetime | None = None
    fetch_s: float | None = None


def refused_outcome(index: int, error: FetchError, url: URL | None = None, *, asked: bool = False) -> Outcome:
    """`asked`: somebody was."""
    opted = error.reason in (Reason.OPTED_OUT, Reason.ROBOTS_DISALLOWED, Reason.ROBOTS_UNREACHABLE)
    return Outcome(
        index=index,
        reason=error.reason,
        message=error.message,
        transient=error.transient,
        http_status=error.http_status,
        final_url=None if url is None else str(url),
        opt_out=error.message if opted else None,
        fetched_at=datetime.now(UTC) if asked else None,
    )


def of_data_url(index: int, text: str, max_bytes: int) -> Outcome:
    """RFC 2397: the bytes stand in the URL."""
    if len(text) > 2 * DATA_URL_BYTES:
        raise FetchError(Reason.REFUSED_URL, f"a data: URL of {len(text):,} characters")
    head, comma, data = text[5:].partition(",")
    if not comma:
        raise FetchError(Reason.INVALID_URL, "a data: URL without a comma")
    body = unquote_to_bytes(data)
    if head.lower().endswith(";base64"):
        try:
            body = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise FetchError(Reason.INVALID_URL, f"data: {error}") from None
    if len(body) > min(DATA_URL_BYTES, max_bytes):
        raise FetchError(Reason.REFUSED_URL, f"a data: URL of {len(body):,} bytes; at most {DATA_URL_BYTES:,}")
    return Outcome(
        index=index,
        reason=Reason.OK,
        body=body,
        fetched_bytes=len(body),
        content_type=head.partition(";")[0][:200],
    )
