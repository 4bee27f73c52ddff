"""The images of a batch: bytes, headers, pixels and models' outputs, each made once for all operators."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .decode import Header, Pixels, RowError, decode, read_header

if TYPE_CHECKING:
    from PIL.Image import Image

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ImageStore:
    """The images of some rows by slot, decoded once for all operators that ask alike; captions may share a slot."""

    def __init__(self, images: Mapping[int, bytes | RowError | None] | None = None) -> None:
        self._images = dict(images or {})
        self.outputs: dict[
            Hashable, dict[int, np.ndarray | RowError]
        ] = {}  # model -> slot -> what it made of the image
        self._headers: dict[int, Header | RowError] = {}
        self._pixels: dict[tuple[int, Pixels], Image | RowError] = {}

    def __len__(self) -> int:
        return len(self._images)

    def add(self, slot: int, image: bytes | RowError | None) -> tuple[int, int]:
        """Encoded bytes, or why there are none; returns their length and the pixels they decode to (0: none)."""
        self._images[slot] = image
        if not isinstance(image, bytes):
            return 0, 0
        try:
            header = self.header(slot)
        except RowError:
            return len(image), 0
        return len(image), header.width_px * header.height_px

    def split_off(self, slot: int) -> ImageStore:
        """Move one image, with its header, to a store of its own."""
        other = ImageStore({slot: self._images.pop(slot)})
        if slot in self._headers:
            other._headers[slot] = self._headers.pop(slot)
        return other

    def has(self, slot: int) -> bool:
        """False where the row turned out to have no image at all (which is no error)."""
        return self._images.get(slot) is not None

    def data(self, slot: int) -> bytes:
        """The encoded bytes; RowError where they could not be had."""
        data = self._images.get(slot)
        if data is None:
            raise RowError("missing_file", "the row has no image")
        if isinstance(data, RowError):
            raise data.bare()
        return data

    def header(self, slot: int) -> Header:
        """The parsed header; RowError where it is no image that we open."""
        return _once(self._headers, slot, lambda: read_header(self.data(slot)))

    def pixels(self, slot: int, request: Pixels) -> Image:
        """The decoded pixels; RowError where they are damaged."""
        return _once(self._pixels, (slot, request), lambda: decode(self.data(slot), self.header(slot), request))


def _once(cache: dict[K, V | RowError], key: K, make: Callable[[], V]) -> V:
    """A value made when first asked for; its error is kept bare, because a traceback would keep the bytes alive."""
    if key not in cache:
        try:
            cache[key] = make()
        except RowError as error:
            cache[key] = error.bare()
    value = cache[key]
    if isinstance(value, RowError):
        raise value.bare()
    return value
