"""What charts are drawn with: an SVG element with its words, boxes, hatches, numbers in few letters."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from html import escape
from itertools import accumulate
from typing import Final

from ..serve.words import visible

_HATCHED: Final = ("dropped", "later")


def patterns() -> str:
    """The hatches of what was dropped; once in every page that shows charts."""
    return (
        '<svg class="chart-patterns" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
        '<pattern id="hatch-dropped" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="hatch-ground dropped" width="5" height="5"/><path class="hatch-line dropped" d="M1 0V5"/>'
        "</pattern>"
        '<pattern id="hatch-later" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
        '<rect class="hatch-ground later" width="4" height="4"/><path class="hatch-line later" d="M1 0V4"/>'
        "</pattern>"
        "</defs></svg>"
    )


def svg(kind: str, parts: Iterable[str], *, title: str, words: str = "", width: int, height: int) -> str:
    """A drawing that a screen reader reads as its title and words."""
    told = f"<desc>{escape(visible(words))}</desc>" if words else ""
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img"><title>{escape(visible(title))}</title>'
    return f"{head}{told}{''.join(parts)}</svg>"


def box(kind: str, x: float, y: float, width: float, height: float) -> str:
    """A bar; nothing where it has no width."""
    if width <= 0:
        return ""
    return f'<rect class="bar {kind}"{fill(kind)} x="{at(x)}" y="{at(y)}" width="{at(width)}" height="{at(height)}"/>'


def fill(kind: str) -> str:
    """Hatches are named in the drawing: a style sheet in a file of its own would look for them in itself."""
    return f' fill="url(#hatch-{kind})"' if kind in _HATCHED else ""


def text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    """A line of text, escaped; nothing where there are no words."""
    if not words:
        return ""
    return f'<text class="{kind}" x="{at(x)}" y="{at(y)}" text-anchor="{anchor}">{escape(visible(words))}</text>'


def at(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def compact(value: float) -> str:
    """A number in few letters: `0.25`, `1,200`, `12k`, `1.5M`."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):,.4g}{letter}".replace("-", "−")
    found = f"{value:,.4g}"
    return found if "e" in found else found.replace("-", "−")


def cut_to(words: str, columns: int) -> str:
    """A text's beginning, in so many columns at most; wide letters take two."""
    widths = list(
        accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in words[: columns + 1])
    )
    if not widths or widths[-1] <= columns:
        return words
    return words[: bisect_right(widths, columns - 1)] + "…"
