"""The demo's pages as HTML: five layouts that articles come in, and all that stands around them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from random import Random
from typing import Final

from web_plan import Article, Figure, Paragraph
from web_text import COMMENTS, COOKIES

PLACEHOLDER: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
NAVIGATION: Final = ("Home", "Archive", "About us", "Contact", "Imprint")
FOOTER: Final = "All rights reserved. Terms of use. Privacy policy."
SHARES: Final = ("mail", "print", "bookmark", "message")


@dataclass(frozen=True)
class Around:
    """What a page has beside its article: texts with what they are, and images (URL, alt, width, height, what)."""

    texts: tuple[tuple[str, str], ...]
    images: tuple[tuple[str, str, int, int, str], ...]


def around(article: Article, origins: dict[str, str]) -> Around:
    """Banner, navigation, related articles, comments, footer; logo, share icons, pixel, portrait, thumbnails."""
    rng, media = Random(f"around-{article.site}{article.path}"), origins["media"]
    related = [(other.title, "related") for other in article.related]
    comments = [(text, "comment") for text in rng.sample(COMMENTS, 2)] if article.site in ("summits", "mirror") else []
    cookies = (COOKIES[sum(article.site.encode()) % len(COOKIES)], "cookie_banner")
    texts = [cookies, *((item, "navigation") for item in NAVIGATION), *related, *comments, (FOOTER, "footer")]
    images = [(f"{media}/ui/logo-{article.site}.png", f"{article.site} logo", 180, 60, "logo")]
    images += [(f"{media}/ui/share-{name}.png", f"Share by {name}", 32, 32, "share_icon") for name in SHARES]
    images += [(f"{media}/ui/portrait-{article.site}.jpg", "portrait of the author", 64, 64, "portrait")]
    for other in article.related:
        images.append((f"{media}/thumbs/{other.site}{other.path}.jpg", other.title, 120, 80, "thumbnail"))
    images.append((f"{media}/pixel.gif?page={rng.getrandbits(32):08x}", "", 1, 1, "tracking_pixel"))
    if article.banner:
        images.append((f"{media}/ui/subscribe.jpg", BANNER_ALT, 300, 250, "repeated_picture"))
    return Around(tuple(texts), tuple(images))


BANNER_ALT: Final = "A letter from the editors, every week and for free"


def page_html(article: Article, origins: dict[str, str]) -> str:
    """The whole page."""
    side = around(article, origins)
    base = f"{origins['media']}/p/" if article.control == "base_href" else ""
    body = "\n".join(_block(block, article.site, base) for block in article.blocks)
    if article.banner:
        body = body.replace("</p>\n", f"</p>\n<p>{_shown(_of(side, 'repeated_picture')[0])}</p>\n", 1)
    head = [f"<title>{escape(article.title)}</title>"]
    if article.control not in ("latin_1", "no_charset"):
        head.insert(0, '<meta charset="utf-8">')
    if article.control == "no_charset":
        head.insert(0, '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">')
    if base:
        head.append(f'<base href="{base}">')
    if article.flaw == "noai_meta":
        head.append('<meta name="robots" content="noai, noimageai">')
    content = LAYOUTS.get(article.site, _semantic)(article, body, side)
    return (
        f'<!DOCTYPE html>\n<html lang="{article.language}">\n<head>\n' + "\n".join(head) + "\n</head>\n<body>\n"
        f"{_top(side)}\n{content}\n{_bottom(side)}\n</body>\n</html>\n"
    )


def _of(side: Around, kind: str) -> list[tuple[str, str, int, int, str]]:
    return [image for image in side.images if image[4] == kind]


def _said(side: Around, kind: str) -> list[str]:
    return [escape(text) for text, what in side.texts if what == kind]


def _shown(image: tuple[str, str, int, int, str]) -> str:
    url, alt, width, height, _ = image
    return f'<img src="{url}" alt="{escape(alt)}" width="{width}" height="{height}">'


def _top(side: Around) -> str:
    items = "".join(f'<li><a href="/">{item}</a></li>' for item in _said(side, "navigation"))
    cookies = _said(side, "cookie_banner")[0]
    return (
        f'<div id="cookie-notice" class="cookie-banner" role="dialog"><p>{cookies}</p><button>Accept</button></div>\n'
        f'<header><a href="/">{_shown(_of(side, "logo")[0])}</a><nav><ul>{items}</ul></nav></header>'
    )


def _bottom(side: Around) -> str:
    return f"<footer><p>{_said(side, 'footer')[0]}</p>{''.join(map(_shown, _of(side, 'tracking_pixel')))}</footer>"


def _icons(side: Around) -> str:
    return f'<div class="share">{"".join(map(_shown, _of(side, "share_icon")))}</div>'


def _related(article: Article, side: Around) -> str:
    """Links to three articles with their thumbnails."""
    cards = zip(article.related, _of(side, "thumbnail"), _said(side, "related"), strict=True)
    items = "".join(
        f'<li><a href="{other.path}">{_shown(image)}<span>{title}</span></a></li>' for other, image, title in cards
    )
    return f'<aside class="related"><h3>You may also like</h3><ul>{items}</ul></aside>' if items else ""


def _byline(article: Article, side: Around) -> str:
    return f'<div class="byline author">{_shown(_of(side, "portrait")[0])}<span>{escape(article.byline)}</span></div>'


def _semantic(article: Article, body: str, side: Around) -> str:
    """As HTML5 would have it."""
    return (
        f"<main><article><h1>{escape(article.title)}</h1>{_byline(article, side)}\n{body}\n"
        f"{_icons(side)}</article></main>\n{_related(article, side)}"
    )


def _soup(article: Article, body: str, side: Around) -> str:
    """Nothing but div elements."""
    return (
        f'<div id="page"><div id="content" class="content"><div class="post"><h1>{escape(article.title)}</h1>\n'
        f'{_byline(article, side)}<div class="post-body">{body}</div>{_icons(side)}</div></div>\n'
        f'<div id="sidebar" class="sidebar">{_related(article, side)}</div></div>'
    )


def _blog(article: Article, body: str, side: Around) -> str:
    """With comments below."""
    said = "".join(f'<li class="comment"><p>{text}</p></li>' for text in _said(side, "comment"))
    return (
        f'<div class="entry"><h2 class="entry-title">{escape(article.title)}</h2>{_byline(article, side)}\n'
        f'<div class="entry-content">{body}</div>{_icons(side)}</div>\n{_related(article, side)}\n'
        f'<section id="comments" class="comments"><h3>Comments</h3><ul>{said}</ul></section>'
    )


def _table(article: Article, body: str, side: Around) -> str:
    """As pages were laid out before style sheets."""
    links = "<br>".join(f'<a href="{other.path}">{escape(other.title)}</a>' for other in article.related)
    return (
        f'<table width="100%"><tr><td class="menu" width="160">{links}</td>\n'
        f"<td><h1>{escape(article.title)}</h1>{_byline(article, side)}\n{body}\n{_icons(side)}</td></tr></table>\n"
        f"{_related(article, side)}"
    )


def _press(article: Article, body: str, side: Around) -> str:
    """As a well-known system for blogs writes it."""
    return (
        f'<div id="primary" class="content-area"><main id="main" class="site-main"><article class="post hentry">\n'
        f'<header class="entry-header"><h1 class="entry-title">{escape(article.title)}</h1>\n'
        f"{_byline(article, side)}</header>\n"
        f'<div class="entry-content">{body}\n{_icons(side)}</div></article></main></div>\n'
        f'<div id="secondary" class="widget-area">{_related(article, side)}</div>'
    )


LAYOUTS: Final = {"gardens": _soup, "summits": _blog, "mirror": _blog, "villages": _table, "museum": _press}


def _block(block: Paragraph | Figure, site: str, base: str) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    image = _image(block, base)
    if block.control == "link_around":
        image = f'<a href="{block.url}">{image}</a>'
    if block.figcaption is None:
        return f'<div class="image">{image}</div>' if site in ("gardens", "villages") else f"<p>{image}</p>"
    if site == "museum":
        return f'<div class="wp-caption">{image}<p class="wp-caption-text">{escape(block.figcaption)}</p></div>'
    return f"<figure>{image}<figcaption>{escape(block.figcaption)}</figcaption></figure>"


def _image(figure: Figure, base: str) -> str:
    """The element, in one of the ways in which pages say where the picture is."""
    alt = "" if figure.alt is None else f' alt="{escape(figure.alt)}"'
    url = figure.url.removeprefix(base) if base else figure.url
    match figure.control:
        case "lazy":
            return f'<img class="lazyload" src="{PLACEHOLDER}" data-src="{url}"{alt}>'
        case "srcset":
            small = small_url(figure.url)
            return f'<img src="{small}" srcset="{small} 160w, {figure.url} 640w" sizes="640px"{alt}>'
        case "picture_element":
            return f'<picture><source srcset="{url} 1x"><img src="{url}"{alt}></picture>'
        case "relative_url" if not base:
            return f'<img src="../{figure.url.split("/", 3)[3]}"{alt}>'
    return f'<img src="{url}"{alt}>'


def small_url(url: str) -> str:
    """Where the small version of a picture is."""
    stem, dot, suffix = url.rpartition(".")
    return f"{stem}-160{dot}{suffix}"


def front_html(site: str, links: list[tuple[str, str]]) -> str:
    """A site's first page: (path or URL, title) of all there is."""
    items = "".join(f'<li><a href="{escape(path)}">{escape(title)}</a></li>' for path, title in links)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{site}</title></head>\n'
        f"<body><h1>{site}</h1><ul>{items}</ul><footer><p>{FOOTER}</p></footer></body></html>\n"
    )
