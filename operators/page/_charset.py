"""Bytes of a page to text, by what a browser would look at: BOM, Content-Type, meta charset, then the bytes."""

from __future__ import annotations

import codecs
import re
from typing import Final

from chardetng_py import detect

_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_IN_HEADER: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:+-]{1,40})", re.IGNORECASE)
_META: Final = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:+-]{1,40})", re.IGNORECASE)
_PRESCAN_BYTES: Final = 4096  # the standard asks for 1024; pages put comments and scripts before
_DETECT_BYTES: Final = 100_000

# Labels that Python does not know, and names whose meaning on the web (WHATWG Encoding) is another one than Python's.
_LABELS: Final = {
    "x-gbk": "gbk",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ks_c_5601-1987": "cp949",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "x-mac-roman": "mac_roman",
    "iso-8859-8-i": "iso8859-8",
}
_WEB: Final = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_NEVER: Final = frozenset(("utf-7", "unicode_escape", "raw_unicode_escape", "punycode", "idna", "undefined"))
_ASCII_IS_ASCII_IN: Final = re.compile(r"(?!utf-16|utf-32|iso2022|hz$)")  # charsets of which UTF-8 could be told apart


def to_text(html: bytes, content_type: str | None = None) -> str:
    """The page as text; bytes that the charset does not have become U+FFFD.

    What is declared gives way to what the bytes are: to UTF-8 where they are valid UTF-8 beyond ASCII, which hardly
    happens by chance, and to what they look like where UTF-8 is declared and they are not.
    """
    for mark, name in _BOMS:
        if html.startswith(mark):
            return html[len(mark) :].decode(name, "replace")
    declared = _declared(html, content_type)
    if declared is None or _ASCII_IS_ASCII_IN.match(declared):
        try:
            text = html.decode()
        except UnicodeDecodeError:
            declared = None if declared == "utf-8" else declared
        else:
            return text  # ASCII is the same in all of these
    return html.decode(declared or _looks_like(html), "replace")


def _declared(html: bytes, content_type: str | None) -> str | None:
    """Python's name of the charset that the header, else the page, declares; None where there is none known."""
    header = _IN_HEADER.search(content_type or "")
    if header and (name := _known(header[1])):
        return name
    meta = _META.search(html, 0, _PRESCAN_BYTES)
    name = _known(meta[1].decode("ascii", "ignore")) if meta else None
    return "utf-8" if name is not None and name.startswith(("utf-16", "utf-32")) else name  # or it had not been found


def _known(label: str) -> str | None:
    """Python's name for a charset, as the web means it; None for codecs that are no charset of the web."""
    try:
        "".encode(_LABELS.get(label.lower(), label))  # refuses codecs that are not for text: base64, zlib
        name = codecs.lookup(_LABELS.get(label.lower(), label)).name
    except (LookupError, UnicodeError, ValueError):
        return None
    return None if name in _NEVER else _WEB.get(name, name)


def _looks_like(html: bytes) -> str:
    """UTF-8 where all but a few characters are (pages are cut off, or pasted together), else what Firefox would say."""
    text = html[:_DETECT_BYTES].decode("utf-8", "replace")
    bad, other = text.count("\ufffd"), sum(c > "\x7f" for c in text)
    return "utf-8" if bad * 20 < other else _known(detect(html[:_DETECT_BYTES])) or "cp1252"
