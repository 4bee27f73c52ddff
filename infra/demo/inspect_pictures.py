"""The README's two pictures of `cupel inspect`: drawn pictures curated for real, looked at in a real Chromium.

    python infra/demo/inspect_pictures.py            a minute; writes infra/pictures/*.webp; needs Chromium

One shows a cut at a glance, the other a threshold as it is moved. Everything in them is drawn by `scenes.py`, so that
they may be published.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright
from scenes import SCENES, caption, draw

OUT: Final = Path(__file__).resolve().parents[1] / "pictures"
ROWS: Final = 900
KINDS: Final = {"near_copy": 0.06, "tiny_image": 0.05, "extreme_aspect": 0.03, "blurred": 0.05, "blank": 0.02}
OTHERS: Final = 0.12  # with the caption of another picture
RECIPE: Final = {
    "name": "drawn_pairs",
    "steps": [
        *("text.length", {"keep": {"words": {"min": 5}}}),
        *("image.size", {"keep": {"min_side_px": {"min": 200}, "aspect_ratio": {"max": 3}}}),
        *("image.quality", {"keep": {"sharpness": {"min": 20}}}),
        *("image.phash", {"dedup.near_images": {"prefer": {"highest": "pixels"}}}, {"keep": {"near_image_of": None}}),
        *({"pair.clip_similarity": {"model": "cupel-tiny"}}, {"keep": {"clip_similarity": {"min": 0.5}}}),
    ],
}
SIZE: Final = {"width": 1200, "height": 860}
SCALE: Final = 1.5  # pixels of the picture for one of the page
QUALITY: Final = 82


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, curate, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    options.out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cupel-pictures-") as name:
        folder = Path(name)
        write_table(folder / "drawn.parquet")
        (folder / "drawn_pairs.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
        run = ["run", "drawn_pairs.yaml", "drawn.parquet", "--out", "corpus"]
        subprocess.run([sys.executable, "-m", "cupel", *run], cwd=folder, check=True)
        with served(folder / "corpus") as address, window() as page:
            page.goto(address)
            if "/cut/" not in page.url:
                page.locator("a[href^='/cut/']").first.click()
            page.wait_for_load_state("networkidle")
            samples = page.locator("section").filter(has=page.get_by_role("heading", name="What stayed, what went"))
            take(page, samples, options.out / "inspect_overview.webp")
            take(page, moved_threshold(page), options.out / "inspect_thresholds.webp")


def write_table(path: Path) -> None:
    """A table of drawn pictures with captions, some of them flawed, copied, or told of another picture."""
    rng = Random(6)
    drawn: list[tuple[bytes, str]] = []
    while len(drawn) < ROWS:
        kind = rng.choices([*KINDS, "sound"], [*KINDS.values(), 1 - sum(KINDS.values())])[0]
        if kind == "near_copy" and drawn:
            data, text = rng.choice(drawn)
            (_, copy), _ = pictures.near_copy(data, len(drawn), rng)
            drawn.append((copy, text))
            continue
        image, phrases = draw(rng.choice(sorted(SCENES)), pictures.size(kind, rng), rng)
        (_, data), _ = pictures.picture(image, kind, len(drawn), rng)
        drawn.append((data, phrases.what if rng.random() < 0.05 else caption(phrases, rng)))
    texts = [rng.choice(drawn)[1] if rng.random() < OTHERS else text for _, text in drawn]
    images = pa.array([data for data, _ in drawn], pa.large_binary())
    pq.write_table(pa.table({"key": [f"{i:04}" for i in range(ROWS)], "text": texts, "image": images}), path)


@contextmanager
def served(corpus: Path) -> Iterator[str]:
    """The address that `cupel inspect` prints."""
    command = [sys.executable, "-m", "cupel", "inspect", str(corpus)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield next(found.group() for line in process.stdout if (found := re.search(r"http://\S+token=\S+", line)))
        finally:
            process.terminate()


@contextmanager
def window() -> Iterator[Page]:
    """A new window of a Chromium: $CUPEL_CHROMIUM, or one on PATH."""
    names = [os.environ.get("CUPEL_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        sys.exit("no Chromium on PATH; name one in $CUPEL_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        yield browser.new_page(viewport=SIZE, device_scale_factor=SCALE)  # type: ignore[arg-type]
        browser.close()


def moved_threshold(page: Page) -> Locator:
    """Raise the least CLIP similarity; the part of the page that then stands below the yield."""
    page.get_by_role("link", name="Thresholds").click()
    page.wait_for_load_state("networkidle")
    field = page.locator("[data-side$='.clip_similarity.min']").get_by_role("spinbutton")
    part = page.locator("article").filter(has=field)
    part.evaluate("part => scrollTo(0, part.getBoundingClientRect().top + scrollY - 181)")
    field.fill("0.62")
    field.blur()
    page.get_by_role("heading", name="just below min 0.62").wait_for()
    return part


def take(page: Page, last: Locator, path: Path) -> None:
    """The window down to the end of this part, as WebP."""
    page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    bottom = last.evaluate("part => Math.ceil(part.getBoundingClientRect().bottom) + 24")
    page.set_viewport_size({"width": SIZE["width"], "height": bottom})
    image = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    image.save(path, "WEBP", quality=QUALITY, method=6)
    print(f"{path}: {image.width} x {image.height} px, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
