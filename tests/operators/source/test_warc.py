"""WARC and ARC archives, Common Crawl's WAT files, and records picked by a table of ranges."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import threading
import time
import zlib
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from cupel.operators.decode import RowError
from cupel.operators.source import _ranges, detect, open_source
from cupel.operators.source._warc_bytes import PIECE_BYTES, Raw, Stretch
from cupel.operators.source._warc_http import Response, dechunk, decode_body, parse_response
from cupel.operators.source._warc_records import record_at, walk
from cupel.operators.source._warc_rows import parse_date, response_of
from cupel.operators.source.base import SourceError
from cupel.schemas.recipe import Read

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PAGE = b"<!doctype html><title>t</title><p>One page."


def block(body=PAGE, status="200 OK", **headers):
    """An HTTP response as it lies in a record."""
    named = {"Content-Type": "text/html", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def record(content=None, url="http://a.example/", type="response", end=b"\r\n\r\n", **fields):
    """A WARC record, byte by byte."""
    content = block() if content is None else content
    head = {
        "WARC-Type": type,
        "WARC-Target-URI": url,
        "WARC-Date": "2024-05-18T01:58:10Z",
        "WARC-Record-ID": f"<urn:x:{hashlib.md5(url.encode() + content).hexdigest()}>",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(content)),
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in head.items() if value is not None]
    return "\r\n".join(["WARC/1.0", *lines, "", ""]).encode() + content + end


def rows_of(read_all, path, data, **read):
    path.write_bytes(data)
    return read_all(300, warc=str(path), **read)


# Against warcio


def archives(shared_data):
    return sorted(path for path in (shared_data / "warc").glob("*/*arc*"))


def test_the_records_are_those_of_warcio(shared_data):
    """Where warcio gives up, or takes what is broken for whole, is said here, file by file."""
    explained = {
        "badexample.arc.gz": Counter(response=3),  # warcio stops at the second record
        "missing-status-text.warc": Counter(),  # line ends are \r\r\n, which both read
    }
    found = archives(shared_data)
    assert len(found) == 17
    for path in found:
        theirs = Counter[str]()
        with path.open("rb") as handle:
            try:
                for one in ArchiveIterator(handle):
                    theirs["warcinfo" if one.rec_type == "arc_header" else one.rec_type] += 1
                    one.raw_stream.read()
            except Exception as error:  # noqa: BLE001
                assert path.name == "badexample.arc.gz", error
        ours = Counter(one.type for one in walk(Raw(pa.OSFile(str(path)))))
        extra = ours - theirs
        assert not theirs - ours, path
        if path.name in explained:
            continue
        assert not extra, path


def test_payloads_are_those_of_warcio(shared_data):
    """Byte for byte, codings undone; warcio cannot undo brotli, of which there is none here."""
    compared = 0
    for path in archives(shared_data):
        if path.name in ("badexample.arc.gz", "clipped.warc.gz"):
            continue
        ours = [one for one in walk(Raw(pa.OSFile(str(path)))) if one.type == "response"]
        with path.open("rb") as handle:
            theirs = ((one.rec_type, one.content_stream().read()) for one in ArchiveIterator(handle))
            for one, body in zip(ours, (body for kind, body in theirs if kind == "response"), strict=True):
                response = response_of(one)
                found = one.block if response is None else decode_body(response, 1 << 24)[0]
                assert found == body, (path, one.offset)
                compared += 1
    assert compared > 700


def test_a_real_crawl(shared_data, read_all):
    """The counts that the data's own description gives: 299 answers, 140 of them HTML, 94 with status 200."""
    folder = shared_data / "warc" / "archivesunleashed-aut"
    for name in ("example.warc.gz", "example.arc.gz"):
        whole = read_all(256, input=str(folder / name))
        pages = [row for row in whole.rows if row["html"] is not None]
        assert not whole.errors
        assert (len(whole.rows), len(pages), sum(row["http_status"] == 200 for row in pages)) == (299, 140, 94)
        assert len(whole.shards) == 2
        assert whole.rows[-1]["warc_file"] == str(folder / name)


def test_digests_of_real_archives_are_right(shared_data, read_all):
    found = Counter(ok for path in archives(shared_data) for ok in read_all(300, warc=str(path)).column("digest_ok"))
    assert found[False] == 0
    assert found[True] > 400


# Rows


def packed(records, how):
    """Records as a file: plain, a gzip member each, or one member for all."""
    if how == "plain":
        return b"".join(records)
    if how == "members":
        return b"".join(gzip.compress(one, mtime=0) for one in records)
    return gzip.compress(b"".join(records), mtime=0)


NAMES = {"plain": "a.warc", "members": "a.warc.gz", "one member": "a.warc.gz"}


@SLOW
@given(
    st.lists(st.sampled_from(["response", "request", "resource", "revisit", "metadata", "warcinfo"]), max_size=12),
    st.sampled_from(list(NAMES)),
    st.integers(1, 900),
)
def test_any_cut_gives_the_same_rows(tmp_path, read_all, types, how, shard_rows):
    types = types * 60
    made = [record(url=f"http://a.example/{i}", type=type) for i, type in enumerate(types)]
    path = tmp_path / NAMES[how]
    path.write_bytes(packed(made, how))
    whole = read_all(shard_rows, warc=str(path))
    expected = [f"http://a.example/{i}" for i, type in enumerate(types) if type in ("response", "resource", "revisit")]
    assert whole.column("page_url") == expected
    assert not whole.errors
    if how == "members":  # a place told is a place that can be gone to
        row = whole.rows[-1] if whole.rows else None
        assert row is None or gzip.decompress(
            path.read_bytes()[row["warc_offset"] : row["warc_offset"] + row["warc_length"]]
        ).startswith(b"WARC/1.0")


def test_what_a_row_says(tmp_path, read_all):
    sha1 = "sha1:" + base64.b32encode(hashlib.sha1(PAGE).digest()).decode()
    made = record(block(Content_Type="Text/HTML; charset=latin-1"), WARC_Payload_Digest=sha1, WARC_Truncated="length")
    whole = rows_of(read_all, tmp_path / "a.warc.gz", gzip.compress(made))
    assert whole.rows == [
        {
            "key": whole.rows[0]["key"],
            "page_url": "http://a.example/",
            "html": PAGE,
            "content_type": "Text/HTML; charset=latin-1",
            "http_status": 200,
            "opt_out": None,
            "warc_type": "response",
            "warc_date": datetime(2024, 5, 18, 1, 58, 10, tzinfo=UTC),
            "warc_truncated": "length",
            "payload_digest": sha1,
            "digest_ok": True,
            "warc_file": str(tmp_path / "a.warc.gz"),
            "warc_offset": 0,
            "warc_length": (tmp_path / "a.warc.gz").stat().st_size,
            "image": None,
        }
    ]
    assert whole.rows[0]["key"].startswith("urn:x:")
    fewer = read_all(300, warc=str(tmp_path / "a.warc.gz"), drop=["warc_date", "digest_ok"])
    assert "warc_date" not in fewer.rows[0]
    assert read_all(300, ["page_url"], warc=str(tmp_path / "a.warc.gz")).rows == [
        {"page_url": "http://a.example/", "image": None}
    ]


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/html", b"anything", True),
        ("TEXT/HTML;charset=x", b"anything", True),
        ("application/xhtml+xml", b"<html/>", True),
        (None, PAGE, True),
        (None, b"  \n<HTML>", True),
        (None, b"\xef\xbb\xbf<!-- x --><p>", True),
        (None, b"\x89PNG", False),
        (None, b"plain words", False),
        ("unknown/unknown", PAGE, True),
        ("html", PAGE, True),
        ("text/xml", b'<?xml version="1.0"?><html xmlns="x">', True),
        ("text/xml", b'<?xml version="1.0"?><rss>', False),
        ("text/plain", PAGE, False),
        ("image/png", PAGE, False),
    ],
)
def test_what_is_a_page(tmp_path, read_all, content_type, body, expected):
    whole = rows_of(read_all, tmp_path / "a.warc", record(block(body, Content_Type=content_type)))
    assert whole.column("html") == [body if expected else None]
    assert whole.column("content_type") == [content_type or ""]


@pytest.mark.parametrize("type", ["resource", "revisit"])
def test_records_that_are_no_answers(tmp_path, read_all, type):
    content = PAGE if type == "resource" else block(b"", Content_Length=None)
    fields = {"Content_Type": "text/html"} if type == "resource" else {}
    whole = rows_of(read_all, tmp_path / "a.warc", record(content, type=type, **fields))
    assert whole.column("html") == [PAGE if type == "resource" else None]
    assert whole.column("http_status") == [None if type == "resource" else 200]
    assert whole.column("content_type") == ["text/html"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, None),
        ({"WARC_Payload_Digest": "sha1:" + hashlib.sha1(PAGE).hexdigest()}, True),
        ({"WARC_Payload_Digest": "SHA-256:" + hashlib.sha256(PAGE).hexdigest()}, True),
        ({"WARC_Payload_Digest": "md5:" + hashlib.md5(b"other").hexdigest()}, False),
        ({"WARC_Payload_Digest": "sha1:???"}, False),
        ({"WARC_Payload_Digest": "crc7:abc"}, None),
        ({"WARC_Block_Digest": "sha1:" + hashlib.sha1(block()).hexdigest()}, True),
        ({"WARC_Block_Digest": "sha1:" + hashlib.sha1(b"").hexdigest()}, False),
    ],
)
def test_digests(tmp_path, read_all, stated, expected):
    assert rows_of(read_all, tmp_path / "a.warc", record(**stated)).column("digest_ok") == [expected]


def test_a_digest_with_or_without_chunks(tmp_path, read_all):
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE), PAGE)
    content = block(chunked, Transfer_Encoding="chunked")
    made = [record(content, WARC_Payload_Digest="sha1:" + hashlib.sha1(one).hexdigest()) for one in (chunked, PAGE)]
    assert rows_of(read_all, tmp_path / "a.warc", b"".join(made)).column("digest_ok") == [True, True]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (["X-Robots-Tag: noai"], "X-Robots-Tag: noai"),
        (["x-robots-tag: nofollow, NoIndex"], "X-Robots-Tag: noindex"),
        (["X-Robots-Tag: nofollow"], None),
        (["X-Robots-Tag: nofollow", "X-Robots-Tag: noai"], "X-Robots-Tag: noai"),
        (["X-Robots-Tag: noarchive", "X-Robots-Tag: nofollow,", "\tnoimageai"], "X-Robots-Tag: noimageai"),
        (["X-Robots-Tag: otherbot: noindex"], None),
        (["X-Robots-Tag: otherbot: noindex", "X-Robots-Tag: noai"], "X-Robots-Tag: noai"),
        (["X-Robots-Tag: otherbot: nofollow", "X-Robots-Tag: max-snippet: 3, noai"], "X-Robots-Tag: noai"),
        (["X-Robots-Tag: otherbot: noindex", "X-Robots-Tag: cupel: noai"], "X-Robots-Tag: noai"),
        (["X-Robots-Tag: otherbot: nofollow", "X-Robots-Tag: noai, otherbot: noindex"], "X-Robots-Tag: noai"),
        (
            ["X-Robots-Tag: nofollow, otherbot: noindex", "X-Robots-Tag: unavailable_after: 1 May 2010 15:00:00, noai"],
            "X-Robots-Tag: noai",
        ),
        (["X-Robots-Tag: none"], "X-Robots-Tag: noindex"),
        (["X-Robots-Tag: cupel: nofollow", "X-Robots-Tag: otherbot: noindex"], None),
        (["TDM-Reservation: 1"], "tdm-reservation: 1"),
        (["TDM-Reservation: 0"], None),
    ],
)
@pytest.mark.parametrize("type", ["response", "revisit"])
def test_headers_that_reserve_a_page(tmp_path, read_all, lines, expected, type):
    content = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", *lines, "", ""]).encode() + PAGE
    whole = rows_of(read_all, tmp_path / "a.warc", record(content, type=type) + record(PAGE, type="resource"))
    assert whole.column("opt_out") == [expected, None]
    assert read_all(300, ["opt_out"], warc=str(tmp_path / "a.warc")).column("opt_out") == [expected, None]


def test_of_equal_headers_the_first_counts():
    content = block(gzip.compress(PAGE), Content_Encoding="gzip", content_encoding="gzip", content_type="text/plain")
    response = parse_response(content)
    assert response.headers["content-type"] == "text/html"
    assert decode_body(response, 1 << 20) == (PAGE, True)


def arc_record(content, url="http://a.example/x y", version=1, media_type="text/html"):
    more = " 200 - - 0 a.arc" if version == 2 else ""
    return f"{url} 1.2.3.4 20080430204825 {media_type}{more} {len(content)}\n".encode() + content + b"\n"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("how", ["plain", "members"])
def test_arc(tmp_path, read_all, version, how):
    head = arc_record(b"%d 0 x\nURL IP\n" % version, "filedesc://a.arc", version, "text/plain")
    made = packed([head, *(arc_record(block(), version=version) for _ in range(3))], how)
    whole = rows_of(read_all, tmp_path / "a.arc", made)
    assert whole.column("page_url") == ["http://a.example/x y"] * 3
    assert whole.column("html") == [PAGE] * 3
    assert whole.rows[0]["warc_date"] == datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)
    assert whole.rows[0]["key"] == f"a.arc:{whole.rows[0]['warc_offset']}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2008-04-30T20:48:25Z", datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)),
        ("2008-04-30T20:48:25.123456Z", datetime(2008, 4, 30, 20, 48, 25, 123000, tzinfo=UTC)),
        ("20080430204825", datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)),
        ("2008-13-30T20:48:25Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(text, expected):
    assert parse_date(text) == expected


# Bodies


def deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("headers", "body", "expected", "whole"),
    [
        ({}, PAGE, PAGE, True),
        ({"content-encoding": "gzip"}, gzip.compress(PAGE), PAGE, True),
        ({"content-encoding": "x-gzip"}, gzip.compress(PAGE), PAGE, True),
        ({"content-encoding": "deflate"}, zlib.compress(PAGE), PAGE, True),
        ({"content-encoding": "deflate"}, deflated(PAGE), PAGE, True),
        ({"content-encoding": "br"}, brotli.compress(PAGE), PAGE, True),
        ({"content-encoding": "zstd"}, zstd(PAGE), PAGE, True),
        ({"content-encoding": "gzip, br"}, brotli.compress(gzip.compress(PAGE)), PAGE, True),
        ({"content-encoding": "identity"}, PAGE, PAGE, True),
        ({"content-encoding": "utf-8"}, PAGE, PAGE, True),
        # The header lies: the body was unpacked before it was stored.
        ({"content-encoding": "gzip"}, PAGE, PAGE, True),
        ({"content-encoding": "deflate"}, PAGE, PAGE, True),
        ({"content-encoding": "br"}, PAGE, PAGE, True),
        ({"content-encoding": "zstd"}, PAGE, PAGE, True),
        ({"content-encoding": "gzip"}, b"\x89PNG\r\n\x1a\n\0\0", b"\x89PNG\r\n\x1a\n\0\0", True),
        ({"content-encoding": "gzip"}, b"", b"", True),
        ({"transfer-encoding": "chunked"}, PAGE, PAGE, True),
        ({"transfer-encoding": "chunked"}, b"4\r\nabcd\r\n0\r\n\r\n", b"abcd", True),
        ({"transfer-encoding": "Chunked"}, b"4;x=y\nabcd\n2 \r\nef\r\n0\r\n", b"abcdef", True),
        ({"transfer-encoding": "chunked", "content-encoding": "gzip"}, PAGE, PAGE, True),
        # Cut off, or with wrong sizes.
        ({"transfer-encoding": "chunked"}, b"ff\r\nabcd", b"abcd", False),
        ({"transfer-encoding": "chunked"}, b"2\r\nab\r\n2\r\ncd\r\nzz", b"abcd", False),
        ({"transfer-encoding": "chunked"}, b"abc\r\ndef\r\n" + bytes(3000), b"abc\r\ndef\r\n" + bytes(3000), True),
        ({"content-encoding": "gzip"}, gzip.compress(PAGE)[:-9], None, False),
    ],
)
def test_bodies(headers, body, expected, whole):
    found = decode_body(Response(status=200, headers=headers, body=body), 1 << 20)
    assert found[1] is whole
    assert found[0] == expected if expected is not None else PAGE.startswith(found[0])


PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=5),
    "zstd": zstd,
}


@pytest.mark.parametrize("coding", PACKERS)
def test_bombs(coding):
    body = PACKERS[coding](bytes(40 << 20))
    assert len(body) < 100_000
    with pytest.raises(RowError, match="too_large"):
        decode_body(Response(status=200, headers={"content-encoding": coding}, body=body), 16 << 20)


@pytest.mark.parametrize(("members", "error"), [(500, None), (500_000, "damaged_record.*1,000 members")])
def test_many_empty_gzip_members_cost_no_more_than_their_bytes(members, error):
    body = gzip.compress(b"") * members + gzip.compress(PAGE)
    response = Response(status=200, headers={"content-encoding": "gzip"}, body=body)
    if error is None:
        assert decode_body(response, 1 << 20) == (PAGE, True)
    else:
        with pytest.raises(RowError, match=error):
            decode_body(response, 1 << 20)


@pytest.mark.parametrize("coding", PACKERS)
def test_packed_bodies_that_are_damaged(coding):
    text = b"".join(hashlib.sha256(bytes([i])).hexdigest().encode() for i in range(200))
    body = bytearray(PACKERS[coding](text))
    body[40:60] = bytes(20)
    try:
        found, whole = decode_body(
            Response(status=200, headers={"content-encoding": coding}, body=bytes(body)), 1 << 20
        )
    except RowError as error:
        assert error.kind == "damaged_record"
    else:
        assert not whole or found != bytes(body)  # some codings cannot tell; none gives packed bytes for the page


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_chunks_of_any_size(data, sizes):
    at, parts = 0, []
    for size in sizes:
        if piece := data[at : at + size]:
            parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += size
    assert dechunk(b"".join(parts) + b"0\r\n\r\n") == (data[:at], True)


def test_a_page_that_breaks_off(tmp_path, read_all):
    content = block(gzip.compress(PAGE * 50)[:-20], Content_Encoding="gzip")
    made = record(content) + record(content, WARC_Truncated="length")
    whole = rows_of(read_all, tmp_path / "a.warc", made)
    assert whole.errors == [(0, "html", "truncated")]
    assert whole.rows[0]["html"] is None
    assert (PAGE * 50).startswith(whole.rows[1]["html"])  # the crawler says so itself: what there is is taken


# Damage


def ten(how):
    """Ten records, their bytes in the file, and where each begins there."""
    made = [record(url=f"http://a.example/{i}", content=block(PAGE + bytes([i]) * 50)) for i in range(10)]
    parts = made if how == "plain" else [gzip.compress(one, mtime=0) for one in made]
    return parts, [sum(map(len, parts[:i])) for i in range(11)]


def numbers(whole):
    return [int(row["page_url"].rsplit("/")[-1]) for row in whole.rows if row["html"] is not None]


@pytest.mark.parametrize("how", ["plain", "members"])
@SLOW
@given(st.data())
def test_cut_off_anywhere(tmp_path, read_all, how, data):
    parts, starts = ten(how)
    at = data.draw(st.integers(1, starts[-1]))
    whole = rows_of(read_all, tmp_path / NAMES[how], b"".join(parts)[:at])
    # Behind a plain record stand two line ends, without which it is still whole.
    left = sum(at >= end - (4 if how == "plain" else 0) for end in starts[1:])
    assert numbers(whole) == list(range(left))
    assert len(whole.rows) - left == len(whole.errors) <= 1


@pytest.mark.parametrize("how", ["plain", "members", "one member"])
@SLOW
@given(st.data())
def test_bytes_overwritten_anywhere(tmp_path, read_all, how, data):
    """Nothing is raised, all that was not touched is read, and what was touched is told where that can be seen."""
    parts, starts = ten("plain" if how == "plain" else "members")
    if how == "one member":
        plain, _ = ten("plain")
        parts, starts = [packed(plain, how)], [0]
    mixed = bytearray(b"".join(parts))
    at = data.draw(st.integers(0, len(mixed) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=30))
    mixed[at : at + len(junk)] = junk
    whole = rows_of(read_all, tmp_path / NAMES[how], bytes(mixed))
    if how == "one member":
        return
    touched = {i for i in range(10) if starts[i] < at + len(junk) and at < starts[i + 1]}
    # A header cut in two leaves its record and may lengthen the one before; its neighbour's line ends are its own.
    near = touched | {i - 1 for i in touched}
    read = {row["html"] for row in whole.rows}
    assert {PAGE + bytes([i]) * 50 for i in range(10) if i not in (touched if how == "members" else near)} <= read


@pytest.mark.parametrize("how", ["plain", "members", "one member"])
@pytest.mark.parametrize("wrong", [-7, 7, 10_000, None, "x", "9" * 5000])
def test_a_wrong_length(tmp_path, read_all, how, wrong):
    length = wrong if not isinstance(wrong, int) else str(len(block()) + wrong)
    made = [record(url="http://a.example/0"), record(url="http://b/", Content_Length=length)]
    made += [record(url=f"http://a.example/{i}") for i in (1, 2)]
    whole = rows_of(read_all, tmp_path / NAMES[how], packed(made, how))
    assert numbers(whole) == [0, 1, 2]
    assert whole.errors == [(1, "html", "truncated" if how == "members" and wrong in (7, 10_000) else "damaged_record")]
    assert len(whole.rows) == 4


class Counted:
    """A file that counts what is read of it."""

    def __init__(self, data):
        self.data, self.read_bytes, self.reads = data, 0, 0

    def size(self):
        return len(self.data)

    def read_at(self, size, offset):
        self.read_bytes, self.reads = self.read_bytes + size, self.reads + 1
        return self.data[offset : offset + size]


@pytest.mark.parametrize("length", [5_000_000, 10**17])
def test_a_plain_record_with_a_wrong_length_is_not_read_to_its_end(length):
    many = 20
    lying = record(block(), Content_Length=str(length))
    file = Counted(lying * many + b"x" * 6_000_000)
    found = list(walk(Raw(file)))
    assert [(one.type, one.error.kind) for one in found] == [("response", "damaged_record")] * (many - 1) + [
        ("response", "truncated" if length > 6_000_000 else "damaged_record")
    ]
    assert response_of(found[0]).status == 200
    assert file.read_bytes < 3 * many * PIECE_BYTES + 6_000_000


@pytest.mark.parametrize("how", ["plain", "members"])
def test_a_flood_of_line_ends_is_passed_by_large_steps(how, monkeypatch):
    steps, peek = [], Stretch.peek
    monkeypatch.setattr(Stretch, "peek", lambda self, size: steps.append(size) or peek(self, size))
    data = packed([record(end=b"\r\n" * 1_000_000), record()], how)
    assert [one.error for one in walk(Raw(Counted(data)))] == [None, None]
    assert len(steps) < 200


@pytest.mark.parametrize("junk", [b"junk", bytes(5000), b"\x1f\x8b\x08\0" + b"x" * 50, b"WARC/1.0\r\n"])
@pytest.mark.parametrize("how", ["plain", "members"])
def test_junk_between_records(tmp_path, read_all, how, junk):
    parts, _ = ten(how)
    whole = rows_of(read_all, tmp_path / NAMES[how], b"".join([*parts[:4], junk, *parts[4:]]))
    assert numbers(whole) == [*range(10)]
    assert len(whole.errors) == (
        0 if junk.startswith(b"WARC") and how == "plain" else 1
    )  # a line too many does no harm


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", gzip.compress(b""), b"\n" * 9000])
def test_nothing_in_it(tmp_path, read_all, data):
    assert rows_of(read_all, tmp_path / "a.warc", data).rows == []


@pytest.mark.parametrize("data", [b"x", b"<html>", bytes(100_000), b"\x1f\x8b\x08" * 5000, b"WARC/1.0\r\n" * 3000])
def test_no_archive_at_all(tmp_path, read_all, data):
    whole = rows_of(read_all, tmp_path / "a.warc", data)
    assert whole.rows
    assert len(whole.errors) == len(whole.rows)


def test_a_header_without_end(tmp_path, read_all):
    data = b"WARC/1.0\r\nX: " + b"y" * (3 << 20) + b"\r\n\r\n" + record()
    whole = rows_of(read_all, tmp_path / "a.warc", data)
    assert whole.errors == [(0, "html", "damaged_record")]
    assert len(whole.rows) == 2


@pytest.mark.parametrize("how", ["plain", "members"])
def test_a_huge_record_is_passed_over(tmp_path, read_all, how):
    made = [record(block(bytes(70 << 20))), record(url="http://a.example/1")]
    whole = rows_of(read_all, tmp_path / NAMES[how], packed(made, how))
    assert whole.errors == [(0, "html", "too_large")]
    assert numbers(whole) == [1]
    assert whole.column("digest_ok") == [None, None]


def test_many_damages_in_one_member_end(tmp_path, read_all):
    made = [record(Content_Length="x", url=f"http://a.example/{i}") for i in range(500)]
    whole = rows_of(read_all, tmp_path / "a.warc.gz", packed(made, "one member") + gzip.compress(record()))
    assert 90 <= len(whole.errors) <= 110
    assert whole.column("html")[-1] == PAGE


def test_a_member_of_many_records_is_gone_to_by_two_numbers(tmp_path):
    made = [record(url=f"http://a.example/{i}") for i in range(3)]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(packed(made, "one member"))
    raw = Raw(pa.OSFile(str(path)))
    for one in list(walk(raw)):
        again = record_at(raw, one.offset, one.inner)
        assert (again.fields, again.block) == (one.fields, one.block)


# By name, in lists


@pytest.mark.parametrize(
    ("names", "place", "kind", "files"),
    [
        (["a.warc.gz", "b.ARC", "c.txt"], "", "warc", ["a.warc.gz", "b.ARC"]),
        (["a.warc", "x/b.arc.gz"], "/**/*arc*", "warc", ["a.warc", "x/b.arc.gz"]),
        (["a.warc.wat.gz", "b.wat"], "", "wat", ["a.warc.wat.gz", "b.wat"]),
        (["warc.paths"], "/warc.paths", "warc", ["x/1.warc.gz", "x/2.warc.gz"]),
        (["warc.paths.gz"], "/warc.paths.gz", "warc", ["x/1.warc.gz", "x/2.warc.gz"]),
    ],
)
def test_found_by_name(tmp_path, names, place, kind, files):
    listed = b"# two\nx/2.warc.gz\n\nx/1.warc.gz\n"
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(listed) if name.endswith(".gz") else listed)
    assert detect(f"{tmp_path}{place}") == kind
    assert open_source(Read(input=f"{tmp_path}{place}")).files() == [str(tmp_path / file) for file in files]


@pytest.mark.parametrize("name", ["key", "text", "image", "image_url", "page_url"])
@pytest.mark.parametrize("kind", ["warc", "wat", "cdx", "urls"])
def test_names_of_columns_are_refused(kind, name):
    with pytest.raises(SourceError, match=f"read.{name} names a column of a table, but this is a {kind}"):
        open_source(Read(**{kind: "a", name: "b"}))


def test_a_list_below_a_base(tmp_path):
    (tmp_path / "warc.paths").write_text("crawl-data/1.warc.gz\n")
    source = open_source(Read(warc=str(tmp_path / "warc.paths"), base="s3://commoncrawl/"))
    assert source.files() == ["s3://commoncrawl/crawl-data/1.warc.gz"]
    with pytest.raises(SourceError, match="not from 'https"):
        open_source(Read(warc=str(tmp_path / "warc.paths"), base="https://x/")).files()


def test_on_s3(s3, tmp_path, read_all):
    made = [gzip.compress(record(url=f"http://a.example/{i}")) for i in range(600)]
    s3.put_object(Bucket="corpus", Key="a.warc.gz", Body=b"".join(made))
    whole = read_all(300, input="s3://corpus/a.warc.gz")
    assert len(whole.shards) == 2
    assert whole.column("html") == [PAGE] * 600


# WAT


class Links(HTMLParser):
    """Links as Common Crawl's own tool notes them, as far as they matter here."""

    def __init__(self):
        super().__init__()
        self.head, self.links = {}, []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "base" and attributes.get("href"):
            self.head["Base"] = attributes["href"]
        if tag == "img" and attributes.get("src"):
            alt = {"alt": attributes["alt"] or ""} if "alt" in attributes else {}
            self.links.append({"path": "IMG@/src", "url": attributes["src"], **alt})
        if tag == "a" and attributes.get("href"):
            self.links.append({"path": "A@/href", "url": attributes["href"]})


def wat_record(url, html, offset=80610308):
    """The layout of Common Crawl's WAT records."""
    page = Links()
    page.feed(html)
    metadata = {
        "Container": {"Filename": "CC-MAIN-x.warc.gz", "Compressed": True, "Offset": str(offset)},
        "Envelope": {
            "Format": "WARC/1.0",
            "WARC-Header-Metadata": {"WARC-Type": "response", "WARC-Target-URI": url},
            "Payload-Metadata": {
                "Actual-Content-Type": "application/http; msgtype=response",
                "HTTP-Response-Metadata": {
                    "Response-Message": {"Status": "200", "Version": "HTTP/1.1", "Reason": "OK"},
                    "HTML-Metadata": {"Head": page.head, "Links": page.links},
                },
            },
        },
    }
    return record(json.dumps(metadata).encode(), url, "metadata", Content_Type="application/json")


def test_wat(tmp_path, read_all):
    html = """<base href="/b/"><img src="1.jpg" alt="One"><a href="x">x</a><img src="http://i.example/2.png">
    <img src="data:image/gif;base64,R0lG" alt="dot"><img src="//c.example/3.gif" alt=""><img alt="no src">"""
    made = [
        record(b"x: y", "", "warcinfo"),
        wat_record("http://a.example/p/", html),
        wat_record("http://b.example/", "<p>no images"),
        record(b"{", "http://c.example/", "metadata"),
        record(b'{"Envelope": {"Payload-Metadata": [1]}}', "http://d.example/", "metadata"),
    ]
    (tmp_path / "a.wat.gz").write_bytes(packed(made, "members"))
    whole = read_all(300, input=str(tmp_path / "a.wat.gz"))
    found = [(row["page_url"], row["image_url"], row["text"]) for row in whole.rows]
    assert found == [
        ("http://a.example/p/", "http://a.example/b/1.jpg", "One"),
        ("http://a.example/p/", "http://i.example/2.png", None),
        ("http://a.example/p/", "http://c.example/3.gif", ""),
        (None, None, None),
    ]
    assert {(row, kind) for row, _, kind in whole.errors} == {(3, "invalid_json")}
    assert whole.rows[0]["warc_file"] == "CC-MAIN-x.warc.gz"
    assert whole.rows[0]["warc_offset"] == 80610308


@pytest.mark.parametrize("shard_rows", [1, 256, 10_000])
def test_wat_of_a_real_crawl(shared_data, tmp_path, read_all, shard_rows):
    """788 images on its 94 pages, as the data's description says."""
    source = read_all(256, warc=str(shared_data / "warc" / "archivesunleashed-aut" / "example.warc.gz"))
    pages = [row for row in source.rows if row["html"] is not None and row["http_status"] == 200]
    made = [wat_record(row["page_url"], row["html"].decode("latin-1"), row["warc_offset"]) for row in pages]
    (tmp_path / "a.wat.gz").write_bytes(packed(made, "members"))
    whole = read_all(shard_rows, wat=str(tmp_path / "a.wat.gz"))
    assert not whole.errors
    assert len(whole.rows) == 788
    assert len(set(whole.column("page_url"))) <= 94
    assert all(url.startswith("http") for url in whole.column("image_url"))
    assert [shard.rows >= shard_rows for shard in whole.shards[:-1]] == [True] * (len(whole.shards) - 1)


# Ranges


class Ranges(BaseHTTPRequestHandler):
    """Serves ranges of what is in `files`; the first `fail` requests end badly."""

    files, fail, seen = {}, 0, []

    def drip(self):
        """A byte, and another one, and no end; or, of `refused`, no answer at all."""
        if self.path.startswith("/refused"):
            self.close_connection = True
            return
        self.send_response(206)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(300):
                self.wfile.write(b"x")
                time.sleep(0.02)

    def do_GET(self):
        type(self).seen.append((self.path, self.headers["Range"]))
        if self.path.startswith(("/drip", "/refused")):
            self.drip()
            return
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        if type(self).fail:
            type(self).fail -= 1
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        self.send_response(200 if self.path.startswith("/whole") else 206)
        self.send_header("Content-Length", str(len(part) + (9 if self.path.startswith("/short") else 0)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def ranges():
    Ranges.files, Ranges.fail, Ranges.seen = {}, 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Ranges, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def cdx(path, rows, **more):
    """A table with the columns of Common Crawl's index that matter."""
    names = ["url", "warc_filename", "warc_record_offset", "warc_record_length"]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    pq.write_table(pa.table(columns | {name: [value] * len(rows) for name, value in more.items()}), path)
    return str(path)


def four():
    """A file of four records, and its rows in a table."""
    parts = [gzip.compress(record(url=f"http://a.example/{i}")) for i in range(4)]
    starts = [sum(map(len, parts[:i])) for i in range(4)]
    rows = [(f"http://a.example/{i}", "x/a.warc.gz", starts[i], len(parts[i])) for i in (3, 1, 0)]
    return b"".join(parts), rows


def test_ranges_by_http(ranges, tmp_path, read_all):
    server, address = ranges
    data, rows = four()
    server.files["/cc/x/a.warc.gz"] = data
    server.fail = 3
    path = cdx(tmp_path / "i.parquet", rows, content_languages="eng")
    whole = read_all(300, cdx=path, base=f"{address}/cc")
    assert whole.column("opt_out") == [None] * 3
    assert [row["page_url"] for row in whole.rows] == [row[0] for row in rows]
    assert whole.column("html") == [PAGE] * 3
    assert whole.column("key") == [f"{row[1]}:{row[2]}" for row in rows]
    assert whole.column("warc_length") == [row[3] for row in rows]
    assert whole.column("content_languages") == ["eng"] * 3
    assert len(server.seen) == 6
    server.seen.clear()
    read_all(300, ["key", "page_url", "content_languages"], cdx=path, base=f"{address}/cc")
    assert server.seen == []  # what the table has is not fetched


def test_ranges_from_s3_and_from_a_folder(s3, tmp_path, read_all):
    data, rows = four()
    s3.put_object(Bucket="corpus", Key="cc/x/a.warc.gz", Body=data)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.warc.gz").write_bytes(data)
    path = cdx(tmp_path / "i.parquet", [*rows, ("http://b/", "x/none.warc.gz", 0, 9)])
    for base in ("s3://corpus/cc", str(tmp_path)):
        whole = read_all(300, cdx=path, base=base)
        assert whole.column("html") == [*[PAGE] * 3, None]
        assert {kind for _, _, kind in whole.errors} == {"missing_file"}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (("x", "none.warc.gz", 0, 9), "missing_file"),
        (("x", "../a.warc.gz", 0, 9), "invalid_row"),
        (("x", "x/../../a.warc.gz", 0, 9), "invalid_row"),
        (("x", "//evil.example/a", 0, 9), "invalid_row"),
        (("x", "http://evil.example/a", 0, 9), "invalid_row"),
        (("x", "/etc/passwd", 0, 9), "invalid_row"),
        (("x", None, None, None), "invalid_row"),
        (("x", "a.warc.gz", -1, 9), "invalid_row"),
        (("x", "a.warc.gz", 0, 1 << 40), "too_large"),
        (("x", "a.warc.gz", 1, 9), "damaged_record"),
        (("x", "a.warc.gz", 0, 20), "truncated"),
        (("x", "whole.warc.gz", 0, 9), "fetch_failed"),
        (("x", "short.warc.gz", 0, 9), "fetch_failed"),
        (("x", "a.warc.gz", 10_000, 9), "truncated"),
    ],
)
def test_ranges_that_fail(ranges, tmp_path, read_all, row, kind):
    server, address = ranges
    data, rows = four()
    server.files |= {f"/{name}.warc.gz": data for name in ("a", "whole", "short")} | {"/x/a.warc.gz": data}
    whole = read_all(300, cdx=cdx(tmp_path / "i.parquet", [rows[0], row, rows[1]]), base=address)
    assert whole.column("html") == [PAGE, None, PAGE]
    assert {(at, found) for at, _, found in whole.errors} == {(1, kind)}


@pytest.fixture
def in_haste(monkeypatch):
    """As at the internet's pace, but sooner."""
    monkeypatch.setattr(_ranges, "TRIES", 3)
    monkeypatch.setattr(_ranges, "DEADLINE_S", 0.3)
    _ranges._http_pool.cache_clear()
    yield
    _ranges._http_pool.cache_clear()


@pytest.mark.usefixtures("in_haste")
@pytest.mark.parametrize(("name", "tries"), [("refused", 3), ("drip", 1)])
def test_a_server_that_gives_nothing_is_asked_so_often_and_no_longer(ranges, tmp_path, read_all, name, tries):
    server, address = ranges
    whole = read_all(300, cdx=cdx(tmp_path / "i.parquet", [("x", f"{name}.warc.gz", 0, 100_000)]), base=address)
    assert {found for _, _, found in whole.errors} == {"fetch_failed"}
    assert len(server.seen) == tries


def test_a_table_that_is_no_cdx(tmp_path):
    pq.write_table(pa.table({"url": ["x"], "warc_filename": ["y"]}), tmp_path / "a.parquet")
    source = open_source(Read(cdx=str(tmp_path / "a.parquet")))
    with pytest.raises(SourceError, match="column 'warc_record_offset' is not there"):
        source.scan(source.files()[0])
