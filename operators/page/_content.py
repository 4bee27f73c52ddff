"""Which blocks of a page are its main content.

The scoring is Mozilla Readability's, over our blocks: paragraphs give their score to the blocks around them, and the
best block with its siblings of the same kind is the content. What differs: the best block grows as long as there is
prose around it. What is inside of other things is taken out after that (`_clean`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ._blocks import Attributes, Block, Run
from ._captions import take_captions
from ._clean import Cleaner, link_density, weight
from ._tree import Skip

_UNLIKELY: Final = re.compile(
    r"-ad-|ai2html|banner|breadcrumb|combx|comment|community|cover-wrap|disqus|extra|footer|gdpr|header|legends|menu|"
    r"related|remark|replies|rss|shoutbox|sidebar|skyscraper|social|sponsor|supplemental|ad-break|agegate|pagination|"
    r"pager|popup|yom-remote|cookie|newsletter|subscri|promo|recirc|outbrain|taboola|navbar|toolbar"
)
_MAYBE: Final = re.compile(r"and|article|body|column|content|main|shadow|embed|tweet")
_ROLES: Final = frozenset(("menu", "menubar", "complementary", "navigation", "alert", "alertdialog", "dialog"))
_TAG_SCORES: Final = {
    **dict.fromkeys(("div",), 5),
    **dict.fromkeys(("pre", "td", "blockquote"), 3),
    **dict.fromkeys(("address", "ol", "ul", "dl", "dd", "dt", "li", "form"), -3),
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6", "th"), -5),
}
_NEVER: Final = frozenset(("nav", "footer", "aside"))
_PARAGRAPHS: Final = frozenset(("p", "pre", "td", "h2", "h3", "h4", "h5", "h6", "section"))
_ENOUGH_CHARS: Final = 500
_GROWTH: Final = 1.25  # times the prose: where the block above holds so much more, it is the content
_LINKS: Final = 0.2  # of its other text, at most


def skip_strict(tag: str, hint: str, attributes: Attributes) -> bool:
    """Elements that are boilerplate by what they are called."""
    if tag in _NEVER or attributes.get("role") in _ROLES:
        return True
    return _UNLIKELY.search(hint) is not None and _MAYBE.search(hint) is None


def skip_little(tag: str, _hint: str, _attributes: Attributes) -> bool:
    """Elements that never hold content."""
    return tag in _NEVER


def find_content(read: Callable[[Skip], list[Block]], title: str) -> list[Block]:
    """The blocks that make the main content, in reading order, cleaned."""
    best: list[Block] = []
    for skip in (skip_strict, skip_little):
        blocks = read(skip)
        take_captions(blocks)
        chosen = choose(blocks)
        cleaner = Cleaner(sum(block.prose for block in chosen), title)
        for block in chosen:
            cleaner.clean(block)
        if sum(block.chars for block in chosen) > sum(block.chars for block in best):
            best = chosen
        if sum(block.chars for block in best) >= _ENOUGH_CHARS:
            break
    return best


def choose(blocks: list[Block]) -> list[Block]:
    """The best block and its siblings that belong to it."""
    scored: dict[Block, float] = {}
    for block in blocks:
        for item in block.items:
            if isinstance(item, Run) and len(item.text) >= 25:
                share(block, 1 + item.commas + min(len(item.text) // 100, 3), scored)
    if not scored:
        return [blocks[-1]]
    final = {block: score * (1 - link_density(block)) for block, score in scored.items()}
    top = climb(max(final, key=lambda block: final[block]), final)
    return siblings(top, final)


def share(block: Block, score: float, scored: dict[Block, float]) -> None:
    """Give a paragraph's score to the blocks around it."""
    own = block.tag in _PARAGRAPHS or len(block.items) == 1
    at = block.parent if own else block
    level = 0
    while at is not None and level < 5:
        if at not in scored:
            scored[at] = _TAG_SCORES.get(at.tag, 0) + weight(at)
        scored[at] += score / (1 if level == 0 else 2 if level == 1 else level * 3)
        at, level = at.parent, level + 1


def climb(top: Block, final: dict[Block, float]) -> Block:
    """Up from the best block where the blocks above score better, or hold more prose with few links around it."""
    last, threshold = final.get(top, 0.0), final.get(top, 0.0) / 3
    above = top.parent
    while above is not None and above.tag != "body":
        if above in final:
            if final[above] < threshold:
                break
            if final[above] > last:
                top = above
                break
            last = final[above]
        above = above.parent
    return grown(top)


def grown(top: Block) -> Block:
    """The largest block around this one that adds prose rather than links."""
    best = above = top
    while above.parent is not None and above.tag != "body":
        above = above.parent
        more, links = above.chars - best.chars, above.links - best.links
        if above.prose > _GROWTH * best.prose and links < _LINKS * more:
            best = above
    return best


def siblings(top: Block, final: dict[Block, float]) -> list[Block]:
    """The block among those beside it that score as well, or are paragraphs."""
    if top.parent is None:
        return [top]
    threshold = max(10.0, final.get(top, 0.0) * 0.2)
    found = []
    for item in top.parent.items:
        if not isinstance(item, Block):
            continue
        bonus = final.get(top, 0.0) * 0.2 if item.hint.strip() and item.hint == top.hint else 0.0
        likely = final.get(item, 0.0) + bonus >= threshold
        if item is top or likely or (item.tag == "p" and reads_on(item)):
            found.append(item)
    return found


def reads_on(block: Block) -> bool:
    """True for a paragraph of prose, or a sentence without links."""
    density = link_density(block)
    if block.chars > 80:
        return density < 0.25
    return density == 0 and any(isinstance(i, Run) and re.search(r"\.( |$)", i.text) for i in block.items)
