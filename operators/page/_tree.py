"""A page's blocks: the DOM with inline elements folded into runs of text, which is a third of its nodes.

lexbor parses as browsers do, and is walked once. A `Block` is a block-level element; what it holds is, in reading
order, other blocks, runs of text and pictures. What never shows (scripts, templates, hidden elements) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ._blocks import Attributes, Block, Picture, Run

Skip = Callable[[str, str, Attributes], bool]  # tag, hint, attributes

MAX_DEPTH: Final = 512  # Chrome's own limit
MAX_NODES: Final = 400_000
MAX_STYLE: Final = 4096  # characters that are looked at
MAX_HINT: Final = 300

_SKIP: Final = frozenset({
    "script", "style", "link", "meta", "head", "title", "template", "svg", "canvas", "iframe", "object", "embed",
    "applet", "audio", "video", "select", "option", "input", "textarea", "dialog", "map", "frameset", "noframes",
    "datalist", "math", "-comment", "-undef", "-document", "!doctype",
})  # fmt: skip
_INLINE: Final = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
    "ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "picture", "noscript", "button",
})  # fmt: skip
_HIDDEN_STYLE: Final = re.compile(r"(?:^|;|\s)(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_UNSEEN: Final = re.compile(
    r"(?:^|\s)(?:sr-only|screen-reader(?:-text)?|visually-?hidden|print-only|visible-print|"
    r"d-none(?!.*\sd-(?:sm|md|lg|xl|xxl)-))(?:\s|$)"
)
CAPTION: Final = re.compile(  # names of captions
    r"(?:^|[\s_-])(?:\w*caption|credits?|photo-?credit|image-?(?:credit|source)|cutline)(?:[\s_-]|$)"
)
_NEVER_SKIPPED: Final = frozenset(("a", "noscript", "picture", "body", "article", "main"))


class TooDeepError(Exception):
    """Elements are nested deeper than MAX_DEPTH."""


class TooLargeError(Exception):
    """The page has more than MAX_NODES nodes."""


def hint_of(attributes: Attributes) -> str:
    """class, id and the like in one lower-case string, for the words that people name boilerplate by."""
    return f"{(attributes.get('class') or '')[:MAX_HINT]} {(attributes.get('id') or '')[:MAX_HINT]}".lower()


def is_hidden(attributes: Attributes) -> bool:
    """True where a browser would not show the element."""
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    style = attributes.get("style")
    return style is not None and _HIDDEN_STYLE.search(style[:MAX_STYLE]) is not None


def keep_all(_tag: str, _hint: str, _attributes: Attributes) -> bool:
    """What `read_blocks` is given to skip nothing."""
    return False


def read_blocks(body: Any, skip: Skip) -> list[Block]:
    """The blocks below a lexbor node, each behind those inside it, without what `skip` says of tag, hint, attributes.

    Raises TooDeepError or TooLargeError.
    """
    return _Reader(body, skip).blocks if body is not None else [Block("body", None, {}, "")]


class _Reader:
    """One walk over the DOM, with the state that closing an element restores."""

    def __init__(self, body: Any, skip: Skip) -> None:
        self.skip = skip
        self.blocks: list[Block] = []
        self.block = Block("body", None, body.attributes, hint_of(body.attributes))
        self.run: Run | None = None
        self.links = 0
        self.pre = 0
        self.noscript = 0
        self.mute = 0  # inside a button or a noscript: images count, text does not
        self.sources: list[Attributes] | None = None
        self._walk(body)

    def _walk(self, body: Any) -> None:
        node, seen = body.first_child, 0
        above: list[tuple[Any, str]] = []
        entered: str | None
        while True:
            if node is None:
                if not above:
                    break
                node, left = above.pop()
                self._leave(left)
                node = node.next
                continue
            seen += 1
            if seen > MAX_NODES:
                raise TooLargeError(f"more than {MAX_NODES:,} nodes")
            tag = node.tag
            if tag == "-text":
                if not self.mute:
                    self._text(node.text_content)
            elif tag not in _SKIP and (entered := self._enter(tag, node)):
                child = node.first_child
                if child is not None:
                    above.append((node, entered))
                    if len(above) > MAX_DEPTH:
                        raise TooDeepError(f"elements nested more than {MAX_DEPTH} deep")
                    node = child
                    continue
                self._leave(entered)
            node = node.next
        self._end_run()
        self.blocks.append(self.block)

    def _text(self, text: str) -> None:
        if self.run is None:
            if not text or text.isspace():
                return
            self.run = Run()
        self.run.pieces.append(text)
        if self.links:
            self.run.links += len(text.strip())

    def _end_run(self) -> None:
        run = self.run
        if run is not None:
            run.close(self.pre > 0)
            block = self.block
            if run.text:
                block.items.append(run)
                block.chars += len(run.text)
                block.links += run.links
                block.commas += run.commas
                block.prose += run.prose
            block.items += run.behind
            self.run = None

    def _enter(self, tag: str, node: Any) -> str | None:
        """Begin an element, and say as what; None where it is not to be entered."""
        if tag == "br":
            self._break()
            return None
        attributes = node.attributes
        if tag in ("img", "amp-img", "source"):
            self._picture(tag, attributes)
            return None
        hint = ""
        if attributes:
            hint = hint_of(attributes)
            if is_hidden(attributes) or _UNSEEN.search(hint):
                return None
        if tag not in _NEVER_SKIPPED and self.skip(tag, hint, attributes):
            return None
        if tag == "span" and CAPTION.search(hint):
            tag = "div"  # what it is shown as
        if tag in _INLINE:
            if tag == "a":
                self.links += 1
            elif tag == "noscript":
                self.noscript += 1
                self.mute += 1
            elif tag == "button":
                self.mute += 1
            elif tag == "picture":
                self.sources = []
            return tag
        self._end_run()
        self.block = Block(tag, self.block, attributes, hint)
        if tag == "pre":
            self.pre += 1
        return tag

    def _leave(self, tag: str) -> None:
        if tag == "a":
            self.links -= 1
        elif tag == "noscript":
            self.noscript -= 1
            self.mute -= 1
        elif tag == "button":
            self.mute -= 1
        elif tag == "picture":
            self.sources = None
        elif tag not in _INLINE:
            self._end_run()
            done = self.block
            if tag == "pre":
                self.pre -= 1
            if done.parent is not None:
                self.block = above = done.parent
                if done.items:
                    above.items.append(done)
                    above.chars += done.chars
                    above.links += done.links
                    above.commas += done.commas
                    above.prose += done.prose
                    above.pictures += done.pictures
                    above.paragraphs += done.paragraphs + (tag == "p")
                    above.entries += done.entries + (tag == "li")
                    self.blocks.append(done)

    def _break(self) -> None:
        """A line ends; two in a row end the paragraph."""
        run = self.run
        if run is None:
            return
        if self.pre or any(piece.strip() for piece in run.pieces):
            run.lines.append("".join(run.pieces))
            run.pieces = []
        else:
            self._end_run()

    def _picture(self, tag: str, attributes: Attributes) -> None:
        if tag == "source":
            if self.sources is not None:
                self.sources.append(attributes)
            return
        picture = Picture(attributes, self.sources or [], self.noscript > 0)
        self.block.pictures += 1
        (self.block.items if self.run is None else self.run.behind).append(picture)
