"""Hard negatives by rules: captions to others that say something else in (nearly) the same words.

After ARO (Yuksekgonul et al., arXiv:2210.01936): attributes and relations exchanged, the order of words disturbed; and
two kinds more, negation and another number. The rules know English by `text.grammar`'s lists of words. Where no
rule surely fits there is no negative. What a text alone gives away ("no red circle" is said of
few pictures) `cupel evaluate` measures beside, by a blind baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, Literal

from .captions import (
    BE,
    COLOURS,
    DETERMINING,
    HEADS,
    NUMBERS,
    Caption,
    K,
    Phrase,
    is_plural,
    meaning,
    number_of,
    same_word,
)

Kind = Literal["attribute", "relation", "order", "negation", "counting"]
KINDS: Final[tuple[Kind, ...]] = ("attribute", "relation", "order", "negation", "counting")

_NOT: Final = frozenset({"no", "not", "without", "never", "none", "nobody", "nothing", "neither", "nor"})
# What stands where to what, and the word that says it the other way round, where English has one.
_RELATIONS: Final[Mapping[str, str | None]] = {
    "above": "below", "below": "above", "over": "under", "under": "over", "underneath": "above", "beneath": "above",
    "on top of": "underneath", "on": None, "upon": None, "atop": "underneath", "in": None, "inside": None,
    "inside of": None, "within": None, "into": None, "onto": None, "behind": "in front of", "in front of": "behind",
    "to the left of": "to the right of", "to the right of": "to the left of", "left of": "right of",
    "right of": "left of", "on the left of": "on the right of", "on the right of": "on the left of",
    "on the left side of": "on the right side of", "on the right side of": "on the left side of",
    "around": "inside", "surrounding": "inside", "larger than": "smaller than", "smaller than": "larger than",
    "bigger than": "smaller than", "taller than": "shorter than", "shorter than": "taller than",
    "holding": None, "wearing": None, "riding": None, "eating": None, "chasing": None, "watching": None,
    "carrying": None, "covering": None, "facing": None, "following": None,
}  # fmt: skip
_LONGEST: Final = max(len(relation.split()) for relation in _RELATIONS)
_SIDES: Final = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_PLACES: Final = frozenset({*_SIDES, "side", "middle", "centre", "center", "front", "back", "background", "foreground"})
_AGREES: Final = {"is": "are", "are": "is", "was": "were", "were": "was", "has": "have", "have": "has"}
_PICTURES: Final = frozenset({
    "picture", "photo", "photograph", "image", "drawing", "illustration", "sketch", "painting", "view", "close-up",
})  # fmt: skip
_BEFORE_NOUNS: Final = (*DETERMINING, K.ADJECTIVE, K.ADVERB, K.PRONOUN, K.AUXILIARY)
_VERBAL: Final = (K.VERB, K.NOUN_OR_VERB, K.ING, K.NOUN_IN_ING, K.PAST, K.AUXILIARY, K.ADVERB)
_FEWEST_WORDS: Final = 3
_TRIES: Final = 4


def swap(caption: str, kind: Kind, rng: Random) -> str | None:
    """A caption that says something else than `caption`, by one rule; None where the rule does not surely fit.

    attribute: the adjectives of two nouns exchanged ("a red circle above a blue square" -> "a blue circle above a red
    square"). relation: what stands on both sides of a relation that has a direction exchanged ("a cat on a mat" -> "a
    mat on a cat"); where a side is missing, the opposite word ("on the left" -> "on the right"). order: ARO's four
    disturbances, one drawn: nouns and adjectives shuffled, all other words, words within threes, threes. negation: "is
    not", else "no" for a noun's article or number; what is negated already loses it. counting: another number, two to
    twelve, at most three off. A function of its arguments and of the state of `rng`.
    """
    said = Caption(caption)
    found = _RULES[kind](said, rng)
    return None if found is None or meaning(found) == meaning(caption) else found


def _attribute(said: Caption, rng: Random) -> str | None:
    places = [
        (phrase, span)
        for phrase in said.phrases
        for span in phrase.described
        if span[0] == 0 or said.words[span[0]].islower()  # else it belongs to a name
    ]
    fits: dict[bool, list[tuple[tuple[int, int], tuple[int, int]]]] = {True: [], False: []}
    for i, (one, a) in enumerate(places):
        for other, b in places[i + 1 :]:
            if one is not other and _bare(said, one, a) != _bare(said, other, b) and _plain(said, a) != _plain(said, b):
                fits[_is_colour(said, a) == _is_colour(said, b)].append((a, b))
    pairs = fits[True] or fits[False]
    return _exchanged(said, *rng.choice(pairs)) if pairs else None


def _relation(said: Caption, rng: Random) -> str | None:
    exchanges, turns = [], []
    at = 0
    while at < len(said.words):
        size = _relation_at(said, at)
        if not size:
            at += 1
            continue
        left, right = _left_of(said, at), _right_of(said, at + size)
        if left and right and _plain(said, left) != _plain(said, right):
            exchanges.append((left, right))
        elif not (left and right) and _RELATIONS[" ".join(said.small[at : at + size])]:
            turns.append((at, size))
        at += size
    if exchanges:
        left, right = rng.choice(exchanges)
        return _exchanged(said, left, right, agree=True)
    return _turned(said, turns, rng)


def _turned(said: Caption, turns: list[tuple[int, int]], rng: Random) -> str | None:
    """The opposite of a relation, or of a side: "on the left" says left by itself."""
    sides = [
        i
        for i, word in enumerate(said.small)
        if word in _SIDES and i >= 2 and said.small[i - 1] == "the" and said.small[i - 2] in ("on", "at", "to", "in")
    ]
    choices = [*turns, *((i, 1) for i in sides)]
    if not choices:
        return None
    at, size = rng.choice(choices)
    told = " ".join(said.small[at : at + size])
    turned = str(_RELATIONS.get(told) or _SIDES[told])
    words = [*said.words[:at], *turned.split(), *said.words[at + size :]]
    return said.joined(words, [*said.gaps[: at + 1], *[" "] * (len(turned.split()) - 1), *said.gaps[at + size :]])


def _order(said: Caption, rng: Random) -> str | None:
    n = len(said.words)
    if n < _FEWEST_WORDS:
        return None
    content = [i for i in range(n) if said.kinds[i] in (*HEADS, K.ADJECTIVE)]
    others = [i for i in range(n) if i not in set(content)]
    threes = [list(range(i, min(i + 3, n))) for i in range(0, n, 3)]
    ways: list[Callable[[], list[int]]] = [
        lambda: _shuffled(n, [content], rng),
        lambda: _shuffled(n, [others], rng),
        lambda: _shuffled(n, threes, rng),
        lambda: [i for three in rng.sample(threes, len(threes)) for i in three],
    ]
    rng.shuffle(ways)
    same = meaning(said.joined(said.words))
    for way in ways:
        for _ in range(_TRIES):
            found = said.joined([said.words[i] for i in way()])
            if meaning(found) != same:
                return found
    return None


def _shuffled(n: int, groups: Sequence[list[int]], rng: Random) -> list[int]:
    """Places 0 to n, those of each group shuffled among themselves."""
    order = list(range(n))
    for group in groups:
        for to, place in zip(group, rng.sample(group, len(group)), strict=True):
            order[to] = place
    return order


def _negation(said: Caption, rng: Random) -> str | None:
    if any(word in _NOT or word.endswith(("n't", "n’t")) for word in said.small):
        return _affirmed(said)
    verbs = [i for i, word in enumerate(said.small) if word in BE]
    if verbs:
        at = rng.choice(verbs) + 1
        return said.joined([*said.words[:at], "not", *said.words[at:]], [*said.gaps[:at], " ", *said.gaps[at:]])
    things = [phrase for phrase in said.phrases if said.small[phrase.head] not in _PICTURES]
    for phrase in things:
        at = phrase.start
        if said.kinds[at] in (K.ARTICLE, K.NUMBER):
            return said.joined([*said.words[:at], "no", *said.words[at + 1 :]])
        if said.kinds[at] not in DETERMINING and (at == 0 or said.kinds[at - 1] not in _BEFORE_NOUNS):
            words = [*said.words[:at], "no", *said.words[at:]]
            return said.joined(words, [*said.gaps[: at + 1], " ", *said.gaps[at + 1 :]])
    return None


def _affirmed(said: Caption) -> str | None:
    """A negated caption without its one negation."""
    at = [i for i, word in enumerate(said.small) if word in _NOT or word.endswith(("n't", "n’t"))]
    if len(at) != 1:
        return None
    i, word = at[0], said.small[at[0]]
    if word == "without":
        return said.joined([*said.words[:i], "with", *said.words[i + 1 :]])
    if word not in ("no", "not") or len(said.words) == 1:
        return None
    following = next((phrase for phrase in said.phrases if phrase.start == i), None)
    if word == "no" and following and not is_plural(said.small[following.head]):
        return said.joined([*said.words[:i], "a", *said.words[i + 1 :]])
    gaps = [*said.gaps[:i], said.gaps[i] if i == 0 else said.gaps[i + 1], *said.gaps[i + 2 :]]
    return said.joined([*said.words[:i], *said.words[i + 1 :]], gaps)


def _counting(said: Caption, rng: Random) -> str | None:
    places = [
        i
        for phrase in said.phrases
        for i in range(phrase.start, phrase.head)
        if 2 <= number_of(said.small[i]) < len(NUMBERS) and is_plural(said.small[phrase.head])
    ]
    if not places:
        return None
    at = rng.choice(places)
    old = number_of(said.small[at])
    new = rng.choice([n for n in range(2, len(NUMBERS)) if n != old and abs(n - old) <= 3])
    told = str(new) if said.small[at].isdigit() else NUMBERS[new]
    return said.joined([*said.words[:at], told, *said.words[at + 1 :]])


_RULES: Final[Mapping[Kind, Callable[[Caption, Random], str | None]]] = {
    "attribute": _attribute,
    "relation": _relation,
    "order": _order,
    "negation": _negation,
    "counting": _counting,
}


def _exchanged(said: Caption, a: tuple[int, int], b: tuple[int, int], *, agree: bool = False) -> str:
    """Two spans of words in each other's place; with `agree` the verb between them follows its new subject."""
    (a0, a1), (b0, b1) = a, b
    between = list(said.words[a1:b0])
    if agree and between and is_plural(said.small[a1 - 1]) != is_plural(said.small[b1 - 1]):
        between[0] = _AGREES.get(said.small[a1], between[0])
    words = [*said.words[:a0], *said.words[b0:b1], *between, *said.words[a0:a1], *said.words[b1:]]
    gaps = [
        *said.gaps[: a0 + 1],
        *said.gaps[b0 + 1 : b1],
        *said.gaps[a1 : b0 + 1],
        *said.gaps[a0 + 1 : a1],
        *said.gaps[b1:],
    ]
    return said.joined(words, gaps)


def _relation_at(said: Caption, at: int) -> int:
    """Words of the longest relation that begins here; 0 for none."""
    for size in range(min(_LONGEST, len(said.words) - at), 0, -1):
        if " ".join(said.small[at : at + size]) in _RELATIONS and all(map(said.runs_on, range(at + 1, at + size))):
            return size
    return 0


def _left_of(said: Caption, at: int) -> tuple[int, int] | None:
    """The words of the phrase before a relation; only verbs may stand between."""
    before = [i for i, phrase in enumerate(said.phrases) if phrase.end <= at and not _is_participle(said, phrase)]
    if not before:
        return None
    i = before[-1]
    phrase = said.phrases[i]
    verbs = range(phrase.end, at)
    if not all(said.kinds[j] in (*_VERBAL, K.NOUN) for j in verbs) or not all(
        map(said.runs_on, range(phrase.end, at + 1))
    ):
        return None
    return _whole(said, i, i)[0], phrase.end


def _is_participle(said: Caption, phrase: Phrase) -> bool:
    """ "are set on a table", "has been split": on no list of verbs, and no noun either."""
    return phrase.end == phrase.start + 1 and phrase.start > 0 and said.kinds[phrase.start - 1] is K.AUXILIARY


def _right_of(said: Caption, at: int) -> tuple[int, int] | None:
    """The words of the phrase after a relation; "on the left" says no thing."""
    i = next((i for i, phrase in enumerate(said.phrases) if phrase.start == at), None)
    if i is None or not said.runs_on(at) or said.small[said.phrases[i].head] in _PLACES:
        return None
    return at, _whole(said, i, i)[1]


def _whole(said: Caption, first: int, last: int) -> tuple[int, int]:
    """A phrase with what "of" joins to it: "a group of people"."""
    phrases = said.phrases
    while first > 0 and _is_of(said, phrases[first - 1], phrases[first]):
        first -= 1
    while last + 1 < len(phrases) and _is_of(said, phrases[last], phrases[last + 1]):
        last += 1
    return phrases[first].start, phrases[last].end


def _is_of(said: Caption, one: Phrase, other: Phrase) -> bool:
    near = other.start == one.end + 1 and said.small[one.end] == "of"
    return near and said.runs_on(one.end) and said.runs_on(other.start) and said.small[one.head] not in _PICTURES


def _bare(said: Caption, phrase: Phrase, without: tuple[int, int]) -> tuple[str, ...]:
    rest = [i for i in range(phrase.start, phrase.end) if not without[0] <= i < without[1]]
    return tuple(same_word(said.small[i]) for i in rest if said.kinds[i] is not K.ARTICLE)


def _plain(said: Caption, span: tuple[int, int]) -> tuple[tuple[str, ...], ...]:
    return meaning(" ".join(said.small[slice(*span)]))


def _is_colour(said: Caption, span: tuple[int, int]) -> bool:
    return said.small[span[1] - 1] in COLOURS
