"""Content codings undone under caps: what a few kilobytes may blow up to is decided here, and not by who sent them."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from ._reasons import FetchError, Reason

MAX_RATIO: Final = 200
FREE_BYTES: Final = 1 << 20  # a small page may be as regular as it likes
MAX_CODINGS: Final = 2  # more of them, one around the other, are an attack
STEP: Final = 1 << 18


class _Decoder(Protocol):
    """Gives at most about STEP bytes at a time; `rest` is what it has not taken yet."""

    def decode(self, data: bytes) -> tuple[bytes, bytes]: ...

    def ended(self) -> bool: ...


def decode_body(body: bytes, codings: str, max_bytes: int) -> bytes:
    """The body as its author wrote it. Raises FetchError: too_large, truncated, bad_encoding."""
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > MAX_CODINGS:
        raise FetchError(Reason.BAD_ENCODING, f"{len(names)} codings, one around the other")
    for name in reversed(names):
        if name not in DECODERS:
            raise FetchError(Reason.BAD_ENCODING, f"Content-Encoding {name[:40]!r}")
        if body:
            body = _decode(body, name, max_bytes)
    return body


def _decode(body: bytes, name: str, max_bytes: int) -> bytes:
    decoder, parts, size, rest = DECODERS[name](body), [], 0, body
    try:
        while True:
            part, rest = decoder.decode(rest)
            parts.append(part)
            size += len(part)
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

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        if self._stream.eof:
            if self._bits != 31 or not data.startswith(b"\x1f\x8b"):
                return b"", b""  # padding behind the last member
            self._stream = zlib.decompressobj(self._bits)
        part = self._stream.decompress(data, STEP)
        return part, self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def ended(self) -> bool:
        return self._stream.eof


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._stream = brotli.Decompressor()

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        if not self._stream.can_accept_more_data():
            return self._stream.process(b"", output_buffer_limit=STEP), data
        return self._stream.process(data, output_buffer_limit=STEP), b""

    def ended(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstd:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        # RFC 9659: what is sent by HTTP needs no window of more than 8 MB.
        self._stream = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        if self._stream.eof:
            return b"", b""
        return self._stream.decompress(data, STEP), b""

    def ended(self) -> bool:
        return bool(self._stream.eof)


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
