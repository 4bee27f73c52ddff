"""`cupel inspect` on a million rows with twelve scores: how soon it answers, and how much memory it takes.

    python infra/bench/inspector.py                  about a minute; 2 minutes and 2 GB of disk more the first time
    python infra/bench/inspector.py --rows 100000    half a minute

The corpus is made by the real engine below the system's folder for temporary files, and used again. The server is the
real command in a process of its own, and all is asked over HTTP, as the page's scripts ask: after a move the yield with
the bound's chart, at rest the rows beside the bound, and then rows that come or go. The first move of each bound may
read its column from disk; then random moves over all bounds follow. The first page is complete when its style, scripts
and pictures are there too; in a browser, when it fires `load`. Memory is the highest resident set of the server over
all of this. Everything is read from the page cache.

CPU seconds are those of the server's process, a mean where several requests are told together: where other programs
take the cores, believe these and not the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.cookiejar import CookieJar
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode, urljoin

from _million import BOUNDS, scored_corpus

FIRST_PAGE_S, SLIDER_S, MEMORY_GB = 2.0, 0.3, 1.5
MOVES = 60
PATIENCE_S = 120
FOUND = "fate=kept&column=words&op=min&value=12&sort=-clip_similarity"
PAGES = {
    "rows": "rows",
    "rows, filtered and sorted": f"rows?{FOUND}",
    "rows, a late page of these": f"rows?{FOUND}&page=4000",
    "search for two words, the first time": "search?q=red+sailboats",
    "search for a phrase": "search?q=%22green+valley%22",
    "search for what is not there": "search?q=zyzzyva",
    "label": "label",
}


class Took(NamedTuple):
    """Seconds by the clock, and CPU seconds of the server."""

    clock: float
    cpu: float

    def __add__(self, other: Took) -> Took:
        return Took(self.clock + other.clock, self.cpu + other.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "cupel-bench-inspect"))
    options = parser.parse_args()
    corpus = scored_corpus(options.folder, options.rows)
    cores = len(os.sched_getaffinity(0))
    print(f"{options.rows:,} rows, {len(BOUNDS)} scores; {cores} cores, {os.getloadavg()[0]:.1f} of them busy before\n")
    print(f"{'':46}{'seconds':>9}{'95 %':>8}{'CPU s':>8}{'limit':>8}{'ratio':>8}")
    with server(corpus) as site:
        cut = site.first_page()
        tell("start of the process to the first page", [site.since_start()], FIRST_PAGE_S)
        site.complete(site.get(cut)[0])
        tell("    and from there to the cut's overview", [site.since_start()], FIRST_PAGE_S)
        look_around(site, cut)
        peak = site.peak_gb()
    in_browser(corpus)
    print(f"\nhighest memory of the server: {peak:.2f} GB, {peak / MEMORY_GB:.2f} of the limit")


def tell(what: str, told: Sequence[Took], limit: float | None = None) -> None:
    """A line: the median, the 95th percentile, the mean of CPU seconds, and the ratio of the median to the limit."""
    clock = [one.clock for one in told]
    median, high = statistics.median(clock), statistics.quantiles(clock, n=20)[-1] if len(clock) > 1 else 0.0
    percentile = f"{high:8.3f}" if high else f"{'':8}"
    ratio = f"{limit:8.1f}{median / limit:8.2f}" if limit else ""
    print(f"{what:46}{median:9.3f}{percentile}{statistics.mean(one.cpu for one in told):8.3f}{ratio}", flush=True)


def look_around(site: Site, cut: str) -> None:
    """What a user does next, in this order."""
    html, took = site.get(f"{cut}/thresholds")
    tell("thresholds, the first time (reads all rows)", [took])
    sliders = re.findall(r'data-side="([^"]+)"[^>]* data-stops="([^"]+)"', html)
    random = Random(3)
    cold = [move(site, cut, slider, random) for slider in sliders]
    warm = [move(site, cut, random.choice(sliders), random) for _ in range(MOVES)]
    for name, moves in ((f"first move of {len(cold)} bounds", cold), (f"{MOVES} random moves", warm)):
        print(f"{name}:")
        for what, *told in zip(("yield and chart", "rows beside it", "rows that come or go"), *moves, strict=True):
            tell(f"    {what}", told, SLIDER_S)
    for what, path in PAGES.items():
        html, took = site.get(f"{cut}/{path}")
        tell(what, [took])
        pictures, took = site.complete(html)
        if pictures:
            tell(f"    and its {pictures} pictures and files", [took])


def move(site: Site, cut: str, slider: tuple[str, str], random: Random) -> list[Took]:
    """What the page's script asks when a slider is moved: the yield, rows beside it, rows that change."""
    side, stops = slider
    value = random.choice(stops.split()).partition(":")[2]
    changed, bound = urlencode({"c": f"{side}={value}"}), side.rpartition(".")[0]
    asked = (f".json?{changed}&of={bound}", f"/beside.json?{changed}&of={side}", f"/changed.json?{changed}")
    return [site.get(f"{cut}/thresholds{path}")[1] for path in asked]


# The server, and who asks it


@contextlib.contextmanager
def server(corpus: Path) -> Iterator[Site]:
    """The real command on a free port."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "cupel", "inspect", str(corpus), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            found = next(filter(None, (re.search(r"http://\S+token=\S+", line) for line in process.stdout)))
            yield Site(found.group(), process.pid, began)
        finally:
            process.terminate()


class Site:
    """Asks as a browser does: with the cookie, and again while rows are being read."""

    def __init__(self, address: str, pid: int, began: float) -> None:
        self.address, self.began, self.process = address, began, Path("/proc", str(pid))
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def first_page(self) -> str:
        """What the printed address leads to, complete; the path of the newest cut, which it names."""
        html, _ = self.get(self.address)
        self.complete(html)
        cut = re.search(r'href="(/cut/[^/"?]+)', html)
        assert cut, "the first page names no cut"
        return cut.group(1)

    def get(self, path: str) -> tuple[str, Took]:
        """An answer, and what it took."""
        before, used = time.perf_counter(), self.cpu_seconds()
        while time.perf_counter() - before < PATIENCE_S:
            try:
                with self.opener.open(urljoin(self.address, path)) as answer:
                    text = answer.read().decode(errors="replace")
                if "Refresh" not in answer.headers:
                    return text, Took(time.perf_counter() - before, self.cpu_seconds() - used)
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
            time.sleep(0.02)
        sys.exit(f"{path} is not answered")

    def complete(self, html: str) -> tuple[int, Took]:
        """Fetch what a page shows, one after the other: how many files, and what it took."""
        found = re.findall(r'(?:src|<link[^>]* href)="(/[^"]+)"', html)
        return len(found), sum((self.get(path.replace("&amp;", "&"))[1] for path in found), Took(0.0, 0.0))

    def since_start(self) -> Took:
        return Took(time.perf_counter() - self.began, self.cpu_seconds())

    def cpu_seconds(self) -> float:
        """Of all threads so far."""
        user, system = (self.process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def peak_gb(self) -> float:
        """The highest resident set."""
        found = re.search(r"VmHWM:\s+(\d+) kB", (self.process / "status").read_text())
        assert found
        return int(found.group(1)) * 1024 / 1e9


def in_browser(corpus: Path) -> None:
    """The first page in a Chromium, where there is one: a new server, from its start to the page's `load`."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        with server(corpus) as site:
            page.goto(site.address)
            tell("the first page in Chromium, until `load`", [site.since_start()], FIRST_PAGE_S)
            page.locator("a[href^='/cut/']").first.click()
            page.wait_for_load_state()
            tell("    and from there to the cut's overview", [site.since_start()], FIRST_PAGE_S)
        browser.close()


if __name__ == "__main__":
    main()
