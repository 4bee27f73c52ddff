"""Lists of addresses, and single ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupel.operators.source import detect, open_source
from cupel.operators.source.base import ShardError
from cupel.operators.source.shape import hash_key
from cupel.operators.source.urls import MAX_LINE_BYTES, Urls
from cupel.schemas.recipe import Read

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LINES = st.sampled_from(["http://a.example/é", " https://b.example/x ", "", "# a remark", "#", "not an address"])


@SLOW
@given(st.lists(LINES, max_size=20), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(1, 900))
def test_any_cut_gives_the_same_rows(tmp_path, read_all, lines, end, last, shard_rows):
    lines *= 50
    (tmp_path / "a.txt").write_bytes((end.join(lines) + end * last).encode())
    whole = read_all(shard_rows, urls=str(tmp_path / "a.txt"))
    expected = [line.strip() for line in lines if line and line[0] != "#"]
    assert whole.column("page_url") == expected
    assert whole.column("key") == [hash_key(url, None) for url in expected]
    assert not whole.errors


@pytest.mark.parametrize(("of", "column"), [(None, "page_url"), ("pages", "page_url"), ("images", "image_url")])
def test_what_they_lead_to(tmp_path, read_all, of, column):
    (tmp_path / "a.txt").write_text("http://a.example/\n")
    for place in (str(tmp_path / "a.txt"), "http://a.example/"):
        whole = read_all(300, urls=place, urls_of=of)
        assert whole.schema.names == ["key", column]
        assert whole.column(column) == ["http://a.example/"]


def test_lines_that_are_none(tmp_path, read_all):
    long = b"http://a.example/" + b"x" * MAX_LINE_BYTES
    lines = [b"\xef\xbb\xbfhttp://a.example/", long, b"http://\xff", long * 200, b"http://b.example/"]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    whole = read_all(300, urls=str(tmp_path / "a.txt"))
    assert whole.column("page_url") == ["http://a.example/", None, None, None, "http://b.example/"]
    assert whole.errors == [
        (1, "page_url", "invalid_row"),
        (2, "page_url", "invalid_utf8"),
        (3, "page_url", "invalid_row"),
    ]


def test_utf16_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("http://a.example/\n", encoding="utf-16")
    with pytest.raises(ShardError, match="UTF-16"):
        open_source(Read(urls=str(tmp_path / "a.txt"))).scan(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("text", "kind"), [("# mine\n\nhttp://a.example/\n", "urls"), ("url,text\nhttp://a.example/,x\n", "table")]
)
def test_told_by_the_first_line(tmp_path, text, kind):
    (tmp_path / "a.txt").write_text(text)
    assert detect(str(tmp_path / "a.txt")) == kind


@pytest.mark.parametrize("url", ["http://a.example/x", "HTTPS://A.example"])
def test_a_single_one(read_all, url):
    assert isinstance(open_source(Read(input=url)), Urls)
    whole = read_all(300, input=url)
    assert whole.rows == [{"key": hash_key(url, None), "page_url": url, "image": None}]


def test_on_s3(s3, read_all):
    s3.put_object(Bucket="corpus", Key="a.txt", Body=b"http://a.example/\n" * 3)
    assert read_all(300, input="s3://corpus/a.txt").column("page_url") == ["http://a.example/"] * 3
