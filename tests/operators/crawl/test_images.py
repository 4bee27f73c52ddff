"""crawl.images against a server that does its worst: each case ends in its reason, in time, and delays nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import time
from pathlib import Path

import pyarrow as pa
import pytest
import trustme
from drawing import encoded, picture
from hostile_web import JPEG, HostileWeb, body, redirect
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.crawl._budgets import LocalBudgets
from cupel.operators.crawl.images import Images

FAST = {"timeout_s": 2.0, "connect_timeout_s": 1.0, "read_timeout_s": 1.0, "delay_s": 0.0, "per_domain": 64}


@pytest.fixture(scope="module")
def web():
    with HostileWeb() as web:
        yield web


def fetched(urls, *, columns=(), **parameters) -> list[dict[str, object]]:
    """A row each: its columns, and the class of its error."""
    parameters = FAST | {"allow_hosts": ("127.0.0.1", "localhost"), "robots": False, "retries": 0} | parameters
    operator = Images(**parameters)
    table = pa.table({"image_url": pa.array(urls, pa.string()), **dict(columns)})
    batch = Batch(table, budgets=LocalBudgets())  # of its own: what hosts said to other tests is not its business
    rows: dict[int, dict[str, object]] = {}
    for done, found in operator(batch):
        assert sorted(found) == sorted(each.name for each in operator.adds)
        table = pa.table([found[each.name].cast(each.type) for each in operator.adds], [e.name for e in operator.adds])
        for row, values in zip(done.tolist(), table.to_pylist(), strict=True):
            assert row not in rows, "every row once"
            rows[row] = values
    assert sorted(rows) == list(range(len(urls)))
    for row, values in rows.items():
        failed = batch.failures.get(row)
        assert (failed.kind if failed else "ok") == values["image_status"]
        assert (values["image"] is not None) == (failed is None)
        assert failed is None or failed.keeps_values
    return [rows[row] for row in range(len(urls))]


CASES = {
    "/good.jpg": "ok",
    "/drip": "timeout",
    "/silent": "timeout",
    "/half_a_head": "timeout",
    "/stops": "timeout",
    "/reset": "truncated",
    "/too_short": "truncated",
    "/endless_chunks": "timeout",
    "/cut_chunks": "truncated",
    "/no_answer": "truncated",
    "/until_closed": "ok",
    "/further": "too_many_redirects",
    "/loop": "too_many_redirects",
    "/five": "ok",
    "/six": "too_many_redirects",
    "/to_file": "refused_url",
    "/to_ftp": "refused_url",
    "/to_gopher": "refused_url",
    "/to_metadata": "blocked_address",
    "/to_private": "blocked_address",
    "/to_v6": "blocked_address",
    "/to_mapped": "blocked_address",
    "/to_nat64": "blocked_address",
    "/to_user": "refused_url",
    "/to_nonsense": "invalid_url",
    "/to_nothing": "http_other",
    "/gzip": "ok",
    "/members": "ok",
    "/gzip_cut": "truncated",
    "/gzip_bomb": "too_large",
    "/br_bomb": "too_large",
    "/zstd_bomb": "too_large",
    "/deflate_bomb": "too_large",
    "/nested": "ok",
    "/nested_bombs": "too_large",
    "/three_codings": "bad_encoding",
    "/unknown_coding": "bad_encoding",
    "/false_coding": "bad_encoding",
    "/endless": "too_large",
    "/announced": "too_large",
    "/html_as_jpeg": "not_image_html",
    "/svg_as_png": "not_image_svg",
    "/jpeg_as_html": "ok",
    "/noise": "not_image",
    "/tiff": "unsupported_format",
    "/nothing": "empty",
    "/no_content": "http_other",
    "/always_busy": "rate_limited",
    "/rest_in_past": "rate_limited",
    "/rest_negative": "rate_limited",
    "/cookies": "ok",
    "/many_headers": "bad_response",
    "/long_header": "bad_response",
    "/bad_header": "bad_response",
    "/two_lengths": "bad_response",
    "/no_http": "bad_response",
    "/missing": "http_4xx",
    "/broken": "http_5xx",
}


@pytest.fixture(scope="module")
def all_cases(web):
    """All at once, good ones between them. What tells a host to slow down stays out: it would."""
    polite = [path for path in CASES if path not in ("/always_busy", "/rest_in_past", "/rest_negative")]
    urls = [url for i, path in enumerate(polite) for url in (web.url(path), web.url(f"/good.jpg?{i}"))]
    return dict(zip(polite, fetched(urls, per_domain=256)[::2], strict=True)), fetched(urls[1::2])


@pytest.mark.parametrize("path", [path for path in CASES if "busy" not in path and "rest_" not in path])
def test_each_misbehaviour_ends_in_its_reason(path, all_cases):
    found, _ = all_cases
    assert found[path]["image_status"] == CASES[path]
    assert found[path]["image"] == (JPEG if CASES[path] == "ok" else None)


@pytest.mark.parametrize("path", [path for path in CASES if "busy" in path or "rest_" in path])
def test_a_host_that_is_busy(path, web):
    (found,) = fetched([web.url(path)])
    assert found["image_status"] == "rate_limited"
    assert found["image_http_status"] in (429, 503)


def test_nothing_else_is_delayed(web):
    """Good URLs beside the slow ones are handed over while these still wait."""
    slow = [web.url(f"/{name}?{i}") for i in range(10) for name in ("drip", "silent", "stops")]
    good = [web.url(f"/good.jpg?{i}") for i in range(200)]
    operator = Images(**FAST | {"timeout_s": 30.0, "read_timeout_s": 30.0}, allow_hosts=("127.0.0.1",), robots=False)
    batch, seen = Batch(pa.table({"image_url": [*slow, *good]}), budgets=LocalBudgets()), 0
    for rows, found in operator(batch):
        seen += len(rows)
        assert set(found["image_status"].to_pylist()) == {"ok"}
        if seen == len(good):
            break  # the slow ones are left, in the middle of it
    assert seen == len(good)


def test_what_is_told_of_an_image(web):
    redirected, same, data = fetched(
        [web.url("/to_good"), web.url("/good.jpg"), f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"]
    )
    assert redirected["image_final_url"] == web.url("/good.jpg")
    assert (redirected["image_http_status"], redirected["image_mime"]) == (200, "image/jpeg")
    assert redirected["image_sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert redirected["image_fetched_bytes"] == len(JPEG)
    size = (redirected["original_width_px"], redirected["original_height_px"])
    assert size == picture(1).size
    assert redirected["image_fetched_at"] is not None and redirected["image_fetch_s"] > 0
    assert same["image"] == data["image"] == JPEG
    assert (data["image_http_status"], data["image_final_url"]) == (None, None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/jpeg;base64,@@@", "invalid_url"),
        ("data:nothing", "invalid_url"),
        ("data:," + "a" * 3_000_000, "refused_url"),
        ("data:image/png,%00%01%02abc", "not_image"),
        ("file:///etc/passwd", "refused_url"),
        ("ftp://example.org/a.jpg", "refused_url"),
        ("", "refused_url"),
        ("/only/a/path.jpg", "refused_url"),
        ("http://no-such-host.invalid/a.jpg", "dns_failed"),
        ("http://127.0.0.1:1/a.jpg", "connect_failed"),
        ("http://127.0.0.2/a.jpg", "blocked_address"),
    ],
)
def test_urls_that_lead_nowhere(url, reason):
    assert fetched([url])[0]["image_status"] == reason


def test_a_url_is_asked_once_a_shard_and_all_its_rows_have_it(web):
    before = web.requests["/good.jpg"]
    rows = fetched([web.url("/good.jpg?same")] * 40 + [web.url("/missing")])
    assert [row["image"] for row in rows] == [JPEG] * 40 + [None]
    assert web.requests["/good.jpg"] == before + 1


def test_rows_do_not_depend_on_arrival(web):
    paths = ["/good.jpg", "/missing", "/svg_as_png", "/five", "/gzip"]
    urls = [web.url(f"{path}?{i}") for i in range(30) for path in paths]
    one, other = ([row["image_status"] for row in fetched(urls, connections=n)] for n in (1, 50))
    assert one == other == ["ok", "http_4xx", "not_image_svg", "ok", "ok"] * 30


def test_what_may_pass_is_tried_again(web):
    flaky, busy, gone = fetched([web.url("/flaky"), web.url("/busy"), web.url("/missing?again")], retries=1)
    assert (flaky["image_status"], busy["image_status"], gone["image_status"]) == ("ok", "ok", "http_4xx")


def test_no_cookie_no_referer_an_own_name(web):
    web.seen.clear()
    fetched([web.url("/cookies?1"), web.url("/good.jpg?after")], connections=1)
    for request in web.seen:
        assert not {"cookie", "referer", "authorization"} & set(request.headers)
        assert request.headers["user-agent"].startswith("cupel/")
        assert request.headers["accept-encoding"] == "identity"


def test_a_host_that_is_gone_is_left_alone():
    urls = [f"http://127.0.0.1:1/{i}.jpg" for i in range(100)]
    reasons = [row["image_status"] for row in fetched(urls, per_domain=2)]
    assert set(reasons) == {"connect_failed", "host_down"}
    assert reasons.count("connect_failed") < 20


def test_a_shard_ends_in_time(web):
    urls = [web.url(f"/good.jpg?late{i}") for i in range(50)]
    reasons = [row["image_status"] for row in fetched(urls, per_domain=1, delay_s=0.5, shard_timeout_s=1.0)]
    assert set(reasons) == {"ok", "not_reached"}


def test_delays_and_slots_hold():
    with HostileWeb({"/good.jpg": body(JPEG)}) as web:
        fetched([web.url(f"/good.jpg?{i}") for i in range(5)], delay_s=0.2)
        assert len(web.starts) == 5
        assert web.starts[-1] - web.starts[0] > 0.6  # of 0.8 s; a busy server may note the first one late
    slow = {"/good.jpg": _slow}
    with HostileWeb(slow) as web:
        fetched([web.url(f"/good.jpg?{i}") for i in range(12)], per_domain=3)
        assert web.most_at_once == 3


async def _slow(writer, request):
    await asyncio.sleep(0.05)
    await body(JPEG)(writer, request)


def test_a_redirect_to_another_domain_goes_there_within_its_budget(web):
    with HostileWeb({"/a.jpg": redirect(web.url("/good.jpg?from_elsewhere"))}, host="127.0.0.3") as other:
        (row,) = fetched([other.url("/a.jpg")], allow_hosts=("127.0.0.1", "127.0.0.3"))
    assert (row["image_status"], row["image"]) == ("ok", JPEG)
    assert row["image_final_url"] == web.url("/good.jpg?from_elsewhere")


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> trustme.CA:
    return trustme.CA()


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("case", ["good", "self_signed", "wrong_host", "expired"])
def test_certificates(case, authority, tmp_path, monkeypatch):
    from datetime import UTC, datetime

    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    certificate = {
        "good": lambda: authority.issue_cert("localhost"),
        "self_signed": lambda: trustme.CA().issue_cert("localhost"),
        "wrong_host": lambda: authority.issue_cert("example.org"),
        "expired": lambda: authority.issue_cert("localhost", not_after=datetime(2001, 1, 1, tzinfo=UTC)),
    }[case]()
    with HostileWeb({"/a.jpg": body(JPEG)}, tls=tls(certificate)) as web:
        (row,) = fetched([f"https://localhost:{web.port}/a.jpg"])
    assert row["image_status"] == ("ok" if case == "good" else "tls_failed")


def test_a_handshake_that_never_ends(web):
    """TLS spoken to a server that listens and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        begin = time.monotonic()
        (row,) = fetched([f"https://127.0.0.1:{mute.getsockname()[1]}/a.jpg"])
        assert row["image_status"] == "connect_timeout"
        assert time.monotonic() - begin < 30


def test_resized(web):
    (row,) = fetched([web.url("/good.jpg")], resize="center_crop", size_px=32, format="png", quality=3)
    assert row["image"].startswith(b"\x89PNG") and row["image_mime"] == "image/png"
    assert (row["original_width_px"], row["original_height_px"]) == picture(1).size
    assert row["image_sha256"] == hashlib.sha256(JPEG).hexdigest()


@pytest.mark.parametrize("damaged", [JPEG[:200], encoded(picture(2), "PNG")[:-40]])
def test_what_cannot_be_decoded_is_no_image_when_it_is_resized(damaged):
    with HostileWeb({"/a": body(damaged)}) as web:
        assert fetched([web.url("/a")], resize="keep_ratio")[0]["image_status"] == "decode_failed"


def captured(folder: Path, answers: dict[str, bytes]) -> str:
    """A WARC file with these answers."""
    records = []
    for url, answer in answers.items():
        fields = f"WARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2020-01-01T00:00:00Z\r\n"
        kind = "Content-Type: application/http; msgtype=response\r\n"
        head = f"WARC/1.0\r\n{fields}{kind}WARC-Record-ID: <urn:{url}>\r\nContent-Length: {len(answer)}\r\n\r\n"
        records.append(head.encode() + answer + b"\r\n\r\n")
    (folder / "a.warc").write_bytes(b"".join(records))
    return str(folder / "a.warc")


def test_an_archive_serves_as_the_web(tmp_path):
    at = "http://example.org"

    def said(head: str, data: bytes = b"") -> bytes:
        return f"HTTP/1.1 {head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data

    answers = {
        f"{at}/a.jpg": said("200 OK\r\nContent-Type: image/jpeg", JPEG),
        f"{at}/to": said("302 Found\r\nLocation: /a.jpg"),
        f"{at}/loop": said("302 Found\r\nLocation: /loop"),
        f"{at}/out": said("302 Found\r\nLocation: http://10.0.0.1/"),
        f"{at}/gone": said("404 Not Found", b"no"),
        f"{at}/noai": said("200 OK\r\nX-Robots-Tag: noai", JPEG),
        f"{at}/page": said("200 OK", b"<!DOCTYPE html><p>"),
    }
    expected = {
        "/a.jpg": "ok",
        "/to": "ok",
        "/loop": "too_many_redirects",
        "/out": "not_archived",
        "/gone": "http_4xx",
        "/noai": "opted_out",
        "/page": "not_image_html",
        "/never": "not_archived",
    }
    file = captured(tmp_path, answers)
    urls = [at + path for path in expected]
    for given in ({"archive": (file,)}, {"columns": {"warc_file": [file] * len(urls)}}):
        rows = fetched(urls, source="archive", **given)
        assert [row["image_status"] for row in rows] == list(expected.values())
        assert (rows[1]["image"], rows[1]["image_final_url"]) == (JPEG, f"{at}/a.jpg")
        assert rows[5]["image_opt_out"] == "X-Robots-Tag: noai"
    assert fetched(urls[:1], source="archive", archive=(str(tmp_path / "none.warc"),))[0]["image_status"] == (
        "archive_damaged"
    )


def test_blocked_domains(web, tmp_path):
    listed = tmp_path / "domains.txt"
    listed.write_text("# ours\n*.example.com  # a remark\nlocalhost\nBÜCHER.de\n")
    urls = ["http://a.b.example.com/x.jpg", web.url("/good.jpg").replace("127.0.0.1", "localhost"), "http://bücher.de/"]
    rows = fetched([*urls, web.url("/good.jpg")], blocked_domains=str(listed))
    assert [row["image_status"] for row in rows] == ["blocked_domain"] * 3 + ["ok"]
    assert Images(blocked_domains=str(listed)).files == (Path(listed),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_agent": "cupel"},
        {"user_agent": "cupel/1 (me)\r\nX: y@z"},
        {"per_domain": 0},
        {"format": "png", "quality": 95},
        {"engine": "img2dataset", "source": "archive"},
    ],
)
def test_parameters_that_are_refused(wrong):
    with pytest.raises(ValidationError):
        Images(**wrong)
