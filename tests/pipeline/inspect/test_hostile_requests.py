"""What the server says to requests that no page of its own makes, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

OUTSIDE = [
    "/../../../../../etc/passwd",
    "/static/../../opened.py",
    "/static/%2e%2e/%2e%2e/opened.py",
    "/static/..%2f..%2fopened.py",
    "/static//etc/passwd",
    "/static/cupel.css%00.js",
    "/cut/..",
    "/cut/../../corpus.json",
    "/cut/..%2f..%2fcorpus.json",
    "/cut/%2e%2e%2f%2e%2e%2fcorpus.json",
    "/cut/%2fetc%2fpasswd",
    "/cut/cuts%2fdrawn",
    "{cut}/../../corpus.json",
    "{cut}/row/0/0/999999999",
    "{cut}/row/0/0/-1",
    "{cut}/row/9/0/0",
    "{cut}/row/0/..%2f..%2f/0",
    "{cut}/row/0/0/99999999999999999999999999",
    "//example.org/%2e%2e",
]


def no_json(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_address_leads_out_of_what_is_shown(drawn, path):
    answer = drawn.ask(path.format(cut=drawn.cut))
    assert 400 <= answer.status < 500
    for word in (b"root:", b"import ", b"source_digest", b"Traceback", str(drawn.corpus).encode()):
        assert word not in answer.body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"])
def test_pages_are_only_read(drawn, method):
    assert drawn.ask(drawn.cut, method, Origin=drawn.origin).status in (405, 501)


@pytest.mark.parametrize(
    "origin", [{}, {"Origin": "null"}, {"Origin": "https://example.org"}, {"Origin": "http://127.0.0.1"}]
)
def test_nothing_may_be_sent_from_elsewhere(drawn, origin):
    for path in ("/", drawn.cut, f"{drawn.cut}/search", f"{drawn.cut}/label"):
        assert drawn.ask(path, "POST", body=b"x", **origin).status == 403


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", "localhost.example.org:{port}", ""]
)
def test_another_name_is_not_answered(drawn, host):
    """DNS rebinding: a page of example.org whose name now leads to loopback."""
    answer = drawn.ask(drawn.cut, Host=host.format(port=urlsplit(drawn.origin).port))
    assert 400 <= answer.status < 500 and b"drawn" not in answer.body


@pytest.mark.parametrize(
    "headers",
    [{"Cookie": ""}, {"Cookie": "cupel-{port}=wrong"}, {"Cookie": "cupel=; cupel-1="}, {"Authorization": "x"}],
)
def test_nothing_is_told_without_the_token(drawn, headers):
    port = urlsplit(drawn.origin).port
    given = {"Cookie": "", **{name: value.format(port=port) for name, value in headers.items()}}
    for path in ("/", drawn.cut, f"{drawn.cut}.json", f"{drawn.cut}/rows", "/nowhere", "/?token=wrong", "/?token="):
        answer = drawn.ask(path, **given)
        assert answer.status == 403 and b"drawn" not in answer.body and b"set-cookie" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_elsewhere_may_not_embed_these(drawn, site):
    assert drawn.ask(drawn.cut, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403


def test_every_page_has_a_json_twin_and_forbids_scripts_of_others(drawn):
    kinds = drawn.kinds(queries=True)
    assert {"/", "/cut", "/cut/rows", "/cut/row/N/N/N"} <= set(kinds)
    for path in [*kinds.values(), "/nowhere", "/static/cupel.css"]:
        answer = drawn.ready(path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'"), (
            path
        )
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
        if not path.startswith("/static/"):
            assert answer.headers["cache-control"] == "no-store"
    for path in kinds.values():
        parts = urlsplit(path)
        twin = drawn.ready(f"{parts.path.rstrip('/') or '/'}.json?{parts.query}")
        assert twin.status == 200 and twin.headers["content-type"] == "application/json", path
        json.loads(twin.body, parse_constant=no_json)


def test_looking_changes_nothing_in_the_corpus(drawn):
    def files() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in drawn.corpus.rglob("*")}

    before = files()
    drawn.kinds()
    assert files() == before
