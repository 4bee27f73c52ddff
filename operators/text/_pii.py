"""Where a text has mail addresses, phone numbers and IP addresses, found in time linear in its length.

Every pattern starts where a run of its characters starts and has bounded repeats, so that a million characters of `1-`
or `a@` are a million small steps. A cheap pattern of Rust's regex engine finds the few texts worth looking at first.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import polars as pl

_SUSPICIOUS: Final = (
    r"[0-9A-Za-z_%+-]@[0-9A-Za-z]|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]*:"
    r"|(?:[0-9][ -/:-@\x{a0}\x{2010}-\x{2013}]{0,4}){6}[0-9]"
)

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9_])[A-Za-z0-9_](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_+-])?"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,24}))(?![A-Za-z0-9@_-])"
)
# photo@2x.png is no address.
_FILE_TYPES: Final = frozenset(("avif", "bmp", "gif", "heic", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp"))
_NOBODYS_DOMAIN: Final = re.compile(r"(?i)(?:.*\.)?example(?:\.(?:com|net|org))?")  # RFC 2606

_IP: Final = re.compile(
    r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])"
    r"|(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])"
)
_IP_SAID: Final = re.compile(r"(?i)\bip(?:v4)?(?: addr(?:ess)?)?[ :=(#]{1,3}\Z")
_VERSION_SAID: Final = re.compile(r"(?i)(?:\bv|\bver|version|release|firmware|driver|build|apk)[ .:]{0,2}\Z")

# One gap stands between any two digits; none of these can be read in two ways, so that nothing is tried twice.
_GAP: Final = r"(?:[-\u2010-\u2013]|[ \xa0]?(?:[().]{1,2}[ \xa0]?)?)"
_WIDE_GAP: Final = r"[ \xa0]?(?:[-.()/\u2010-\u2013]{1,2}[ \xa0]?)?"
_BEFORE: Final = r"(?<![\w.,/+=#$€£¥%&-])"
_AFTER: Final = r"(?![\w@-]|[.,:/][0-9])"
_COUNTRY: Final = (  # calling codes, ITU E.164
    r"(?:1|7|2(?:0|7|[1-6890][0-9])|3(?:[0-469]|[578][0-9])|4(?:[013-9]|2[0-9])|5(?:[1-8]|[09][0-9])"
    r"|6(?:[0-6]|[789][0-9])|8(?:[1246]|[058][0-9]|7[08])|9(?:[0-58]|6[0-8]|7[0-79]|9[234568]))"
)
_INTERNATIONAL: Final = rf"(?<![\w+])\+\(?(?={_COUNTRY})[0-9](?:{_GAP}[0-9]){{7,14}}(?![0-9@]|[.,:/][0-9])"
_AMERICAN: Final = (
    rf"{_BEFORE}(?:1[-. ])?(?:\([2-9][0-8][0-9]\)[ -]?(?=[0-9]{{3}}[-. ])|[2-9][0-8][0-9](?:-(?=...-)|\.(?=...\.)))"
    rf"[2-9][0-9]{{2}}[-. ][0-9]{{4}}{_AFTER}"
)
_PAIRS: Final = rf"{_BEFORE}0[1-9](?:(?: [0-9]{{2}}){{4}}|(?:\.[0-9]{{2}}){{4}}|(?:-[0-9]{{2}}){{4}}){_AFTER}"
_TRUNK: Final = (
    rf"{_BEFORE}(?=\(?(?:[0-9]\)?[ -]?){{9,11}}(?![ -]?[0-9]))(?:\(0[1-9][0-9]{{0,3}}\)|0[1-9][0-9]{{0,3}})"
    rf"(?:(?: [0-9]{{2,4}}){{2,3}}|(?:-[0-9]{{2,4}}){{2,3}}){_AFTER}"
)
_SAID: Final = (
    r"(?:(?<![^\W_])(?:tel|tele(?:ph|f)on[eoau]?|teléfono|téléphone|tél|phone|ph|mobile?|mob|móvil|cell|cellphone"
    r"|celular|fax|faks|call|whats ?app|viber|hotline|telefoon|tlf|puh|tālruni?s?|тел|телефон|факс|τηλ|điện thoại"
    r")(?![^\W_])|โทร(?:ศัพท์)?|電話|电话|手机|전화|هاتف|تلفن|फ़?ोन|[☎☏✆📞📱📲])"
    r"[\ufe0f.:：)]{0,2}\s?(?:(?:no|nr|number|us|at|on|now|/ ?fax|/ ?faks)\b\.?\s?){0,2}[:@#=]?\s{0,2}"
    rf"(?P<said>[+(]?[0-9](?:{_WIDE_GAP}[0-9]){{6,14}}){_AFTER}"
)
_PHONE: Final = re.compile("|".join((_SAID, _INTERNATIONAL, _AMERICAN, _PAIRS, _TRUNK)), re.IGNORECASE)
_DATE: Final = re.compile(
    r"(?:[0-3]?[0-9](?P<a>[-./ ])[0-3]?[0-9](?P=a)(?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}(?P<b>[-./ ])[01]?[0-9](?P=b)[0-3]?[0-9]"
    r"|(?:1[5-9]|20)[0-9]{2} ?[-/ \u2010-\u2013] ?(?:1[5-9]|20)[0-9]{2})(?![0-9])"
)
_FICTITIOUS: Final = re.compile(r"(?<![0-9])\(?[2-9][0-9]{2}\)?[-. ]?555[-. ]?01[0-9]{2}(?![0-9])")  # in films


class Found(NamedTuple):
    """text[start:end] is one of `kind`."""

    start: int
    end: int
    kind: str  # emails, phones or ips


def find_pii(texts: pl.Series) -> Iterator[tuple[int, str, list[Found]]]:
    """(row, text, what it has, from left to right, nothing overlapping) for the rows that have any."""
    rows = texts.str.contains(_SUSPICIOUS).arg_true()
    for row, text in zip(rows, texts.gather(rows), strict=True):
        left, found = _FICTITIOUS.sub(_hidden, text), []
        for of_kind in (_emails, _ips, _phones):  # the surest first; what one takes is hidden from the next
            new, left = of_kind(left)
            found += new
        if found:
            yield row, text, sorted(found)


def _hidden(match: re.Match[str]) -> str:
    return "\0" * len(match[0])


def _emails(text: str) -> tuple[list[Found], str]:
    found = [
        Found(*match.span(), "emails")
        for match in _EMAIL.finditer(text)
        if match[2].lower() not in _FILE_TYPES and not _NOBODYS_DOMAIN.fullmatch(match[1])
    ]
    return found, _EMAIL.sub(_hidden, text)


def _ips(text: str) -> tuple[list[Found], str]:
    found = [Found(*match.span(), "ips") for match in _IP.finditer(text) if _likely(match) and _public(match[0])]
    return found, _IP.sub(lambda match: _hidden(match) if _likely(match) else match[0], text)


def _likely(match: re.Match[str]) -> bool:
    """Not a version or a section's number."""
    before = match.string[max(match.start() - 20, 0) : match.start()]
    long = ":" in match[0] or any(len(part) == 3 for part in match[0].split("."))
    return bool(_IP_SAID.search(before) or (long and not _VERSION_SAID.search(before)))


def _public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _phones(text: str) -> tuple[list[Found], str]:
    found = []
    for match in _PHONE.finditer(text):
        start, end = match.span("said") if match["said"] else match.span()
        number = text[start:end]
        if not (_DATE.match(number) or (not match["said"] and _counts_up(number))):
            found.append(Found(start, end, "phones"))
    return found, text


def _counts_up(number: str) -> bool:
    """Whether it is a row of years or sizes: `01 02 03 04 05`."""
    groups = [int(group) for group in re.findall(r"[0-9]+", number)]
    return len(groups) > 3 and all(0 < later - earlier < 3 for earlier, later in itertools.pairwise(groups))
