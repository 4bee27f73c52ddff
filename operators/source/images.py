"""The images of a batch behind paths and ranges of files: read when asked for, neighbours together."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..decode import RowError
from .base import Piece, Rows
from .files import MAX_IMAGE_BYTES, is_remote, read_pieces


class NoImages:
    """For rows that have none."""

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        return [None] * len(slots)


@dataclass(frozen=True)
class PieceImages:
    """Images that lie in files, or in parts of files; slot i is pieces[i]."""

    pieces: Sequence[Piece | RowError | None]

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        found = [self.pieces[slot] for slot in slots]
        wanted = [piece for piece in found if isinstance(piece, Piece)]
        read = iter(read_pieces(wanted, MAX_IMAGE_BYTES))
        return [next(read) if isinstance(piece, Piece) else piece for piece in found]


@dataclass(frozen=True)
class PathImages:
    """Images that a table names by path; slot i is paths[i]. Where a path leads is looked up when it is asked for."""

    paths: pa.Array
    root: Root

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        pieces = [self.root.piece(self.paths[slot].as_py()) for slot in slots]
        return PieceImages(pieces).load(range(len(pieces)))


@dataclass(frozen=True, kw_only=True)
class Root:
    """Where the paths in a table lead: relative ones start at the folder, and none may leave it, links included."""

    folder: str

    def piece(self, path: str | None) -> Piece | RowError | None:
        """The file that a path names; RowError when it lies outside or is no plain file."""
        if not path:
            return None
        if path.startswith(("http://", "https://")):
            return RowError("missing_file", f"{path[:200]}: an address, not a path; name it in read.image_url")
        try:
            return self._remote(path) if is_remote(self.folder) else self._local(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            return RowError("unreadable_file", f"{path[:200]!r}: {error}")

    def _remote(self, path: str) -> Piece | RowError:
        bucket, _, prefix = self.folder.removeprefix("s3://").strip("/").partition("/")
        whole = path.removeprefix("s3://") if is_remote(path) else posixpath.join(bucket, prefix, path)
        key = posixpath.normpath(whole)
        if not f"{key}/".startswith(posixpath.join(bucket, prefix, "")):
            return RowError("outside_root", f"{path!r} leads out of {self.folder!r}")
        return Piece(file=f"s3://{key}")

    def _local(self, path: str) -> Piece | RowError:
        root = os.path.realpath(self.folder)
        file = os.path.realpath(Path(root, path))
        if not Path(file).is_relative_to(root):
            return RowError("outside_root", f"{path!r} leads out of {self.folder!r}")
        if not Path(file).exists():
            return RowError("missing_file", f"{path!r} in {self.folder!r}")
        if not Path(file).is_file():
            return RowError("unreadable_file", f"{path!r} in {self.folder!r} is no plain file")
        return Piece(file=file)


def without_images(
    first: int,
    values: Sequence[Mapping[str, object]],
    schema: pa.Schema,
    columns: Sequence[str],
    errors: dict[str, dict[int, RowError]],
) -> Rows:
    """Rows made of their values by column; those that are not there are null."""
    asked = [name for name in columns if name != "image"]
    arrays = [pa.array([value.get(name) for value in values], schema.field(name).type) for name in asked]
    slots = np.full(len(values), -1)
    return Rows(first=first, table=pa.table(arrays, names=asked), images=NoImages(), slots=slots, errors=errors)
