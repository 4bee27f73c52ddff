from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageStat
from scipy import ndimage

from cupel.operators.image.quality import Quality


def png(pixels: np.ndarray | Image.Image) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG")
    return file.getvalue()


def by_libraries(image: Image.Image) -> dict[str, float]:
    """The definitions, with Pillow's statistics and SciPy's Laplacian."""
    grey = image.convert("L")
    scale = 256 / max(grey.size)
    small = grey.resize([max(1, round(side * scale)) for side in grey.size], Image.Resampling.BILINEAR)
    return {
        "sharpness": ndimage.laplace(np.asarray(small, float), mode="nearest").var(),
        "brightness": ImageStat.Stat(grey).mean[0],
        "contrast": ImageStat.Stat(grey).stddev[0],
        "entropy": grey.entropy(),
    }


def rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("images", ["drawn", "real_images"])
def test_as_libraries_have_it(measure, pixels, images, request):
    images = request.getfixturevalue(images)
    columns, failures = measure(Quality(), images)
    assert not failures
    for found, data in zip(rows(columns), images, strict=True):
        assert found == pytest.approx(by_libraries(pixels(data)), rel=1e-6, abs=1e-6)


def test_sharpness_as_opencv_has_it(measure):
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 256, (200, 256), dtype=np.uint8)
    expected = cv2.Laplacian(pixels, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REPLICATE).var()
    assert measure(Quality(), [png(pixels)])[0]["sharpness"] == [pytest.approx(expected)]


def test_closed_forms(measure):
    board = np.kron(np.indices((64, 64)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8) * 255
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    columns, _ = measure(Quality(), [png(np.full((30, 40), 100, np.uint8)), png(board), png(levels)])
    assert columns["brightness"] == [100, 127.5, 127.5]
    assert columns["contrast"] == pytest.approx([0, 127.5, ((256**2 - 1) / 12) ** 0.5])
    assert columns["entropy"] == pytest.approx([0, 1, 8])
    assert columns["sharpness"][0] == 0


def test_blur_lowers_sharpness_and_size_hardly_changes_it(measure, real_images):
    photo = next(image for data in real_images if min((image := Image.open(io.BytesIO(data))).size) >= 256).convert("L")
    versions = [photo, *(photo.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 4, 8))]
    sharpness = measure(Quality(), [png(version) for version in versions])[0]["sharpness"]
    assert sharpness == sorted(sharpness, reverse=True)
    doubled = photo.resize((photo.width * 2, photo.height * 2), Image.Resampling.NEAREST)
    again, _ = measure(Quality(), [png(photo), png(doubled)])
    assert again["sharpness"][1] == pytest.approx(again["sharpness"][0], rel=0.1)


def test_what_does_not_decode_fails_alone(measure, drawn):
    columns, failures = measure(Quality(), [b"", drawn[4]])
    assert failures == {0: "empty"}
    assert rows(columns)[1:] == rows(measure(Quality(), [drawn[4]])[0])
