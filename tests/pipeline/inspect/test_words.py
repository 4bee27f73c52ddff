"""Values in words, and what strangers wrote made harmless and visible."""

from __future__ import annotations

import html

import pytest

from cupel.pipeline.inspect.serve.words import duration, link, moment, number, share, short, size, visible


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (number(1234567), "1,234,567"),
        (number(-3), "−3"),
        (number(0.27341), "0.2734"),
        (number(1e-7), "1e-07"),
        (number(1234.56), "1,234.6"),
        (number(float("nan")), "NaN"),
        (number(True), "yes"),
        (number(None), "–"),
        (share(1, 8), "12.5 %"),
        (share(1, 10_000), "< 0.1 %"),
        (share(9_999, 10_000), "> 99.9 %"),
        (share(0, 5), "0.0 %"),
        (share(5, 5), "100.0 %"),
        (share(0, 0), "–"),
        (duration(0.42), "0.4 s"),
        (duration(200), "3 min 20 s"),
        (duration(7500), "2 h 5 min"),
        (moment("2026-11-21T21:14:05.5+02:00"), "2026-11-21 19:14 UTC"),
        (moment("yesterday"), "yesterday"),
        (size(512), "512 bytes"),
        (size(3 << 19), "1.5 MiB"),
        (short("abcdef", 4), "abcd… (2 more characters)"),
    ],
)
def test_values_in_words(made, words):
    assert made == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("a\u202eb", "a[U+202E]b"),
        ("a\u2066b\u2069", "a[U+2066]b[U+2069]"),
        ("\x00\x1b[31m", "[U+0000][U+001B][31m"),
        ("\ud800", "[U+D800]"),
        ("\U000e0041", "[U+E0041]"),
        ("zero\u200bwidth\ufeff", "zero[U+200B]width[U+FEFF]"),
        ("e" + "\u0301" * 40, "e" + "\u0301" * 4),
        ("नमस्ते שָׁלוֹם 👩‍👩‍👧", "नमस्ते שָׁלוֹם 👩‍👩‍👧"),
    ],
)
def test_hidden_characters_are_seen_and_scripts_are_left_alone(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        ("https://example.org/a?b=c&d", True),
        ("http://example.org/", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org/x", False),
        ("https://exa\u202emple.org/", False),
        ("https://[", False),
        ("java\nscript:alert(1)", False),
    ],
)
def test_only_web_addresses_lead_somewhere_and_tell_nobody(address, leads):
    made = str(link(address))
    assert ("href=" in made) == leads
    if leads:
        assert 'rel="noopener noreferrer nofollow"' in made and html.escape(address) in made
    assert link('"><script>') and "<script>" not in str(link('https://x/"><script>'))
