"""Thumbnails: the pictures of rows, read as the engine reads them, decoded in one thread, encoded anew by us.

What a browser gets is WebP that we wrote: never a stranger's bytes, no metadata, at most `side_px` on the longer side,
an animation's first frame. Requests come from many threads; those that wait are gathered by shard, and a shard is read
once for all of them. A row that a blocklist holds is not read at all.
"""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from PIL import Image

from ....operators.decode import (
    Pixels,
    RowError,
    decode,
    read_header,
)
from ....operators.source.base import ShardError, SourceError
from ...read import CorpusError
from ..opened import OpenedCut
from .of_shard import ShardPictures
from .sensitive import Sensitivity
from .written import WrittenPictures

SIDES_PX: Final = (96, 112, 144, 160, 192, 256, 512, 1024)
CACHE_BYTES: Final = 64 << 20
SHARDS_OPEN: Final = 8
SHARD_AGE_S: Final = 60.0  # then it is opened anew, and whether its file has changed is looked at
WAIT_S: Final = 120.0
QUALITY: Final = 75  # WebP: a third smaller than JPEG of 80
EFFORT: Final = 2  # of 6; 4 takes twice as long for 3 %
DECODING: Final = threading.Lock()  # operators/decode.py wants one thread of a process at a time


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """An encoded picture, and its size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class NoPicture:
    """Why there is none: a class as in operators/decode.py, `no_image`, `blocked`, `unreadable_input`; and in words.

    The words may hold bytes of the file: a stranger's text.
    """

    kind: str
    why: str


Found = Thumbnail | NoPicture


@dataclass(frozen=True, kw_only=True)
class Address:
    """One picture in one size."""

    space: int
    shard: int
    row: int
    side_px: int


class Pictures:
    """The pictures of a cut. Its methods may be called from any thread."""

    def __init__(self, cut: OpenedCut, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.sensitivity = Sensitivity(cut)
        self._cut, self._written = cut, WrittenPictures(cut)
        self._cache_bytes, self._held_bytes = cache_bytes, 0
        self._lock = threading.Lock()
        self._cache: OrderedDict[Address, Thumbnail] = OrderedDict()
        self._futures: dict[Address, Future[Found]] = {}  # asked for and not there yet
        self._waiting: OrderedDict[tuple[int, int], list[Address]] = OrderedDict()  # by space and shard
        self._shards: OrderedDict[tuple[int, int], tuple[float, ShardPictures]] = OrderedDict()  # the worker's
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="cupel-pictures")

    def thumbnail(self, space: int, shard: int, row: int, side_px: int = 256) -> Found:
        """The picture of a row, at most `side_px` (one of SIDES_PX) on its longer side; or why there is none.

        Of the versions that transforms made it is the one that is written. Raises ValueError for another side.
        """
        return self.thumbnails([(space, shard, row)], side_px)[0]

    def thumbnails(self, rows: Iterable[tuple[int, int, int]], side_px: int = 256) -> list[Found]:
        """The same for several rows, each given as (space, shard, row in the shard)."""
        deadline, found = time.monotonic() + WAIT_S, list[Found]()
        for asked in self._ask(rows, side_px):
            try:
                found.append(asked.result(max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                found.append(NoPicture(kind="timed_out", why=f"it could not be read in {WAIT_S:.0f} s"))
        return found

    def prepare(self, rows: Iterable[tuple[int, int, int]], side_px: int = 256) -> None:
        """Begin to make thumbnails and do not wait: a page asks for all of its pictures before the browser does."""
        self._ask(rows, side_px)

    def close(self) -> None:
        """Wait for nothing: who still waits is told so."""
        with self._lock:
            addresses = [address for asked in self._waiting.values() for address in asked]
            self._waiting.clear()
        for address in addresses:
            self._settle(address, NoPicture(kind="closed", why="the pictures of this cut are no longer looked at"))
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _ask(self, rows: Iterable[tuple[int, int, int]], side_px: int) -> list[Future[Found]]:
        if side_px not in SIDES_PX:
            raise ValueError(f"side_px is one of {', '.join(map(str, SIDES_PX))}, not {side_px}")
        addresses = [Address(space=space, shard=shard, row=row, side_px=side_px) for space, shard, row in rows]
        with self._lock:
            return [self._asked(address) for address in addresses]

    def _asked(self, address: Address) -> Future[Found]:
        """A future for one picture; done already where it is cached."""
        known = self._cache.get(address)
        if known is not None:
            self._cache.move_to_end(address)
            done: Future[Found] = Future()
            done.set_result(known)
            return done
        if address not in self._futures:
            place = (address.space, address.shard)
            if place not in self._waiting:
                self._worker.submit(self._answer_some)
            self._waiting.setdefault(place, []).append(address)
            self._waiting.move_to_end(place)  # what was asked last is looked at: it is answered first
            self._futures[address] = Future()
        return self._futures[address]

    # The worker

    def _answer_some(self) -> None:
        """Answer all that wait for one shard."""
        with self._lock:
            place = next(reversed(self._waiting), None)
        if place is None:
            return
        try:
            opened: ShardPictures | NoPicture = self._opened(place)  # in this moment others ask for the same shard
        except Exception as error:  # noqa: BLE001 the border: whatever a file holds, the worker goes on
            opened = _why(error)
        with self._lock:
            addresses = self._waiting.pop(place, [])
        try:
            self._answer(opened, addresses)
        except Exception as error:  # noqa: BLE001 as above
            for address in addresses:
                self._settle(address, _why(error))

    def _answer(self, opened: ShardPictures | NoPicture, addresses: list[Address]) -> None:
        if isinstance(opened, NoPicture):
            for address in addresses:
                self._settle(address, opened)
            return
        by_row = defaultdict[int, list[Address]](list)
        for address in addresses:
            by_row[address.row].append(address)
        for row, picture in opened.load(sorted(by_row)):
            for address in by_row[row]:
                self._settle(address, thumbnail_of(picture, address.side_px))

    def _settle(self, address: Address, found: Found) -> None:
        """Give a result to who waits for it, if somebody still does, and keep it; others give way."""
        with self._lock:
            future = self._futures.pop(address, None)
            if isinstance(found, Thumbnail) and future is not None:  # why there is none is cheap to find out again
                self._cache[address] = found
                self._held_bytes += len(found.data)
                while self._held_bytes > self._cache_bytes:
                    _, gone = self._cache.popitem(last=False)
                    self._held_bytes -= len(gone.data)
        if future is not None:
            future.set_result(found)

    def _opened(self, place: tuple[int, int]) -> ShardPictures:
        """A shard that was looked at lately, or another."""
        now = time.monotonic()
        since, known = self._shards.pop(place, (0.0, None))
        if known is None or now - since > SHARD_AGE_S:
            since, known = now, ShardPictures(self._cut, self.sensitivity, self._written, *place)
        self._shards[place] = (since, known)
        while len(self._shards) > (1 if known.in_memory else SHARDS_OPEN):
            self._shards.popitem(last=False)
        return known


def thumbnail_of(picture: bytes | RowError, side_px: int) -> Found:
    """Decode and encode anew; never larger than the picture is."""
    try:
        if isinstance(picture, RowError):
            raise picture
        with DECODING:
            header = read_header(picture)
            size = _fitting(header.width_px, header.height_px, side_px)
            pixels = decode(picture, header, Pixels(min_side_px=2 * min(size)))
    except RowError as error:
        return NoPicture(kind=error.kind, why=error.message)
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    pixels.save(out, "WEBP", quality=QUALITY, method=EFFORT)
    return Thumbnail(data=out.getvalue(), media_type="image/webp", width=size[0], height=size[1])


def _fitting(width: int, height: int, side_px: int) -> tuple[int, int]:
    """The size at which the longer side is `side_px`, if it is longer than that."""
    scale = min(1.0, side_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _why(error: Exception) -> NoPicture:
    """What hinders the reading of a whole shard."""
    if isinstance(error, KeyError):
        return NoPicture(kind="no_row", why="there is no such row")
    known = isinstance(error, ShardError | SourceError | CorpusError | OSError | pa.ArrowException)
    kind = "unreadable_input" if known else type(error).__name__
    return NoPicture(kind=kind, why=str(error).partition("\n")[0])
