from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text._normalise import CC_NET_PUNCTUATION, NAMES, NORMALISERS, cc_net, plain, words


def one(normalise, text: str) -> str:
    return normalise(pl.Series([text]))[0]


def tokens(normalise, text: str) -> list[str]:
    return [token for token in one(normalise, text).split(" ") if token]


def as_published(line: str) -> str:
    """cc_net's rule, step by step, in plain Python."""
    line = "".join(c for c in unicodedata.normalize("NFD", line.strip().lower()) if unicodedata.category(c) != "Mn")
    line = "".join(CC_NET_PUNCTUATION.get(c, c) for c in re.sub(r"\d", "0", line))
    return "".join(c for c in line if not (ord(c) < 32 or 127 <= ord(c) < 160))


def test_cc_net_punctuation_as_its_own_test_has_it():
    """tests/test_normalizer.py of facebookresearch/cc_net; the full-width 1 for a quote, is a slip kept there."""
    weird = "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％"
    assert "".join(map(CC_NET_PUNCTUATION.get, weird)) == ',.,""""""""""\'::?!();- - . ~\'...-<>[]%'
    assert set(CC_NET_PUNCTUATION) == {*weird, "►"}
    assert one(cc_net, weird.replace("１", "")) == ',.,"""""""""\'::?!();- - . ~\'...-<>[]%'


def test_cc_net_turns_the_full_width_one_into_a_zero_before_the_slip_can_matter():
    assert one(cc_net, "１") == "0"
    assert one(cc_net, "０２３４５６７８９ | 0123456789") == "000000000 | 0000000000"


def test_cc_net_row_for_row(captions, shared_data: Path):
    tongues = sorted((shared_data / "text/lingua-sentences").glob("*.txt"))
    texts = [line for path in tongues for line in path.read_text("utf-8").splitlines()]
    texts += [*captions, "\ta\tb\n c\x85d\xad\x7f ", "", " \n", "ΟΔΟΣ İstanbul ﬁ ǅ", "e\u0301a\u0300"]
    assert cc_net(pl.Series(texts)).to_list() == [as_published(text) for text in texts]


def test_cc_net_glues_what_a_line_feed_parted():
    assert one(cc_net, "first line\nsecond\tline") == "first linesecondline"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", "a b"),
        ("  a\t\tb \r\n c\n", "a b c"),
        ("a\x00b\x0bc\x0cd", "a b c d"),
        ("a\u3000b\xa0c\u2028d", "a b c d"),
        ("Don't, Stop!", "Don't, Stop!"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_plain_changes_white_space_alone(text, expected):
    assert one(plain, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t panic: it’s 42.", "don ' t panic : it ' s 00 ."),
        ("Don't panic: it's 42.", "don ' t panic : it ' s 00 ."),
        ("“Quoted” — and ‘so’ on…", "\" quoted \" - and ' so ' on . . ."),
        ("IMG_0042.JPG", "img _ 0000 . jpg"),
        ("Café ３D ﬁne ½", "café 0d fine 0 ⁄ 0"),
        ("日本語 text สวย", "日 本 語 text ส ว ย"),
        ("so\u00adft\u200bly\u202e", "softly"),
        ("a\x00b\tc\u3000d\x85e", "a b c d e"),
        ("naïve ΟΔΟΣ", "naïve οδος"),
        ("100 € / kg 👍", "000 € / kg 👍"),
        ("٤٢ ४२", "00 00"),
        (" \n\x00\u200b", ""),
    ],
)
def test_words_and_signs_apart(text, expected):
    assert tokens(words, text) == expected.split()


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_the_short_way_of_ascii_gives_the_same_words(text):
    """A letter beyond ASCII sends the text through all steps."""
    assert tokens(words, f"{text} é") == [*tokens(words, text), "é"]
    assert one(cc_net, f"|{text}|é") == one(cc_net, f"|{text}|") + "e"


@given(st.text(max_size=60))
def test_words_are_letters_marks_and_numbers_or_one_sign(text):
    found = tokens(words, text)
    for token in found:
        assert len(token) == 1 or all(unicodedata.category(c)[0] in "LMNC" for c in token), token
        assert token == token.strip()
    assert "".join(found) == "".join("".join(found).split())


@pytest.mark.parametrize("name", NAMES)
def test_one_line_for_each_text_and_none_depends_on_the_others(name, odd_texts):
    together = NORMALISERS[name](pl.Series(odd_texts)).to_list()
    assert together == [one(NORMALISERS[name], text) for text in odd_texts]
    assert not any(set(line) & set("\0\t\n\v\f\r") for line in together), "KenLM would part or end a line there"
    assert NORMALISERS[name](pl.Series([], dtype=pl.String)).to_list() == []
