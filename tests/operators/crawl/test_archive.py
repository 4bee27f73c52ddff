"""Web archives in place of the web."""

from __future__ import annotations

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from warcio.archiveiterator import ArchiveIterator

from cupel.operators.crawl._archive import Archive, canonical
from cupel.operators.decode import RowError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def record(url, body=PNG, status="200 OK", date="2024-05-18T01:58:10Z", type="response", headers=None, **fields):
    """One WARC record, in a gzip member of its own."""
    sent = "".join(f"{name}: {value}\r\n" for name, value in (headers or {"Content-Type": "image/png"}).items())
    content = f"HTTP/1.1 {status}\r\n{sent}\r\n".encode() + body if type != "resource" else body
    head = {
        "WARC-Type": type,
        "WARC-Target-URI": url,
        "WARC-Date": date,
        "WARC-Payload-Digest": "sha1:" + hashlib.sha1(body).hexdigest(),
        "Content-Type": "image/png",
        "Content-Length": len(content),
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return gzip.compress(f"WARC/1.0\r\n{lines}\r\n".encode() + content + b"\r\n\r\n")


def archive(path, *records):
    path.write_bytes(b"".join(records))
    return str(path)


class Images(HTMLParser):
    """(src of each image, href of the base)"""

    def __init__(self):
        super().__init__()
        self.found, self.base = [], ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img" and attributes.get("src"):
            self.found.append(attributes["src"])
        if tag == "base":
            self.base = attributes.get("href") or ""


def test_a_crawl_finds_its_own_images(shared_data):
    """788 images on 94 pages, 754 of them in the file, as its description says; each as warcio reads it."""
    file = shared_data / "warc" / "archivesunleashed-aut" / "example.warc.gz"
    pages, bodies = [], {}
    with file.open("rb") as handle:
        for one in ArchiveIterator(handle):
            if one.rec_type != "response" or not one.http_headers:
                continue
            url, body = one.rec_headers.get_header("WARC-Target-URI"), one.content_stream().read()
            if one.http_headers.get_statuscode() != "200":
                continue
            bodies.setdefault(url, set()).add(body)
            if (one.http_headers.get_header("Content-Type") or "").startswith("text/html"):
                pages.append((url, body.decode("latin-1")))
    found = Archive([str(file)])
    seen = there = 0
    for page, html in pages:
        images = Images()
        images.feed(html)
        for source in images.found:
            url = urljoin(urljoin(page, images.base), source)
            answer = found.find(url, str(file))
            seen, there = seen + 1, there + (answer is not None and answer.status == 200)
            if url in bodies:
                assert answer is not None
                assert answer.body in bodies[url]
    assert (len(pages), seen, there) == (94, 788, 754)


def test_revisits_give_what_they_stand_for(shared_data):
    for name in (
        "archivesunleashed-aut/issue-493.warc",
        "webrecorder-pywb/iana.warc.gz",
        "webrecorder-pywb/dupes.warc.gz",
    ):
        file = shared_data / "warc" / name
        bodies, revisits = {}, []
        with file.open("rb") as handle:
            for one in ArchiveIterator(handle):
                digest, url = (
                    one.rec_headers.get_header(f"WARC-{field}") for field in ("Payload-Digest", "Target-URI")
                )
                if one.rec_type == "response":
                    bodies[digest] = one.content_stream().read()
                elif one.rec_type == "revisit":
                    revisits.append((url, digest))
        assert revisits
        found = Archive([str(file)])
        for url, digest in revisits:
            answer = found.find(url)
            assert (answer is None) == (digest not in bodies)
            assert answer is None or answer.body == bodies[digest]


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("http://a.example/x#part", "http://a.example/x"),
        ("https://a.example/x", "http://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("https://A.Example:443/x", "http://a.example./x"),
        ("http://a.example", "http://a.example/"),
        ("http://a.example/a%7eb%2fc%20d", "http://a.example/a~b%2Fc d"),
        ("http://a.example/é", "http://a.example/%C3%A9"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://a.example/x?b=%5b1%5D", "http://a.example/x?b=%5B1%5d"),
        (" http://a.example/x\n", "http://a.example/x"),
    ],
)
def test_the_same_address(asked, stored, tmp_path):
    assert canonical(asked) == canonical(stored)
    assert Archive([archive(tmp_path / "a.warc.gz", record(stored))]).find(asked).body == PNG


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example/x", "http://a.example/X"),
        ("http://a.example/x", "http://a.example/x/"),
        ("http://a.example/x", "http://a.example:8080/x"),
        ("http://a.example/x?a", "http://a.example/x"),
        ("http://a.example/a%2Fb", "http://a.example/a/b"),
        ("http://a.example/%25d", "http://a.example/%d"),
        ("http://[::1", "http://[::2"),
    ],
)
def test_another_address(one, other):
    assert canonical(one) != canonical(other)


def test_which_of_several(tmp_path):
    url = "http://a.example/x"
    first = archive(
        tmp_path / "1.warc.gz",
        record(url, b"old", date="2020-01-01T00:00:00Z"),
        record(url, b"new", date="2021-01-01T00:00:00Z"),
        record(url, b"gone", "404 Not Found", date="2023-01-01T00:00:00Z"),
    )
    second = archive(tmp_path / "2.warc.gz", record(url, b"newest", date="2022-01-01T00:00:00Z"))
    found = Archive([first, second])
    assert found.find(url).body == b"newest"
    assert found.find(url, first).body == b"new"
    assert Archive().find(url, first).body == b"new"
    assert Archive().find(url) is None
    assert found.find("http://a.example/y", first) is None


def test_what_else_is_answered(tmp_path):
    moved = {"Location": "/y", "Content-Type": "text/html"}
    file = archive(
        tmp_path / "a.warc.gz",
        record("http://a.example/x", b"", "301 Moved", headers=moved),
        record("http://a.example/z", PNG, type="resource"),
        record("http://a.example/gz", gzip.compress(PNG), headers={"Content-Encoding": "gzip"}),
    )
    found = Archive([file])
    assert found.find("http://a.example/x").status == 301
    assert found.find("http://a.example/x").headers["location"] == "/y"
    assert (found.find("http://a.example/z").status, found.find("http://a.example/z").body) == (200, PNG)
    assert found.find("http://a.example/gz").body == PNG


def test_what_cannot_be_had(tmp_path):
    broken, whole = record("http://a.example/x"), record("http://a.example/y", bytes(5000))
    spoilt = bytearray(broken)
    spoilt[-8:-4] = b"abcd"  # the checksum of the gzip member
    file = archive(tmp_path / "a.warc.gz", bytes(spoilt), whole)
    with pytest.raises(RowError, match="damaged_record"):
        Archive([file]).find("http://a.example/x")
    with pytest.raises(RowError, match="too_large"):
        Archive([file], max_bytes=1000).find("http://a.example/y")
    with pytest.raises(RowError, match="missing_file"):
        Archive().find("http://a.example/y", str(tmp_path / "none.warc.gz"))
    # Names of archives come with rows: one that lies elsewhere is passed over, and nothing but archives is opened.
    assert Archive([file]).find("http://a.example/y", "CC-MAIN-1.warc.gz").body == bytes(5000)
    assert Archive([file]).find("http://a.example/y", "/etc/passwd").body == bytes(5000)


def test_a_file_that_changes_is_read_again(tmp_path):
    file = archive(tmp_path / "a.warc.gz", record("http://a.example/x"))
    found = Archive([file])
    assert found.find("http://a.example/y") is None
    archive(tmp_path / "a.warc.gz", record("http://a.example/x"), record("http://a.example/y"))
    assert found.find("http://a.example/y").body == PNG


def test_threads_share_it(tmp_path):
    file = archive(tmp_path / "a.warc.gz", *(record(f"http://a.example/{i}", b"%d" % i) for i in range(500)))
    found = Archive([file])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: found.find(f"http://a.example/{i}").body, range(500)))
    assert answers == [b"%d" % i for i in range(500)]


def test_on_s3(s3):
    s3.put_object(Bucket="corpus", Key="a.warc.gz", Body=record("http://a.example/x"))
    assert Archive(["s3://corpus/a.warc.gz"]).find("http://a.example/x").body == PNG
    assert Archive().find("http://a.example/x", "s3://corpus/a.warc.gz").body == PNG
    with pytest.raises(RowError, match="missing_file"):
        Archive(["s3://corpus/b.warc.gz"]).find("http://a.example/x")
