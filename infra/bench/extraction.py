"""page.document: what it finds of real pages' texts and images, and how fast, against other extractors.

    pip install --target PEERS trafilatura lxml_html_clean readability-lxml resiliparse
    python infra/bench/extraction.py --data ../shared/data/pages --peers PEERS --plot extraction.svg

Texts: the 181 pages of article-extraction-benchmark by its own definition (evaluate.py): shingles of four words,
counted, true and false ones as shares of a page, precision and recall averaged over pages, F1 of the two. All text
nodes count. Images: those that Mozilla Readability's test pages expect, found by their URL (any that the page gives for
that image), each once; pairs of images in the right order, of those whose URL is there once; F1 of its own text, too.

Ours was tuned on a random half of the pages of each; both halves are shown. From bytes to text or nodes, one thread:
the operator, with the parser's process, and the parser `alone` in this process. pages/s are pages per CPU second of all
processes, which what else runs disturbs less; the best of --repeat passes, the tools taking turns. Extractors that are
not installed are left out, comments are off where they are an option. `walk` is the limit: to parse, to visit each node
of the DOM and its attributes, and to do nothing with them.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import logging
import math
import os
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import urljoin

import pyarrow as pa
from selectolax.lexbor import LexborHTMLParser

from cupel.operators.base import Batch
from cupel.operators.page import _page
from cupel.operators.page.document import Document

BASE = "http://fakehost/test/page.html"  # where Readability's tests say that their pages are
BASELINE = "trafilatura, images"


@dataclass(frozen=True)
class Source:
    """A page and what is expected of it."""

    html: bytes
    url: str
    text: str
    images: list[set[str]] = field(default_factory=list)
    tuned: bool = True


@dataclass(frozen=True)
class Found:
    """What a tool makes of a page; None where it gives no images."""

    text: str
    images: list[str] | None = None


Tool = Callable[[Sequence[Source]], list[Found]]


def articles(folder: Path) -> list[Source]:
    """article-extraction-benchmark."""
    truth = json.loads((folder / "ground-truth.json").read_text())
    tuned = first_half(sorted(truth))
    found = []
    for key, page in truth.items():
        html = gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes())
        found.append(Source(html, page["url"], page["articleBody"], tuned=key in tuned))
    return found


def readability(folder: Path) -> list[Source]:
    """Mozilla Readability's test pages."""
    pages = sorted(path.parent for path in folder.glob("*/source.html"))
    tuned = first_half([page.name for page in pages])
    found = []
    for page in pages:
        text, images = expected((page / "expected.html").read_text())
        found.append(Source((page / "source.html").read_bytes(), BASE, text, images, page.name in tuned))
    return found


def first_half(names: Sequence[str]) -> set[str]:
    shuffled = list(names)
    random.Random(5).shuffle(shuffled)
    return set(shuffled[: len(shuffled) // 2])


def expected(html: str) -> tuple[str, list[set[str]]]:
    """The text, and of each image all the URLs that its attributes give."""
    parser = LexborHTMLParser(html.removeprefix("\ufeff"))
    return parser.body.text(separator=" "), [set(urls_of(image)) for image in parser.css("img")]


def urls_of(image) -> Iterator[str]:
    sources = image.parent.css("source") if image.parent.tag == "picture" else []
    for tag in (image, *sources):
        for name, value in tag.attributes.items():
            if "srcset" in name:
                candidates = (part.split() for part in re.split(r",\s+|,(?=http)", value or ""))
                yield from (urljoin(BASE, part[0].rstrip(",")) for part in candidates if part)
            elif value and (name.endswith("src") or re.match(r"\S+\.(?:jpe?g|png|gif|webp)", value)):
                yield urljoin(BASE, value.strip().replace(" ", "%20"))


def shingles(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return Counter(shingle for i in range(max(1, len(words) - 3)) if (shingle := tuple(words[i : i + 4])))


def text_scores(sources: Sequence[Source], found: Sequence[Found]) -> tuple[float, float, float]:
    """F1, precision, recall."""
    precisions, recalls = [], []
    for source, one in zip(sources, found, strict=True):
        true, given = shingles(source.text), shingles(one.text)
        right = (true & given).total()
        precisions += [right / given.total()] if given else []
        recalls += [right / true.total()] if true else []
    precision, recall = statistics.mean(precisions), statistics.mean(recalls)
    return 2 * precision * recall / (precision + recall), precision, recall


def image_scores(sources: Sequence[Source], found: Sequence[Found]) -> tuple[float, float, float]:
    """Recall, precision, and pairs in the right order."""
    right = given = true = in_order = pairs = 0
    for source, one in zip(sources, found, strict=True):
        matched = match(source.images, one.images or [])
        right, given, true = right + len(matched), given + len(one.images or []), true + len(source.images)
        once = [i for i in matched if sum(not urls.isdisjoint(source.images[i]) for urls in source.images) == 1]
        in_order += sum(a < b for n, a in enumerate(once) for b in once[n + 1 :])
        pairs += len(once) * (len(once) - 1) // 2
    return right / true, right / max(given, 1), in_order / max(pairs, 1)


def match(images: Sequence[set[str]], urls: Sequence[str]) -> list[int]:
    """For each URL that is expected, in order, the number of its image; no image twice."""
    left = dict(enumerate(images))
    found = []
    for url in urls:
        number = next((number for number, known in left.items() if url in known), None)
        if number is not None:
            found.append(number)
            del left[number]
    return found


def ours(sources: Sequence[Source]) -> list[Found]:
    parents, nodes = Document()(batch_of(sources))
    texts: list[list[str]] = [[] for _ in sources]
    images: list[list[str]] = [[] for _ in sources]
    for parent, text, url in zip(parents.tolist(), nodes["text"], nodes["image_url"], strict=True):
        (images if text is None else texts)[parent].append(url if text is None else text)
    return [Found("\n\n".join(text), urls) for text, urls in zip(texts, images, strict=True)]


def batch_of(sources: Sequence[Source]) -> Batch:
    htmls = pa.array([source.html for source in sources], pa.large_binary())
    return Batch(pa.table({"html": htmls, "page_url": [source.url for source in sources]}))


def alone(sources: Sequence[Source]) -> list[Found]:
    found = []
    for source in sources:
        nodes = _page.document(source.html, source.url)[1]
        texts, urls = ([node.text for node in nodes if node.text], [node.image_url for node in nodes if node.image_url])
        found.append(Found("\n\n".join(texts), urls))
    return found


def walk(sources: Sequence[Source]) -> None:
    for source in sources:
        for node in LexborHTMLParser(source.html).root.traverse(include_text=True):
            _ = node.text_content if node.tag == "-text" else node.attributes


def peers() -> dict[str, Tool]:
    """Those that are installed."""
    makers: Mapping[str, Callable[[], dict[str, Tool]]] = {
        "trafilatura": trafilatura_tools,
        "resiliparse": resiliparse_tool,
        "readability": readability_tool,
    }
    found: dict[str, Tool] = {}
    for module, make in makers.items():
        if importlib.util.find_spec(module):
            found |= make()
        else:
            print(f"{module} is not installed, and left out")
    return found


def trafilatura_tools() -> dict[str, Tool]:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)

    def tool(**options) -> Tool:
        def run(sources: Sequence[Source]) -> list[Found]:
            options["include_comments"] = False
            return [Found(trafilatura.extract(source.html, url=source.url, **options) or "") for source in sources]

        return run

    def with_images(sources: Sequence[Source]) -> list[Found]:
        options = {"include_comments": False, "include_images": True, "fast": True, "output_format": "xml"}
        found = []
        for source in sources:
            xml = trafilatura.extract(source.html, url=source.url, **options)
            tree = LexborHTMLParser(xml or "")
            urls = [urljoin(source.url, tag.attributes.get("src") or "") for tag in tree.css("graphic")]
            found.append(Found(tree.body.text(separator="\n"), urls))
        return found

    return {"trafilatura": tool(), "trafilatura, fast": tool(fast=True), BASELINE: with_images}


def resiliparse_tool() -> dict[str, Tool]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    def run(sources: Sequence[Source]) -> list[Found]:
        texts = [bytes_to_str(source.html, detect_encoding(source.html)) for source in sources]
        options = {"main_content": True, "alt_texts": False, "comments": False, "post_meta": False}
        return [Found(extract_plain_text(text, **options)) for text in texts]

    return {"resiliparse": run}


def readability_tool() -> dict[str, Tool]:
    from readability import Document as Readable

    logging.getLogger("readability").setLevel(logging.CRITICAL)

    def run(sources: Sequence[Source]) -> list[Found]:
        found = []
        for source in sources:
            tree = LexborHTMLParser(Readable(source.html, url=source.url).summary())
            urls = [urljoin(source.url, tag.attributes.get("src") or "") for tag in tree.css("img")]
            found.append(Found(tree.body.text(separator="\n"), urls))
        return found

    return {"readability-lxml": run}


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that live."""
    used = time.process_time()
    for child in Path("/proc/self/task").glob("*/children"):
        for pid in child.read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def timed(tools: Mapping[str, Callable[[Sequence[Source]], object]], sources: Sequence[Source], repeat: int):
    """name -> pages per CPU second, name -> what was found."""
    best = dict.fromkeys(tools, math.inf)
    found = {}
    for _ in range(repeat):
        for name, tool in tools.items():
            started = cpu_seconds()
            found[name] = tool(sources)
            best[name] = min(best[name], cpu_seconds() - started)
    return {name: len(sources) / seconds for name, seconds in best.items()}, found


def own_process(sources: Sequence[Source], rounds: int = 10) -> float:
    """CPU seconds of the operator on a batch, by those of the parser in this process; medians."""
    batch, operator = batch_of(sources), Document()
    apart, here = [], []
    for _ in range(rounds):
        times = [cpu_seconds()]
        operator(batch)
        times.append(cpu_seconds())
        alone(sources)
        times.append(cpu_seconds())
        apart.append(times[1] - times[0])
        here.append(times[2] - times[1])
    return statistics.median(apart) / statistics.median(here)


def half(tuned: bool, sources: Sequence[Source], found: Sequence[Found]) -> tuple[list[Source], list[Found]]:
    chosen = [(source, one) for source, one in zip(sources, found, strict=True) if source.tuned is tuned]
    return [source for source, _ in chosen], [one for _, one in chosen]


def print_texts(sources, speeds, found) -> None:
    print(f"\n{f'texts of {len(sources)} articles':24}     F1      P      R  tuned  other  pages/s  ratio")
    for name, one in found.items():
        halves = [text_scores(*half(tuned, sources, one))[0] for tuned in (True, False)]
        scores = " ".join(f"{score:6.3f}" for score in (*text_scores(sources, one), *halves))
        print(f"{name:24} {scores} {speeds[name]:8.1f} {ratio(speeds, name)}")


def print_images(sources, speeds, found) -> None:
    title = f"{sum(len(source.images) for source in sources)} images of {len(sources)} pages"
    print(f"\n{title:24}      R: all, tuned, other      P: all, tuned, other  order  text F1  pages/s")
    for name, one in found.items():
        line = " " * 55
        if one[0].images is not None:
            parts = (sources, one), half(True, sources, one), half(False, sources, one)
            scores = [image_scores(*part) for part in parts]
            recalls, precisions = (" ".join(f"{score[i]:7.3f}" for score in scores) for i in (0, 1))
            line = f"{recalls}   {precisions}  {scores[0][2]:6.3f}"
        print(f"{name:24} {line} {text_scores(sources, one)[0]:8.3f} {speeds[name]:8.1f}")


def ratio(speeds: Mapping[str, float], name: str) -> str:
    return f"{speeds[name] / speeds[BASELINE]:5.1f}x" if BASELINE in speeds else ""


def plot(points: Mapping[str, tuple[float, float]]) -> str:
    """SVG: F1 against pages/s, the latter on a logarithmic axis."""
    width, height, left, bottom = 720, 420, 70, 50
    speeds, scores = [speed for speed, _ in points.values()], [score for _, score in points.values()]
    low, high = math.log10(min(speeds) / 1.5), math.log10(max(speeds) * 2.5)
    floor, ceiling = math.floor(min(scores) * 50) / 50, math.ceil(max(scores) * 50) / 50

    def x(speed: float) -> float:
        return round(left + (width - left - 20) * (math.log10(speed) - low) / (high - low), 1)

    def y(score: float) -> float:
        return round(height - bottom - (height - bottom - 20) * (score - floor) / (ceiling - floor), 1)

    def text(at: tuple[float, float], words: object, anchor: str = "middle", more: str = "") -> str:
        return f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}" {more}>{escape(str(words))}</text>'

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" ']
    parts += [f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>']
    for speed in (n * 10**power for power in range(5) for n in (1, 2, 5)):
        if low <= math.log10(speed) <= high:
            parts.append(f'<path d="M{x(speed)} 20V{height - bottom}" stroke="#ddd"/>')
            parts.append(text((x(speed), height - bottom + 16), speed))
    for percent in range(round(floor * 100), round(ceiling * 100) + 1, 2):
        parts.append(f'<path d="M{left} {y(percent / 100)}H{width - 20}" stroke="#ddd"/>')
        parts.append(text((left - 8, y(percent / 100) + 4), f"{percent / 100:.2f}", "end"))
    for i, (name, (speed, score)) in enumerate(sorted(points.items(), key=lambda point: point[1])):
        colour = 'fill="#c33"' if name.startswith("page.document") else 'fill="#357"'
        parts.append(f'<circle cx="{x(speed)}" cy="{y(score)}" r="5" {colour}/>')
        beside = y(score) + (16 if i % 2 else -7)  # neighbours' names above and below by turns
        parts.append(text((x(speed) + 8, beside), name, "start", colour))
    parts.append(text((width / 2, height - 12), "pages per CPU second"))
    parts.append(text((16, height / 2), "F1 of the text", more=f'transform="rotate(-90 16 {height / 2})"'))
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/pages"), help="folder with both sets")
    parser.add_argument("--peers", type=Path, help="folder with the other extractors")
    parser.add_argument("--plot", type=Path, help="write F1 against pages/s as SVG")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    sys.path += [str(options.peers)] if options.peers else []
    tools = {"page.document": ours, "page.document, alone": alone, **peers()}
    texts, images = articles(options.data / "article-extraction-benchmark"), readability(options.data / "readability")
    for tool in tools.values():
        tool(texts[:2])
    speeds, found = timed({**tools, "walk": walk}, texts, options.repeat)
    limit = speeds["walk"]
    found.pop("walk")
    print_texts(texts, speeds, found)
    print(f"{'walk':24} {'':34} {limit:8.1f}; page.document / walk: {speeds['page.document'] / limit:.2f}")
    print(f"a process of its own: {own_process(texts) - 1:+.1%} CPU (limit: +10 %)")
    print_images(images, *timed(tools, images, options.repeat))
    if options.plot:
        options.plot.write_text(plot({name: (speeds[name], text_scores(texts, one)[0]) for name, one in found.items()}))


if __name__ == "__main__":
    main()
