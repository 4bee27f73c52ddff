"""Resizing on the way in, against Pillow, OpenCV and img2dataset's rules written out."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from drawing import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cupel.operators.crawl import _resize
from cupel.operators.crawl._resize import Resize, resize
from cupel.operators.decode import MAX_PIXELS, Pixels, RowError, decode, read_header

MODES = ("keep_ratio", "keep_ratio_largest", "border", "center_crop")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft colours with hard edges, which a wrong kernel would move."""
    drawn = np.asarray(picture(seed, width, height)).copy()
    drawn[height // 3 : height // 2, width // 4 : width // 2] = 255
    return Image.fromarray(drawn)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(opened(data).convert("RGB")).astype(float)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.mean((one - other) ** 2), 1e-9))


def rule(width: int, height: int, mode: str, size: int, only_if_bigger: bool) -> tuple[int, int]:
    """What comes out, by img2dataset 1.47's resizer.py and the functions of albumentations that it calls."""
    by_short = mode in ("keep_ratio", "center_crop")
    side = min(width, height) if by_short else max(width, height)
    if only_if_bigger and not side > size:
        return width, height
    if mode in ("center_crop", "border"):
        return size, size
    return max(1, round(width * (size / side))), max(1, round(height * (size / side)))


@pytest.mark.parametrize("only_if_bigger", [False, True])
@pytest.mark.parametrize("mode", MODES)
@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)), size_px=st.integers(1, 60))
@settings(max_examples=25)
def test_sizes_are_img2datasets(mode, only_if_bigger, size, size_px):
    done = resize(encoded(photo(*size)), Resize(mode=mode, size_px=size_px, only_if_bigger=only_if_bigger))
    assert (done.width_px, done.height_px) == rule(*size, mode, size_px, only_if_bigger) == opened(done.data).size
    assert (done.original_width_px, done.original_height_px) == size


@pytest.mark.parametrize("format", ["jpeg", "webp", "png"])
def test_format_quality_and_mime(format):
    worse, better = (
        resize(encoded(photo(300, 200)), Resize(mode="keep_ratio", size_px=99, format=format, quality=quality))
        for quality in ((9, 1) if format == "png" else (30, 95))
    )
    assert worse.mime == better.mime == f"image/{format}"
    assert opened(worse.data).format == format.upper()
    assert len(worse.data) < len(better.data)


def test_none_leaves_the_bytes_alone():
    data = encoded(photo(30, 20), "PNG")
    done = resize(data, Resize())
    assert done.data is data
    assert (done.mime, done.width_px, done.height_px) == ("image/png", 30, 20)


# (from, to) by the factor that OpenCV's area, the halving and the scaled decode are each used for
@pytest.mark.parametrize("side, size_px", [(300, 256), (450, 256), (600, 256), (900, 256), (1100, 256), (2300, 256)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_pixels_are_those_of_an_area_resize_of_all_pixels(format, side, size_px):
    data = encoded(photo(side * 4 // 3, side, seed=side), format)
    done = resize(data, Resize(mode="keep_ratio", size_px=size_px, format="png", quality=1))
    whole = pixels_of(data)
    exact = cv2.resize(whole, (done.width_px, done.height_px), interpolation=cv2.INTER_AREA)
    assert psnr(pixels_of(done.data), exact) > 45


@pytest.mark.parametrize("mode, corner", [("border", 255), ("center_crop", 0)])
def test_borders_are_white_and_crops_are_central(mode, corner):
    image = Image.new("RGB", (400, 100), "white" if mode == "center_crop" else "black")
    image.paste("black", (150, 0, 250, 100))
    done = resize(encoded(image, "PNG"), Resize(mode=mode, size_px=50, format="png", quality=1))
    found = pixels_of(done.data)
    assert found[0, 0].tolist() == [corner] * 3
    assert np.abs(found[25, 25]).max() < 8
    if mode == "border":  # 12 rows of picture, and 19 above and below
        assert (found[:19] == 255).all() and (found[31:] == 255).all() and (found[19:31] < 8).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_orientation_is_applied_and_nothing_else_is_kept(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    data = encoded(photo(600, 400), format, exif=exif.tobytes(), icc_profile=b"profile")
    done = resize(data, Resize(mode="keep_ratio", size_px=100))
    upright = ImageOps.exif_transpose(opened(data))
    assert (done.original_width_px, done.original_height_px) == upright.size
    assert psnr(pixels_of(done.data), np.asarray(upright.resize(opened(done.data).size, 4)).astype(float)) > 32
    assert not opened(done.data).getexif() and "icc_profile" not in opened(done.data).info


@pytest.mark.parametrize(
    "data",
    [
        encoded(photo(400, 300).convert("CMYK")),
        encoded(photo(400, 300), progressive=True),
        encoded(photo(400, 300).convert("L")),
        encoded(photo(400, 300), subsampling=0),
        encoded(photo(400, 300).convert("P"), "PNG"),
        encoded(photo(400, 300).convert("1"), "PNG"),
        encoded(Image.fromarray(np.arange(120_000, dtype=np.uint16).reshape(300, 400)), "PNG"),
        encoded(Image.merge("RGBA", [*photo(400, 300).split(), photo(400, 300, 1).convert("L")]), "PNG"),
        encoded(photo(400, 300), "GIF"),
        encoded(photo(400, 300), "WEBP"),
        encoded(photo(400, 300), "AVIF"),
    ],
    ids=["cmyk", "progressive", "grey", "444", "palette", "1bit", "16bit", "alpha", "gif", "webp", "avif"],
)
def test_odd_images_look_as_decode_shows_them(data):
    shown = np.asarray(decode(data, read_header(data), Pixels())).astype(float)
    done = resize(data, Resize(mode="keep_ratio", size_px=150, format="png", quality=1))
    exact = cv2.resize(shown, (done.width_px, done.height_px), interpolation=cv2.INTER_AREA)
    assert psnr(pixels_of(done.data), exact) > 45


WHOLE = encoded(photo(800, 600))


@pytest.mark.parametrize(
    "data, kind",
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
        (b"II*\0" + bytes(99), "unsupported_format"),
        (b"\0" * 99, "not_an_image"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (WHOLE[:100], "truncated"),
        (encoded(Image.new("1", (65_000, 1_000)), "PNG"), "too_large"),
        (WHOLE.replace(b"\x02\x58\x03\x20", b"\xff\xff\xff\xff", 1), "too_large"),
        (encoded(Image.new("RGB", (1, 4000))), "too_large"),  # would become 512 x 2,048,000
    ],
)
def test_what_cannot_be_decoded_is_a_row_error(data, kind):
    with pytest.raises(RowError) as caught:
        resize(data, Resize(mode="keep_ratio", size_px=512))
    assert caught.value.kind == kind


@given(st.data())
@settings(max_examples=60)
def test_damaged_bytes_give_an_image_or_a_row_error(data):
    whole = bytearray(encoded(photo(64, 48), data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        done = resize(bytes(whole), Resize(mode="border", size_px=16))
    except RowError:
        return
    assert opened(done.data).size == (16, 16)


@given(st.binary(max_size=60), st.integers(0, 40))
def test_the_quick_header_agrees_with_pillow(junk, at):
    """Where it sees a size, it is the one that decode.py sees; it never raises."""
    data = encoded(photo(40, 30))
    for candidate in (data, data[:at] + junk + data[at:], data[:at] + junk):
        found = _resize._plain_jpeg(candidate)
        if found is not None:
            try:
                header = read_header(candidate)
            except RowError:
                continue
            assert found == (header.width_px, header.height_px)


def test_scans_are_limited_as_in_decode():
    """20,000 empty scans of a progressive JPEG: a MB that would take a core many seconds."""
    data = encoded(photo(64, 64), progressive=True)
    start = data.index(b"\xff\xda")
    scan = data[start : data.index(b"\xff\xc4", start)]
    with pytest.raises(RowError) as caught:
        resize(data[:start] + scan * 1100 + data[start:], Resize(mode="keep_ratio", size_px=10))
    assert caught.value.kind == "too_large"


def test_threads_give_what_one_thread_gives():
    images = [encoded(photo(500 + 7 * i, 400, seed=i), ("JPEG", "PNG", "GIF")[i % 3]) for i in range(12)] * 3
    how = Resize(mode="border", size_px=64)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda data: resize(data, how), images)) == [resize(data, how) for data in images]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"format": "png"}, "quality: 95; the compression of a png is 0 to 9"),
        ({"quality": 101}, "quality: 101; the quality of a jpeg is 0 to 100"),
        ({"size_px": 0}, "size_px: 0; allowed are 1 to 8000"),
        ({"size_px": 8001}, "size_px: 8001"),
    ],
)
def test_settings_are_checked(wrong, message):
    assert MAX_PIXELS == 8000**2
    with pytest.raises(ValueError, match=message):
        Resize(mode="border", **wrong)
