from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageFile, ImageOps

from cupel.operators.decode import (
    ERROR_CLASSES,
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_SCANS,
    Header,
    Pixels,
    RowError,
    decode,
    read_header,
)

MODES = st.sampled_from([Pixels(), Pixels(mode="L"), Pixels(mode="L", min_side_px=8)])


def photo(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    """Smooth colours, no symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, pixels: bytes = b"", before: bytes = b"") -> bytes:
    """A PNG by hand; `before` are chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(pixels)) if pixels else b""
    return b"\x89PNG\r\n\x1a\n" + header + before + data + chunk(b"IEND", b"")


def read(data: bytes, request: Pixels | None = None) -> tuple[Header, np.ndarray]:
    header = read_header(data)
    image = decode(data, header, request or Pixels())
    assert image.info == {}
    return header, np.asarray(image)


def refusal(data: bytes) -> str:
    """The class of the error; an image that can be read fails the test."""
    with pytest.raises(RowError) as caught:
        read(data)
    assert caught.value.kind in ERROR_CLASSES
    return caught.value.kind


def animation(format: str, frames: int = 4, **options: object) -> bytes:
    first, *rest = (photo(seed=seed) for seed in range(frames))
    return encode(first, format, save_all=True, append_images=rest, **options)


# What it looks like


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_as_pillow_turns_it(format, orientation):
    data = encode(photo(), format, exif=turned(orientation))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    header, pixels = read(data)
    assert (header.width_px, header.height_px) == expected.size
    assert header.orientation == orientation
    assert np.array_equal(pixels, expected)


def test_orientation_behind_the_pixels_of_a_png():
    plain = encode(photo(), "PNG")
    late = plain[:-12] + chunk(b"eXIf", turned(6).tobytes()[6:]) + plain[-12:]
    header, pixels = read(late)
    assert (header.orientation, header.width_px, header.height_px) == (6, 40, 60)
    assert np.array_equal(pixels, photo().transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", turned(6).tobytes()[:20]]
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_no_damaged_picture(format, exif):
    assert read(encode(photo(), format, exif=exif))[0].orientation == 1


@pytest.mark.parametrize(
    ("type", "value", "orientation"),
    [(3, b"\6\0", 6), (3, b"\0\0", 1), (3, b"\x09\0", 1), (2, b"6\0", 1), (7, b"\6", 1), (11, struct.pack("<f", 6), 1)],
    ids=["6", "0", "9", "text", "bytes", "float"],
)
def test_orientation_of_odd_types(type, value, orientation):
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 0x0112, type, 1) + value.ljust(8, b"\0")
    assert read(encode(photo(), "JPEG", exif=b"Exif\0\0" + exif))[0].orientation == orientation


def see_through(mode: str) -> Image.Image:
    image = photo()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


PALETTE = photo().quantize(8)
ALPHA = {
    "RGBA.png": encode(see_through("RGBA"), "PNG"),
    "LA.png": encode(see_through("LA"), "PNG"),
    "RGBA.webp": encode(see_through("RGBA"), "WEBP", lossless=True),
    "RGBA.avif": encode(see_through("RGBA"), "AVIF"),
    "palette, one colour.png": encode(PALETTE, "PNG", transparency=3),
    "palette, all colours.png": encode(PALETTE, "PNG", transparency=bytes(range(0, 256, 32))),
    "RGB, one colour.png": encode(photo(), "PNG", transparency=photo().getpixel((3, 3))),
    "L, one level.png": encode(photo().convert("L"), "PNG", transparency=photo().convert("L").getpixel((3, 3))),
    "1, white.png": encode(photo().convert("1"), "PNG", transparency=0),
    "palette.gif": encode(PALETTE, "GIF", transparency=3),
}


@pytest.mark.parametrize("name", ALPHA)
def test_alpha_is_laid_on_white(name):
    rgba = np.asarray(Image.open(io.BytesIO(ALPHA[name])).convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    assert alpha.min() < 1
    _, pixels = read(ALPHA[name])
    assert np.abs(pixels - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
def test_what_is_opaque_stays_as_it_is(mode):
    image = PALETTE if mode == "P" else photo().convert(mode)
    assert np.array_equal(read(encode(image, "PNG"))[1], image.convert("RGB"))
    assert np.array_equal(read(encode(image, "PNG"), Pixels(mode="L"))[1], image.convert("RGB").convert("L"))


def test_16_bit_grey_is_scaled_not_clipped():
    levels = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    _, pixels = read(encode(Image.fromarray(levels), "PNG"), Pixels(mode="L"))
    assert np.array_equal(pixels, np.round(levels / 257))


def test_16_bit_grey_with_a_transparent_level():
    row = b"\0" + struct.pack(">2H", 1000, 1001)
    data = png(2, 1, bits=16, pixels=row, before=chunk(b"tRNS", struct.pack(">H", 1000)))
    assert read(data, Pixels(mode="L"))[1].tolist() == [[255, 4]]


RED_IN_CMYK = Image.new("CMYK", (32, 32), (0, 255, 255, 0))


def lab_profile() -> bytes:
    """An ICC profile that shows all colours as L=50 a=-60 b=40, green, down to black: a table of two points a side."""
    colours = bytes([128, 128 - 60, 128 + 40, 0, 128, 128])  # without and with black ink
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes([0, 0, 0, 0, 4, 3, 2, 0]) + matrix + ramp * 4 + colours * 2**3 + ramp * 3
    size = 128 + 4 + 12 + len(table)
    header = struct.pack(">I4sI4s4s4s12s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize(
    ("profile", "colour"),
    [
        (None, [254, 0, 0]),  # Pillow writes CMYK inverted, as Adobe does, and says so
        (lab_profile(), [0, 145, 45]),  # Lab 50, -60, 40 in sRGB
        (b"no profile", [254, 0, 0]),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), [254, 0, 0]),  # one for RGB
    ],
    ids=["none", "icc", "damaged", "rgb"],
)
def test_cmyk(profile, colour):
    _, pixels = read(encode(RED_IN_CMYK, "JPEG", icc_profile=profile))
    assert np.abs(pixels.reshape(-1, 3).astype(int) - colour).max() <= 6


# Several frames


@pytest.mark.parametrize(
    ("data", "format"),
    [(animation("PNG"), "png"), (animation("WEBP", lossless=True), "webp"), (animation("AVIF", quality=100), "avif")],
    ids=["apng", "webp", "avif"],
)
def test_first_frame_of_an_animation(data, format):
    header, pixels = read(data)
    assert (header.format, header.frames) == (format, 4)
    assert np.abs(pixels.astype(int) - photo()).mean() < 2


def test_first_frame_of_a_gif():
    data = animation("GIF")
    header, pixels = read(data)
    assert (header.format, header.frames) == ("gif", 4)
    assert np.array_equal(pixels, Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("frames", [1, 2, 30])
@pytest.mark.parametrize("cut", [0, 1, 40, 700])
def test_gif_frames_are_counted_as_pillow_does(frames, cut):
    data = animation("GIF", frames, comment=b"x" * 300, disposal=2, loop=0)
    data = data[: len(data) - cut]
    assert read_header(data).frames == Image.open(io.BytesIO(data)).n_frames


def test_counting_frames_is_bounded():
    frame = b",\0\0\0\0\1\0\1\0\0\2\2L\1\0"
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 5000 + b";"
    assert Image.open(io.BytesIO(gif)).n_frames == 5000
    assert read(gif)[0].frames == MAX_FRAMES
    assert read(png(1, 1, pixels=b"\0\7", before=chunk(b"acTL", struct.pack(">II", 2**31, 0))))[0].frames == MAX_FRAMES


def test_mpo_is_a_jpeg_of_one_frame():
    data = encode(photo(), "MPO", save_all=True, append_images=[photo(seed=1)])
    header, pixels = read(data)
    assert (header.format, header.frames) == ("jpeg", 1)
    assert np.array_equal(pixels, Image.open(io.BytesIO(data)))


# What is refused

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
REFUSED = {
    "empty": [b""],
    "html": [
        b"<!DOCTYPE html><html>",
        b"\xef\xbb\xbf\n <HTML><body>",
        b"<!-- hi --> <head><title>404</title>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C"><html xmlns="x"><svg>',
        b"<script>location='/'</script>",
    ],
    "svg": [
        SVG,
        b'<?xml version="1.0"?><!-- Adobe <html> -->\n' + SVG,
        b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x' [ <!ENTITY a 'b>'> ]>" + SVG,
        b"<svg:svg xmlns:svg='x'>",
    ],
    "unsupported_format": [
        *(encode(photo(), format) for format in ("TIFF", "BMP", "EPS", "ICO", "JPEG2000", "PDF")),
        HEIC + bytes(100),
        b"8BPS\0\1" + bytes(40),
    ],
    "not_an_image": [
        *(b"\0", b"hello", b"\x1f\x8b\x08\0", b'{"error": 404}', b"<Error><Code>AccessDenied</Code></Error>"),
        *(b"RIFF\x24\0\0\0WAVEfmt ", b"\0\0\0\x18ftypmp42\0\0\0\0", b"BMW builds cars", encode(photo(), "PPM")),
        b"<!-- " * 700,
    ],
    "corrupt": [
        *(png(0, 0), png(0, 5), b"RIFF\x04\0\0\0WEBP"),
        encode(photo(), "PNG").replace(b"IHDR\0", b"IHDR\1"),
        png(2, 1, pixels=b"\0\1\2", before=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000)))),
        png(2, 1, pixels=b"\0\1\2", before=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000)))),
    ],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, cases in REFUSED.items() for data in cases])
def test_refused_with_its_class(kind, data):
    assert refusal(data) == kind


ONE_OF_EACH = {
    "jpeg": encode(photo(), "JPEG", exif=turned(6)),
    "progressive": encode(photo(), "JPEG", progressive=True),
    "cmyk": encode(photo().convert("CMYK"), "JPEG"),
    "png": encode(photo(), "PNG", exif=turned(6)),
    "grey16": encode(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100), "PNG"),
    "palette": encode(PALETTE, "PNG", transparency=3),
    "apng": animation("PNG"),
    "webp": encode(photo(), "WEBP", exif=turned(6)),
    "lossless": encode(see_through("RGBA"), "WEBP", lossless=True),
    "animated webp": animation("WEBP"),
    "gif": encode(photo(), "GIF"),
    "animated gif": animation("GIF", transparency=2),
    "avif": encode(photo(), "AVIF", exif=turned(6)),
    "mpo": encode(photo(), "MPO", save_all=True, append_images=[photo(seed=1)]),
}


@pytest.mark.parametrize(
    "name", ["jpeg", "progressive", "cmyk", "png", "grey16", "palette", "webp", "lossless", "gif", "avif"]
)
def test_truncated_wherever_it_is_cut(name):
    data = ONE_OF_EACH[name]
    cuts = range(12, len(data) - 40, max(1, len(data) // 60))
    assert {refusal(data[:cut]) for cut in cuts} == {"truncated"}


@pytest.mark.parametrize("data", [encode(photo(), "JPEG"), encode(photo(), "PNG"), encode(photo(), "GIF")])
@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", b"PK\3\4" + bytes(100), SVG])
def test_what_follows_the_picture_is_not_looked_at(data, tail):
    assert np.array_equal(read(data + tail)[1], read(data)[1])


def test_wrong_checksum_of_sound_pixels():
    """Pillow skips the CRC of pixel data; the checksum inside (zlib's) still holds."""
    data = encode(photo(), "PNG")
    end = data.index(b"IEND") - 8
    wrong = data[:end] + bytes(4) + data[end + 4 :]
    assert np.array_equal(read(wrong)[1], photo())
    flipped = data[: end - 9] + bytes([data[end - 9] ^ 1]) + data[end - 8 :]
    assert refusal(flipped) == "corrupt"


# What would cost too much


def header_only(format: str, size: tuple[int, int]) -> bytes:
    """A tiny file that says it is large."""
    if format == "PNG":
        return png(*size, bits=1, pixels=b"\0")
    width, height = size
    data = bytearray(encode(photo(), format))
    if format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    else:
        at = {"GIF": 6, "WEBP": 26}[format]
        data[at : at + 4] = struct.pack("<HH", width, height)
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_too_large_by_the_header(format, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    side = int(MAX_PIXELS**0.5)
    header = read_header(header_only(format, (side, side)))
    assert (header.width_px, header.height_px) == (side, side)
    assert refusal(header_only(format, (side + 1, side))) == "too_large"
    assert refusal(header_only(format, (65535, 65535))) == "too_large"


BOMB = png(13300, 13300, bits=1, pixels=bytes(13300 * (1 + 1663)))  # 22 KB that would be 530 MB in RGB


@pytest.mark.parametrize("data", [BOMB, header_only("WEBP", (12000, 12000))], ids=["png", "webp"])
def test_header_of_a_bomb_takes_no_memory(data):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(data) == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_long_and_thin():
    header, pixels = read(png(1, 65535, pixels=b"\0\7" * 65535), Pixels(mode="L", min_side_px=32))
    assert (header.width_px, header.height_px) == (1, 65535)
    assert pixels.shape == (65535, 1)


def test_too_many_scans():
    data = encode(photo(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert read(data[:-2] + scan * 5 + data[-2:])[1].shape == (40, 60, 3)
    assert refusal(data[:-2] + scan * MAX_SCANS + data[-2:]) == "too_large"


def test_no_memory_is_tried_again(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(RowError) as caught:
        read(ONE_OF_EACH["jpeg"])
    assert (caught.value.kind, caught.value.transient) == ("too_large", True)


# Scaled


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 700), height=st.integers(1, 700), side=st.integers(1, 300), orientation=st.sampled_from([1, 6])
)
def test_scaled_is_the_smallest_that_is_large_enough(width, height, side, orientation):
    data = encode(Image.new("RGB", (width, height), "teal"), "JPEG", exif=turned(orientation))
    image = decode(data, read_header(data), Pixels(mode="L", min_side_px=side))
    divisor = max((by for by in (1, 2, 4, 8) if min(width, height) >= side * by), default=1)
    expected = (-(-width // divisor), -(-height // divisor))
    assert image.size == (expected if orientation == 1 else expected[::-1])
    assert min(image.size) >= min(side, width, height)
    assert image.mode == "L"


@pytest.mark.parametrize("name", ["png", "webp", "gif", "avif"])
def test_only_jpeg_is_scaled(name):
    assert np.array_equal(read(ONE_OF_EACH[name], Pixels(min_side_px=8))[1], read(ONE_OF_EACH[name])[1])


# Whatever it is, a picture or a class


@settings(deadline=None, max_examples=100)
@given(name=st.sampled_from(sorted(ONE_OF_EACH)), seed=st.integers(0, 2**32), request=MODES)
def test_damage_gives_a_picture_or_a_class(name, seed, request):
    chance = random.Random(seed)
    filters = list(warnings.filters)
    for _ in range(20):
        data = bytearray(ONE_OF_EACH[name])
        for _ in range(chance.choice((1, 2, 5, 20))):
            data[chance.randrange(chance.choice((60, 300, len(data))) % len(data) or 1)] = chance.choice(
                (0, 1, 127, 255)
            )
        at = chance.randrange(len(data))
        data[at : at + chance.choice((0, 0, 0, 1, 30, len(data)))] = data[: chance.choice((0, 0, 40))]
        try:
            header = read_header(bytes(data))
            image = decode(bytes(data), header, request)
        except RowError as error:
            assert error.kind in ERROR_CLASSES
        else:
            image.load()
            assert image.mode == request.mode
            assert 1 <= header.frames <= MAX_FRAMES and header.orientation in range(1, 9)
    assert warnings.filters == filters


def test_threads_that_decode_at_once_leave_the_filters_as_they_were():
    data = encode(photo(), "PNG", exif=turned(6).tobytes()[:20])
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: decode(data, read_header(data), Pixels()).size, range(200)))
    assert set(found) == {(60, 40)} and warnings.filters == filters


@settings(deadline=None)
@given(
    data=st.binary(max_size=200),
    magic=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"<svg "]),
)
def test_noise_is_refused(data, magic):
    with pytest.raises(RowError):
        read(magic + data)


def test_real_images_look_as_in_pillow(shared_data: Path):
    """Every file of the sets made for near-duplicate search; two of them cannot be read."""
    broken = []
    paths = [
        path
        for path in sorted((shared_data / "neardup").rglob("*.*"))
        if path.suffix in (".jpg", ".jpeg", ".png", ".gif")
    ]
    for path in paths:
        try:
            _, pixels = read(path.read_bytes())
        except RowError as error:
            broken.append((path.name.endswith("_corrupt.jpg"), error.kind))
        else:
            with Image.open(path) as image:
                expected = ImageOps.exif_transpose(image).convert("RGBA")
            ground = Image.new("RGBA", expected.size, "white")
            difference = ImageChops.difference(
                Image.fromarray(pixels), Image.alpha_composite(ground, expected).convert("RGB")
            )
            assert max(high for _, high in difference.getextrema()) <= 1, path
    assert len(paths) > 350
    assert broken and all(named for named, _ in broken)


# Errors and text


def test_bare_error_holds_on_to_nothing():
    with pytest.raises(RowError) as caught:
        read_header(b"\xff\xd8\xff" + bytes(90))
    error, bare = caught.value, caught.value.bare()
    assert error.__cause__ and error.__traceback__
    assert (bare.kind, bare.message, bare.transient) == (error.kind, error.message, error.transient)
    assert bare.__cause__ is bare.__context__ is bare.__traceback__ is None
