"""Members of a tar, and what JSON can hold of a row: what all exports to other programs share."""

from __future__ import annotations

import io
import math
import re
import tarfile
from collections.abc import Mapping
from typing import Final

# What open_clip looks for: jpg, png, jpeg, webp. The others are told from them, so that no loader takes them for one.
_MAGIC: Final = (
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"\x89PNG"), "png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "webp"),
    (re.compile(rb"GIF8"), "gif"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "avif"),
)


def suffix_of(image: bytes) -> str:
    """By its first bytes; bin for what is no image that we open."""
    return next((suffix for magic, suffix in _MAGIC if magic.match(image)), "bin")


def plain(value: object) -> object:
    """What JSON can hold: bytes as hex, NaN and infinity as null, dates and the like as text."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without clock or user, so that the same rows give the same tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
