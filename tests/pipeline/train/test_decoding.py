"""Bytes to squares: Pillow is the oracle, in one thread or many."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawing import encoded, picture
from PIL import Image, ImageOps

from cupel.operators.decode import RowError
from cupel.pipeline.train.reader.decoding import decode_into, jpeg_frame


def made(data: bytes, side: int = 32, resize: str = "shortest") -> np.ndarray:
    out = np.full((side, side, 3), 255, np.uint8)
    decode_into(data, out, resize)
    return out


def expected(image: Image.Image, side: int = 32, resize: str = "shortest") -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if resize == "shortest":
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short))
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def differ(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Mean and greatest difference of two pictures, in levels of 256."""
    apart = np.abs(one.astype(int) - other)
    return apart.mean(), int(apart.max())


@pytest.mark.parametrize("size", [(32, 32), (40, 40), (60, 44), (44, 60), (63, 33), (20, 24)])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_a_jpeg_is_resized_as_pillow_does(size, resize):
    data = encoded(picture(1, *size), quality=95)
    mean, most = differ(made(data, resize=resize), expected(Image.open(io.BytesIO(data)), resize=resize))
    assert mean < 0.5
    assert most <= 4


@pytest.mark.parametrize("size", [(64, 64), (65, 65), (130, 128), (300, 256), (1000, 400)])
def test_a_large_jpeg_is_decoded_at_a_fraction_as_pillow_would(size):
    data = encoded(picture(2, *size), quality=95)
    drafted = Image.open(io.BytesIO(data))
    drafted.draft("RGB", (32, 32))
    assert drafted.width < size[0]
    mean, most = differ(made(data), expected(drafted))
    assert mean < 0.05
    assert most <= 2


@pytest.mark.parametrize("size", [(48, 32), (32, 48), (70, 70)])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_pictures_stand_upright(size, orientation, format):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", orientation
    data = encoded(picture(3, *size), format, exif=exif)
    assert format == "PNG" or jpeg_frame(data).orientation == orientation
    mean, _ = differ(made(data), expected(Image.open(io.BytesIO(data))))
    assert mean < 2


def test_an_orientation_in_xmp_counts_where_exif_has_none():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
    data = encoded(picture(3, 40, 32), xmp=xmp)
    assert differ(made(data), expected(Image.open(io.BytesIO(data))))[0] < 1


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"subsampling": 0, "comment": b"a note"}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("GIF", "P", {}),
    ],
)
def test_every_format_that_we_open(format, mode, options):
    data = encoded(picture(4, 50, 40).convert(mode), format, **options)
    mean, _ = differ(made(data), expected(Image.open(io.BytesIO(data)).convert("RGB")))
    assert mean < 0.6


def test_what_is_transparent_is_white():
    image = picture(5, 40, 40).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    pixels = made(encoded(image, "PNG"))
    assert (pixels[:, :12] == 255).all()
    assert (pixels[:, 20:] != 255).any()


JPEG = encoded(picture(6, 60, 50))
SIZE_AT = JPEG.index(b"\xff\xc0") + 5
HUGE_PNG = bytearray(encoded(picture(6, 60, 50), "PNG"))
HUGE_PNG[16:24] = struct.pack(">II", 30_000, 30_000)
HUGE_PNG[29:33] = struct.pack(">I", zlib.crc32(HUGE_PNG[12:29]))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html><body>404", "html"),
        (b"hello", "not_an_image"),
        (JPEG[:-200], "truncated"),
        (JPEG[:SIZE_AT] + struct.pack(">HH", 60_000, 60_000) + JPEG[SIZE_AT + 4 :], "too_large"),
        (bytes(HUGE_PNG), "too_large"),
        (encoded(picture(6, 60, 50), progressive=True) + 1001 * b"\xff\xda", "too_large"),
        (JPEG + bytes(64 << 20), "too_large"),
    ],
)
def test_what_cannot_be_decoded_has_a_class(data, kind):
    with pytest.raises(RowError) as raised:
        made(data)
    assert raised.value.kind == kind


def test_many_threads_give_the_same_and_leave_warnings_as_they_were():
    datas = [encoded(picture(i, 50 + i, 40), format) for i in range(8) for format in ("JPEG", "PNG", "WEBP")]
    alone = [made(data) for data in datas]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for one, other in zip(pool.map(made, datas), alone, strict=True):
                np.testing.assert_array_equal(one, other)
    assert warnings.filters == before
