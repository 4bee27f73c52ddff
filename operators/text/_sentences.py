"""Where the sentences of a text end, by rules for languages that write `. ! ?`, and `。！？` for those that do not.

NLTK's Punkt, which MMC4 used, needs a trained model that is downloaded apart; these rules need nothing. A full stop
ends no sentence behind an initial ("J. Hessel"), behind a title or an abbreviation that goes before a name or a number,
nor where a lower-case word or a digit inside a number follows. A blank line always ends one; a line feed does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# A run of marks with what closes behind it; possessive, so that no text makes it go back.
_END: Final = re.compile(
    r"[.!?\u2026]++[\"'\u2019\u201d\u00bb)\]]*+|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\uff09]*+"
)
_FULL_WIDTH: Final = "\u3002\uff01\uff1f"
_OPENING: Final = "\"'\u2018\u201c\u00ab([\u00bf\u00a1"
_CLOSING: Final = "\"'\u2019\u201d\u00bb)]"
_LOOK_BACK: Final = 24  # characters before a full stop that may hold an abbreviation
_LAST_WORD: Final = re.compile(r"[^\s(\[\"'\u201c\u2018]+$")
_WORD: Final = re.compile(r"\w")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
# They go before a name, so that what follows is never a new sentence.
_BEFORE_A_NAME: Final = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|mt|sr|fr|rev|hon|rt|gen|col|maj|capt|lt|sgt|cmdr|adm|gov|sen|rep|pres|ave|blvd|dept|est|"
    r"vs|e\.g|i\.e|cf|viz|approx|ca|eds?"
)
# What they go before is a number ("No. 7", "Jan. 5"), or a sentence ("Oh, no. Now ...").
_BEFORE_A_NUMBER: Final = re.compile(
    r"nos?|nr|n\xb0|pp?|figs?|eqs?|sec|ch|chap|vols?|art|op|v|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu|thurs?|fri|sat|sun"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, stripped; joined they are the text but for white space."""
    return [
        stripped for block in re.split(r"\n[^\S\n]*\n", text) for part in _parts(block) if (stripped := part.strip())
    ]


def _parts(block: str) -> Iterator[str]:
    start, wordless = 0, 0
    for end in _END.finditer(block):
        # Of a spaced ellipsis ("and then . . .") every stop but the first would end a sentence of nothing.
        if _ends_here(block, end):
            if _WORD.search(block, wordless, end.end()):
                yield block[start : end.end()]
                start = end.end()
            wordless = end.end()
    yield block[start:]


def ends_in_mark(text: str) -> bool:
    """Does the text end as a sentence does, closing quotes and brackets aside?"""
    return text.rstrip().rstrip(_CLOSING)[-1:] in {*".!?\u2026", *_FULL_WIDTH}


def _ends_here(block: str, end: re.Match[str]) -> bool:
    mark = end[0]
    if mark[0] in _FULL_WIDTH:
        return True
    rest = block[end.end() : end.end() + _LOOK_BACK]
    if rest and not rest[0].isspace():
        return False
    after = rest.lstrip().lstrip(_OPENING)[:1]
    if after.islower():
        return False
    return not mark.startswith(".") or mark.startswith("..") or not _abbreviated(block, end.start(), after)


def _abbreviated(block: str, stop: int, after: str) -> bool:
    """Does the full stop at `stop` belong to the word before it?"""
    found = _LAST_WORD.search(block[max(0, stop - _LOOK_BACK) : stop])
    if not found or not after:
        return False
    word = found[0].lower()
    if _BEFORE_A_NAME.fullmatch(word) or (after.isdigit() and _BEFORE_A_NUMBER.fullmatch(word)):
        return True
    # "J. Hessel", "the U.S. Army", but "Vitamin I. She": one letter alone that is the pronoun or an option ends it.
    return found[0] != "I" and _INITIALS.fullmatch(found[0]) is not None and found[0].isupper()
