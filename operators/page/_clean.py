"""What is not content inside a block of content: taken out by what it is called, and by what it is made of.

The rules are Readability's conditional cleaning. What differs: names count for nothing against a block that holds much
of the prose, pictures are not counted against a block that has few links, and more names are known.
"""

from __future__ import annotations

import re
from typing import Final

from ._blocks import Block, Picture, Run
from ._captions import texts

_POSITIVE: Final = re.compile(r"article|body|content|entry|hentry|h-entry|main|page|pagination|post|text|blog|story")
_NEGATIVE: Final = re.compile(
    r"-ad-|hidden|(?:^| )hid(?: |$)|banner|combx|comment|com-|contact|footer|gdpr|masthead|media|meta|outbrain|"
    r"promo|related|scroll|share|shoutbox|sidebar|skyscraper|sponsor|shopping|tags|widget"
)
# Words that leave no doubt, whatever stands beside them: taken out unless there is much prose inside.
_BOILERPLATE: Final = re.compile(
    r"(?:^|[\s_-])(?:foot(?:er)?|share|sharing|social(?!\S*embed)|related|recommend(?:ed|ations?)?|comments?|respond|"
    r"disqus|cookies?|consent|paywall|promo|advert(?:isement)?|ads?|tags?|tag-?list|author-?(?:info|box|card)|"
    r"about-?author|copyright|more-?(?:stories|articles|news|from)|read-?(?:more|next|also)|trending|popular|taboola|"
    r"outbrain|pagination|pager|nav|navigation|byline|dateline|timestamp|publish(?:ed)?-?(?:date|time)|"
    r"(?:post|entry|article)-?meta|toolbar|login|register|donate|donation)(?:[\s_-]|$)|"
    r"newsletter|sign-?up|subscri(?:be|ption)|breadcrumb|share-?(?:bar|button|tool|link|this)|sponsored|author-?bio|"
    r"social-?(?:share|link|icon|bar|button)|related-?(?:content|stor|article|post|link|item|topic|news)|also-?like|"
    r"cookie-?(?:banner|consent|notice)"
)
_LINK: Final = 0.8  # of a paragraph: then it is a link
_TITLE: Final = 0.75  # of its words: then a headline says the page's title
_MUCH: Final = 0.3  # of the content's prose: nothing that holds so much is taken out for its name


def weight(block: Block) -> int:
    """+25 or -25 for class and id that sound like content, or like its opposite."""
    hint = block.hint
    if len(hint) < 2:
        return 0
    return 25 * ((_POSITIVE.search(hint) is not None) - (_NEGATIVE.search(hint) is not None))


def link_density(block: Block) -> float:
    return block.links / block.chars if block.chars else 0.0


class Cleaner:
    """Takes out, in place, what is not content inside a block of content."""

    def __init__(self, prose: int, title: str) -> None:
        self.much = prose * _MUCH
        self.title = _words(title)

    def clean(self, block: Block, data: bool = False) -> None:
        """`data`: inside a table of data, which is taken as it is but for names."""
        kept: list[Block | Run | Picture] = []
        for item in block.items:
            if isinstance(item, Run) and not data and block.tag in ("p", "div") and is_link(item):
                continue
            if isinstance(item, Block):
                inside = data or (item.tag == "table" and is_data(item))
                if self.drop(item, inside):
                    continue
                self.clean(item, inside)
                if not item.items:
                    continue
            kept.append(item)
        block.items = kept
        block.chars = sum(0 if isinstance(i, Picture) else len(i.text) if isinstance(i, Run) else i.chars for i in kept)
        block.prose = sum(0 if isinstance(i, Picture) else i.prose for i in kept)

    def drop(self, block: Block, data: bool) -> bool:
        """True for the headline, which is the page's title, and for what is no content."""
        if block.tag in ("h1", "h2") and self.is_title(block):
            return True
        if block.prose > self.much:
            return False
        if _BOILERPLATE.search(block.hint) is not None:
            return True
        return not data and unlike_content(block)

    def is_title(self, block: Block) -> bool:
        words = _words(" ".join(texts(block)))
        return bool(words) and len(words & self.title) >= _TITLE * len(words)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def is_link(paragraph: Run) -> bool:
    """A paragraph that is little but a link: to another story, or to where the image came from."""
    return paragraph.links >= _LINK * len(paragraph.text)


def unlike_content(block: Block) -> bool:
    """Readability's conditional cleaning: what a block is made of."""
    tag = block.tag
    if tag in ("h1", "h2") and weight(block) < 0:
        return True
    if tag not in ("form", "fieldset", "table", "ul", "ol", "div", "section"):
        return False
    if weight(block) < 0:
        return True
    if block.commas >= 10:
        return False
    images, density = block.pictures, link_density(block)
    is_list = tag in ("ul", "ol")
    if images > 1 and block.paragraphs / images < 0.5 and density > 0.2 and not is_list and not in_figure(block):
        return True
    if not is_list and block.entries - 100 > block.paragraphs:
        return True
    if not is_list and block.chars < 25 and (images == 0 or images > 2) and density > 0:
        return True
    return (weight(block) < 25 and density > 0.2 and not is_list and not images) or density > 0.5


def in_figure(block: Block) -> bool:
    at: Block | None = block
    while at is not None:
        if at.tag == "figure":
            return True
        at = at.parent
    return False


def is_data(table: Block) -> bool:
    """A table of data rather than of layout."""
    role = table.attributes.get("role")
    if role == "presentation" or table.attributes.get("datatable") == "0":
        return False
    if "summary" in table.attributes:
        return True
    rows = columns = 0
    stack = [table]
    while stack:
        block = stack.pop()
        for item in block.items:
            if not isinstance(item, Block):
                continue
            if item.tag in ("caption", "colgroup", "thead", "tfoot", "th"):
                return True
            if item.tag == "table":
                return False
            if item.tag == "tr":
                rows += 1
                columns = max(columns, len(item.items))
            if item.tag in ("tbody", "tr"):
                stack.append(item)
    return rows >= 10 or columns > 4 or rows * columns > 10
