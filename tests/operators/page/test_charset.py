"""Bytes to text as browsers do it."""

from __future__ import annotations

import pytest

from cupel.operators.page._charset import to_text

RUSSIAN = "<p>Порт был построен в 1842 году, задолго до железной дороги.</p>"
JAPANESE = "<p>港は鉄道が来るずっと前の1842年に建設されました。</p>"


@pytest.mark.parametrize(
    ("text", "charset", "meta", "header"),
    [
        ("<p>é</p>", "utf-8", "", None),
        ("<p>é</p>", "utf-8-sig", "", "text/html; charset=iso-8859-1"),  # the BOM knows best
        ("<p>é</p>", "utf-16", "", None),
        ("<p>é €</p>", "cp1252", "", "text/html; charset=ISO-8859-1"),  # which means windows-1252 on the web
        ("<p>é €</p>", "cp1252", '<meta charset="latin1">', None),
        ("<p>é €</p>", "cp1252", "", None),
        (RUSSIAN, "cp1251", "", 'text/html; charset="windows-1251"'),
        (RUSSIAN, "cp1251", '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">', "text/html"),
        (RUSSIAN, "cp1251", "", None),  # found by what it looks like
        (RUSSIAN, "koi8-r", "<meta charset=koi8-r>", None),
        (RUSSIAN, "utf-8", "<meta charset=windows-1251>", None),  # a lie that valid UTF-8 proves
        (RUSSIAN, "cp1251", "", "text/html; charset=utf-8"),  # another
        (JAPANESE, "shift_jis", "<meta charset=x-sjis>", None),
        (JAPANESE, "euc_jp", "", None),
        (JAPANESE, "iso2022_jp", "<meta charset=iso-2022-jp>", None),
        ("<p>é</p>", "utf-8", "<meta charset=utf-16>", None),  # it could not have been read
        ("<p>é</p>", "utf-8", "<meta charset=no-such-thing>", "text/html; charset=nor-this"),
        ("<p>é</p>", "utf-8", "<meta charset=base64>", None),  # Python's codecs that are no charsets
        ("<p>+AGE-</p>", "ascii", "<meta charset=utf-7>", None),
    ],
)
def test_charsets(text, charset, meta, header):
    assert to_text((meta + text).encode(charset), header) == meta + text


def test_a_few_broken_characters_do_not_make_it_another_charset():
    broken = RUSSIAN.encode() + b"\xd0"
    assert to_text(broken) == RUSSIAN + "\ufffd"


@pytest.mark.parametrize("html", [b"", b"\xff", bytes(range(256)) * 9, b"<meta charset", b"\xfe\xff\xd8"])
def test_any_bytes_are_text(html):
    assert isinstance(to_text(html), str)
