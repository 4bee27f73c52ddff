"""Resizing on the way in: img2dataset's modes, for about 60 % of its processor time.

What takes the time of a photograph is undoing its entropy coding, its inverse DCT, and the area resize. libjpeg-turbo
decodes a JPEG at 1/2, 1/4 or 1/8 of its size, which saves much of the second, and there is less for the third to do. A
whole and upright picture comes out, without metadata. Odd images (CMYK, 16 bits, a palette, alpha) go through
`decode.py`, in one thread at a time; the others decode in as many as call. `infra/bench/resize.py` has the table of
speed and PSNR that the constants below come from.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ..decode import MAX_PIXELS, MAX_SCANS, Header, Pixels, RowError, decode, read_header

if TYPE_CHECKING:
    from cv2.typing import MatLike

Mode = Literal["none", "keep_ratio", "keep_ratio_largest", "border", "center_crop"]
Format = Literal["jpeg", "webp", "png"]

# A JPEG is decoded at the smallest scale that is still this many times the size wanted. Of real photographs the JPEG
# that is stored is then at most 0.4 dB further from an area resize of all pixels than img2dataset's (at 1: 2.6 dB).
DECODED_SIZE: Final = 2
LONGEST_PX: Final = {"jpeg": 65_500, "webp": 16_383, "png": 1_000_000}  # what the formats can hold
_PILLOW: Final = threading.Lock()  # warnings are silenced for the whole process while it holds an image
_EXIF: Final = (b"Exif\0\0", b"http://ns.adobe.com/xap/", b"MPF\0")  # an orientation, or several pictures in one


@dataclass(frozen=True, kw_only=True)
class Resize:
    """How images are resized and encoded; names and meanings are img2dataset's, and so are the defaults of quality.

    `keep_ratio` makes the shorter side `size_px`, `center_crop` crops that to a square; `keep_ratio_largest` makes the
    longer side `size_px`, `border` puts that on a white square; `none` leaves the bytes as they are. Smaller images are
    enlarged unless `only_if_bigger`; either way they are encoded anew. `quality` is 0 to 100, and for `png` the level
    of compression, 0 to 9.
    """

    mode: Mode = "none"
    size_px: int = 256
    only_if_bigger: bool = False
    format: Format = "jpeg"
    quality: int = 95

    def __post_init__(self) -> None:
        highest = 9 if self.format == "png" else 100
        if not 0 <= self.quality <= highest:
            of = "the compression of a png" if self.format == "png" else f"the quality of a {self.format}"
            raise ValueError(f"quality: {self.quality}; {of} is 0 to {highest}")
        if not 1 <= self.size_px <= math.isqrt(MAX_PIXELS):
            raise ValueError(f"size_px: {self.size_px}; allowed are 1 to {math.isqrt(MAX_PIXELS)}")


@dataclass(frozen=True, kw_only=True)
class Resized:
    """An image as it is stored. Original sizes are as seen: after EXIF orientation."""

    data: bytes
    mime: str
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int


def resize(data: bytes, settings: Resize) -> Resized:
    """Resize one image; other threads run meanwhile. Raises RowError for what cannot be decoded."""
    header, simple = _read_header(data)
    if settings.mode == "none":
        return _resized(data, header.format, (header.width_px, header.height_px), header)
    size = _target(header.width_px, header.height_px, settings)
    _check_size(size or (header.width_px, header.height_px), settings)
    pixels = _decode_jpeg(data, header, size) if simple else None
    if pixels is None:
        pixels = _decode_any(data, header, size)
    if size:
        pixels = _framed(_scaled(pixels, *size), settings)
    height, width = pixels.shape[:2]
    return _resized(_encode(pixels, settings), settings.format, (width, height), header)


def _resized(data: bytes, format: str, size: tuple[int, int], header: Header) -> Resized:
    return Resized(
        data=data,
        mime=f"image/{format}",
        width_px=size[0],
        height_px=size[1],
        original_width_px=header.width_px,
        original_height_px=header.height_px,
    )


def _read_header(data: bytes) -> tuple[Header, bool]:
    """The header, and whether libjpeg-turbo may decode it: not what `decode.py` refuses for its many scans."""
    size = _plain_jpeg(data)
    if size is not None:
        return Header(width_px=size[0], height_px=size[1], format="jpeg", frames=1, orientation=1), True
    with _PILLOW:
        header = read_header(data)
    return header, header.format == "jpeg" and data.count(b"\xff\xda") <= MAX_SCANS


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG with nothing odd before its frame: ten times as fast as Pillow, and in any thread."""
    at = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1):  # a progressive one (0xC2) needs its scans counted
            height, width = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
            plain = data[at + 4] == 8 and data[at + 9] in (1, 3) and 0 < width * height <= MAX_PIXELS
            return (width, height) if plain else None
        known = marker in (0xC4, 0xDB, 0xDD, 0xFE) or 0xE0 <= marker <= 0xEF
        if not known or length < 2 or data.startswith(_EXIF, at + 4):
            return None
        at += 2 + length
    return None


def _target(width: int, height: int, settings: Resize) -> tuple[int, int] | None:
    """Width and height that the picture itself is scaled to; None where it stays as it is."""
    measure = min if settings.mode in ("keep_ratio", "center_crop") else max
    side = measure(width, height)
    if settings.only_if_bigger and side <= settings.size_px:
        return None
    scale = settings.size_px / side
    return max(1, round(width * scale)), max(1, round(height * scale))


def _check_size(size: tuple[int, int], settings: Resize) -> None:
    if max(size) > LONGEST_PX[settings.format] or size[0] * size[1] > MAX_PIXELS:
        raise RowError("too_large", f"would become {size[0]} x {size[1]} pixels as {settings.format}")


def _decode_jpeg(data: bytes, header: Header, size: tuple[int, int] | None) -> MatLike | None:
    """What libjpeg-turbo decodes without a complaint; None for all else, on which Pillow has the last word."""
    import simplejpeg

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space not in ("YCbCr", "RGB", "Gray") or height * width > MAX_PIXELS:
            return None
        of = _scale_down(header, size) if size else 1
        smallest = {"min_height": -(-height // of), "min_width": -(-width // of)}
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if space == "Gray" else "BGR", **smallest)
    except ValueError:
        return None
    return _upright(pixels, header.orientation)


def _decode_any(data: bytes, header: Header, size: tuple[int, int] | None) -> MatLike:
    import numpy as np

    request = Pixels(min_side_px=DECODED_SIZE * min(size) if size else None)
    with _PILLOW:
        return np.ascontiguousarray(np.asarray(decode(data, header, request))[:, :, ::-1])


def _scale_down(header: Header, size: tuple[int, int]) -> int:
    """8, 4, 2 or 1: libjpeg-turbo has vector code for these."""
    scale = min(header.width_px / size[0], header.height_px / size[1])
    return max((of for of in (2, 4, 8) if scale >= DECODED_SIZE * of), default=1)


def _upright(pixels: MatLike, orientation: int) -> MatLike:
    """EXIF orientations 2 to 8."""
    import cv2

    if orientation >= 5:
        pixels = cv2.transpose(pixels)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


def _scaled(pixels: MatLike, width: int, height: int) -> MatLike:
    """An area (box) resize where it shrinks, Lanczos where it grows, as img2dataset's defaults.

    OpenCV's area resize takes longer than the decoding unless it halves. Bilinear at twice the size, then halved, is
    nearly that in half the time: a bilinear value is the mean over a box of one pixel. What is to become less than a
    third takes four times the size and two halvings, or pixels would be left out.
    """
    import cv2

    _one_thread()
    scales = pixels.shape[1] / width, pixels.shape[0] / height
    if scales == (1, 1):
        return pixels
    if min(scales) < 1:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LANCZOS4)
    if min(scales) < 2 or max(scales) > 4:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    steps = 1 if min(scales) < 3 else 2
    pixels = cv2.resize(pixels, (width << steps, height << steps), interpolation=cv2.INTER_LINEAR)
    for step in reversed(range(steps)):
        pixels = cv2.resize(pixels, (width << step, height << step), interpolation=cv2.INTER_AREA)
    return pixels


@functools.cache
def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # a worker has one core


def _framed(pixels: MatLike, settings: Resize) -> MatLike:
    """Cropped or padded to a square, where the mode says so."""
    import cv2

    height, width = pixels.shape[:2]
    if settings.mode == "center_crop":
        top, left = (height - settings.size_px) // 2, (width - settings.size_px) // 2
        return pixels[top : top + settings.size_px, left : left + settings.size_px]
    if settings.mode == "border":
        high, wide = settings.size_px - height, settings.size_px - width
        sides = high // 2, high - high // 2, wide // 2, wide - wide // 2
        return cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return pixels


def _encode(pixels: MatLike, settings: Resize) -> bytes:
    import cv2

    parameter = {
        "jpeg": cv2.IMWRITE_JPEG_QUALITY,
        "webp": cv2.IMWRITE_WEBP_QUALITY,
        "png": cv2.IMWRITE_PNG_COMPRESSION,
    }[settings.format]
    done, data = cv2.imencode(f".{settings.format}", pixels, [parameter, settings.quality])
    assert done, "sizes were checked"
    return data.tobytes()
