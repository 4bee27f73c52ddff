"""Commit files so that a reader sees a whole file or none.

On a disk: a temporary file in the same folder, synced, then a hard link, which fails where the name exists; on S3: see
s3.py. A file is written once: who comes second finds that the work is done.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEMPORARY = ".cupel-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(OSError):
    """No room to write: the disk, a quota or a limit on file sizes. `errno` is ENOSPC in each case."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One line of a cut's file list."""

    path: str
    rows: int
    bytes: int
    sha256: str


class Store(ABC):
    """A folder of write-once files, addressed by relative paths with `/`."""

    uri: str
    scratch: Path  # a local folder where a file may grow before it is published,
    temporary: str = TEMPORARY  # under a name that begins so

    @abstractmethod
    def publish(self, file: Path, path: str, *, replace: bool = False, durable: bool = True) -> None:
        """Move a finished local file to its name; with an existing one: keep that, or replace it at once.

        What is not `durable` may be lost or cut short when the machine (not a process) dies: for what is made again.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError if there is none."""

    @abstractmethod
    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; none where there is no such folder."""

    @abstractmethod
    def folders(self, folder: str) -> list[str]:
        """Paths of the folders right below one, sorted; none where there is no such folder."""

    @abstractmethod
    def delete(self, folder: str) -> None:
        """Remove all files below a folder; nothing happens where there is none."""

    @abstractmethod
    def delete_file(self, path: str) -> None:
        """Remove one file; nothing happens where there is none."""

    @abstractmethod
    def open(self, path: str) -> pa.NativeFile:
        """Open for random access; FileNotFoundError if there is none."""

    def sweep(self, before: float) -> None:
        """Remove temporary files older than this time (seconds since the epoch): killed runs left them."""
        for file in self.scratch.glob(f"{self.temporary}*"):
            with suppress(FileNotFoundError, PermissionError):  # another run was faster, or it is another user's
                if file.stat().st_mtime < before:
                    file.unlink()

    @contextmanager
    def writing(self, path: str, *, replace: bool = False, durable: bool = True) -> Iterator[Path]:
        """A local path to write to; published when the block ends well, removed when it does not.

        Raises DiskFullError where there is no room.
        """
        with self.growing() as file:
            yield file
            self.publish(file, path, replace=replace, durable=durable)

    @contextmanager
    def growing(self) -> Iterator[Path]:
        """A local path to write to, removed when the block ends. Raises DiskFullError where there is no room."""
        file = self.scratch / f"{self.temporary}{uuid.uuid4().hex}"
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            yield file
        except OSError as error:
            if error.errno not in _FULL:
                raise
            why = f"{self.scratch}: the disk is full ({os.strerror(error.errno)})"
            raise DiskFullError(errno.ENOSPC, why) from error
        finally:
            file.unlink(missing_ok=True)

    def write(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Publish bytes."""
        with self.writing(path, replace=replace) as file:
            file.write_bytes(data)

    def write_table(
        self,
        path: str,
        table: pa.Table,
        *,
        replace: bool = False,
        durable: bool = True,
        row_group_size: int | None = None,
    ) -> Written:
        """Publish a table as Parquet with page checksums."""
        with self.writing(path, replace=replace, durable=durable) as file:
            options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
            pq.write_table(table, file, row_group_size=row_group_size, **options)
            return Written(path=path, rows=table.num_rows, bytes=file.stat().st_size, sha256=sha256(file))

    def table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """Read a Parquet file, page checksums verified; FileNotFoundError if there is none."""
        with self.open(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            return parquet.read(columns=columns, use_threads=False)

    def exists(self, path: str) -> bool:
        """Is there a file of this name?"""
        try:
            self.open(path).close()
        except FileNotFoundError:
            return False
        return True


def open_store(uri: str | os.PathLike[str]) -> Store:
    """`s3://bucket/prefix` or a local folder (made when first written to)."""
    text = os.fspath(uri)
    if not text.startswith("s3://"):
        return LocalStore(Path(text).absolute())
    from .s3 import S3Store

    return S3Store(text)


class LocalStore(Store):
    """A folder on a disk that all workers see."""

    def __init__(self, root: Path) -> None:
        self.root = self.scratch = root
        self.uri = str(root)

    def publish(self, file: Path, path: str, *, replace: bool = False, durable: bool = True) -> None:
        final = self.root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        if durable:
            _sync(file)
        if replace:
            file.replace(final)
            return
        try:
            os.link(file, final)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not final.exists():
                file.replace(final)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def files(self, folder: str) -> list[str]:
        files = (Path(base) / name for base, _, names in os.walk(self.root / folder) for name in names)
        return sorted(file.relative_to(self.root).as_posix() for file in files)

    def folders(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(f"{folder}/{entry.name}" for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, folder: str) -> None:
        if (self.root / folder).exists():
            shutil.rmtree(self.root / folder)

    def delete_file(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def open(self, path: str) -> pa.NativeFile:
        return pa.OSFile(str(self.root / path))

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
