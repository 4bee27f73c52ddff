"""`make demo`: serve a small web with known flaws on loopback, crawl it, and count which of them the recipes found.

    python infra/demo/demo.py [--out .demo] [--serve]

Two recipes run on the same addresses: one makes pairs, one interleaved documents. A second run reuses the web, what was
fetched and everything measured. `--serve` leaves the web open, to be looked at in a browser.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import demo_score as score
from demo_read import Cut
from demo_report import flaw_table, mistakes
from rich.console import Console
from web import HOST, Web
from web_store import kept_web
from web_truth import Truth

from cupel import Funnel, run, write_report
from cupel.pipeline.cluster import ray_session

HERE: Final = Path(__file__).parent
RECIPES: Final = {"page.pairs": HERE / "demo_pairs.yaml", "page.document": HERE / "demo_documents.yaml"}
Show = Callable[[Console, Truth, Cut], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the web, crawl, compare, print."""
    options = _options(arguments)
    console = Console(highlight=False)
    began = time.perf_counter()
    try:
        answers, truth, port, new = kept_web(options.out)
    except OSError as error:
        sys.exit(f"demo: {error}")
    how = f"made in {time.perf_counter() - began:.1f} s" if new else "there already"
    console.print(
        f"A web of {len(answers)} sites on {HOST}:{port} and up: {len(truth.pages)} addresses, "
        f"{len(truth.images):,} images shown, {len(truth.texts):,} texts; {how}."
    )
    fronts = [page.url for page in truth.pages if page.kind == "front"]
    (options.out / "sites.txt").write_text("".join(f"{url}\n" for url in fronts))
    with Web(answers, port) as web, contextlib.ExitStack() as stack:
        if options.serve:
            serve(console, web)
            return
        if new:
            stack.enter_context(ray_session(None))  # one for both recipes
        for extractor, recipe in RECIPES.items():
            console.rule(recipe.stem.removeprefix("demo_"))
            funnel = run(recipe, options.out / "sites.txt", out=options.out / "corpus")
            console.print(funnel.table())
            check(funnel)
            if not any(funnel.measured_rows.values()):
                console.print("Nothing was fetched or measured again: all was there from an earlier run.")
            SHOWN[extractor](console, truth, Cut(options.out / "corpus", Path(funnel.cut), extractor))
            console.print(f"Report: {_shown(Path(write_report(funnel.cut)))}", markup=False, soft_wrap=True)
    show_next(console, options.out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".demo"), help="folder for web and corpus (default: .demo)")
    parser.add_argument("--serve", action="store_true", help="serve the web until Ctrl-C, and crawl nothing")
    return parser.parse_args(arguments)


def serve(console: Console, web: Web) -> None:
    """Say where the sites are, and wait."""
    for site, port in web.ports.items():
        console.print(f"  http://{HOST}:{port}/  {site}", soft_wrap=True)
    console.print("Ctrl-C ends it.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


def show_pairs(console: Console, truth: Truth, cut: Cut) -> None:
    """How the crawl went, then the pairs."""
    _show(console, "Addresses: what must not be fetched, or cannot", score.crawled_pages(truth), cut.pages)
    fates = {(row.page_url, row.image_url): row.why for row in cut.rows}
    _show(console, "Pairs: flaws of pictures and of captions", score.pairs(truth), fates, "page.pairs")


def show_documents(console: Console, truth: Truth, cut: Cut) -> None:
    """Pages, then paragraphs and images within the sound ones."""
    left_out = "page.document"
    _show(console, "Documents: pages that should not become one", score.documents(truth), cut.documents, left_out)
    kept = {url for url, why in cut.documents.items() if why == score.KEPT}
    texts = {(row.page_url, row.text): row.why for row in cut.rows if row.text is not None}
    _show(console, "Documents: their paragraphs", score.paragraphs(truth, kept), texts, left_out)
    images = {(row.page_url, row.image_url): row.why for row in cut.rows if row.image_url is not None}
    _show(console, "Documents: their images", score.document_images(truth, kept), images, left_out)


SHOWN: Final[dict[str, Show]] = {"page.pairs": show_pairs, "page.document": show_documents}


def _show(
    console: Console, title: str, items: Sequence[score.Item], fates: score.Fates, never: str = score.NEVER
) -> None:
    found = score.compare(items, fates, never)
    console.print(flaw_table(title, found))
    for line in mistakes(found):
        console.print(line, markup=False, soft_wrap=True)
    console.print()


def check(funnel: Funnel) -> None:
    """End with an error where there is nothing to compare."""
    if funnel.unreadable:
        sys.exit(f"demo: shards that could not be read: {funnel.unreadable}")
    if not funnel.kept:
        sys.exit(f"demo: nothing was kept; errors: {funnel.manifest.errors}")


def show_next(console: Console, out: Path) -> None:
    """Where things lie, and what to try."""
    cupel, corpus = _shown(Path(sys.executable).with_name("cupel")), _shown(out / "corpus")
    mine, recipe = _shown(out / "mine.yaml"), _shown(RECIPES["page.pairs"])
    console.print(
        f"""
Look at
  {_shown(Path(sys.executable))} {_shown(HERE / "demo.py")} --serve    # the web, in your browser
  {_shown(out / "truth.json")}    what stands on it, and what is wrong with it
  {corpus}/cuts    curated/ holds what was kept, dropped/ the reason for all else

Try
  sed 's/max_distance: 4/max_distance: 8/' {recipe} > {mine}
  {cupel} run {mine} {_shown(out / "sites.txt")} --out {corpus}    # a new cut; nothing is fetched again
  {cupel} inspect {corpus}    # both cuts in your browser: what went and why, and thresholds to move
  {cupel} train smoke --data {corpus} --cut demo_pairs --out {_shown(out / "model")}    # a model on what was kept
  sed 's#model: cupel-tiny#model: {_shown(out / "model")}#' {recipe} > {_shown(out / "filter.yaml")}
  {cupel} run {_shown(out / "filter.yaml")} {_shown(out / "sites.txt")} --out {corpus}    # scored by that model
  {cupel} verify {corpus}    # checksums, and rows in = kept + dropped
  {cupel} operators    # what else can be measured""",
        markup=False,
        soft_wrap=True,
    )


def _shown(path: Path) -> str:
    """A path as one would type it here: relative where it lies below, quoted where it must be."""
    here = Path.cwd()
    path = path.absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


if __name__ == "__main__":
    main()
