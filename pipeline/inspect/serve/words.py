"""How values are put into words, and text of strangers into pages: as text, with nothing hidden in it."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"
TEXT_CHARACTERS = 400  # of a text in a list
# What is not seen, or turns the text around it: controls but tab and newline, bidi, zero-width, tags, surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKS = 4  # combining marks on one letter; more of them paint over the lines around


@functools.cache
def environment() -> jinja2.Environment:
    """Templates: what they show is escaped, and hidden characters in it are made visible."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    env.filters |= {
        "number": number,
        "share": share,
        "duration": duration,
        "size": size,
        "moment": moment,
        "counted": counted,
        "value": value,
        "short": short,
        "begin": begin,
        "segment": segment,
        "link": link,
    }
    return env


def _finalize(found: Any) -> Any:
    return visible(found) if isinstance(found, str) and not isinstance(found, Markup) else found


def visible(text: str) -> str:
    """Hidden and direction-changing characters as their code: `[U+202E]`; no letter with a tower of marks."""
    text = _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
    return text if text.isascii() else _few_marks(text)


def _few_marks(text: str) -> str:
    kept, marks = [], 0
    for letter in text:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if marks <= _MARKS:
            kept.append(letter)
    return "".join(kept)


def number(found: float | None) -> str:
    """`1,234`, `0.273`, `1.2e-07`; an en dash for nothing."""
    if found is None:
        return "–"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float) and not math.isfinite(found):
        return "NaN" if math.isnan(found) else ("∞" if found > 0 else "−∞")
    if isinstance(found, int) or (found == int(found) and abs(found) < 1e15):
        return f"{int(found):,}".replace("-", "−")
    digits = f"{found:,.4g}" if abs(found) < 1000 else f"{found:,.1f}"
    return digits.replace("-", "−") if "e" not in digits else digits


def counted(count: int, what: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def share(part: float, whole: float | None = None) -> str:
    """`12.3 %` of a share, or of a part and its whole; an en dash where there is no whole."""
    if whole is not None:
        if not whole:
            return "–"
        part = part / whole
    percent = 100 * part
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def duration(seconds: float) -> str:
    """`0.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def moment(stamp: str) -> str:
    """`2026-11-21 19:36 UTC` of an ISO 8601 date; a text that is none as it is."""
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return short(stamp, 40)


def size(count: float) -> str:
    """`1.5 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def value(found: Any, limit: int = TEXT_CHARACTERS) -> str:
    """Any cell of a table."""
    if found is None:
        return "–"
    if isinstance(found, bool | int | float):
        return number(found)
    return short(str(found), limit)


def short(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """A text's beginning, with a word on what was left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def begin(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """A text's beginning, where the whole is a click away."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()}…"


def segment(text: str) -> str:
    """One part of an address, encoded."""
    return quote(str(text), safe="")


def link(address: str | None) -> str | Markup:
    """A stranger's address: as text, to be followed by hand; only http and https lead anywhere."""
    if not address:
        return "–"
    shown = escape(visible(short(address, 160)))
    try:
        leads = urlsplit(address).scheme in ("http", "https") and not _HIDDEN.search(address)
    except ValueError:
        leads = False
    if not leads:
        return Markup('<span class="address">{}</span>').format(shown)
    rel = Markup('rel="noopener noreferrer nofollow" target="_blank"')
    return Markup('<a class="address" href="{}" {}>{}</a>').format(address, rel, shown)
