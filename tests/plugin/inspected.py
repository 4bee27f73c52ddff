"""Corpora to be looked at: drawn pictures with hostile rows among them, real pairs, real documents."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drawing import encoded, picture
from PIL import Image

from cupel import Recipe, run
from cupel.pipeline.inspect.report.report import write_report

SCRIPT = "<script>alert('caption')</script> a picture of some colours"
HANDLER = "<img src=x onerror=alert('handler')><svg onload=alert('svg')> a picture of some colours"
QUOTES = "\"'><a href=javascript:alert('link')>a picture</a> of ${alert('quotes')} {{ 7 * 7 }} colours"
BACKWARDS = "a picture of \u202egpj.exe some colours"  # right-to-left override
LONG = "many colours " + "a" * 10_000
HOSTILE = [SCRIPT, HANDLER, QUOTES, BACKWARDS, LONG]
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300" onload="alert('drawn')">
<script>alert('svg')</script><image href="http://example.org/pixel.png" width="300" height="300"/></svg>"""
PAGE = b"<!DOCTYPE html><html><body onload=alert('page')><h1>403 Forbidden</h1></body></html>"
BLOCKED = 8  # picture of a row that a blocklist holds
UNSAFE = 9  # picture of a row whose NSFW tag is set
COPY = 11  # picture of a row that a smaller copy follows
DRAWN = 48

DRAWN_STEPS = [
    *("text.length", {"keep": {"words": {"min": 3}}}),
    *("image.size", {"keep": {"min_side_px": {"min": 150}, "aspect_ratio": {"max": 2.0}}}),
    *("image.quality", "image.phash"),
    *({"dedup.near_images": {"prefer": {"highest": "pixels"}}}, {"keep": {"near_image_of": None}}),
    *({"pair.clip_similarity": {"model": "cupel-tiny", "embeddings": True}}, "text.characters"),
    *({"keep": {"letter_ratio": {"min": 0.2}}}, {"keep": {"entropy": {"min": 4.0}}}),
    {"keep": {"clip_similarity": {"top": 0.9}}},
]
PAIR_STEPS = [
    *("image.size", {"keep": {"min_side_px": {"min": 100}, "aspect_ratio": {"max": 3.0}}}),
    *("text.length", {"keep": {"words": {"min": 3}}}),
    *("image.phash", {"dedup.near_images": {"prefer": {"highest": "pixels"}}}, {"keep": {"near_image_of": None}}),
    *("text.characters", "image.quality", {"keep": {"letter_ratio": {"min": 0.7}}}),
    *({"keep": {"contrast": {"min": 20}}}, {"keep": {"sharpness": {"top": 0.9}}}),
]
DOCUMENT_STEPS = [
    *({"keep": {"http_status": {"in": [200]}}}, "page.document", "text.length", {"keep": {"words": {"min": 4}}}),
    *({"crawl.images": {"source": "archive"}}, {"keep": {"image_status": {"in": ["ok"]}}}),
    *("image.size", {"keep": {"min_side_px": {"min": 60}}}),
    *("document.structure", {"keep": {"images": {"min": 1, "max": 30}}}),
    *({"text.characters": {"on": "document", "as": "document"}}, {"keep": {"document_letter_ratio": {"min": 0.5}}}),
]


def made(name: str, steps: list[object], place: Path, out: Path, **read: object) -> Path:
    """A corpus with a cut and its report; run in a thread of its own, as a browser's loop may run in this one."""
    recipe = Recipe.model_validate({"name": name, "steps": steps, **read})
    with ThreadPoolExecutor(1) as pool:
        write_report(pool.submit(run, recipe, place, out=out).result().cut)
    return out


def drawn_corpus(folder: Path) -> Path:
    """Drawn pictures with captions, some hostile; one blocked, one unsafe, one copied, one small, some broken.

    Two cuts: `strict`, and after it `drawn`.
    """
    place, steps = write_drawn(folder / "in"), _drawn_steps(folder)
    strict = [*steps[:-1], {"keep": {"clip_similarity": {"top": 0.5}}}]
    made("strict", strict, place, folder / "corpus")
    return made("drawn", steps, place, folder / "corpus")


def _drawn_steps(folder: Path) -> list[object]:
    digests = folder / "blocked.txt"
    data = encoded(drawn(BLOCKED))
    digests.write_text(f"{hashlib.sha256(data).hexdigest()}  what nobody may see\n")
    blocklist = [{"image.blocklist": {"lists": [str(digests)]}}, {"keep": {"blocked": {"in": [False]}}}]
    return [*DRAWN_STEPS[:4], *blocklist, *DRAWN_STEPS[4:]]


def drawn(number: int) -> Image.Image:
    """The picture of a row."""
    return picture(number, 160 + 3 * number)


def write_drawn(folder: Path) -> Path:
    """captions.jsonl and images/ beside it."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(DRAWN):
        name, data = f"images/p{i:04d}.jpg", encoded(drawn(i))
        text = f"a picture of number {i} and its colours" if i % 6 else f"number {i}"
        rows.append(_row(name, text, nsfw=i == UNSAFE))
        (folder / name).write_bytes(data)
    odd = {"script.jpg": SVG, "page.jpg": PAGE, "cut.jpg": encoded(picture(3))[:700], "small.jpg": _small()}
    odd |= {"copy.jpg": encoded(drawn(COPY).resize((180, 206)))}
    odd |= {f"hostile{i}.jpg": encoded(picture(100 + i)) for i in range(len(HOSTILE))}
    texts = {f"hostile{i}.jpg": text for i, text in enumerate(HOSTILE)}
    for file, data in odd.items():
        rows.append(_row(f"images/{file}", texts.get(file, f"a picture that is {file} and its colours"), nsfw=False))
        (folder / "images" / file).write_bytes(data)
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "captions.jsonl"


def _small() -> bytes:
    return encoded(picture(200, 90, 80))


def _row(file: str, text: str, nsfw: bool) -> dict[str, object]:
    return {
        "key": f"../{file}",
        "image": file,
        "text": text,
        "image_url": "javascript:alert('image')",
        "page_url": "data:text/html,<script>alert('page')</script>",
        "licence": "<b>by</b>",
        "NSFW": "NSFW" if nsfw else "UNLIKELY",
        "<i>odd</i>\"'": "<script>alert('column')</script>",
    }


def pairs_corpus(shared: Path, folder: Path) -> Path:
    """OpenStax's figures with their captions."""
    return made("pairs", PAIR_STEPS, shared / "pairs" / "openstax" / "captions.jsonl", folder / "corpus")


def documents_corpus(shared: Path, folder: Path) -> Path:
    """A crawl of 2008 as interleaved documents, with its images."""
    archive = shared / "warc" / "archivesunleashed-aut" / "example.warc.gz"
    return made("documents", DOCUMENT_STEPS, archive, folder / "corpus")
