"""Captions go to their images, and out of the text before anything is scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ._blocks import Block, Picture, Run
from ._tree import CAPTION

_MAX_CHARS: Final = 1500  # of all that a block of images and captions says
_LEVELS: Final = 4  # between a caption and the block that its image is in, too


def take_captions(blocks: list[Block]) -> None:
    """Give each picture its caption. `blocks` are in the order in which they end."""
    for block in blocks:
        if not block.chars or not is_caption(block):
            continue
        holder = _holder(block)
        if holder is not None:
            caption = " ".join(texts(block))
            for picture in pictures(holder):
                picture.captions.append(caption)
        if holder is not None or _is_all_of_a_figure(block):
            _empty(block)


def is_caption(block: Block) -> bool:
    """True for a figcaption, for what is called a caption, and for a figure's text besides."""
    if block.chars > _MAX_CHARS:
        return False
    return (
        block.tag == "figcaption" or (block.tag == "figure" and block.pictures > 0) or bool(CAPTION.search(block.hint))
    )


def _holder(block: Block) -> Block | None:
    """The smallest block around a caption that has an image."""
    at: Block | None = block
    for _ in range(_LEVELS):
        if at is None or at.chars > _MAX_CHARS:
            return None
        if at.pictures:
            return at
        at = at.parent
    return None


def _is_all_of_a_figure(caption: Block) -> bool:
    """True where what the caption is about is not in the page's HTML: a film, or drawn by a script."""
    figure = caption.parent
    return figure is not None and figure.tag == "figure" and figure.chars == caption.chars


def _empty(block: Block) -> None:
    """Take the text out of a block, and out of the sums of all around it."""
    chars, links, commas, prose = block.chars, block.links, block.commas, block.prose
    at: Block | None = block
    while at is not None:
        at.chars -= chars
        at.links -= links
        at.commas -= commas
        at.prose -= prose
        at = at.parent
    block.items = list(pictures(block))


def pictures(block: Block) -> Iterator[Picture]:
    """The images of a block, in order."""
    for item in block.items:
        if isinstance(item, Picture):
            yield item
        elif isinstance(item, Block) and item.pictures:
            yield from pictures(item)


def texts(block: Block) -> Iterator[str]:
    """The texts of a block, in order."""
    for item in block.items:
        if isinstance(item, Run):
            yield item.text
        elif isinstance(item, Block):
            yield from texts(item)
