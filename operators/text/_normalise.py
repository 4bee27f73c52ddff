"""Normalisers: what is done to a text before an n-gram model sees it. A perplexity means nothing without naming it.

Each turns a column of texts into a column of lines whose tokens stand between spaces. What costs most is done to the
texts that need it alone: most are ASCII, and most have no white space but single spaces.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Final, Literal, get_args

import polars as pl

Normaliser = Literal["plain", "words", "cc_net"]
NAMES: Final[tuple[str, ...]] = get_args(Normaliser)

# cc_net, text_normalizer.py. The full-width one is a slip of its authors; digits become 0 before this is looked up.
CC_NET_PUNCTUATION: Final = {
    **dict.fromkeys("„”“«»１」「《》", '"'),
    **dict.fromkeys("´’", "'"),
    **dict.fromkeys("，、", ","),
    **dict.fromkeys("∶：", ":"),
    **dict.fromkeys("–━►", "-"),
    **dict(zip("。？！（）；～〈〉【】％", ".?!();~<>[]%", strict=True)),
    **dict(zip("—．…", (" - ", ". ", "..."), strict=True)),
}
_TYPED: Final = {sign: ours for sign, ours in CC_NET_PUNCTUATION.items() if sign != "１"}
_CONTROLS: Final = "".join(map(chr, [*range(32), 127]))
_ZEROS: Final = dict.fromkeys(string.digits[1:], "0")
_QUOTES: Final = {**dict.fromkeys("‘’ʼ´", "'"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("–—‑", "-")}
UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # written without spaces


def plain(texts: pl.Series) -> pl.Series:
    """White space (and NUL, at which KenLM would stop) becomes one space. For texts that are tokenised already."""
    return where_in(texts, texts.str.contains(r"[^\S ]|  |^ | $|\x00"), _single_spaces)


def words(texts: pl.Series) -> pl.Series:
    """Lower-cased words, and each sign by itself; digits become 0, quotes and dashes of one kind, compatible forms one.

    "Don’t panic: it’s 42." becomes the tokens don ' t panic : it ' s 00 . (Unicode's NFKC makes forms one). A word is a
    run of letters, marks and numbers; scripts that are written without spaces fall into characters.
    """
    apart = {sign: f" {sign} " for sign in string.punctuation} | dict.fromkeys(_CONTROLS, " ")
    return beyond_ascii(texts, _fold).str.to_lowercase().str.replace_many(apart | _ZEROS)


def cc_net(texts: pl.Series) -> pl.Series:
    """As cc_net (arXiv:1911.00359, text_normalizer.normalize): case and accents off, digits to 0, punctuation mapped.

    Control characters are deleted at the end, line feeds and tabs too: what they parted is glued together, as there.
    """
    lower = texts.str.strip_chars().str.to_lowercase()
    return beyond_ascii(lower, _unaccent).str.replace_many(_ZEROS | dict.fromkeys(_CONTROLS, ""))


Change = Callable[[pl.Series], pl.Series]


def where_in(texts: pl.Series, is_so: pl.Series, change: Change) -> pl.Series:
    """The texts, those changed of which it is so."""
    which = is_so.arg_true()
    return texts.clone().scatter(which, change(texts.gather(which))) if len(which) else texts


def beyond_ascii(texts: pl.Series, change: Change) -> pl.Series:
    return where_in(texts, texts.str.len_bytes() != texts.str.len_chars(), change)


def _single_spaces(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(r"[\s\x00]+", " ").str.strip_chars(" ")


def _fold(texts: pl.Series) -> pl.Series:
    """Typographic quotes and dashes are all there is in most."""
    return beyond_ascii(texts.str.replace_many(_QUOTES), _compatible)


def _compatible(texts: pl.Series) -> pl.Series:
    folded = texts.str.normalize("NFKC").str.replace_all(r"\p{Cf}", "").str.replace_all(r"\p{Nd}", "0")
    apart = rf"[{UNSPACED}[^\p{{L}}\p{{M}}\p{{N}}\s\x00-\x7f]]"
    return folded.str.replace_all(apart, " $0 ").str.replace_all(r"\s", " ")


def _unaccent(texts: pl.Series) -> pl.Series:
    """Punctuation, which is all there is in most, before accents: the order changes nothing but for the one."""
    return beyond_ascii(texts.str.replace_many(_TYPED), _decompose)


def _decompose(texts: pl.Series) -> pl.Series:
    bare = texts.str.normalize("NFD").str.replace_all(r"\p{Mn}", "").str.replace_all(r"\p{Nd}", "0")
    return bare.str.replace_many(CC_NET_PUNCTUATION).str.replace_all(r"[\x80-\x9f]", "")


NORMALISERS: Final[dict[str, Callable[[pl.Series], pl.Series]]] = {"plain": plain, "words": words, "cc_net": cc_net}
