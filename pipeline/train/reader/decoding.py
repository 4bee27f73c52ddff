"""Bytes to a square uint8 picture in the batch itself.

A JPEG without oddities is decoded by libjpeg-turbo at the smallest of 1, 1/2, 1/4 and 1/8 of its size whose sides are
long enough, then made smaller by torch's antialiased bicubic, which is Pillow's to a rounding error in a fifth of the
time and writes into the batch. Both run without the interpreter's lock. All else, and what libjpeg-turbo complains of,
goes through `operators/decode.py`.
"""

from __future__ import annotations

import functools
import re
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from ....operators.decode import (
    MAX_PIXELS,
    MAX_SCANS,
    Pixels,
    RowError,
    decode,
    read_header,
)
from ....operators.source.files import MAX_IMAGE_BYTES

Resize = Literal["shortest", "squash"]

_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_ORIENTATION: Final = 0x0112
_IN_XMP: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a JPEG's markers say: its size as it lies, and its EXIF orientation."""

    width_px: int
    height_px: int
    orientation: int


def decode_into(data: bytes, out: np.ndarray, resize: Resize) -> None:
    """Fill `out` (side, side, 3; uint8, C-contiguous) with the image, upright: its centre square, or squashed.

    Raises RowError for what is no image, damaged, or larger than MAX_PIXELS.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise RowError("too_large", f"{len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} are read")
    frame = jpeg_frame(data)
    if frame is None or not _decode_jpeg(data, frame, out, resize):
        image = decode(data, read_header(data), Pixels(min_side_px=len(out)))
        _fit(np.array(image), out, resize)


def _decode_jpeg(data: bytes, frame: Frame, out: np.ndarray, resize: Resize) -> bool:
    """False where libjpeg-turbo finds fault with it: Pillow has the last word."""
    import simplejpeg

    side = len(out)
    of = _scale_down(min(frame.width_px, frame.height_px), side)
    smallest = {"min_height": -(-frame.height_px // of), "min_width": -(-frame.width_px // of)}
    fits = frame.width_px == frame.height_px and -(-frame.width_px // of) == side
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", **smallest, buffer=out if fits else None)
    except ValueError:
        return False
    if not fits:
        _fit(pixels, out, resize)
    if frame.orientation > 1:
        out[...] = _upright(out, frame.orientation).copy()
    return True


def _scale_down(shorter: int, side: int) -> int:
    """8, 4, 2 or 1: libjpeg-turbo has vector code for these."""
    return max((of for of in (2, 4, 8) if -(-shorter // of) >= side), default=1)


def _fit(pixels: np.ndarray, out: np.ndarray, resize: Resize) -> None:
    """Crop, resize and copy."""
    height, width = pixels.shape[:2]
    if resize == "shortest" and height != width:
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        pixels = np.ascontiguousarray(pixels[top : top + short, left : left + short])
    if pixels.shape == out.shape:
        out[...] = pixels
    else:
        _bicubic()(_as_tensor(pixels), out.shape[:2], False, None, None, out=_as_tensor(out))


@functools.cache
def _bicubic() -> Any:
    """What torch.nn.functional.interpolate(antialias=True) calls, with a place to write to."""
    import torch

    return torch.ops.aten._upsample_bicubic2d_aa.out


def _as_tensor(pixels: np.ndarray) -> Any:
    """The same memory as (1, 3, height, width)."""
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _upright(square: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF orientations 2 to 8, as a view."""
    if orientation >= 5:
        square = square.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return square[::rows, ::columns]


# A JPEG's markers


def jpeg_frame(data: bytes) -> Frame | None:
    """Size and orientation of a JPEG that libjpeg-turbo may decode; None for any other, and where it is not clear."""
    at, orientation = 2 if data.startswith(b"\xff\xd8\xff") else len(data), 0
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            plain = data[at + 4] == 8 and data[at + 9] in (1, 3) and 0 < width * height <= MAX_PIXELS
            if not plain or (marker == 0xC2 and data.count(b"\xff\xda") > MAX_SCANS):
                return None
            return Frame(width_px=width, height_px=height, orientation=orientation or 1)
        if length < 2 or not (marker in (0xC4, 0xDB, 0xDD, 0xFE) or 0xE0 <= marker <= 0xEF):
            return None
        if marker == 0xE1:
            found = _orientation(data[at + 4 : at + 2 + length])
            if found is None or (found and orientation):
                return None
            orientation = orientation or found
        at += 2 + length
    return None


def _orientation(segment: bytes) -> int | None:
    """1 to 8 as an APP1 segment has it, 0 where it says nothing, None where Pillow should look."""
    if segment.startswith(_EXIF):
        return _in_exif(segment[len(_EXIF) :])
    return None if _IN_XMP.search(segment) else 0


def _in_exif(tiff: bytes) -> int | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    try:
        if order is None:
            return None
        at = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, at)[0]):
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, at + 2 + 12 * entry)
            if tag == _ORIENTATION:
                value: int = struct.unpack_from(f"{order}H", tiff, at + 10 + 12 * entry)[0]
                return value if (kind, count) == (3, 1) and 1 <= value <= 8 else None
    except struct.error:
        return None
    return 0
