"""Commits to S3 over real HTTP: what is sent, what is left when a request fails half-way; whole runs from S3 to S3."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture

from cupel import Recipe, run
from cupel.pipeline.export import export_cut
from cupel.pipeline.store import open_store
from cupel.pipeline.verify import verify_corpus

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from s3_rig import Faults


@pytest.fixture
def store(s3):
    return open_store("s3://corpus/some/place/")


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def objects(s3: S3Client) -> dict[str, bytes]:
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="corpus").get("Contents", [])]
    return {key: s3.get_object(Bucket="corpus", Key=key)["Body"].read() for key in keys}


def test_the_first_writer_wins_and_replace_replaces(s3, store):
    store.write("a.json", b"first")
    store.write("a.json", b"second")
    assert objects(s3) == {"some/place/a.json": b"first"}
    store.write("a.json", b"third", replace=True)
    assert store.read("a.json") == b"third"


def test_condition_and_checksum_are_really_sent(store, s3_server: Faults):
    store.write("a", b"content")
    store.write("a", b"content", replace=True)
    digest = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert [put["x-amz-checksum-sha256"] for put in s3_server.puts] == [digest, digest]
    assert [put.get("if-none-match") for put in s3_server.puts] == ["*", None]


def test_an_exception_leaves_no_object_and_no_file(s3, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), store.writing("a") as file:
        file.write_bytes(b"half")
        raise ZeroDivisionError
    assert (objects(s3), list(tmp_path.iterdir())) == ({}, [])


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("fault", ["slow_down", "conflict"])
def test_refusals_that_pass_are_survived(s3, store, s3_server: Faults, no_waiting, fault, replace):
    setattr(s3_server, fault, 6)
    store.write("a", b"content", replace=replace)
    assert store.read("a") == b"content"
    assert len(s3_server.puts) == 7


def test_a_server_that_never_recovers_is_told(s3, store, s3_server: Faults, no_waiting):
    s3_server.slow_down = 100
    with pytest.raises(OSError, match=r"s3://corpus/some/place/a: .*SlowDown"):
        store.write("a", b"content")
    assert objects(s3) == {}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("lost", [1, 10])
def test_a_lost_answer_does_not_matter(s3, store, s3_server: Faults, no_waiting, lost, replace):
    """One lost answer: the second attempt meets the first one's object. All lost: HEAD decides."""
    s3_server.lose_answer = lost
    store.write("a", b"content", replace=replace)
    assert store.read("a") == b"content"
    assert len(s3_server.puts) == min(lost + 1, 10)


def test_a_lost_answer_to_a_failed_request_is_an_error(s3, store, s3_server: Faults, no_waiting, monkeypatch):
    store.write("a", b"old")
    s3_server.lose_answer = 10
    monkeypatch.setattr(s3_server, "app", lambda environ, start_response: [])  # it does nothing
    with pytest.raises(OSError, match="s3://corpus/some/place/a"):
        store.write("a", b"new", replace=True)


def test_listing_and_deleting_stay_below_the_place(s3, store):
    s3.put_object(Bucket="corpus", Key="some/place-2/x", Body=b"")  # a neighbour with a like name
    s3.put_object(Bucket="corpus", Key="some/place/f/", Body=b"")  # a folder, as consoles make them
    names = [f"f/{i}" for i in range(5)]
    for name in names:
        store.write(name, b"")
    assert store.files("f") == store.files("") == names
    store.delete("f")
    store.delete("absent")
    store.delete_file("absent")
    assert store.files("") == store.files("absent") == []
    assert "some/place-2/x" in objects(s3)


def test_what_is_not_there(store):
    assert not store.exists("a")
    for read in (store.read, store.open, store.table):
        with pytest.raises(FileNotFoundError):
            read("a")


def test_a_bucket_that_is_not_there(s3):
    with pytest.raises(OSError, match=r"s3://no-such-bucket/c/a: .*NoSuchBucket"):
        open_store("s3://no-such-bucket/c").write("a", b"")


def test_tables_keep_their_checksums(store):
    table = pa.table({"x": range(10)})
    written = store.write_table("t.parquet", table)
    assert store.table("t.parquet") == table
    data = store.read("t.parquet")
    assert (written.rows, written.bytes, written.sha256) == (10, len(data), hashlib.sha256(data).hexdigest())


# A whole run


def put_input(s3: S3Client) -> tuple[bytes, bytes]:
    """in/a.parquet with 40 images in its rows, in/b.tar with 20 more."""
    rows = [{"key": f"a{i}", "text": f"picture number {i}", "image": encoded(picture(i))} for i in range(40)]
    table, tar = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    with tarfile.open(fileobj=tar, mode="w") as out:
        for i in range(20):
            for suffix, data in (("jpg", encoded(picture(i + 30))), ("txt", f"tarred {i}".encode())):
                member = tarfile.TarInfo(f"b{i:03d}.{suffix}")
                member.size = len(data)
                out.addfile(member, io.BytesIO(data))
    for name, data in (("parquet/a.parquet", table), ("tar/b.tar", tar)):
        s3.put_object(Bucket="corpus", Key=f"in/{name}", Body=data.getvalue())
    return table.getvalue(), tar.getvalue()


RECIPE = Recipe(
    name="r",
    steps=[
        *("image.size", {"keep": {"min_side_px": {"min": 10}}}, "image.phash"),
        *({"dedup.near_images": {"max_distance": 0}}, {"keep": {"near_image_of": None}}),
        *("text.length", {"pair.augment": {"copies": 1}}, {"keep": {"characters": {"top": 0.9}}}),
    ],
    write={"shard_rows": 15},
)


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_a_run_from_s3_to_s3_gives_the_bytes_of_a_local_one(s3, s3_server: Faults, ray_session, tmp_path, kind):
    """Also when some requests fail."""
    data = put_input(s3)[kind == "tar"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"{'a' if kind == 'parquet' else 'b'}.{kind}").write_bytes(data)
    local = run(RECIPE, tmp_path / "in", out=tmp_path / "c")
    s3_server.slow_down, s3_server.lose_answer = 1, 2
    remote = run(RECIPE, f"s3://corpus/in/{kind}/", out="s3://corpus/c")
    assert s3_server.slow_down == s3_server.lose_answer == 0
    cut = open_store(remote.cut)
    expected = {f"curated/{path.name}": path.read_bytes() for path in Path(local.cut, "curated").iterdir()}
    assert {path: cut.read(path) for path in cut.files("curated")} == expected
    assert len(expected) == -(-remote.kept // 15) > 1
    found = verify_corpus("s3://corpus/c")
    assert (found.faults, found.notes, found.cuts) == ([], [], 1)
    again = run(RECIPE, f"s3://corpus/in/{kind}/", out="s3://corpus/c")
    assert set(again.measured_rows.values()) == {0}
    assert again.manifest == remote.manifest
    export_cut("s3://corpus/c", "webdataset", str(tmp_path / "remote"))
    export_cut(local.cut, "webdataset", str(tmp_path / "local"))
    tars = [{path.name: path.read_bytes() for path in (tmp_path / place).iterdir()} for place in ("remote", "local")]
    assert tars[0] == tars[1] != {}
