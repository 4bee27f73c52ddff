"""Which articles the demo's web has, with which pictures and which flaws: a plan, before anything is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from flaws import mash
from scenes import SCENES
from web_text import BOILERPLATE, FOREIGN_PARAGRAPHS, SPAM, Writer

ARTICLES: Final = dict.fromkeys(("harbour", "gardens", "summits", "villages", "museum"), 28)
SCENES_OF: Final = {
    "harbour": ("sailboats", "city", "fishes"),
    "gardens": ("flowers", "fruit", "quilt"),
    "summits": ("mountains", "forest", "snowmen", "desert"),
    "villages": ("village", "cars", "city"),
    "museum": ("planets", "balloons", "fishes"),
    "pictures": tuple(SCENES),
    "offers": tuple(SCENES),
}
SITES: Final = (*SCENES_OF, "mirror", "media")  # media has the pictures of all others, as such servers do

IMAGE_FLAWS: Final = {
    "tiny_image": 8, "extreme_aspect": 8, "blurred": 8, "blank": 6, "truncated": 5, "html_page": 6, "zero_bytes": 3,
    "random_bytes": 3, "bomb": 2, "svg": 3, "dead_image": 10, "looping_image": 2, "dripping_image": 1,
    "silent_image": 1, "endless_image": 1, "cut_image": 4, "short_image": 3, "reset_image": 2, "robots_image": 6,
    "noai_image": 6, "forbidden_address": 5, "exact_duplicate": 12, "near_duplicate": 12,
}  # fmt: skip
CAPTION_FLAWS: Final = {
    "wrong_caption": 16, "too_short": 8, "boilerplate": 24, "word_repetition": 6, "symbol_soup": 6, "gibberish": 6,
    "wrong_language": 10, "missing_caption": 6, "empty_caption": 4,
}  # fmt: skip
ODD_PICTURES: Final = ("exif_orientation", "grayscale", "cmyk", "sixteen_bit", "palette", "animated")
IMAGE_CONTROLS: Final = {
    **dict.fromkeys(ODD_PICTURES, 3), "moved_image": 6, "flaky_image": 4, "wrong_type": 6, "lazy": 12, "srcset": 12,
    "picture_element": 8, "relative_url": 8, "figcaption_only": 8, "link_around": 8,
}  # fmt: skip
PAGE_FLAWS: Final = {
    "wrong_language": 8,
    "spam": 6,
    "stub": 7,
    "no_image": 5,
}  # of the pages of `offers`, one after the other
REFUSED: Final = {"robots": 6, "noai_header": 4, "noai_meta": 4}  # articles that a polite crawler leaves alone
COPIES: Final = {"second_address": 6, "copied_page": 8, "edited_copy": 8}
PAGE_CONTROLS: Final = {"moved_page": 5, "flaky_page": 4, "gzip": 8, "latin_1": 4, "base_href": 4, "no_charset": 3}
CAFE: Final = " Everybody calls it the Café Zürich."  # letters that a wrong encoding spoils
PARAGRAPH_FLAWS: Final = {"spam": 8, "gibberish": 6, "symbols": 8, "too_short": 12}
GALLERIES: Final = 6
IN_A_GALLERY: Final = 12
BANNER_PAGES: Final = 14  # show one and the same picture among their paragraphs


@dataclass(eq=False)
class Figure:
    """A picture in an article. `seed` decides what is drawn."""

    scene: str
    seed: str
    flaw: str = ""
    caption_flaw: str = ""
    control: str = ""
    number: int = 0  # of those with the same flaw or control
    original: Figure | None = None
    url: str = ""
    alt: str | None = None
    figcaption: str | None = None


@dataclass(eq=False)
class Paragraph:
    text: str
    flaw: str = ""


Block = Paragraph | Figure


@dataclass(eq=False)
class Article:
    """A page with text and pictures in reading order."""

    site: str
    path: str
    title: str
    byline: str
    blocks: list[Block]
    kind: str = "article"
    flaw: str = ""
    control: str = ""
    language: str = "en"
    original: Article | None = None
    banner: bool = False
    related: list[Article] = field(default_factory=list)

    @property
    def figures(self) -> list[Figure]:
        return [block for block in self.blocks if isinstance(block, Figure)]


def plan(seed: int) -> list[Article]:
    """All articles and galleries, flaws and all."""
    rng = Random(f"plan-{seed}")
    sound = [article for site, n in ARTICLES.items() for article in _articles(site, n, seed)]
    rest = rng.sample(sound, len(sound))
    pristine = [rest.pop() for n in COPIES.values() for _ in range(n)]
    for flaw, n in REFUSED.items():
        for _ in range(n):
            rest.pop().flaw = flaw
    refused = [article for article in sound if article.flaw]
    rest = [article for article in rest if not article.flaw]
    controlled = rng.sample(rest, sum(PAGE_CONTROLS.values()))
    for article, control in zip(controlled, _spread(PAGE_CONTROLS), strict=True):
        article.control = control
        if control in ("latin_1", "no_charset"):
            next(block for block in article.blocks if isinstance(block, Paragraph)).text += CAFE
    for article in rng.sample(rest, BANNER_PAGES):
        article.banner = True
    _plant_paragraphs(rest, rng)
    _plant_figures(rest, rng)
    copies = [_copy(article, kind, i) for i, (article, kind) in enumerate(zip(pristine, _spread(COPIES), strict=True))]
    for article in refused:
        if article.flaw == "robots":
            article.path = "/drafts" + article.path
    articles = [*sound, *_offers(seed), *copies]
    for article in articles:
        pool = [
            other
            for other in sound
            if other.site == article.site and other is not article and not other.flaw and other.control != "moved_page"
        ]
        article.related = rng.sample(pool, 3) if pool else []
    return [*articles, *_galleries(seed)]


def _spread(kinds: dict[str, int]) -> Iterator[str]:
    return (kind for kind, n in kinds.items() for _ in range(n))


def _articles(site: str, n: int, seed: int) -> Iterator[Article]:
    for i in range(n):
        rng = Random(f"{seed}-{site}-{i}")
        yield _article(site, i, rng, pictures=rng.randint(2, 5))


def _article(site: str, i: int, rng: Random, pictures: int) -> Article:
    """Four to seven paragraphs, pictures between them, and after most of the first ones the site's boiler-plate."""
    writer, scenes = Writer(rng), rng.sample(SCENES_OF[site], 2)
    blocks: list[Block] = [Paragraph(writer.paragraph(rng.choice(scenes))) for _ in range(rng.randint(4, 7))]
    for k in range(pictures):
        blocks.insert(rng.randint(1, len(blocks)), Figure(rng.choice(scenes), f"{site}-{i}-{k}-{rng.random()}"))
    if site in BOILERPLATE and rng.random() < 0.6:
        blocks.insert(rng.randint(2, len(blocks)), Paragraph(BOILERPLATE[site], "boilerplate"))
    path = f"/{rng.choice(('2019', '2021', '2023', '2024'))}/{i:03d}-{scenes[0]}.html"
    return Article(site, path, writer.title(scenes[0]), writer.byline(), blocks)


def _plant_paragraphs(articles: list[Article], rng: Random) -> None:
    texts = {
        "spam": SPAM,
        "gibberish": [f"{mash(rng)}." for _ in range(PARAGRAPH_FLAWS["gibberish"])],
        "symbols": ("* * * * * * *", "=== // === // === // ===", "<<< 1 | 2 | 3 | 4 | 5 | 6 >>>"),
        "too_short": ("Advertisement", "Share this", "Read more"),
    }
    for flaw, n in PARAGRAPH_FLAWS.items():
        for article, text in zip(rng.sample(articles, n), itertools.cycle(texts[flaw])):
            article.blocks.insert(rng.randint(1, len(article.blocks)), Paragraph(text, flaw))


def _plant_figures(articles: list[Article], rng: Random) -> None:
    """Each figure gets one flaw or one control at most; an original of a copy stays plain.

    An article's first picture is never flawed itself: without any picture it would be no document.
    """
    free = [figure for article in articles for figure in article.figures[1:]]
    rng.shuffle(free)
    for kinds, attribute in ((IMAGE_FLAWS, "flaw"), (CAPTION_FLAWS, "caption_flaw"), (IMAGE_CONTROLS, "control")):
        if kinds is CAPTION_FLAWS:
            free += [article.figures[0] for article in articles]
            rng.shuffle(free)
        for kind, n in kinds.items():
            for number in range(n):
                figure = free.pop()
                setattr(figure, attribute, kind)
                figure.number = number
                if kind.endswith("_duplicate"):
                    figure.original = free.pop()


def _copy(article: Article, kind: str, i: int) -> Article:
    """The same article under another address, or on another site, or with other words here and there."""
    if kind == "second_address":
        path = article.path + f"?utm_source=feed{i}"
        return Article(article.site, path, article.title, article.byline, article.blocks, flaw=kind, original=article)
    blocks, path = article.blocks, f"/{article.site}{article.path}"
    if kind == "edited_copy":
        blocks = [_edited(block, number) for number, block in enumerate(blocks)]
    return Article("mirror", path, article.title, article.byline, blocks, flaw=kind, original=article)


def _edited(block: Block, number: int) -> Block:
    if isinstance(block, Figure):
        return Figure(block.scene, block.seed, flaw="near_duplicate", number=number, original=block)
    first, stop, rest = block.text.partition(". ")
    text = f"As we have read, {first[0].lower()}{first[1:]}{stop}{rest}" if number == 0 else block.text
    return Paragraph(text, block.flaw)


def _offers(seed: int) -> Iterator[Article]:
    """A site of which nothing is wanted: foreign pages, spam, stubs, and articles without a picture."""
    for i, flaw in enumerate(_spread(PAGE_FLAWS)):
        rng = Random(f"{seed}-offers-{i}")
        article = _article("offers", i, rng, pictures=0 if flaw == "no_image" else 1)
        article.flaw = flaw
        figures = list(article.figures)
        if flaw == "wrong_language":
            article.language = list(FOREIGN_PARAGRAPHS)[i % len(FOREIGN_PARAGRAPHS)]
            texts = FOREIGN_PARAGRAPHS[article.language]
            article.title = texts[0].split(",")[0].split(" ")[0] + f" {i}"
            article.blocks = [*(Paragraph(text) for text in rng.sample(texts, len(texts))), *figures]
        elif flaw == "spam":
            article.blocks = [*(Paragraph(text, "spam") for text in rng.sample(SPAM, 3)), *figures]
        elif flaw == "stub":
            article.blocks = [Paragraph("More will follow here soon."), *figures]
        for figure in figures:
            figure.caption_flaw = {"wrong_language": "wrong_language", "spam": "word_repetition"}.get(flaw, "")
            figure.number = i
        yield article


def _galleries(seed: int) -> Iterator[Article]:
    """Pages of pictures with hardly a word."""
    for i in range(GALLERIES):
        rng = Random(f"{seed}-pictures-{i}")
        figures: list[Block] = [Figure(rng.choice(list(SCENES)), f"pictures-{i}-{k}") for k in range(IN_A_GALLERY)]
        yield Article("pictures", f"/gallery-{i + 1}/", f"Gallery {i + 1}", "", figures, kind="gallery")
