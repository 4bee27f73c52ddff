"""Captions in words: their noun phrases, by `text.grammar`'s lists of words, and what two captions share in meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final

from ...operators.text import _grammar
from ...operators.text._grammar import LEXICON, read_lexicon

K = _grammar.Kind

_WORD: Final = re.compile(r"([^\W_]+(?:['’.\-&][^\W_]+)*)")
COLOURS: Final = frozenset({
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black", "white", "grey", "gray",
    "turquoise", "teal", "cyan", "magenta", "golden", "gold", "silver", "beige", "navy", "maroon", "crimson", "scarlet",
    "tan", "lime", "olive", "blond", "blonde",
})  # fmt: skip
_SHADES: Final = frozenset({"dark", "light", "bright", "pale", "deep"})
_LOOKS: Final = frozenset({
    "striped", "dotted", "spotted", "checked", "checkered", "plaid", "plain", "wooden", "metal", "metallic", "plastic",
    "leather", "brick", "stone", "stripy", "ripe", "wet", "dry", "open", "closed", "empty", "full", "round",
})  # fmt: skip
NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_PLURALS: Final = frozenset({
    "people", "men", "women", "children", "sheep", "fish", "geese", "teeth", "feet", "mice", "deer",
})  # fmt: skip
_SINGULAR_S: Final = frozenset({"bus", "gas", "lens", "canvas", "cactus", "octopus", "tennis", "iris", "atlas"})
_ARTICLES: Final = ("a", "an", "the")
BE: Final = ("is", "are", "was", "were")
# Joints whose two sides may change places without changing what is said.
_EVEN: Final = re.compile(r"\s*(?:,|\band\b|\bnext to\b|\bbeside\b|\bnear\b|\balongside\b|\btogether with\b)\s*")
_SAME: Final = {"gray": "grey", "blond": "blonde", "golden": "gold", **{word: str(i) for i, word in enumerate(NUMBERS)}}
DETERMINING: Final = (K.ARTICLE, K.DETERMINER, K.NO, K.THAT, K.POSSESSIVE, K.NUMBER)
HEADS: Final = (K.NOUN, K.NOUN_OR_VERB, K.NOUN_IN_ING, K.OTHER)
_LONG: Final = 5  # letters of a word whose ending is looked at


def meaning(caption: str) -> tuple[tuple[str, ...], ...]:
    """What two captions share that say the same as far as the rules can tell.

    Case, punctuation, articles, digits for numbers and the order round "and", a comma or "next to" do not count.
    """
    parts = (_WORD.findall(part) for part in _EVEN.split(caption.lower()))
    plain = (tuple(_SAME.get(word, word) for word in part if word not in _ARTICLES) for part in parts)
    return tuple(sorted(part for part in plain if part))


def same_word(word: str) -> str:
    """One word for those that say the same: grey for gray, 2 for two."""
    return _SAME.get(word, word)


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A noun phrase: words [start, end) with the noun `head`; `described` are spans of adjectives, also behind "is"."""

    start: int
    end: int
    head: int
    described: tuple[tuple[int, int], ...]


class Caption:
    """A caption in words, the gaps round them, and its noun phrases."""

    def __init__(self, caption: str) -> None:
        pieces = _WORD.split(caption)
        self.words, self.gaps = pieces[1::2], pieces[0::2]
        self.small = [word.lower() for word in self.words]
        self.kinds = [_kind(word) for word in self.small]
        self.phrases = list(self._find_phrases())

    def joined(self, words: Sequence[str], gaps: Sequence[str] | None = None) -> str:
        """Other words, with capitals where a sentence begins, and articles that fit what follows them."""
        words, gaps = list(words), self.gaps if gaps is None else gaps
        first = {self.words[i] for i in self._starts(self.gaps) if self.words[i][0].isupper()}
        starts = set(self._starts(gaps))
        for i, word in enumerate(words):
            if i in starts and first and word[0].islower():
                words[i] = word[0].upper() + word[1:]
            elif i not in starts and word in first and word.lower() in _lexicon():  # a name keeps its capital
                words[i] = word.lower()
        pairs = set(pairwise(self.small))
        for i, (word, following) in enumerate(pairwise(words)):
            strange = (word.lower(), following.lower()) not in pairs and following.lower() not in _ARTICLES
            if word.lower() in ("a", "an") and strange:
                words[i] = word[0] + ("n" if _is_vowel(following) else "")
        return gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=True))

    def _starts(self, gaps: Sequence[str]) -> Iterator[int]:
        """Words that begin a sentence."""
        return (i for i in range(len(gaps) - 1) if i == 0 or any(stop in gaps[i] for stop in ".!?"))

    def runs_on(self, i: int) -> bool:
        """Does nothing but white space part word i from the one before it?"""
        return self.gaps[i].isspace()

    def _find_phrases(self) -> Iterator[Phrase]:
        at = 0
        while at < len(self.words):
            phrase = None if self._is_verb(at) else self._phrase(at)
            if phrase is not None:
                yield phrase
            at = phrase.end if phrase is not None else at + 1

    def _phrase(self, start: int) -> Phrase | None:
        """The noun phrase that begins at a word: determiners and numbers, adjectives, nouns."""
        n, i = len(self.words), start

        def goes_on(j: int) -> bool:
            return j < n and (j == start or self.runs_on(j))

        while goes_on(i) and self.kinds[i] in DETERMINING:
            i += 1
        described = []
        while goes_on(i) and (self._describes(i) or (i > start and goes_on(i + 1) and self._is_participle(i))):
            if self.small[i] in _SHADES and goes_on(i + 1) and self.small[i + 1] in COLOURS:
                described.append((i, i + 2))
                i += 2
            else:
                described.append((i, i + 1))
                i += 1
        head = -1
        while goes_on(i) and self.kinds[i] in HEADS and not (head >= 0 and self._acts(i)):
            head, i = i, i + 1
        if head < 0 and described and described[-1] == (i - 1, i) and i - 1 > start and "," not in self.gaps[i]:
            head = described.pop()[0]  # "an orange", "the left"
        return None if head < 0 else Phrase(start=start, end=i, head=head, described=(*described, *self._said_of(head)))

    def _describes(self, i: int) -> bool:
        return self.kinds[i] is K.ADJECTIVE

    def _is_participle(self, i: int) -> bool:
        """ "a large brimmed hat": before a noun, and behind what belongs to it."""
        return self.kinds[i] is K.PAST and self.kinds[i + 1] in HEADS

    def _acts(self, i: int) -> bool:
        """Is the word after a noun a verb that agrees with it? "a cat walks", "dogs play", but "a street sign"."""
        return self.kinds[i] is K.NOUN_OR_VERB and self.small[i].endswith("s") != is_plural(self.small[i - 1])

    def _is_verb(self, i: int) -> bool:
        """Is it a verb where a phrase could begin? "it stands", and what a noun before it does."""
        if self.kinds[i] is not K.NOUN_OR_VERB or i == 0 or not self.runs_on(i):
            return False
        return self.kinds[i - 1] in (K.SUBJECT, K.MODAL) or (self.kinds[i - 1] in HEADS and self._acts(i))

    def _said_of(self, head: int) -> list[tuple[int, int]]:
        """ "the sky is blue": an adjective after a form of be, and no noun behind it."""
        i = head + 2
        if i >= len(self.words) or self.small[head + 1] not in BE or not self._describes(i):
            return []
        follows = i + 1 < len(self.words) and self.runs_on(i + 1) and self.kinds[i + 1] in (*HEADS, K.ADJECTIVE)
        return [] if follows else [(i, i + 1)]


def number_of(word: str) -> int:
    """0 to 12 of a word or digits; -1 for anything else."""
    if word.isdecimal() and word.isascii():
        return int(word)
    return NUMBERS.index(word) if word in NUMBERS else -1


def is_plural(word: str) -> bool:
    return word in _PLURALS or (word.endswith("s") and not word.endswith("ss") and word not in _SINGULAR_S)


def _is_vowel(word: str) -> bool:
    """Does "an" stand before it?"""
    word = word.lower()
    if word.startswith(("hour", "honest", "heir")):
        return True
    return word[0] in "aeiou" and not word.startswith(("uni", "use", "eu", "one", "ukul"))


@cache
def _lexicon() -> dict[str, K]:
    return read_lexicon(LEXICON)


@lru_cache(maxsize=1 << 16)
def _kind(word: str) -> K:
    """Class of a word in lower case: by the lists, by its ending, else a noun."""
    if word in COLOURS or word in _SHADES or word in _LOOKS:
        return K.ADJECTIVE
    if word in NUMBERS or word.isdecimal():
        return K.NUMBER
    listed = _lexicon().get(word)
    if listed is not None:
        return listed
    for ending, kind in (("ly", K.ADVERB), ("ing", K.ING), ("ed", K.PAST)):
        if len(word) > 4 and word.endswith(ending):
            return kind
    return K.NOUN
