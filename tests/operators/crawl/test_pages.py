"""crawl.pages: web pages as they were written, and nothing that is none."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pyarrow as pa
import pytest
from backports import zstd
from hostile_web import HTML, JPEG, HostileWeb, body, raw, redirect

from cupel.operators.base import Batch
from cupel.operators.crawl._budgets import LocalBudgets
from cupel.operators.crawl.pages import Pages

PAGE = b"<!DOCTYPE html><title>A page</title>" + b"<p>Words.</p>" * 1000
TYPE = "Content-Type: text/html; charset=utf-8"


def fetched(answer, **parameters) -> tuple[dict[str, object], HostileWeb]:
    with HostileWeb({"/page": answer, "/to": redirect("/page")}) as web:
        operator = Pages(**{"allow_hosts": ("127.0.0.1",), "robots": False, "retries": 0} | parameters)
        batch = Batch(pa.table({"page_url": [web.url("/to"), web.url("/to")]}), budgets=LocalBudgets())
        ((rows, found),) = list(operator(batch))
        assert sorted(found) == sorted(each.name for each in operator.adds)
        table = pa.table([found[each.name].cast(each.type) for each in operator.adds], [e.name for e in operator.adds])
        one, other = table.to_pylist()
        assert one == other and sorted(rows.tolist()) == [0, 1]
        assert ({error.kind for error in batch.failures.values()} or {"ok"}) == {one["crawl_status"]}
        return one, web


@pytest.mark.parametrize(
    ("packed", "coding"),
    [
        (PAGE, "identity"),
        (gzip.compress(PAGE), "gzip"),
        (gzip.compress(PAGE) + b"\0\0\0", "gzip"),
        (zlib.compress(PAGE), "deflate"),
        (zlib.compress(PAGE, wbits=-15), "deflate"),
        (brotli.compress(PAGE), "br"),
        (zstd.compress(PAGE), "zstd"),
        (brotli.compress(gzip.compress(PAGE)), "gzip, br"),
    ],
)
def test_codings_are_undone(packed, coding):
    found, web = fetched(body(packed, TYPE, f"Content-Encoding: {coding}"))
    assert (found["crawl_status"], found["html"]) == ("ok", PAGE)
    assert found["fetched_bytes"] == len(packed)
    assert found["content_type"] == "text/html; charset=utf-8"
    assert found["final_url"] == web.url("/page")
    assert web.seen[0].headers["accept-encoding"] == "gzip, deflate, br"
    assert web.requests["/page"] == 1, "two rows, one request"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (body(PAGE), "ok"),
        (body(PAGE, "Content-Type: image/jpeg"), "ok"),
        (body(b"Just words.", TYPE), "ok"),
        (body(b"Just words.", "Content-Type: text/plain"), "not_html"),
        (body(JPEG, TYPE), "not_html"),
        (body(b"%PDF-1.7\n" + bytes(99), TYPE), "not_html"),
        (body(b"{}", "Content-Type: application/json"), "not_html"),
        (body(b"", TYPE), "empty"),
        (body(PAGE * 100, TYPE), "too_large"),
        (body(gzip.compress(PAGE * 100), TYPE, "Content-Encoding: gzip"), "too_large"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + PAGE), "truncated"),
        (body(HTML, TYPE, status=404), "http_4xx"),
        (body(HTML, TYPE, status=206), "http_other"),
    ],
)
def test_what_counts_as_a_page(answer, status):
    found, _ = fetched(answer, max_bytes=100_000)
    assert found["crawl_status"] == status
    assert (found["html"] is None) == (status != "ok")
