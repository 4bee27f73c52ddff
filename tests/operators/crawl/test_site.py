"""crawl.site: the pages of a site, each once, in an order that does not depend on who answers first."""

from __future__ import annotations

import asyncio
import gzip
import random

import pyarrow as pa
import pytest
from hostile_web import JPEG, HostileWeb, body, redirect
from yarl import URL

from cupel.operators.base import Batch
from cupel.operators.crawl._budgets import LocalBudgets
from cupel.operators.crawl._tags import tags
from cupel.operators.crawl.site import Site, links

TYPE = "Content-Type: text/html"
PARAMETERS = {"allow_hosts": ("127.0.0.1",), "delay_s": 0.0, "per_domain": 16, "robots": False, "retries": 0}


def page(*hrefs: str, head: str = "") -> bytes:
    links = "".join(f'<p><a href="{href}">x</a>' for href in hrefs)
    return f"<!DOCTYPE html>{head}{links}".encode()


def crawled(answers, paths=("/",), **parameters) -> list[list[tuple[str, int, str]]]:
    """For each site its (path, depth, status) in order."""
    with HostileWeb(answers) as web:
        operator = Site(**PARAMETERS | parameters)
        batch = Batch(pa.table({"page_url": [web.url(path) for path in paths]}), budgets=LocalBudgets())
        parents, found = operator(batch)
        assert sorted(found) == sorted(each.name for each in operator.adds)
        table = pa.table([found[each.name].cast(each.type) for each in operator.adds], [e.name for e in operator.adds])
        sites: list[list[tuple[str, int, str]]] = [[] for _ in paths]
        for parent, row in zip(parents.tolist(), table.to_pylist(), strict=True):
            path = row["page_url"].removeprefix(web.url(""))
            sites[parent].append((path, row["depth"], row["crawl_status"]))
            assert (row["html"] is None) == (row["crawl_status"] != "ok")
        assert max(web.requests.values(), default=1) == 1 or len(paths) > 1
        return sites


def later(data: bytes):
    async def answer(writer, request):
        await asyncio.sleep(random.random() / 20)
        await body(data, TYPE)(writer, request)

    return answer


SITE = {
    "/": later(
        page("b", "a#top", "/c?x=1&amp;y=2", "a", "http://other.example.org/", "mailto:me@example.org", "p.jpg")
    ),
    "/a": later(page("/", "d", "b")),
    "/b": later(page("e", "d")),
    "/c": later(page("missing")),
    "/d": later(page("/f")),
    "/e": later(page()),
    "/f": later(page("/a", "/g")),
    "/g": later(page()),
    "/p.jpg": body(JPEG),
}
ORDER = [
    *(("/", 0, "ok"), ("/b", 1, "ok"), ("/a", 1, "ok"), ("/c?x=1&y=2", 1, "ok")),
    *(("/e", 2, "ok"), ("/d", 2, "ok"), ("/missing", 2, "http_4xx"), ("/f", 3, "ok"), ("/g", 4, "ok")),
]


@pytest.mark.parametrize("connections", [1, 16])
def test_breadth_first_in_the_order_of_the_pages(connections):
    assert crawled(SITE, connections=connections) == [ORDER]


@pytest.mark.parametrize("pages", [1, 2, 5, 6, 8])
def test_at_most_so_many_pages(pages):
    assert crawled(SITE, max_pages=pages) == [ORDER[:pages]]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_at_most_so_deep(depth):
    assert crawled(SITE, max_depth=depth) == [[entry for entry in ORDER if entry[1] <= depth]]


def test_several_sites_at_once():
    assert crawled(SITE, ("/f", "/e"), max_depth=1) == [
        [("/f", 0, "ok"), ("/a", 1, "ok"), ("/g", 1, "ok")],
        [("/e", 0, "ok")],
    ]


@pytest.mark.parametrize("first", ["/missing", "/p.jpg"])
def test_a_site_whose_first_page_fails(first):
    (site,) = crawled(SITE, (first,))
    assert [(path, depth) for path, depth, _ in site] == [(first, 0)]


def test_a_url_that_is_none():
    operator = Site(**PARAMETERS)
    parents, found = operator(Batch(pa.table({"page_url": ["file:///etc/passwd"]}), budgets=LocalBudgets()))
    assert (parents.tolist(), found["crawl_status"].to_pylist()) == ([0], ["refused_url"])
    parents, found = operator(Batch(pa.table({"page_url": pa.array([], pa.string())}), budgets=LocalBudgets()))
    assert len(parents) == 0 and len(found["html"]) == 0


def test_redirects_nofollow_and_base():
    answers = {
        "/": redirect("/home/"),
        "/home/": body(page("a", head='<base href="/other/">'), TYPE),
        "/other/a": body(b'<!DOCTYPE html><a rel="x nofollow" href="/no">n</a><a href=/yes>y</a>', TYPE),
        "/yes": body(page("/no", head='<meta name="robots" content="nofollow">'), TYPE),
    }
    assert crawled(answers) == [[("/", 0, "ok"), ("/other/a", 1, "ok"), ("/yes", 2, "ok")]]


def test_robots_hold_for_sites():
    answers = SITE | {"/robots.txt": body(b"User-agent: *\nDisallow: /b\n")}
    (site,) = crawled(answers, robots=True)
    assert ("/b", 1, "robots_disallowed") in site
    assert "/e" not in {path for path, _, _ in site}, "only the page that may not be read leads there"


def test_sitemaps():
    with HostileWeb({}) as web:

        def listed(*paths: str, name: str = "urlset") -> bytes:
            urls = "".join(f"<url><loc> {web.url(path)} </loc></url>" for path in paths)
            return f"<?xml version='1.0'?><{name}>{urls}</{name}>".encode()

        web.answers |= {
            "/robots.txt": body(f"Sitemap: {web.url('/index.xml')}\n".encode()),
            "/index.xml": body(listed("/one.xml", "/two.xml.gz", name="sitemapindex")),
            "/one.xml": body(listed("/x", "/y")),
            "/two.xml.gz": body(gzip.compress(listed("/z", "/x"))),
            **{path: body(page(), TYPE) for path in ("/", "/x", "/y", "/z")},
        }
        operator = Site(**PARAMETERS | {"robots": True, "sitemaps": True})
        _, found = operator(Batch(pa.table({"page_url": [web.url("/")]}), budgets=LocalBudgets()))
        assert found["page_url"].to_pylist() == [web.url(path) for path in ("/", "/x", "/y", "/z")]


BASE = URL("http://example.org/dir/page")


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<a href="b">', ["http://example.org/dir/b"]),
        ("<A HREF = 'b?x=1&amp;y=2#z'>", ["http://example.org/dir/b?x=1&y=2"]),
        ("<area href=/c>", ["http://example.org/c"]),
        ('<a title="a > b" href="b">', ["http://example.org/dir/b"]),
        ('<a href="b" href="c">', ["http://example.org/dir/b"]),
        ('<a href="javascript:x()"><a href="mailto:a@b.org"><a href="http://10.0.0.1/"><a name=x>', []),
        ('<!-- <a href="b"> --><script>"<a href=c>"</script><a href=d>', ["http://example.org/dir/d"]),
        ('<a href="ü b">', ["http://example.org/dir/%C3%BC%20b"]),
        ("<abbr href=x><article href=y>", []),
        ("<a href='b", []),
    ],
)
def test_links(html, found):
    assert [str(link) for link in links(html.encode(), BASE, frozenset())] == found


HOSTILE = (
    b"<div>",
    b"<!--",
    b"<a href='",
    b"<",
    b'<a "',
    b"<script>",
    b"</script",
    b"<a b=c ",
    b"&#",
    b"<a " + b"b=" * 99,
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_pages_take_linear_time(hostile):
    assert list(tags(hostile * (5_000_000 // len(hostile)), frozenset(("base",)))) == []
