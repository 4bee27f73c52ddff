"""Files of drawn pictures: sound ones, odd ones that are sound, and flawed ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Final

import numpy as np
from flaws import page
from PIL import Image, ImageEnhance, ImageFilter

Encoded = tuple[str, bytes]  # suffix, file


def size(kind: str, rng: Random) -> tuple[int, int]:
    """Width and height in px: 256 to 640, unless the size is the flaw."""
    if kind == "tiny_image":
        return rng.randint(60, 190), rng.randint(60, 190)
    short, ratio = rng.randint(256, 380), rng.choice((1.0, 1.25, 4 / 3, 1.5, 16 / 9))
    if kind == "extreme_aspect":
        short, ratio = rng.randint(205, 220), rng.uniform(3.4, 4.6)
    sides = short, round(short * ratio)
    return sides if rng.random() < 0.35 else sides[::-1]


def picture(image: Image.Image, kind: str, number: int, rng: Random) -> tuple[Encoded, str]:
    """The file of a drawn picture, with the flaw or the oddity of its kind, and a note on it."""
    size = f"{image.width} x {image.height} px"
    if kind == "blurred":
        radius = min(image.size) * rng.uniform(0.02, 0.035)
        return encode(image.filter(ImageFilter.GaussianBlur(radius)), rng), f"radius {radius:.1f} px"
    if kind == "blank":
        colour = rng.choice(("white", "black", "#808080", "#c0d8f0", "#f4e8d0"))
        return encode(Image.new("RGB", image.size, colour), rng), f"all {colour}"
    if kind in BROKEN:
        return BROKEN[kind](image, number, rng), f"number {number}"
    if kind in ODD:
        return ODD[kind](image, rng), kind
    return encode(image, rng), size if kind in ("tiny_image", "extreme_aspect") else ""


def near_copy(data: bytes, number: int, rng: Random) -> tuple[Encoded, str]:
    """The picture of a file changed a little, and how."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    how = ("compressed", "resized", "cropped", "brightened")[number % 4]
    if how == "resized":
        share = rng.uniform(0.8, 0.9)  # stays above the 200 px of the rule on sizes
        image = image.resize((round(width * share), round(height * share)), Image.Resampling.LANCZOS)
    elif how == "cropped":
        dx, dy = (round(side * rng.uniform(0.01, 0.03)) for side in image.size)
        image = image.crop((dx, dy, width - dx, height - dy))
    elif how == "brightened":
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(1.06, 1.14))
    return jpeg(image, quality=rng.randint(50, 75)), how


def encode(image: Image.Image, rng: Random) -> Encoded:
    """Mostly JPEG, some PNG and WebP."""
    kind = rng.random()
    if kind < 0.05:
        return png(image)
    if kind < 0.10:
        return ".webp", save(image, "WEBP", quality=80, method=0)
    return jpeg(image, quality=rng.randint(78, 94))


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image, quality: int = 88) -> Encoded:
    return ".jpg", save(image, "JPEG", quality=quality)


def png(image: Image.Image) -> Encoded:
    return ".png", save(image, "PNG", compress_level=1)


def _truncated(image: Image.Image, _number: int, rng: Random) -> Encoded:
    data = jpeg(image)[1]
    return ".jpg", data[: round(len(data) * rng.uniform(0.3, 0.6))]


def _bomb(_image: Image.Image, _number: int, _rng: Random) -> Encoded:
    """A PNG of a hundred bytes whose header promises 400 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return ".png", data


def _exif(image: Image.Image, rng: Random) -> Encoded:
    """Stored turned, with the tag that says how to turn it back."""
    turns = ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270))
    orientation, turn = rng.choice(turns)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return ".jpg", save(image.transpose(turn), "JPEG", quality=88, exif=exif)


def _sixteen_bit(image: Image.Image, _rng: Random) -> Encoded:
    return png(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257))


def _animated(image: Image.Image, _rng: Random) -> Encoded:
    frames = [image.rotate(angle) for angle in (3, 6)]
    return ".webp", save(image, "WEBP", save_all=True, append_images=frames, duration=200, quality=70, method=0)


BROKEN: Final[dict[str, Callable[[Image.Image, int, Random], Encoded]]] = {
    "truncated": _truncated,
    "html_page": lambda _image, number, _rng: (".jpg", page(number).encode()),
    "zero_bytes": lambda _image, _number, _rng: (".jpg", b""),
    "random_bytes": lambda _image, _number, rng: (".jpg", b"\x00" + rng.randbytes(rng.randint(2000, 9000))),
    "bomb": _bomb,
}
ODD: Final[dict[str, Callable[[Image.Image, Random], Encoded]]] = {
    "exif_orientation": _exif,
    "grayscale": lambda image, _rng: jpeg(image.convert("L")),
    "cmyk": lambda image, _rng: jpeg(image.convert("CMYK")),
    "sixteen_bit": _sixteen_bit,
    "palette": lambda image, _rng: png(image.quantize(96)),
    "animated": _animated,
}
