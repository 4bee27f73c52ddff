"""Listing and reading ranges; images behind paths."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupel.operators.decode import RowError
from cupel.operators.source import files
from cupel.operators.source.base import Piece, SourceError
from cupel.operators.source.files import digest, find, read_pieces
from cupel.operators.source.images import Root

NAMES = ["a.tar", "b.tar", "d/c.tar", "d/e/f.tar", "d/e/g.txt", ".h.tar", ".i/j.tar", "d/[x].tar"]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ["a.tar", "b.tar", "d/[x].tar", "d/c.tar", "d/e/f.tar", "d/e/g.txt"]),
        ("/", ["a.tar", "b.tar", "d/[x].tar", "d/c.tar", "d/e/f.tar", "d/e/g.txt"]),
        ("/*.tar", ["a.tar", "b.tar"]),
        ("/[ab].tar", ["a.tar", "b.tar"]),
        ("/?.tar", ["a.tar", "b.tar"]),
        ("/d/*", ["d/[x].tar", "d/c.tar"]),
        ("/*/c.tar", ["d/c.tar"]),
        ("/**/*.tar", ["a.tar", "b.tar", "d/[x].tar", "d/c.tar", "d/e/f.tar"]),
        ("/d/**/f.tar", ["d/e/f.tar"]),
        ("/b.tar", ["b.tar"]),
    ],
)
def test_find(tmp_path, s3, place, expected):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        s3.put_object(Bucket="corpus", Key=f"x/{name}", Body=name.encode())
    for root in (str(tmp_path), "s3://corpus/x"):
        found = find(f"{root}{place}")
        assert [entry.path for entry in found] == [f"{root}/{name}" for name in expected]
        assert [entry.size for entry in found] == [len(name) for name in expected]
    assert [entry.path for entry in find(f"{tmp_path}/d/[x].tar")] == [f"{tmp_path}/d/[x].tar"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{root}/photo", "no such file or folder: '{root}/photo'; '{root}' holds photos, x.txt"),
        ("{root}/no/way", "'{root}/no' is not there either"),
        ("{root}/photos", "no files in '{root}/photos'"),
        ("{root}/*.tar", "nothing matches '{root}/\\*.tar'"),
        ("s3://corpus/none", "no such file or folder: 's3://corpus/none'"),
        ("s3://corpus/none*", "nothing matches"),
        ("s3://not-there/x/*", "NO_SUCH_BUCKET"),
        ("s3://", "does not name a bucket"),
    ],
)
def test_find_nothing(tmp_path, s3, place, words):
    (tmp_path / "photos").mkdir()
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(SourceError, match=words.replace("{root}", str(tmp_path))):
        find(place.replace("{root}", str(tmp_path)))


@pytest.mark.parametrize("size", [0, 1, 65_536, 100_000, 300_000])
def test_digest(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    expected = hashlib.blake2b(size.to_bytes(8, "little") + data[:65_536] + data[-65_536:], digest_size=16).hexdigest()
    assert digest(str(tmp_path / "f")) == (size, expected)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500)), max_size=20),
    st.integers(0, 1000),
    st.integers(1, 2000),
)
def test_pieces_in_any_order(tmp_path, monkeypatch, ranges, gap, request_bytes):
    data = bytes(i * i % 251 for i in range(6000))
    (tmp_path / "f").write_bytes(data)
    monkeypatch.setattr(files, "LOCAL_GAP_BYTES", gap)
    monkeypatch.setattr(files, "REQUEST_BYTES", request_bytes)
    pieces = [Piece(file=str(tmp_path / "f"), offset=offset, size=size) for offset, size in ranges]
    found = read_pieces(pieces, 400)
    for (offset, size), result in zip(ranges, found, strict=True):
        if size > 400:
            assert isinstance(result, RowError)
            assert result.kind == "too_large"
        else:
            assert result == data[offset : offset + size]


def test_neighbours_on_s3_come_with_one_request(s3, monkeypatch):
    s3.put_object(Bucket="corpus", Key="f", Body=bytes(6 << 20))
    asked = []
    monkeypatch.setattr(files, "_read_range", lambda file, begin, end: asked.append((begin, end)) or bytes(end - begin))
    offsets = [0, 100, 900_000, 3 << 20, (3 << 20) + 50]
    read_pieces([Piece(file="s3://corpus/f", offset=offset, size=40) for offset in offsets], 1000)
    assert sorted(asked) == [(0, 900_040), (3 << 20, (3 << 20) + 90)]


def test_pieces_that_cannot_be_read(tmp_path, s3):
    (tmp_path / "f").write_bytes(b"abc")
    places = [
        ({"file": f"{tmp_path}/none"}, "missing_file"), ({"file": f"{tmp_path}"}, "unreadable_file"),
        ({"file": f"{tmp_path}/f", "offset": 2, "size": 5}, "unreadable_file"),
        ({"file": f"{tmp_path}/f", "size": 2, "whole": True}, "unreadable_file"),
        ({"file": "s3://corpus/none"}, "missing_file"),
    ]  # fmt: skip
    found = read_pieces([Piece(**place) for place, _ in places], 1000)
    assert [error.kind for error in found if isinstance(error, RowError)] == [kind for _, kind in places]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jpg", "data/a.jpg"),
        ("./d/../a.jpg", "data/a.jpg"),
        ("{root}/data/a.jpg", "data/a.jpg"),
        ("inner.jpg", "data/a.jpg"),
        ("", None),
        (None, None),
        ("../secret.jpg", "outside_root"),
        ("d/../../secret.jpg", "outside_root"),
        ("{root}/secret.jpg", "outside_root"),
        ("/etc/passwd", "outside_root"),
        ("outer.jpg", "outside_root"),
        ("up/secret.jpg", "outside_root"),
        ("../data-2/x.jpg", "outside_root"),
        ("none.jpg", "missing_file"),
        ("https://x/y.jpg", "missing_file"),
        ("d", "unreadable_file"),
        ("pipe", "unreadable_file"),
        ("a\0b", "unreadable_file"),
        ("x" * 5000, "unreadable_file"),
    ],
)
def test_where_paths_in_tables_lead(tmp_path, path, expected):
    (tmp_path / "data/d").mkdir(parents=True)
    for name in ("secret.jpg", "data/a.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "data/inner.jpg").symlink_to("a.jpg")
    (tmp_path / "data/outer.jpg").symlink_to("../secret.jpg")
    (tmp_path / "data/up").symlink_to("..")
    os.mkfifo(tmp_path / "data/pipe")
    found = Root(folder=f"{tmp_path}/data").piece(path and path.replace("{root}", str(tmp_path)))
    if isinstance(found, Piece):
        assert found == Piece(file=f"{tmp_path}/{expected}")
    else:
        assert (found and found.kind) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jpg", "s3://b/t/a.jpg"),
        ("s3://b/t/d/../a.jpg", "s3://b/t/a.jpg"),
        ("../u/a.jpg", "outside_root"),
        ("../../c/a.jpg", "outside_root"),
        ("/t/a.jpg", "outside_root"),
        ("s3://b/t-2/a.jpg", "outside_root"),
        ("s3://c/t/a.jpg", "outside_root"),
    ],
)
def test_where_paths_on_s3_lead(path, expected):
    found = Root(folder="s3://b/t").piece(path)
    assert (found.file if isinstance(found, Piece) else found.kind) == expected
