"""Answers that aim at the crawler or at a third host: budgets, delays, memory and the blocklist hold all the same."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pyarrow as pa
import pytest
from backports import zstd
from hostile_web import HTML, JPEG, HostileWeb, body, redirect

from cupel.operators.base import Batch
from cupel.operators.crawl import _connect, site
from cupel.operators.crawl._budgets import LocalBudgets
from cupel.operators.crawl._connect import Names, Resolver
from cupel.operators.crawl._encodings import MAX_MEMBERS, decode_body
from cupel.operators.crawl._http import BodyRoom
from cupel.operators.crawl._reasons import FetchError, Reason
from cupel.operators.crawl.images import Images
from cupel.operators.crawl.pages import Pages
from cupel.operators.crawl.site import Site

TYPE = "Content-Type: text/html"
PAGE = body(HTML, TYPE)
HOSTS = tuple(f"127.0.0.{i}" for i in range(1, 20))


def crawled(urls: list[str], budgets: LocalBudgets | None = None, **parameters) -> list[str]:
    """Each row's status."""
    operator = Pages(**{"allow_hosts": HOSTS, "robots": False, "retries": 0} | parameters)
    batch = Batch(pa.table({"page_url": urls}), budgets=budgets or LocalBudgets())
    found: dict[int, str] = {}
    for rows, columns in operator(batch):
        found |= dict(zip(rows.tolist(), columns["crawl_status"].to_pylist(), strict=True))
    return [found[row] for row in range(len(urls))]


def mean_gap(web: HostileWeb) -> float:
    """Between requests as they arrived; each of them may have been late by itself."""
    return (web.starts[-1] - web.starts[0]) / (len(web.starts) - 1)


def test_a_delay_holds_from_shard_to_shard():
    budgets = LocalBudgets()
    with HostileWeb({f"/{i}": PAGE for i in range(3)}) as web:
        for i in range(3):
            assert crawled([web.url(f"/{i}")], budgets, delay_s=0.4) == ["ok"]
    assert mean_gap(web) > 0.25


def test_a_rest_that_was_asked_for_holds_for_the_next_shard():
    budgets = LocalBudgets()
    with HostileWeb({"/busy": body(b"", "Retry-After: 1", status=429), "/a": PAGE}) as web:
        assert crawled([web.url("/busy")], budgets) == ["rate_limited"]
        assert crawled([web.url("/a")], budgets) == ["ok"]
    assert len(web.starts) == 2 and mean_gap(web) > 0.6


@pytest.mark.parametrize("crawl_delay", [True, False])
def test_rules_and_redirects_keep_the_delay_too(crawl_delay):
    rules = b"User-agent: *\nCrawl-delay: 0.4" if crawl_delay else b""
    with HostileWeb({"/robots.txt": body(rules), "/r": redirect("/s"), "/s": redirect("/a"), "/a": PAGE}) as web:
        assert crawled([web.url("/r")], robots=True, delay_s=0 if crawl_delay else 0.4) == ["ok"]
    assert [request.path for request in web.seen] == ["/robots.txt", "/.well-known/tdmrep.json", "/r", "/s", "/a"]
    assert mean_gap(web) > 0.25


def test_a_crawl_delay_holds_for_the_levels_of_a_site():
    answers = {f"/{i}": body(f"<!DOCTYPE html><a href=/{i + 1}>x</a>".encode(), TYPE) for i in range(4)}
    with HostileWeb({"/robots.txt": body(b"User-agent: *\nCrawl-delay: 0.3"), **answers}) as web:
        operator = Site(allow_hosts=HOSTS, delay_s=0, max_depth=3)
        operator(Batch(pa.table({"page_url": [web.url("/0")]}), budgets=LocalBudgets()))
    assert len(web.starts) == 6 and mean_gap(web) > 0.2


async def _slow(writer, request):
    await asyncio.sleep(0.1)
    await body(b"")(writer, request)


def test_redirects_of_robots_keep_the_budget_of_where_they_lead():
    with HostileWeb({"/robots.txt": _slow}, host=HOSTS[0]) as victim:
        webs = [HostileWeb({"/robots.txt": redirect(victim.url("/robots.txt")), "/a": PAGE}, host=h) for h in HOSTS[1:]]
        for web in webs:
            web.__enter__()
        try:
            assert crawled([web.url("/a") for web in webs], robots=True, per_domain=2) == ["ok"] * len(webs)
        finally:
            for web in webs:
                web.__exit__()
    assert victim.requests["/robots.txt"] == len(webs)
    assert victim.most_at_once <= 2


def test_redirects_of_robots_heed_the_blocklist(tmp_path):
    listed = tmp_path / "domains.txt"
    listed.write_text(HOSTS[0])
    with (
        HostileWeb({}, host=HOSTS[0]) as victim,
        HostileWeb({"/robots.txt": redirect(victim.url("/robots.txt"))}, host=HOSTS[1]) as web,
    ):
        assert crawled([web.url("/a")], robots=True, blocked_domains=str(listed)) == ["robots_unreachable"]
    assert victim.seen == []


async def _half_a_second(writer, request):
    await asyncio.sleep(0.5)
    await redirect(f"/{request.count}{request.path}")(writer, request)


def test_robots_have_one_time_limit_with_all_their_redirects():
    paths = ["/robots.txt"]
    for _ in range(5):
        paths.append("/1" + paths[-1])
    with HostileWeb(dict.fromkeys(paths, _half_a_second)) as web:
        assert crawled([web.url("/a")], robots=True, timeout_s=0.8) == ["robots_unreachable"]
    assert len(web.seen) == 2


def test_packed_robots_are_read_to_their_cap():
    rules = gzip.compress(b"User-agent: *\nDisallow: /b\n" + b"".join(b"# line %d\n" % i for i in range(90_000)))
    with HostileWeb({"/robots.txt": body(rules, "Content-Encoding: gzip"), "/a": PAGE}) as web:
        assert crawled([web.url("/a"), web.url("/b")], robots=True) == ["ok", "robots_disallowed"]


@pytest.mark.parametrize(("coding", "empty"), [("gzip", gzip.compress(b"")), ("zstd", zstd.compress(b""))])
def test_a_flood_of_empty_members(coding, empty):
    begin = time.process_time()
    with pytest.raises(FetchError) as told:
        decode_body(empty * 150_000, coding, 10_000_000)
    assert told.value.reason is Reason.BAD_ENCODING
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_one_behind_the_other(coding, pack):
    parts = [b"%d " % i * 20_000 for i in range(9)]
    assert decode_body(b"".join(map(pack, parts)), coding, 10_000_000) == b"".join(parts)
    assert decode_body(pack(b"a") * MAX_MEMBERS, coding, 10_000) == b"a" * MAX_MEMBERS


def test_urls_are_asked_as_they_were_written():
    paths = ["/i?b[]=1", "/a%2Cb", "/x|y", "/i?u=http%3A%2F%2Fx%2Fy%3Fz", "/sig/x%40y", "/a%3Db%26c%3Bd", "/%7e/%zz"]
    asked: list[str] = []

    class Noting(HostileWeb):
        async def _answer(self, text, writer):
            asked.append(text.split(b" ")[1].decode())
            await super()._answer(text, writer)

    with Noting({}) as web:
        crawled([web.url(path) for path in paths], connections=1)
    assert sorted(asked) == sorted(paths)


def test_a_rate_limit_costs_no_rows():
    """Four at once and no more, or 429."""

    async def answer(writer, request):
        if request.web._at_once > 2:
            return await body(b"", "Retry-After: 0", status=429)(writer, request)
        await asyncio.sleep(0.05)
        return await PAGE(writer, request)

    with HostileWeb({"/a": answer}) as web:
        assert crawled([web.url(f"/a?{i}") for i in range(24)], retries=1, per_domain=8) == ["ok"] * 24


def test_a_sites_levels_share_their_time():
    async def late(writer, request):
        await asyncio.sleep(0.6)
        await body(f"<!DOCTYPE html><a href={request.path}a>x</a>".encode(), TYPE)(writer, request)

    with HostileWeb({"/" + "a" * i: late for i in range(9)}) as web:
        operator = Site(allow_hosts=HOSTS, robots=False, delay_s=0, shard_timeout_s=1.0, max_depth=8)
        _, found = operator(Batch(pa.table({"page_url": [web.url("/")]}), budgets=LocalBudgets()))
    assert found["crawl_status"].to_pylist()[-1] == "not_reached"
    assert len(web.seen) <= 3


def test_a_sites_pages_have_a_cap_together(monkeypatch):
    monkeypatch.setattr(site, "HELD_BYTES", 250_000)
    links = "".join(f"<a href=/{i}>x</a>" for i in range(9))
    page = f"<!DOCTYPE html>{links}".encode() + bytes(b"x" * 100_000)
    with HostileWeb({"/": body(page, TYPE), **{f"/{i}": body(page, TYPE) for i in range(9)}}) as web:
        operator = Site(allow_hosts=HOSTS, robots=False, delay_s=0)
        _, found = operator(Batch(pa.table({"page_url": [web.url("/")]}), budgets=LocalBudgets()))
    assert sorted(found["crawl_status"].to_pylist()) == ["not_reached"] * 8 + ["ok"] * 2


def test_bodies_in_flight_have_a_cap_together():
    async def hold() -> int:
        room, held, most = BodyRoom(100), 0, 0

        async def one(size: int) -> None:
            nonlocal held, most
            await room.enter(size)
            held += min(size, 100)
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= min(size, 100)
            room.leave()

        tasks = [asyncio.create_task(one(size)) for size in (30, 80, 500, 10, 60) * 20]
        await asyncio.sleep(0.002)
        for task in tasks[10:30]:
            task.cancel()  # who waited leaves nothing behind
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room._free == 100
        return most

    assert asyncio.run(hold()) <= 100


def test_names_that_wait_for_a_thread_are_not_late(monkeypatch):
    monkeypatch.setattr(_connect, "DNS_TIMEOUT_S", 0.3)
    monkeypatch.setattr(_connect, "DNS_THREADS", 2)

    def look_up(host: str) -> tuple[str, ...]:
        time.sleep(0.5 if host.startswith("dead") else 0.0)
        return ("93.184.216.34",)

    monkeypatch.setattr(_connect, "_getaddrinfo", look_up)

    async def resolve() -> tuple[list[object], Names]:
        names = Names()
        resolver = Resolver(names, frozenset())
        hosts = [f"dead{i}.example.org" for i in range(4)] + ["good.example.org"]
        found = await asyncio.gather(*(resolver.resolve(host, 80) for host in hosts), return_exceptions=True)
        await resolver.close()
        return found, names

    found, names = asyncio.run(resolve())
    assert [isinstance(each, FetchError) and each.transient for each in found] == [True] * 4 + [False]
    assert list(names.known) == ["good.example.org"], "what may pass is asked again"


def archived(folder: Path, *answers: tuple[str, bytes]) -> str:
    records = []
    for url, head in answers:
        block = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n" + head + b"\r\n" + JPEG
        fields = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n\r\n"
        records.append(fields.encode() + block + b"\r\n\r\n")
    (folder / "a.warc").write_bytes(b"".join(records))
    return str(folder / "a.warc")


def from_archive(urls: list[str], **parameters) -> list[str]:
    batch = Batch(pa.table({"image_url": urls}))
    ((_, found),) = list(Images(source="archive", **parameters)(batch))
    return found["image_status"].to_pylist()


def test_archives_are_looked_up_by_what_was_written(tmp_path):
    at = "http://a.example"
    urls = [
        f"{at}/i?b[]=1",
        f"{at}/a%2Cb",
        f"{at}/x|y",
        f"{at}/i?u=http%3A%2F%2Fx%2Fy%3Fz",
        f"{at}/a/../b",
        f"{at}/ü ä",
    ]
    file = archived(tmp_path, *((url, b"") for url in urls))
    assert from_archive(urls, archive=(file,)) == ["ok"] * len(urls)


def test_archives_reserve_by_every_header_and_heed_the_blocklist(tmp_path):
    file = archived(
        tmp_path,
        ("http://a.example/1", b"X-Robots-Tag: noarchive\r\nX-Robots-Tag: noai\r\n"),
        ("http://a.example/2", b"X-Robots-Tag: googlebot: noindex\r\nx-robots-tag: none\r\n"),
        ("http://a.example/3", b"X-Robots-Tag: googlebot: noindex\r\n"),
        ("http://a.example/4", b"TDM-Reservation: 0\r\nTDM-Reservation: 1\r\n"),
        ("http://b.blocked.example/5", b""),
    )
    listed = tmp_path / "domains.txt"
    listed.write_text("blocked.example")
    urls = [f"http://a.example/{i}" for i in (1, 2, 3, 4)] + ["http://b.blocked.example/5"]
    found = from_archive(urls, archive=(file,), blocked_domains=str(listed))
    assert found == ["opted_out", "opted_out", "ok", "opted_out", "blocked_domain"]
