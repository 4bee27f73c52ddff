"""Lists of digests in text files, read in pieces, looked up as sorted bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

ALGORITHMS: Final = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hex digits -> hashlib's name
PIECE_BYTES: Final = 16 << 20
LINE_BYTES: Final = 1 << 20  # a longer line is no list of digests
_CHECKED: Final[set[tuple[Path, int, int]]] = set()
_DIGEST: Final = "^(?:" + "|".join(f"[0-9a-fA-F]{{{digits}}}" for digits in ALGORITHMS) + ")$"


def read_digests(path: Path) -> dict[str, np.ndarray]:
    """Algorithm -> digests as sorted bytes (a digest's size each). ValueError names the line that is malformed."""
    found: dict[int, bytearray] = {}
    for digits, some in _pieces(path):
        found.setdefault(digits, bytearray()).extend(some)
    lists = {ALGORITHMS[digits]: np.frombuffer(some, f"S{digits // 2}") for digits, some in found.items()}
    for digests in lists.values():
        digests.sort()
    return lists


def check_digests(path: Path) -> None:
    """ValueError or OSError where the list cannot be read, or holds nothing. Not read again while it stays the same."""
    about = path.stat()
    stamp = (path, about.st_mtime_ns, about.st_size)
    if stamp not in _CHECKED:
        if not sum(len(some) for _, some in _pieces(path)):
            raise ValueError(f"{path} holds no digest: nothing would be blocked")
        _CHECKED.add(stamp)


def contains(digests: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which of `wanted` (bytes of the same size) stand in a sorted list that is not empty."""
    at = np.minimum(np.searchsorted(digests, wanted), len(digests) - 1)
    return np.asarray(digests[at] == wanted)


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """(hex digits of each, digests end to end), some thousand lines at a time."""
    line = 1
    for text in _texts(path):
        lines = entries = pl.Series(text.splitlines(), dtype=pl.String)
        good = entries.str.contains(_DIGEST)
        if not good.all():  # three times as slow, and seldom needed
            entries = lines.str.extract(r"^\s*([^#\s][^\s,;]*)")  # null: blank, or a comment
            good = entries.str.contains(_DIGEST)
        if not good.all():  # nulls are left out of account
            at = int((~good).arg_max() or 0)
            known = ", ".join(f"{count} ({name})" for count, name in ALGORITHMS.items())
            message = f"{lines[at].strip()[:80]!r} does not begin with a digest of {known} hex digits"
            raise ValueError(f"{path}:{line + at}: {message}")
        entries = entries.drop_nulls()
        for digits, some in entries.to_frame("digest").group_by(entries.str.len_bytes(), maintain_order=True):
            yield int(str(digits[0])), bytes.fromhex("".join(some["digest"]))
        line += len(lines)


def _texts(path: Path) -> Iterator[str]:
    """The file's whole lines, many at a time; bytes that are no UTF-8 are shown as such where a line is told."""
    with path.open("rb") as file:
        rest = file.read(3).removeprefix(b"\xef\xbb\xbf")
        while piece := file.read(PIECE_BYTES):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if len(rest) > LINE_BYTES:
                raise ValueError(f"{path} has a line of more than {LINE_BYTES:,} bytes: it is no list of digests")
            if newline:
                yield (whole + newline).decode(errors="backslashreplace")
        if rest:
            yield rest.decode(errors="backslashreplace")
