"""What a page says of itself."""

from __future__ import annotations

import pytest

from cupel.operators.page._page import document

ALL = ("noai", "noimageai", "noindex", "tdm-reservation")


def about(head: str, told: tuple[str, ...] = ALL):
    return document(f"{head}<p>x</p>".encode(), "https://example.org/a/", None, told)[0]


@pytest.mark.parametrize(
    ("head", "evidence"),
    [
        ("", None),
        ("<meta name=robots content='index, follow'>", None),
        ("<meta name=robots content='noai, noimageai'>", "meta robots: noai, noimageai"),
        ("<META NAME=' Robots' CONTENT='NoAI'>", "meta robots: NoAI"),
        ("<meta name=robots content=none>", "meta robots: none"),  # noindex, nofollow
        ("<meta name=googlebot content=noindex>", "meta googlebot: noindex"),
        ("<meta name=cupel content=noimageai>", "meta cupel: noimageai"),
        ("<meta name=bingbot content=noindex>", None),  # another crawler
        ("<meta name=tdm-reservation content=1>", "meta tdm-reservation: 1"),
        ("<meta name=tdm-reservation content=0>", None),
        (
            "<meta name=robots content=noai><meta name=tdm-reservation content=1>",
            "meta robots: noai; meta tdm-reservation: 1",
        ),
    ],
)
def test_opt_outs_are_told_as_the_page_has_them(head, evidence):
    assert about(head).opt_out == evidence


def test_only_those_asked_for_count():
    assert about("<meta name=robots content=noindex><meta name=tdm-reservation content=1>", ("noai",)).opt_out is None


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("<title> A \n title </title>", "A title"),
        ("<title>A title | Site</title><meta property=og:title content='A title'>", "A title"),
        ("<svg><title>icon</title></svg>", None),
        ("<title></title>", None),
    ],
)
def test_titles(head, title):
    assert about(head).title == title


@pytest.mark.parametrize(
    ("head", "language"),
    [
        ("<html lang=de>", "de"),
        ("<html lang=pt_BR>", "pt-BR"),
        ("<html><meta http-equiv=content-language content=fr>", "fr"),
        ("<html lang='{{ lang }}'>", None),
        ("", None),
    ],
)
def test_languages(head, language):
    assert about(head).language == language


def test_canonical_addresses_and_dates():
    said = about("<link rel=canonical href=/b><meta itemprop=datePublished content='2024-05-01'>")
    assert (said.canonical_url, said.published) == ("https://example.org/b", "2024-05-01")
