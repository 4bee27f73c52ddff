"""Content codings undone under caps: what a few kilobytes may blow up to is decided here, and not by who sent them."""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from ._reasons import FetchError, Reason

MAX_RATIO: Final = 200
FREE_BYTES: Final = 1 << 20  # a small page may be as regular as it likes
MAX_CODINGS: Final = 2  # more of them, one around the other, are an attack
STEP: Final = 1 << 18
PIECE: Final = 1 << 16  # of the input at a time: what is behind a member's end, zlib copies
MAX_MEMBERS: Final = 1000  # of gzip, frames of zstd; each is decoded anew, and may hold nothing


Data = bytes | memoryview  # a view can be cut without a copy


class _Decoder(Protocol):
    """Gives at most about STEP bytes at a time, and what it has not taken yet of the data."""

    def decode(self, data: Data) -> tuple[bytes, Data]: ...

    def ended(self) -> bool: ...


def decode_body(body: bytes, codings: str, max_bytes: int, *, cut: bool = False) -> bytes:
    """The body as its author wrote it. Raises FetchError: too_large, truncated, bad_encoding.

    `cut`: the first `max_bytes` are enough, and so many of the packed body may be all that there is.
    """
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > MAX_CODINGS:
        raise FetchError(Reason.BAD_ENCODING, f"{len(names)} codings, one around the other")
    for name in reversed(names):
        if name not in DECODERS:
            raise FetchError(Reason.BAD_ENCODING, f"Content-Encoding {name[:40]!r}")
        if body:
            body = _decode(body, name, max_bytes, cut)
    return body


def _decode(body: bytes, name: str, max_bytes: int, cut: bool) -> bytes:
    decoder, parts, size = DECODERS[name](body), list[bytes](), 0
    rest: Data = body
    try:
        while True:
            part, rest = decoder.decode(rest)
            parts.append(part)
            size += len(part)
            if cut and (size >= max_bytes or (len(body) >= max_bytes and not part and not rest)):
                return b"".join(parts)[:max_bytes]
            if size > max_bytes or size > max(FREE_BYTES, MAX_RATIO * len(body)):
                raise FetchError(Reason.TOO_LARGE, f"{len(body):,} bytes of {name} decode to more than {size:,}")
            if decoder.ended() and not rest:
                return b"".join(parts)
            if not part and not rest:
                raise FetchError(Reason.TRUNCATED, f"the {name} data ends early")
    except FetchError:
        raise
    except Exception as error:  # noqa: BLE001  each library has an error of its own
        raise FetchError(Reason.BAD_ENCODING, f"{name}: {error}"[:200]) from None


class _Zlib:
    """gzip, its members one behind the other, and deflate, with zlib's header or without as some servers send it."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._stream = zlib.decompressobj(bits)
        self._members = 1

    def decode(self, data: Data) -> tuple[bytes, Data]:
        view = memoryview(data)
        if self._stream.eof:
            if self._bits != 31 or bytes(view[:2]) != b"\x1f\x8b":
                return b"", b""  # padding behind the last member
            self._stream = zlib.decompressobj(self._bits)
            self._members = _one_more(self._members)
        piece = view[:PIECE]
        part = self._stream.decompress(piece, STEP)
        left = len(self._stream.unused_data) or len(self._stream.unconsumed_tail)
        return part, view[len(piece) - left :]

    def ended(self) -> bool:
        return self._stream.eof


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._stream = brotli.Decompressor()

    def decode(self, data: Data) -> tuple[bytes, Data]:
        if not self._stream.can_accept_more_data():
            return self._stream.process(b"", output_buffer_limit=STEP), data
        return self._stream.process(bytes(data), output_buffer_limit=STEP), b""

    def ended(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstd:
    """zstd, its frames one behind the other."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        # RFC 9659: what is sent by HTTP needs no window of more than 8 MB.
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
        self._new = functools.partial(zstd.ZstdDecompressor, options=options)
        self._stream = self._new()
        self._frames = 1

    def decode(self, data: Data) -> tuple[bytes, Data]:
        view = memoryview(data)
        if self._stream.eof:
            if not view:
                return b"", b""
            self._stream = self._new()
            self._frames = _one_more(self._frames)
        piece = view[:PIECE] if self._stream.needs_input else view[:0]
        part = self._stream.decompress(piece, STEP)
        return part, view[len(piece) - len(self._stream.unused_data) :]

    def ended(self) -> bool:
        return bool(self._stream.eof)


def _one_more(members: int) -> int:
    if members == MAX_MEMBERS:
        raise FetchError(Reason.BAD_ENCODING, f"more than {MAX_MEMBERS:,} members")
    return members + 1


def _deflate(body: bytes) -> _Decoder:
    with_header = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _Zlib(15 if with_header else -15)


DECODERS: Final[dict[str, Callable[[bytes], _Decoder]]] = {
    "gzip": lambda _: _Zlib(31),
    "x-gzip": lambda _: _Zlib(31),
    "deflate": _deflate,
    "br": lambda _: _Brotli(),
    "zstd": lambda _: _Zstd(),
}
