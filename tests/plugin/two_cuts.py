"""Corpora with two cuts each, to be compared, told and audited; made once for all tests.

What the recipes do is simple enough to be done again by a loop over TEXTS, PAGES or SENTENCES.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drawing import write_jsonl

from cupel import Recipe, run

HOSTILE = "<script>alert(1)</script> \x1b[31mred \u202e evil words here"
TEXTS: list[str | None] = [" ".join(f"w{(i * 7 + k) % 50}" for k in range(i % 11)) for i in range(700)]
TEXTS[7], TEXTS[300], TEXTS[50] = None, "please RAISE now one two", HOSTILE
SCORES = [round((i * 37 % 700) / 700, 4) for i in range(700)]
SCORES[50] = 0.3  # among the best 80 %, not among the best 60 %
SITES = ["a.example" if i % 3 else "b.example" for i in range(700)]
TEXT_CUTS = {"a": (2, 9, 0.8), "b": (4, 10, 0.6)}  # least and most words, share of the best scores


def paragraph(i: int, j: int) -> str:
    return " ".join(f"w{(i * 7 + j * 3 + k) % 50}" for k in range((i * 5 + j) % 9))


PAGES = [
    "|".join(f"IMG:{(i + j) % 40}" if (i + j) % 3 == 0 else paragraph(i, j) for j in range(i % 8)) for i in range(400)
]
SHORTEST = 9
PAGE_CUTS = {"a": (330, 3, 26), "b": (360, 4, 24)}  # last page, least words of a paragraph, longest paragraph
SENTENCES = [" ".join("x" * (1 + (i * 3 + j * 5) % 9) for j in range(i % 6)) for i in range(300)]
SENTENCES[40] = "one FAIL two"
WORD_CUTS = {"a": (250, 3, 9), "b": (280, 2, 7)}  # last sentence, last word, widest picture


def text_steps(least: int, most: int, share: float) -> list[object]:
    words = {"words": {"min": least, "max": most}, "any": [{"characters": {"min": 6}}, {"site": {"in": ["b.example"]}}]}
    return [
        *("text.length", {"keep": words}, "test.raises", {"keep": {"calm": {"in": [True]}}}),
        *({"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}),
        {"keep": {"score": {"top": share}}},
    ]


def page_steps(last: int, words: int, longest: int) -> list[object]:
    return [
        *({"keep": {"rank": {"max": last}}}, "test.page", "text.length", {"keep": {"words": {"min": words}}}),
        {"keep": {"characters": {"min": SHORTEST}, "on": "document"}},  # one short paragraph, and the document goes
        *("test.longest", {"keep": {"longest": {"max": longest}}}),
    ]


def word_steps(last: int, nth: int, width: int) -> list[object]:
    return [
        *({"keep": {"rank": {"max": last}}}, "test.words", {"keep": {"nth": {"max": nth}}}),
        *("test.draws", "image.size", {"keep": {"width_px": {"max": width}}}),
    ]


def corpus(name: str, folder: Callable[[str], Path]) -> Path:
    """`texts`: captions with bounds, alternatives, an error, exact duplicates, a ranking; `pages`: pages that become
    documents; `words`: sentences that become words, that become pictures. `folder` makes a new one."""
    if name not in _MADE:
        rows, cuts, steps, columns = _CORPORA[name]
        place = folder(name)
        source = write_jsonl(place / "rows.jsonl", rows, **columns)
        for cut, bounds in cuts.items():
            run(Recipe.model_validate({"name": cut, "steps": steps(*bounds)}), source, out=place / "c")
        _MADE[name] = place / "c"
    return _MADE[name]


_MADE: dict[str, Path] = {}
_CORPORA: dict[str, tuple[Any, ...]] = {
    "texts": (TEXTS, TEXT_CUTS, text_steps, {"score": SCORES, "site": SITES}),
    "pages": (PAGES, PAGE_CUTS, page_steps, {"rank": list(range(len(PAGES)))}),
    "words": (SENTENCES, WORD_CUTS, word_steps, {"rank": list(range(len(SENTENCES)))}),
}
