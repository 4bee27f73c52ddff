"""HTML in a text that should have none: entities read and tags taken out, in one pass."""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5
from typing import Final, Literal

Form = Literal["NFC", "NFKC", "none"]

# Text goes on within a word around the first, and ends one at the others.
_INLINE: Final = frozenset(
    (*("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "mark", "q"),
     *("s", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "wbr"))
)  # fmt: skip
_OTHERS: Final = frozenset(
    (*("article", "aside", "audio", "blockquote", "body", "br", "button", "canvas", "caption", "center", "dd", "del"),
     *("details", "div", "dl", "dt", "embed", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3"),
     *("h4", "h5", "h6", "head", "header", "hr", "html", "iframe", "img", "input", "label", "legend", "li", "link"),
     *("main", "map", "meta", "nav", "noscript", "object", "ol", "option", "p", "param", "picture", "pre", "script"),
     *("section", "select", "source", "style", "summary", "svg", "table", "tbody", "td", "textarea", "tfoot", "th"),
     *("thead", "title", "tr", "ul", "video"))
)  # fmt: skip
_TAG: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)(?:\s[^<>]*|/)?>")
_NUMERIC: Final = re.compile(r"&#(?:[0-9]+|[xX][0-9A-Fa-f]+);")
_JOINERS: Final = frozenset("\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))


def read_markup(text: str, form: Form, tags: bool) -> str:
    """The text with every entity decoded, and without tags, until there is none: `&amp;lt;br&amp;gt;` is a space.

    Characters are read one by one into `out`, and what ends in `;` or `>` is looked up there, so that whatever decoding
    brings to light is read as if it had stood there. Each `&` and `<` is looked up once, unless what stood behind it
    was taken out: a text made to be decoded a million times is decoded in one pass.
    """
    out: list[str] = []
    opened: dict[str, list[int]] = {";": [], ">": []}  # where a `&` and a `<` stand in `out` that may begin something
    for character in text:
        waiting = [character]
        while waiting:
            new = waiting.pop()
            out.append(new)
            if new == "&":
                opened[";"].append(len(out) - 1)
            elif new == "<":
                opened[">"].append(len(out) - 1)
            elif opened.get(new):
                start = opened[new][-1]
                found = "".join(out[start:])
                meant = _entity(found) if new == ";" else _tag(found) if tags else None
                if meant is None:
                    opened[new].clear()  # what began before holds this one, and can be nothing either
                    continue
                del out[start:]
                for places in opened.values():
                    while places and places[-1] >= start:
                        places.pop()
                waiting += reversed(_seen(meant, form, out))
    return "".join(out)


def _entity(text: str) -> str | None:
    """What an entity stands for; None for what is none. Only those with a semicolon: `?a=1&copy=2` is a URL."""
    if text[1:] in html5:
        return html5[text[1:]]
    return html.unescape(text) if _NUMERIC.fullmatch(text) and len(text) < 16 else None


def _tag(text: str) -> str | None:
    """What stands in a tag's place: nothing or a space; None for what is no tag, such as `<3` and `<censored>`."""
    if text.startswith("<!--") and text.endswith("-->") and len(text) > 6:
        return " "
    match = _TAG.fullmatch(text)
    name = match[1].lower() if match else ""
    return "" if name in _INLINE else " " if name in _OTHERS else None


def _seen(meant: str, form: Form, before: list[str]) -> str:
    """Decoded characters in their form, without the invisible ones: those may not part an entity's letters."""
    normal = meant if form == "none" else unicodedata.normalize(form, meant)
    after_ascii = not before or before[-1].isascii()
    return "".join(
        character
        for character in normal
        if character.isspace()
        or (not after_ascii if character in _JOINERS else unicodedata.category(character) not in ("Cc", "Cf", "Co"))
    )
