"""The demo's web, made from its plan: what every address answers, and the truth about all of it.

Everything is a function of the seed, the first port and the versions of Pillow and NumPy.
"""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Final

from flaws import flawed_caption
from pictures import jpeg, near_copy, picture, png, size
from PIL import Image, ImageDraw
from scenes import SCENES, Phrases, caption, draw
from web import FIRST_PORT, HOST, Answer, moved
from web_html import SHARES, around, front_html, page_html, small_url
from web_plan import CAPTION_FLAWS, SITES, Article, Figure, Paragraph, plan
from web_traps import IMAGE_TRAPS, MISPLACED, chain, page_traps
from web_truth import ImageTruth, PageTruth, TextTruth, Truth

SEED: Final = 7
TYPES: Final = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}
ROBOTS: Final = b"User-agent: *\nDisallow: /drafts/\nDisallow: /private/\n"

Answers = dict[str, dict[str, Answer]]


@dataclass(frozen=True)
class Drawn:
    """A picture's file, and what it shows."""

    suffix: str
    data: bytes
    phrases: Phrases


def build(seed: int = SEED, first_port: int = FIRST_PORT, workers: int | None = None) -> tuple[Answers, Truth]:
    """Answers of all sites, and the truth."""
    articles = plan(seed)
    origins = {site: f"http://{HOST}:{first_port + i}" for i, site in enumerate(SITES)}
    answers: Answers = {site: {"/robots.txt": Answer(ROBOTS, "text/plain")} for site in SITES}
    media = Media(answers, origins)
    figures = list(dict.fromkeys(figure for article in articles for figure in article.figures))
    first = {figure: article for article in reversed(articles) for figure in article.figures}
    for i, (figure, drawn) in enumerate(zip(figures, draw_all(figures, workers), strict=True)):
        media.publish(figure, drawn, i, first[figure].site)
        describe(figure, drawn.phrases)
    media.furniture(articles)
    truth = Truth()
    links: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for article in articles:
        links[article.site].append(publish_page(article, answers, origins))
        tell(article, first, origins, truth)
    for site, path, answer, flaw in page_traps():
        if answer is not None:
            answers[site][path] = answer
        links[site].append((path, f"{flaw.replace('_', ' ')} {path}"))
        truth.pages.append(PageTruth(origins[site] + path, "trap", flaw))
    answers["offers"] |= dict(chain())
    for site, found in links.items():
        answers[site]["/"] = Answer(front_html(site, found).encode())
        truth.pages.append(PageTruth(f"{origins[site]}/", "front"))
    return answers, truth


def draw_all(figures: Iterable[Figure], workers: int | None) -> list[Drawn]:
    """Every figure's file, drawn by as many processes as there are cores."""
    jobs = [_job(figure) for figure in figures]
    with ProcessPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(drawn, *zip(*jobs, strict=True), chunksize=8))


def _job(figure: Figure) -> tuple[str, str, str, int]:
    source = figure.original or figure
    return source.scene, source.seed, figure.flaw or figure.control, figure.number


def drawn(scene: str, seed: str, kind: str, number: int) -> Drawn:
    """One picture by its seed, with the flaw or the oddity of its kind."""
    rng = Random(seed)
    image, phrases = draw(scene, size(kind, Random(f"{seed}-size")), rng)
    (suffix, data), _ = picture(image, kind, number, rng)
    if kind == "near_duplicate":
        (suffix, data), _ = near_copy(data, number, rng)
    return Drawn(suffix, data, phrases)


def describe(figure: Figure, phrases: Phrases) -> None:
    """Its alternative text and, under some, a line below the picture."""
    rng = Random(f"caption-{figure.seed}-{figure.original is None}")
    if figure.caption_flaw in CAPTION_FLAWS and figure.caption_flaw != "wrong_caption":
        figure.alt = flawed_caption(figure.caption_flaw, figure.number, rng)
        return
    if figure.caption_flaw == "wrong_caption":
        _, phrases = draw(rng.choice([name for name in SCENES if name != figure.scene]), (32, 32), rng)
    prefix = "black and white: " if figure.control in ("grayscale", "sixteen_bit") else ""
    below = prefix + caption(phrases, rng)
    figure.alt = None if figure.control == "figcaption_only" else prefix + caption(phrases, rng)
    if figure.control == "figcaption_only" or rng.random() < 0.4:
        figure.figcaption = below


class Media:
    """Puts pictures on the server for media, or where their flaw or control has them."""

    def __init__(self, answers: Answers, origins: dict[str, str]) -> None:
        self.answers = answers
        self.origins = origins

    def publish(self, figure: Figure, drawn: Drawn, i: int, site: str) -> None:
        """Give the figure its address, and the address its answer."""
        host, folder = "media", "/private/" if figure.flaw == "robots_image" else "/p/"
        if figure.control == "relative_url":
            host, folder = site, "/img/"
        path = f"{folder}{i:04d}{drawn.suffix}"
        figure.url = self.origins[host] + path
        served = self.answers[host]
        plain = Answer(drawn.data, TYPES[drawn.suffix])
        if trap := IMAGE_TRAPS.get(figure.flaw or figure.control):
            trap(figure, path, plain, served)
        elif figure.flaw == "forbidden_address":
            figure.url = MISPLACED[figure.number % len(MISPLACED)] or figure.url
            served[path] = moved("http://169.254.169.254/latest/meta-data/picture.jpg", 302)
        else:
            served[path] = plain
        if figure.control == "srcset":
            served[small_url(path)] = Answer(_scaled(drawn.data, 160), TYPES[".jpg"])

    def furniture(self, articles: Iterable[Article]) -> None:
        """Logos, icons, portraits, thumbnails, the pixel, and the picture that is on many pages."""
        media = self.answers["media"]
        for site in SITES:
            image, _ = draw("quilt", (180, 60), Random(f"logo-{site}"))
            media[f"/ui/logo-{site}.png"] = Answer(png(image)[1], TYPES[".png"])
            image, _ = draw("fruit", (64, 64), Random(f"portrait-{site}"))
            media[f"/ui/portrait-{site}.jpg"] = Answer(jpeg(image)[1], TYPES[".jpg"])
        for i, name in enumerate(SHARES):
            media[f"/ui/share-{name}.png"] = Answer(_icon(name[0], i), TYPES[".png"])
        image, _ = draw("village", (300, 250), Random("subscribe"))
        media["/ui/subscribe.jpg"] = Answer(jpeg(image)[1], TYPES[".jpg"])
        pixel = Answer(_pixel(), TYPES[".gif"])
        for article in articles:
            for url, _, _, _, what in around(article, self.origins).images:
                if what == "tracking_pixel":
                    media[url.removeprefix(self.origins["media"])] = pixel
            for other in article.related:
                path = f"/thumbs/{other.site}{other.path}.jpg"
                if path not in media:
                    image, _ = draw(other.figures[0].scene, (120, 80), Random(other.figures[0].seed))
                    media[path] = Answer(jpeg(image)[1], TYPES[".jpg"])


def _icon(letter: str, i: int) -> bytes:
    image = Image.new("RGB", (32, 32), ((40, 80, 160), (90, 90, 90), (30, 120, 60), (170, 60, 40))[i])
    ImageDraw.Draw(image).text((12, 10), letter, fill="white")
    return png(image)[1]


def _pixel() -> bytes:
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "GIF")
    return file.getvalue()


def _scaled(data: bytes, width: int) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return jpeg(image.resize((width, max(1, round(width * image.height / image.width)))))[1]


def publish_page(article: Article, answers: Answers, origins: dict[str, str]) -> tuple[str, str]:
    """Serve the page in its own way; returns the path that others link to, and the title."""
    html, served, path = page_html(article, origins), answers[article.site], article.path
    match article.control:
        case "latin_1":
            served[path] = Answer(html.encode("latin-1", "xmlcharrefreplace"), "text/html; charset=ISO-8859-1")
        case "no_charset":
            served[path] = Answer(html.encode("cp1252", "xmlcharrefreplace"), "text/html")
        case "gzip":
            served[path] = Answer(html.encode(), how="gzip")
        case "flaky_page":
            served[path] = Answer(html.encode(), how="flaky")
        case _:
            headers = (("X-Robots-Tag", "noai, noimageai"),) if article.flaw == "noai_header" else ()
            served[path] = Answer(html.encode(), headers=headers)
    if article.control == "moved_page":
        served[f"/old{path}"] = moved(f"/older{path}")
        served[f"/older{path}"] = moved(origins[article.site] + path, 302)
    return _linked(article), article.title


def _linked(article: Article) -> str:
    return f"/old{article.path}" if article.control == "moved_page" else article.path


def tell(article: Article, first: dict[Figure, Article], origins: dict[str, str], truth: Truth) -> None:
    """What is on the page, into the truth; `first` has the page that showed a picture first."""
    url = origins[article.site] + _linked(article)
    original = origins[article.original.site] + article.original.path if article.original else ""
    final = origins[article.site] + article.path
    truth.pages.append(PageTruth(url, article.kind, article.flaw, article.control, original, final))
    side = around(article, origins)
    truth.texts += [TextTruth(url, text, what) for text, what in side.texts]
    truth.texts += [TextTruth(url, text, "neutral") for text in (article.title, article.byline) if text]
    truth.images += [ImageTruth(url, image, furniture=what) for image, _, _, _, what in side.images]
    for block in article.blocks:
        if isinstance(block, Paragraph):
            truth.texts.append(TextTruth(url, block.text, block.flaw))
            continue
        source = block if first[block] is not article else block.original
        shown_at = origins[first[source].site] + _linked(first[source]) if source else ""
        truth.images.append(_told(block, url, source, shown_at))
        truth.texts += [TextTruth(url, text, "neutral") for text in (block.figcaption,) if text]


def _told(figure: Figure, page_url: str, source: Figure | None, shown_at: str) -> ImageTruth:
    """`source` is the picture that this one is a copy of: another one, or itself on an earlier page."""
    return ImageTruth(
        page_url,
        figure.url,
        "shown_elsewhere" if source is figure else figure.flaw,
        figure.caption_flaw,
        control=figure.control,
        original=source.url if source else "",
        original_page=shown_at,
    )
