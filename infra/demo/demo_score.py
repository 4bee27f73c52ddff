"""How a cut of the demo's web compares with the truth: what was found of each flaw, and what went by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from web_truth import ImageTruth, PageTruth, TextTruth, Truth

KEPT: Final = ""
NEVER: Final = "was never met"
NEUTRAL: Final = "neutral"  # a title or a byline: either way is right

Fates = Mapping[Any, str]  # what became of an item: KEPT, or why it went; NEVER where it is not in here


@dataclass(frozen=True)
class Item:
    """Something on the web, what is wrong with it (empty: nothing), and its original if it is a copy."""

    name: Hashable
    flaw: str
    control: str = ""
    original: Hashable | None = None
    note: str = ""


@dataclass
class Line:
    """How the items of one flaw fared; `why` counts what took them away."""

    flaw: str
    planted: int = 0
    why: Counter[str] = field(default_factory=Counter)
    missed: list[Item] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Items that are gone, or whose original is."""
        return self.planted - len(self.missed)

    @property
    def mostly(self) -> str:
        """What took most of them."""
        return self.why.most_common(1)[0][0] if self.why else ""


@dataclass(frozen=True)
class Comparison:
    """Lines in the order in which their flaws are first met; `mistakes` are sound items that went, and why."""

    lines: list[Line]
    controls: dict[str, tuple[int, int]]  # kind -> planted, kept
    mistakes: list[tuple[Item, str]]
    sound: int
    precision: dict[str, float]  # why -> share of what it took that was flawed

    @property
    def recall(self) -> float:
        """Of all flawed items."""
        planted = sum(line.planted for line in self.lines)
        return sum(line.found for line in self.lines) / planted if planted else 1.0


def compare(items: Sequence[Item], fates: Fates, never: str = NEVER) -> Comparison:
    """`never` is the reason for what has no fate.

    A copy is found when it or its original is gone; an original that went in its copy's stead is no mistake.
    """
    fate = {item.name: fates.get(item.name, never) for item in items}
    instead = {item.original for item in items if item.original is not None and fate[item.name] == KEPT}
    lines: dict[str, Line] = {}
    mistakes, right, wrong = [], Counter[str](), Counter[str]()
    for item in items:
        why = fate[item.name]
        if item.flaw:
            line = lines.setdefault(item.flaw, Line(item.flaw))
            line.planted += 1
            gone = why or (fates.get(item.original, never) if item.original is not None else KEPT)
            if gone:
                line.why[gone] += 1
                right[gone] += 1
            else:
                line.missed.append(item)
        elif why != KEPT and item.name not in instead:
            mistakes.append((item, why))
            wrong[why] += 1
    precision = {why: right[why] / (right[why] + wrong[why]) for why in [*right, *wrong]}
    return Comparison(list(lines.values()), _controls(items, fate, instead), mistakes, _sound(items), precision)


def _sound(items: Iterable[Item]) -> int:
    return sum(not item.flaw for item in items)


def _controls(items: Iterable[Item], fate: Fates, instead: set[Hashable]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for item in items:
        if item.control and not item.flaw:
            planted, kept = found.get(item.control, (0, 0))
            found[item.control] = planted + 1, kept + (fate[item.name] == KEPT or item.name in instead)
    return found


def crawled_pages(truth: Truth) -> list[Item]:
    """Pages by whether they should have come: traps and pages that ask to be left alone should not."""
    refused = ("robots", "noai_header", "noai_meta")
    return [
        Item(page.url, page.flaw if page.kind == "trap" or page.flaw in refused else "", page.control)
        for page in truth.pages
    ]


def pairs(truth: Truth) -> list[Item]:
    """Images with their captions, of the pages that may be crawled."""
    pages = _fetched(truth)
    return [_pair(image) for image in truth.images if image.page_url in pages]


def _pair(image: ImageTruth) -> Item:
    flaw = image.furniture or image.flaw or image.caption_flaw
    original = (image.original_page, image.original) if image.original else None
    return Item((image.page_url, image.image_url), flaw, image.control, original)


def _fetched(truth: Truth) -> set[str]:
    flawed = {item.name for item in crawled_pages(truth) if item.flaw}
    return {page.url for page in truth.pages if page.url not in flawed}


def documents(truth: Truth) -> list[Item]:
    """Pages that may be crawled, by whether they should become a document."""
    pages = _fetched(truth)
    return [_document(page) for page in truth.pages if page.url in pages]


def _document(page: PageTruth) -> Item:
    flaw = page.flaw or ("" if page.kind == "article" else f"{page.kind}_page")
    return Item(page.url, flaw, page.control, page.original or None)


def paragraphs(truth: Truth, kept: Container[str]) -> list[Item]:
    """Texts of the sound articles that became documents."""
    sound = _sound_articles(truth.pages, kept)
    return [_paragraph(text) for text in truth.texts if text.page_url in sound and text.flaw != NEUTRAL]


def _paragraph(text: TextTruth) -> Item:
    return Item((text.page_url, text.text), text.flaw)


def document_images(truth: Truth, kept: Container[str]) -> list[Item]:
    """Images of the sound articles that became documents; captions and copies elsewhere do not count here."""
    sound = _sound_articles(truth.pages, kept)
    elsewhere = ("exact_duplicate", "near_duplicate")
    return [
        Item(
            (image.page_url, image.image_url),
            image.furniture or ("" if image.flaw in elsewhere else image.flaw),
            image.control,
        )
        for image in truth.images
        if image.page_url in sound
    ]


def _sound_articles(pages: Iterable[PageTruth], kept: Container[str]) -> set[str]:
    return {page.url for page in pages if page.kind == "article" and not page.flaw and page.url in kept}
