"""How long to wait before asking again."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_REST_S: Final = 60.0  # however long a Retry-After or a Crawl-delay is


def pause_s(attempts: int) -> float:
    """Before the next attempt at a URL: about 0.5 s, 1 s, 2 s, and never the same for two."""
    return min(MAX_REST_S, 0.5 * 2.0 ** (attempts - 1)) * (0.5 + random.random())


def rest_s(retry_after: str | None, before: int) -> float:
    """What Retry-After asks a domain's visitors for, capped; 1 s, 2 s, 4 s ... where it says nothing."""
    wanted = 2.0 ** min(before, 6)
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        wanted = float(text[:9])
    elif text:
        with suppress(ValueError, TypeError, OverflowError):  # neither seconds nor a date
            wanted = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    return min(max(wanted, 0.5), MAX_REST_S)
