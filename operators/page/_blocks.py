"""What a page is read into: blocks, and the runs of text and the pictures that they hold in reading order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Attributes = Mapping[str, str | None]

MIN_PROSE: Final = 60  # characters
_COMMAS: Final = ",،、，"


class Run:
    """Text between two blocks, its inline elements folded in."""

    __slots__ = ("behind", "commas", "lines", "links", "pieces", "text")

    def __init__(self) -> None:
        self.behind: list[Picture] = []  # those amid its text: no sentence is cut in two
        self.pieces: list[str] = []
        self.lines: list[str] = []
        self.links = 0  # characters inside links
        self.text = ""

    def close(self, keep_space: bool) -> None:
        self.lines.append("".join(self.pieces))
        if keep_space:
            self.text = "\n".join(self.lines).strip("\n").rstrip()
        else:
            lines = [" ".join(line.split()) for line in self.lines]
            self.text = "\n".join(lines).strip()
        self.pieces = self.lines = []
        text = self.text
        self.links = min(self.links, len(text))
        self.commas = text.count(",") if text.isascii() else sum(map(text.count, _COMMAS))

    @property
    def prose(self) -> int:
        """Its characters where it reads like a sentence; 0 for labels, headlines and lists of links."""
        return len(self.text) if len(self.text) >= MIN_PROSE and self.links * 3 <= len(self.text) else 0


@dataclass(slots=True)
class Picture:
    """An image as the page has it, before URLs are resolved."""

    attributes: Attributes
    sources: list[Attributes]
    in_noscript: bool = False
    captions: list[str] = field(default_factory=list)


class Block:
    """A block-level element."""

    __slots__ = (
        "attributes", "chars", "commas", "entries", "hint", "items", "links", "paragraphs", "parent", "pictures",
        "prose", "tag",
    )  # fmt: skip

    def __init__(self, tag: str, parent: Block | None, attributes: Attributes, hint: str) -> None:
        self.tag = tag
        self.parent = parent
        self.attributes = attributes
        self.hint = hint
        self.items: list[Block | Run | Picture] = []
        # Of all that is inside. Links and prose are characters, too; entries are those of lists.
        self.chars = self.links = self.prose = self.commas = self.pictures = self.paragraphs = self.entries = 0
