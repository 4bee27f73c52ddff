"""Commits to a disk: a whole file or none, the first writer wins, and a full disk is told and gone on from."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_folder

from cupel import Recipe, run
from cupel.pipeline.read import RunError
from cupel.pipeline.store import TEMPORARY, DiskFullError, open_store
from cupel.pipeline.verify import verify_corpus


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "c")


def test_the_first_writer_wins_and_replace_replaces(store):
    store.write("f/a.json", b"first")
    store.write("f/a.json", b"second")
    assert store.read("f/a.json") == b"first"
    store.write("f/a.json", b"third", replace=True)
    assert store.read("f/a.json") == b"third"
    assert store.files("") == ["f/a.json"]


def test_of_many_writers_at_once_one_wins_whole(store):
    contents = [bytes([i]) * 100_000 for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda data: store.write("a", data), contents))
    assert store.read("a") in contents
    assert store.files("") == ["a"]


def test_without_hard_links_the_first_writer_still_wins(store, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr("os.link", refuse)
    store.write("a", b"first")
    store.write("a", b"second")
    assert (store.read("a"), store.files("")) == (b"first", ["a"])


def test_an_exception_leaves_no_file(store):
    with pytest.raises(ZeroDivisionError), store.writing("a") as file:
        file.write_bytes(b"half")
        raise ZeroDivisionError
    assert store.files("") == []


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_death_before_the_commit_leaves_no_visible_file(store, call):
    """The process ends where it would sync or link the file; the sweep of a later run removes what it left."""
    code = f"""
import os, sys
from cupel.pipeline.store import open_store
os.{call} = lambda *_: os._exit(9)
open_store(sys.argv[1]).write("f/a", b"content")
"""
    assert subprocess.run([sys.executable, "-c", code, store.uri], check=False).returncode == 9
    (left,) = store.files("")
    assert left.startswith(TEMPORARY)
    store.sweep(before=time.time() - 60)
    assert store.files("") == [left], "it may be another run's, at work now"
    store.sweep(before=time.time() + 60)
    assert store.files("") == []


def test_the_sweep_leaves_other_files_alone(store):
    store.write("a", b"")
    store.write("f/b", b"")
    store.sweep(before=time.time() + 60)
    assert store.files("") == ["a", "f/b"]


def test_what_is_not_there(store):
    assert not store.exists("a")
    assert store.files("") == store.files("f") == []
    store.delete("f")
    store.delete_file("a")
    for read in (store.read, store.open, store.table):
        with pytest.raises(FileNotFoundError):
            read("a")


def test_tables_keep_their_checksums(store):
    table = pa.table({"x": range(1000)})
    written = store.write_table("t.parquet", table, row_group_size=300)
    assert store.table("t.parquet", ["x"]) == table
    data = store.read("t.parquet")
    assert (written.rows, written.bytes, written.sha256) == (1000, len(data), hashlib.sha256(data).hexdigest())
    assert pq.read_metadata(pa.BufferReader(data)).num_row_groups == 4
    Path(store.uri, "t.parquet").write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with pytest.raises(OSError, match="CRC"):
        store.table("t.parquet")


# No room


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_has_one_name(store, code):
    with pytest.raises(DiskFullError, match="the disk is full") as told, store.writing("a"):
        raise OSError(code, os.strerror(code))
    error = pickle.loads(pickle.dumps(told.value))
    assert (type(error), error.errno, str(error)) == (DiskFullError, errno.ENOSPC, str(told.value))


def test_other_errors_keep_theirs(store):
    with pytest.raises(PermissionError), store.writing("a"):
        raise PermissionError(errno.EACCES, "no")


def test_parquet_tells_a_limit_on_file_sizes(store):
    """Arrow's own writer: its error carries the system's number too."""
    table = pa.table({"x": [os.urandom(1000) for _ in range(1000)]})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DiskFullError):
            store.write_table("t.parquet", table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.files("") == []


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("room_kb", [0, 20, 44, 1300])
def test_a_run_stops_on_a_full_disk_and_goes_on_when_there_is_room(small_disk, tmp_path, ray_session, room_kb):
    """The disk is full at once, while scores are written, and while images are; then room is made."""
    photos = write_folder(tmp_path / "photos", 400)
    made = Recipe(name="r", steps=["image.size", "image.phash", "text.length"], write={"shard_rows": 100})
    clean = run(made, photos, out=tmp_path / "clean")
    filler = small_disk / "filler"
    filler.write_bytes(bytes((2048 - room_kb) << 10))
    with pytest.raises(RunError, match=f"^{small_disk}.*: the disk is full"):
        run(made, photos, out=small_disk / "c")
    for path, data in tree(small_disk).items():
        if path.endswith(".parquet"):  # whatever has its name is whole
            pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    result = run(made, photos, out=small_disk / "c")
    assert verify_corpus(result.corpus).faults == []
    assert tree(Path(result.cut, "curated")) == tree(Path(clean.cut, "curated"))
    assert result.kept == clean.kept
