"""robots.txt, X-Robots-Tag, meta tags, TDMRep: what is asked of crawlers, and what is done when it cannot be read."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hostile_web import HTML, JPEG, HostileWeb, body, drip, endless, raw, redirect

from cupel.operators.base import Batch
from cupel.operators.crawl._budgets import LocalBudgets
from cupel.operators.crawl._opt_out import of_page, tag_directives
from cupel.operators.crawl._robots import _matches
from cupel.operators.crawl.images import Images
from cupel.operators.crawl.pages import Pages

ALL = frozenset(("noai", "noimageai", "noindex", "noimageindex"))


def fetched(answers, path="/a.jpg", *, kind=Images, **parameters) -> tuple[str, str | None, HostileWeb]:
    """Status, evidence, and the server as it was asked."""
    fast = {"timeout_s": 1.0, "read_timeout_s": 0.5, "retries": 0, "allow_hosts": ("127.0.0.1",)}
    with HostileWeb({"/a.jpg": body(JPEG), "/a.html": body(HTML, "Content-Type: text/html"), **answers}) as web:
        operator = kind(**fast | parameters)
        batch = Batch(pa.table({operator.reads[0]: [web.url(path)]}), budgets=LocalBudgets())
        ((_, found),) = list(operator(batch))
        status, evidence = ("image_status", "image_opt_out") if kind is Images else ("crawl_status", "opt_out")
        return found[status][0].as_py(), found[evidence][0].as_py(), web


def robots(text: str) -> dict[str, object]:
    return {"/robots.txt": body(text.encode(), "Content-Type: text/plain")}


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({}, "ok"),  # 404
        ({"/robots.txt": body(b"User-agent: *\nDisallow: /", status=403)}, "ok"),
        ({"/robots.txt": body(b"", status=410)}, "ok"),
        ({"/robots.txt": body(b"", status=500)}, "robots_unreachable"),
        ({"/robots.txt": body(b"", status=503)}, "robots_unreachable"),
        ({"/robots.txt": body(b"", status=429)}, "robots_unreachable"),
        ({"/robots.txt": drip}, "robots_unreachable"),
        ({"/robots.txt": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nUser")}, "robots_unreachable"),
        ({"/robots.txt": endless}, "ok"),  # 500 KiB without a rule
        ({"/robots.txt": body(HTML)}, "ok"),
        (robots("User-agent: *\nDisallow: /"), "robots_disallowed"),
        (robots("User-agent: cupel\nDisallow: /\nUser-agent: *\nAllow: /"), "robots_disallowed"),
        (robots("User-agent: other\nDisallow: /"), "ok"),
        (robots("User-agent: *\nDisallow: /a*.jpg$"), "robots_disallowed"),
        (robots("User-agent: *\nDisallow: /\nAllow: /a.jpg"), "ok"),
        (robots("\ufeffuser-AGENT: * # all\r\nDISALLOW: /a"), "robots_disallowed"),
        (robots("User-agent: *\nDisallow: /\n" + "#" * 600_000), "robots_disallowed"),
        (robots("#" * 600_000 + "\nUser-agent: *\nDisallow: /"), "ok"),  # behind the 500 KiB
        (robots("User-agent: *\n" + "Disallow: /" + "*a" * 5_000 + "\n"), "ok"),
        (robots("\0\n\x80\n" * 1000), "ok"),
        ({"/robots.txt": redirect("/r"), "/r": body(b"User-agent: *\nDisallow: /")}, "robots_disallowed"),
        ({"/robots.txt": redirect("/robots.txt")}, "ok"),  # RFC 9309 2.3.1.2: after five, as if there were none
        ({"/robots.txt": redirect("http://169.254.169.254/")}, "robots_unreachable"),
    ],
)
def test_robots(answers, status):
    found, evidence, web = fetched(answers)
    assert found == status
    assert (web.requests["/a.jpg"] == 0) == (status != "ok"), "what is disallowed is not asked for"
    assert bool(evidence) == status.startswith("robots")


def test_robots_are_asked_once_and_by_all_urls_of_an_origin():
    answers = robots("User-agent: *\nDisallow: /secret") | {"/a.jpg": body(JPEG), "/secret": body(JPEG)}
    with HostileWeb(answers) as web:
        operator = Images(allow_hosts=("127.0.0.1",))
        for _ in range(2):
            urls = [web.url(f"/{name}?{i}") for i in range(20) for name in ("a.jpg", "secret")]
            batch = Batch(pa.table({"image_url": urls}), budgets=LocalBudgets())
            assert sum(len(rows) for rows, _ in operator(batch)) == 40
            assert {error.kind for error in batch.failures.values()} == {"robots_disallowed"}
            assert sorted(batch.failures) == list(range(1, 40, 2))
        assert (web.requests["/robots.txt"], web.requests["/secret"]) == (1, 0)
        assert web.requests["/.well-known/tdmrep.json"] == 1


def test_robots_of_a_redirects_target_count():
    with HostileWeb(robots("User-agent: *\nDisallow: /") | {"/a.jpg": body(JPEG)}, host="127.0.0.2") as other:
        answers = {"/b.jpg": redirect(other.url("/a.jpg"))}
        status, _, _ = fetched(answers, "/b.jpg", allow_hosts=("127.0.0.1", "127.0.0.2"))
        assert status == "robots_disallowed"
        assert other.requests["/a.jpg"] == 0


def test_crawl_delay_is_kept():
    with HostileWeb(robots("User-agent: *\nCrawl-delay: 0.3") | {"/a.jpg": body(JPEG)}) as web:
        urls = [web.url(f"/a.jpg?{i}") for i in range(4)]
        for _ in Images(allow_hosts=("127.0.0.1",))(Batch(pa.table({"image_url": urls}), budgets=LocalBudgets())):
            pass
        pictures = [at for at, request in zip(web.starts, web.seen, strict=True) if request.path == "/a.jpg"]
        assert min(b - a for a, b in pairwise(pictures)) > 0.25


@pytest.mark.parametrize(
    ("headers", "parameters", "status"),
    [
        (["X-Robots-Tag: noai"], {}, "opted_out"),
        (["X-Robots-Tag: NoImageAI, nofollow"], {}, "opted_out"),
        (["x-robots-tag: nofollow", "X-Robots-Tag: noindex"], {}, "opted_out"),
        (["X-Robots-Tag: googlebot: noindex"], {}, "ok"),
        (["X-Robots-Tag: cupel: noindex"], {}, "opted_out"),
        (["X-Robots-Tag: googlebot: noindex", "X-Robots-Tag: noai"], {}, "opted_out"),
        (["X-Robots-Tag: unavailable_after: 25 Jun 2030 15:00:00 GMT, noai"], {}, "opted_out"),
        (["X-Robots-Tag: max-snippet: 5, nosnippet"], {}, "ok"),
        (["X-Robots-Tag: none"], {}, "opted_out"),
        (["X-Robots-Tag: cupel: none"], {}, "opted_out"),
        (["X-Robots-Tag: googlebot: none"], {}, "ok"),
        (["X-Robots-Tag: googlebot: nofollow, noai"], {}, "ok"),
        (["X-Robots-Tag: unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noai"], {}, "opted_out"),
        (["X-Robots-Tag: max-foo: 3, noai"], {}, "opted_out"),
        (["X-Robots-Tag: noindex"], {"opt_out": ("noai",)}, "ok"),
        (["X-Robots-Tag: "], {}, "ok"),
        (["TDM-Reservation: 1", "tdm-policy: https://example.org/policy.json"], {}, "opted_out"),
        (["tdm-reservation: 0"], {}, "ok"),
        (["tdm-reservation: 1"], {"tdm_reservation": False}, "ok"),
    ],
    ids=str,
)
def test_headers(headers, parameters, status):
    found, evidence, _ = fetched({"/a.jpg": body(JPEG, *headers)}, **parameters)
    assert found == status
    assert bool(evidence) == (status == "opted_out")


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([{"location": "/", "tdm-reservation": 1}], "opted_out"),
        ([{"location": "/*.jpg$", "tdm-reservation": 1}], "opted_out"),
        ([{"location": "/a.jpg", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}], "ok"),
        ([{"location": "/b", "tdm-reservation": 1}], "ok"),
        ({"location": "/", "tdm-reservation": 1}, "ok"),
        (["/", 1, None, {"tdm-reservation": 0}], "ok"),
    ],
    ids=str,
)
def test_tdmrep_file(rules, status):
    found, evidence, web = fetched({"/.well-known/tdmrep.json": body(json.dumps(rules).encode())})
    assert found == status
    assert web.requests["/a.jpg"] == (status == "ok")
    assert bool(evidence) == (status == "opted_out")


def test_a_tdmrep_file_that_is_none():
    assert fetched({"/.well-known/tdmrep.json": body(b"[" * 60_000)})[0] == "ok"
    assert fetched({"/.well-known/tdmrep.json": drip})[0] == "ok"


@pytest.mark.parametrize(
    ("page", "status"),
    [
        (b'<!DOCTYPE html><meta name="robots" content="noai, follow">', "opted_out"),
        (b"<html><META CONTENT='NOINDEX' NAME='Robots'>", "opted_out"),
        (b"<html><meta name=cupel content=noai>", "opted_out"),
        (b"<html><meta name=googlebot content=noindex>", "ok"),
        (b"<html><!-- <meta name=robots content=noindex> -->", "ok"),
        (b"<html><script>'<meta name=robots content=noindex>'</script>", "ok"),
        (b'<html><meta name="tdm-reservation" content="1">', "opted_out"),
        (b'<html><meta name="description" content="noindex">', "ok"),
        (b"<html><meta name=robots content=none>", "opted_out"),
        (b"<html><style>" + b"x" * 100_000 + b"</style><meta name=robots content=noai>", "opted_out"),
    ],
)
def test_meta_tags(page, status):
    found, evidence, _ = fetched({"/a.html": body(page)}, "/a.html", kind=Pages)
    assert found == status
    assert bool(evidence) == (status == "opted_out")


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("/", "/a", True),
        ("/a*b", "/axxb?c", True),
        ("/a*b$", "/axxbc", False),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/*.jpg$", "/x/y.jpg", True),
        ("", "/a", True),
        ("*" * 1000 + "b", "/" + "a" * 8000, False),
    ],
)
def test_patterns_of_tdmrep(pattern, path, found):
    assert _matches(pattern, path) is found


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_meta_tags_in_utf_16(coding):
    assert of_page("<html><meta name=robots content=noai>".encode(coding), "cupel", ALL, True) == "meta robots: noai"


def test_directives_are_read_in_linear_time():
    asyncio.run(asyncio.wait_for(asyncio.to_thread(tag_directives, ["a:" * 100_000 + "," * 100_000], "cupel"), 30))
    for hostile in (b"<!--" * 16_000, b"<meta " * 11_000, b"<meta name='" * 5_000, b"<script>" * 8_000):
        assert of_page(hostile, "cupel", ALL, True) is None
