"""Word classes of English by lists, endings and neighbours: a tagger for a few classes, over many texts at once.

A text becomes words and stops (punctuation). A word's class comes from `grammar_en.txt` or from its ending, once for
each distinct word; then rules change classes that neighbours decide, one after the other, each over all texts at once.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

LEXICON: Final = Path(__file__).parent / "grammar_en.txt"
_PIECES: Final = r"[\p{L}\p{M}\p{N}]+(?:['’.\-&_][\p{L}\p{M}\p{N}]+)*|[.,;:!?|()\[\]\"“”/–—-]+"
_LATIN: Final = re.compile(r"[a-z]")


class Kind(IntEnum):
    """Word classes: those of `grammar_en.txt` by its names, and what endings tell."""

    STOP = 0
    ARTICLE = auto()
    DETERMINER = auto()
    NO = auto()
    THAT = auto()
    PREPOSITION = auto()
    PREPOSITION_OR_PARTICLE = auto()
    PREPOSITION_OR_CONJUNCTION = auto()
    TO = auto()
    SUBJECT = auto()
    POSSESSIVE = auto()
    PRONOUN = auto()
    AUXILIARY = auto()
    MODAL = auto()
    CONJUNCTION = auto()
    NUMBER = auto()
    ADVERB = auto()
    ADJECTIVE = auto()
    VERB = auto()
    NOUN_OR_VERB = auto()
    PAST = auto()
    NOUN = auto()
    NOUN_IN_ING = auto()
    ING = auto()
    OTHER = auto()


K = Kind
_NOMINAL: Final = (K.NOUN, K.NOUN_OR_VERB, K.NOUN_IN_ING, K.ADJECTIVE, K.NUMBER, K.PAST, K.ING, K.OTHER)
_GOVERNED: Final = (K.ARTICLE, K.DETERMINER, K.NO, K.POSSESSIVE, K.PRONOUN)
_DETERMINING: Final = (K.ARTICLE, K.NO, K.POSSESSIVE)
_GOVERNING: Final = (K.PREPOSITION, K.PREPOSITION_OR_PARTICLE)
# Of words of five letters and more that are on no list.
_ENDINGS: Final = (
    (("ous", "less", "able", "ible", "ical", "ional", "onal", "ular", "ful", "ish", "esque", "ic"), K.ADJECTIVE),
    (("ive", "ary", "ial", "ual", "ural", "ental"), K.ADJECTIVE),
    (("ly",), K.ADVERB),
    (("ing",), K.ING),
    (("ed",), K.PAST),
)


class Words(NamedTuple):
    """The words of all texts, end to end: what has a letter."""

    row: np.ndarray  # whose text it is
    number: np.ndarray  # of the word: equal words have one, whatever their case
    capital: np.ndarray  # whether it begins with an upper-case letter
    kind: np.ndarray  # NOUN, DETERMINER, PREPOSITION, or anything else


def read_lexicon(path: Path) -> dict[str, Kind]:
    """word -> class. Verbs bring their -s form, short adjectives their -er and -est forms with them."""
    found: dict[str, Kind] = {}
    section = K.OTHER
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = Kind[line.strip("[]").upper().replace(" ", "_")]
        elif not line.startswith("#"):
            found |= dict.fromkeys(line.split(), section)
    for word, kind in list(found.items()):
        if kind in (K.VERB, K.NOUN_OR_VERB):
            found.setdefault(_third_person(word), kind)
        elif kind in (K.ADJECTIVE, K.ADVERB) and len(word) < 7:
            for form in _compared(word):
                found.setdefault(form, kind)
        elif kind is K.NOUN and word.endswith("ing"):
            found[word] = K.NOUN_IN_ING
    return found


def _third_person(verb: str) -> str:
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if re.search(r"(?:s|x|z|ch|sh|[^aeiou]o)$", verb) else f"{verb}s"


def _compared(adjective: str) -> tuple[str, str]:
    stem = re.sub(r"([^aeiou])y$", r"\1i", re.sub(r"^([^aeiou]*[aeiou])([bdgmnpt])$", r"\1\2\2", adjective))
    return (f"{stem}r", f"{stem}st") if stem.endswith("e") else (f"{stem}er", f"{stem}est")


def tag(texts: pl.Series, lexicon: dict[str, Kind]) -> Words:
    """Every word of every text with its class."""
    lists = texts.str.extract_all(_PIECES)
    lengths = lists.list.len().to_numpy().astype(np.int64)
    tokens = pl.Series(lists.to_arrow().flatten(), dtype=pl.String)
    encoded = tokens.str.to_lowercase().to_arrow().dictionary_encode()
    number = encoded.indices.to_numpy()
    kinds, is_sure, is_word = _look_up(encoded.dictionary.to_pylist(), lexicon)
    capital = tokens.str.contains(r"^\p{Lu}").to_numpy()

    row = np.repeat(np.arange(len(lengths)), lengths)
    words, capitals = (np.bincount(row, of[number] if of is is_word else of, len(lengths)) for of in (is_word, capital))
    place = np.arange(len(row)) + row + 1  # with a stop before every text and behind the last
    padded = np.zeros(len(row) + len(lengths) + 1, np.int8)
    padded[place] = kinds[number]
    # A name may have any ending; where all words are capitalised, or at a clause's beginning, a capital says nothing.
    named = capital & ~is_sure[number] & (capitals * 2 <= words)[row] & (padded[place - 1] != K.STOP)
    padded[place[named]] = K.NOUN
    _settle(padded)
    kept = is_word[number]
    return Words(row[kept], number[kept], capital[kept], padded[place[kept]])


def _look_up(words: list[str], lexicon: dict[str, Kind]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class of each distinct word, whether it is more than a guess by the ending, and whether it is a word at all."""
    is_word = pl.Series(words, dtype=pl.String).str.contains(r"\p{L}").to_numpy()
    found = [_own_kind(word, lexicon) if known else _no_word(word) for word, known in zip(words, is_word, strict=True)]
    kinds = np.array([kind for kind, _ in found], np.int8)
    return kinds, np.array([sure for _, sure in found], bool), is_word


def _no_word(token: str) -> tuple[Kind, bool]:
    return (K.NUMBER if any(map(str.isnumeric, token)) else K.STOP), True


def _own_kind(word: str, lexicon: dict[str, Kind]) -> tuple[Kind, bool]:
    if (listed := lexicon.get(word)) is not None:
        return listed, True
    if len(word) == 1 or not _LATIN.search(word) or any(map(str.isdigit, word)):
        return K.OTHER, True
    if word.endswith(("'s", "’s")):
        return K.NOUN, True
    parts = re.split(r"[-_.&]", word)
    if len(parts) > 1:
        return _compound(parts, lexicon), True
    if len(word) > 4:
        for endings, kind in _ENDINGS:
            if word.endswith(endings):
                return kind, False
    return K.NOUN, True


def _compound(parts: list[str], lexicon: dict[str, Kind]) -> Kind:
    """frost-covered, two-story and high-quality are adjectives; T-shirt and close-up are nouns."""
    first, last = (_own_kind(part, lexicon)[0] if part else K.OTHER for part in (parts[0], parts[-1]))
    if (
        last in (K.PAST, K.ING, K.ADJECTIVE)
        or parts[-1] in ("like", "free", "style")
        or first in (K.ADJECTIVE, K.NUMBER, *_GOVERNING)
    ):
        return K.NOUN if last is K.PREPOSITION_OR_PARTICLE else K.ADJECTIVE
    return K.NOUN


def _settle(kind: np.ndarray) -> None:
    """Change in place what neighbours decide; texts stand end to end with a stop between them."""

    def near(distance: int, *kinds: Kind) -> np.ndarray:
        """Whether the word at that distance is one of these; STOP beyond the ends."""
        return np.isin(np.roll(kind, -distance), kinds)  # the first and the last are stops

    def change(where: np.ndarray, to: Kind) -> None:
        kind[where] = to

    after_adjective = near(-1, K.ADJECTIVE) & near(-2, K.STOP, K.PREPOSITION, *_DETERMINING)
    change((kind == K.VERB) & (near(-1, K.PREPOSITION, *_DETERMINING) | after_adjective), K.NOUN)  # "the use of"
    change((kind == K.MODAL) & (near(1, *_GOVERNING) | near(-1, *_DETERMINING, K.ADJECTIVE)), K.NOUN)  # "a can of"
    change((kind == K.ARTICLE) & near(1, K.STOP), K.OTHER)  # "a) the left one"
    change((kind == K.NO) & near(1, K.STOP, K.NUMBER), K.OTHER)  # "No. 7"

    clause_follows = near(1, K.VERB, K.AUXILIARY) | (
        near(1, K.NOUN_OR_VERB) & ~near(2, K.STOP, K.CONJUNCTION, K.AUXILIARY, *_GOVERNING)
    )
    infinitive = (kind == K.TO) & clause_follows
    change(infinitive, K.MODAL)
    change(kind == K.TO, K.PREPOSITION)
    relative = (kind == K.THAT) & (near(-1, *_NOMINAL, K.VERB) | ~near(1, *_NOMINAL))
    change(relative, K.SUBJECT)
    change(kind == K.THAT, K.DETERMINER)
    clause = near(1, K.SUBJECT, K.AUXILIARY, K.MODAL, K.PAST) | near(-1, K.SUBJECT, K.MODAL)
    change((kind == K.PREPOSITION_OR_CONJUNCTION) & clause, K.CONJUNCTION)
    has_object = near(-1, K.NOUN) & near(1, K.PRONOUN, *_DETERMINING)  # "a dog chases its tail"
    change((kind == K.NOUN_OR_VERB) & (near(-1, K.SUBJECT, K.MODAL) | has_object), K.VERB)

    change((kind == K.NOUN_IN_ING) & (near(1, *_GOVERNED) & ~near(-1, *_DETERMINING) | near(-1, K.AUXILIARY)), K.VERB)
    change((kind == K.ING) & near(-1, *_DETERMINING, K.ADJECTIVE) & ~near(1, *_NOMINAL), K.NOUN)  # "the making of"
    alone = near(-1, K.ADJECTIVE, *_DETERMINING) & near(1, K.ING, K.AUXILIARY, *_GOVERNING)
    change((kind == K.ADJECTIVE) & alone, K.NOUN)  # "a medical professional is"
    of_a_verb = near(-1, K.VERB, K.PAST, K.ING) & near(1, K.STOP, K.CONJUNCTION, *_GOVERNING)
    change((kind == K.PREPOSITION_OR_PARTICLE) & of_a_verb, K.ADVERB)

    change(np.isin(kind, (K.PREPOSITION_OR_PARTICLE, K.PREPOSITION_OR_CONJUNCTION)), K.PREPOSITION)
    change(np.isin(kind, (K.ARTICLE, K.NO)), K.DETERMINER)
    change(np.isin(kind, (K.NOUN_OR_VERB, K.NOUN_IN_ING)), K.NOUN)
