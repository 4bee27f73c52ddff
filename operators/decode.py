"""Bytes to pixels: the one place that touches hostile images.

Pixels are a pure function of the bytes and the request. Only JPEG, PNG, WebP, GIF and AVIF are opened (Pillow would
offer 43 formats, some of them through other programs); the size in the header is checked before anything is decoded.
EXIF orientation is applied, alpha is laid on white, CMYK goes through its ICC profile, 16-bit grey is scaled (Pillow's
`convert` would clip it to white), animations give their first frame. What is returned carries no metadata. Whatever
Pillow raises or warns of ends here, as a RowError or not at all. (Warnings are silenced for the whole process while any
thread has an image open.)
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError, features

MAX_PIXELS: Final = 64_000_000
MAX_SCANS: Final = 1000  # of a progressive JPEG; 20,000 empty ones make 1 MB, and take a core 20 s at 64 megapixels
MAX_FRAMES: Final = 1000  # counting stops here
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")

ERROR_CLASSES: Final = {
    "empty": "zero bytes",
    "html": "a web page where an image should be",
    "svg": "a vector image",
    "unsupported_format": "an image, but not JPEG, PNG, WebP, GIF or AVIF",
    "not_an_image": "no known image format",
    "too_large": f"the header says more than {MAX_PIXELS // 10**6} megapixels, or it takes too much to read it",
    "truncated": "the image ends before its data does",
    "corrupt": "the image's data is damaged",
    "missing_file": "the file that the row names is not there",
    "unreadable_file": "the file that the row names could not be read",
    "outside_root": "the file that the row names lies outside the folder that the recipe allows",
    "invalid_utf8": "the text is not valid UTF-8",
    "invalid_json": "the line is not a JSON object",
    "invalid_row": "the line has another number of fields than the header",
    "too_deep": "elements nested more than 512 deep",
    "parser_crash": "the page killed the process that parses it",
    "damaged_record": "the archive's record is damaged",
    "fetch_failed": "the range of the archive could not be fetched",
    "worker_died": "the row killed the process that measured it",
    "timed_out": "the row held its worker past the deadline",
}

_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY8: Final = ((np.arange(1 << 16) + 128) // 257).astype(np.uint8)  # 16-bit grey to 8 bits, rounded

# What an image begins with, and what stands at its end unless it was cut off.
_TRAILERS: Final = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82", b"GIF8": b"\0;"}
_UNSUPPORTED: Final = (
    *(b"II*\0", b"MM\0*", b"\0\0\1\0", b"8BPS", b"%PDF", b"%!PS", b"\xc5\xd0\xd3\xc6"),  # TIFF, ICO, PSD, PDF, EPS
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL ", b"\xff\x0a"),  # JPEG 2000, JPEG XL
)
_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"crx ")
# The first element, after prologue and comments: those by which browsers know a web page (WHATWG MIME Sniffing 7.1).
_MARKUP: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->|<!doctype\s+(?:\w+:)?svg[^>\[]*+(?>\[.*?\])?+[^>]*+>)*+"
    rb"<(?:(?:\w+:)?(?P<svg>svg)|!doctype\s+html|html|head|body|script|title|meta|style|iframe|h1|div|table|font|br?|p|a)"
    rb"[\s/>]",
    re.IGNORECASE | re.DOTALL,
)


class RowError(Exception):
    """One row could not be read or measured. `kind` is a class of ERROR_CLASSES or an exception's name."""

    def __init__(self, kind: str, message: str, *, transient: bool = False, keeps_values: bool = False) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.transient = transient
        self.keeps_values = keeps_values  # the row's columns tell what went wrong

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"

    def bare(self, *, keeps_values: bool = False) -> RowError:
        """The same without cause and traceback, which keep the image's bytes and pixels alive: to be stored."""
        keeps_values = keeps_values or self.keeps_values
        return RowError(self.kind, self.message, transient=self.transient, keeps_values=keeps_values)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an image says of itself before it is decoded; width and height as seen upright."""

    width_px: int
    height_px: int
    format: str  # jpeg, png, webp, gif, avif
    frames: int  # of an animation, counted up to MAX_FRAMES
    orientation: int  # EXIF, 1 to 8


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What an operator asks of the decoder.

    `min_side_px` lets a JPEG be decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size whose sides are both at
    least that long, which is several times faster; None asks for all the pixels.
    """

    mode: Literal["RGB", "L"] = "RGB"
    min_side_px: int | None = None


def read_header(data: bytes) -> Header:
    """Parse the header; raises RowError when this is no image that we open, or one with too many pixels."""
    with _opened(data) as image:
        orientation = _orientation(image, data)
        width, height = image.size if orientation < 5 else reversed(image.size)
        name = "jpeg" if image.format == "MPO" else str(image.format).lower()
        return Header(
            width_px=width, height_px=height, format=name, frames=_frames(image, data), orientation=orientation
        )


def decode(data: bytes, header: Header, request: Pixels) -> Image.Image:
    """The first frame, upright, in the mode asked for; raises RowError when the data is damaged."""
    with _opened(data) as image:
        if image.info.get("progressive") and data.count(b"\xff\xda") > MAX_SCANS:
            raise RowError("too_large", f"a progressive JPEG of more than {MAX_SCANS} scans")
        if request.min_side_px is not None:
            image.draft(request.mode, (request.min_side_px, request.min_side_px))
        image.load()
        pixels = _flatten(image, request.mode)
        if header.orientation in _TRANSPOSE:
            pixels = pixels.transpose(_TRANSPOSE[header.orientation])
    pixels.info = {}  # or someone would turn it by its EXIF again
    return pixels


class _Quiet:
    """No warnings while any thread is inside: Python's own switch is the process's, and must be turned back once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._switch = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._switch = warnings.catch_warnings()
                self._switch.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._switch.__exit__(None, None, None)


_QUIET: Final = _Quiet()


@contextmanager
def _opened(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """An image that passed the size check; what Pillow raises becomes a RowError with a class."""
    with _QUIET:  # Pillow warns of odd metadata; the size has a check of our own
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise RowError("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
            yield image
        except Exception as error:
            raise _row_error(error, data) from error


def _orientation(image: ImageFile.ImageFile, data: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 where it is missing or its metadata is damaged."""
    if image.format == "PNG" and "exif" not in image.info and (exif := _late_exif(data)):
        image.info["exif"] = exif
    try:
        # The base class's: a PNG's own getexif decodes all the pixels to look behind them.
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


def _late_exif(data: bytes) -> bytes | None:
    """The eXIf chunk of a PNG, also behind the pixels, where ExifTool and ImageMagick may put it."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return None


def _frames(image: ImageFile.ImageFile, data: bytes) -> int:
    if image.format == "GIF":
        return _gif_frames(data)
    if image.format == "MPO":
        return 1  # what a camera stores behind a photo is no animation: a preview, a depth map, the other eye's view
    return min(int(getattr(image, "n_frames", 1)), MAX_FRAMES)


def _gif_frames(data: bytes) -> int:
    """Frames of a GIF whose header was read; Pillow's n_frames would go through all of them, however many."""

    def palette_bytes(flags: int) -> int:
        return 3 << (flags % 8 + 1) if flags & 0x80 else 0

    frames, at = 0, 13 + palette_bytes(data[10])
    try:
        while frames < MAX_FRAMES:
            if data[at] == 0x2C:  # an image: place and size, palette, code size, data
                frames += 1
                at += 11 + palette_bytes(data[at + 9])
            elif data[at] == 0x21:  # an extension
                at += 2
            else:
                break
            while data[at]:  # blocks, each after its length
                at += data[at] + 1
            at += 1
    except IndexError:
        pass  # cut off: what was there is counted
    return max(frames, 1)


def _row_error(error: Exception, data: bytes) -> RowError:
    """Sort an exception of the decoder into a class."""
    if isinstance(error, RowError):
        return error
    message = str(error).split(" <_io")[0][:200]
    if isinstance(error, MemoryError):
        return RowError("too_large", "not enough memory to decode it", transient=True)
    if isinstance(error, Image.DecompressionBombError):
        return RowError("too_large", message)
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(data)
    if "truncated" in message.lower() or isinstance(error, EOFError) or _cut_short(data):
        return RowError("truncated", message)
    return RowError("corrupt", f"{type(error).__name__}: {message}")


def _unidentified(data: bytes) -> RowError:
    """Why Pillow did not know the format, by the first bytes."""
    if not data:
        return RowError("empty", "zero bytes")
    if markup := _MARKUP.match(data[:4096]):
        return RowError("svg" if markup["svg"] else "html", f"begins {data[:40]!r}")
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    bitmap = data[:2] == b"BM" and data[6:10] == bytes(4)
    no_avif = brand in _AVIF_BRANDS and not features.check("avif")
    if bitmap or no_avif or brand in _HEIF_BRANDS or data.startswith(_UNSUPPORTED):
        return RowError("unsupported_format", f"begins {data[:12]!r}")
    if _cut_short(data):
        return RowError("truncated", f"no whole header after {data[:12]!r}")
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    if webp or brand in _AVIF_BRANDS or data.startswith(tuple(_TRAILERS)):
        return RowError("corrupt", f"no readable header after {data[:12]!r}")
    return RowError("not_an_image", f"begins {data[:24]!r}")


def _cut_short(data: bytes) -> bool:
    """True where the end is missing: the trailer (JPEG, PNG, GIF), or bytes that the boxes count (WebP, AVIF)."""
    for head, trailer in _TRAILERS.items():
        if data.startswith(head):
            return not data.rstrip(b"\0").endswith(trailer)
    if data[:4] == b"RIFF" and b"WEBP".startswith(data[8:12]):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[4:8] != b"ftyp" or data[8:12] not in _AVIF_BRANDS:
        return False
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:  # 0: up to the end; 1: the size is elsewhere
            return False
        at += size
    return at != len(data) or b"mdat" not in data


def _flatten(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    """Any Pillow mode to RGB or L, without losing what the picture looks like."""
    if image.mode.startswith("I;16"):
        image = _from_grey16(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    elif image.mode == "CMYK":
        image = _from_cmyk(image)
    elif image.mode not in ("RGB", "L"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _from_grey16(image: Image.Image) -> Image.Image:
    scale = _GREY8.copy()
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scale[transparent] = 255
    return Image.fromarray(scale[np.asarray(image)])


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            return image.convert("RGB")  # a damaged profile: Pillow's plain conversion still shows the picture
        if converted is not None:
            return converted
    return image.convert("RGB")
