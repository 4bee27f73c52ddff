"""From archives and sites to pairs and documents, on real ones."""

from __future__ import annotations

import functools
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel import Recipe, run
from cupel.pipeline.verify import verify_corpus

OK = {"keep": {"image_status": {"in": ["ok"]}}}


def curated(funnel) -> list[dict[str, object]]:
    files = sorted(Path(funnel.cut, "curated").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Counter[str]]]:
    """A folder as a site on loopback: its address, and how often each path was asked for."""
    asked: Counter[str] = Counter()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Links(HTMLParser):
    """Images and links of a page, by the standard library's parser."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img" and found.get("src"):
            self.images.append(found["src"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


def reached(folder: Path, start: str) -> tuple[set[str], set[str]]:
    """Paths of the pages that links lead to, and of the images on them that the folder has."""
    pages, images, waiting = set(), set(), [f"/{start}"]
    while waiting:
        path = waiting.pop()
        file = folder / unquote(path.lstrip("/"))
        if path in pages or not file.is_file() or file.suffix not in (".html", ".htm"):
            continue
        pages.add(path)
        links = Links()
        links.feed(file.read_text("utf-8", "replace"))
        waiting += [urlsplit(urljoin(f"http://h{path}", link)).path for link in links.links if _inside(path, link)]
        images |= {urlsplit(urljoin(f"http://h{path}", src)).path for src in links.images if _inside(path, src)}
    return set(map(unquote, pages)), {path for path in map(unquote, images) if (folder / path.lstrip("/")).is_file()}


def path_of(url: str) -> str:
    return unquote(urlsplit(url).path)


def _inside(path: str, link: str) -> bool:
    try:
        parts = urlsplit(urljoin(f"http://h{path}", link))
    except ValueError:
        return False
    return (parts.scheme, parts.netloc) == ("http", "h")


SITES = [
    ("datacarpentry-image-processing", "index.html", 45),
    ("wikipedia-ray-charles-2015", "A/index.htm", 80),
    ("gitenberg-american-adventures", "18304-h.htm", 1),
]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("site", "start", "at_least"), SITES)
def test_every_image_that_a_site_shows_and_has_is_fetched(shared_data, tmp_path, site, start, at_least):
    folder = shared_data / "sites" / site
    pages, images = reached(folder, start)
    assert len(pages) >= at_least
    with served(folder) as (host, asked):
        polite = {"allow_hosts": [host], "delay_s": 0}
        steps = [
            *(
                {"crawl.site": {**polite, "max_pages": 200, "max_depth": 20}},
                {"keep": {"crawl_status": {"in": ["ok"]}}},
            ),
            *("page.pairs", {"crawl.images": polite}),
        ]
        (tmp_path / "start.txt").write_text(f"http://{host}/{start}\n")
        result = run(Recipe(name="site", steps=steps), tmp_path / "start.txt", out=tmp_path / "c")
    rows = curated(result)
    assert {path_of(row["page_url"]) for row in rows} <= pages
    status = {path_of(row["image_url"]): row["image_status"] for row in rows}
    missed = {path: status.get(path, "no link") for path in images if status.get(path) != "ok"}
    assert all(why.startswith("not_image") for why in missed.values()), "vector images, which no decoder here opens"
    assert all((row["image"] is not None) == (row["image_status"] == "ok") for row in rows)
    for path, status_now in status.items():
        if status_now == "ok":
            fetched = next(row["image"] for row in rows if path_of(row["image_url"]) == path)
            assert fetched == (folder / path.lstrip("/")).read_bytes()
    assert max(asked.values()) <= 2, "a page or an image once, robots.txt once a task"
    assert verify_corpus(str(tmp_path / "c")).faults == []


@pytest.mark.usefixtures("ray_session")
def test_an_archive_to_pairs_and_to_documents_offline(shared_data, tmp_path):
    """The counts are those of the archive's own index, made with warcio and a plain HTML parser."""
    archive = shared_data / "warc" / "archivesunleashed-aut" / "example.warc.gz"
    ok = {"keep": {"http_status": {"in": [200]}}}
    images = {"crawl.images": {"source": "archive"}}
    pairs = run(Recipe(name="pairs", steps=[ok, "page.pairs", images, OK]), archive, out=tmp_path / "c")
    assert (pairs.rows_in, pairs.made, pairs.kept) == (299, {"page.pairs": 788}, 754)
    assert pairs.errors == {"not_archived": 34}
    documents = run(
        Recipe(
            name="documents",
            steps=[
                *(
                    ok,
                    "page.document",
                    "document.structure",
                    {"keep": {"images": {"min": 1}, "total_words": {"min": 20}}},
                ),
                *({"text.language": {"on": "document"}}, {"keep": {"language": {"in": ["en"]}}}),
                *(images, OK, "image.size", {"keep": {"min_side_px": {"min": 50}}}),
                *({"document.structure": {"as": "final"}}, {"keep": {"final_images": {"min": 1}}}),
            ],
        ),
        archive,
        out=tmp_path / "c",
    )
    assert documents.measured_rows["page.document"] == 94, "pages; the others that were answered are no HTML"
    rows = curated(documents)
    assert len(rows) == documents.documents >= 5
    for row in rows:
        kinds = [node["kind"] for node in row["nodes"]]
        assert {"text", "image"} <= set(kinds)
        assert all(node["image"] for node in row["nodes"] if node["kind"] == "image")
    assert verify_corpus(str(tmp_path / "c")).faults == []
