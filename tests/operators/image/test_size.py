from __future__ import annotations

import io

import pytest
from PIL import Image, ImageFile, ImageOps

from cupel.operators.image.size import Size


def by_pillow(data: bytes) -> dict[str, object]:
    """Everything decoded and turned upright."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = ImageOps.exif_transpose(image).size
        return {
            "width_px": width,
            "height_px": height,
            "min_side_px": min(width, height),
            "aspect_ratio": max(width, height) / min(width, height),
            "pixels": width * height,
            "image_bytes": len(data),
            "image_format": image.format.lower().replace("mpo", "jpeg"),
            "frames": 1 if image.format == "MPO" else getattr(image, "n_frames", 1),
        }


def rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_drawn_images(measure, drawn):
    columns, failures = measure(Size(), drawn)
    assert not failures
    assert rows(columns) == [by_pillow(data) for data in drawn]


def test_real_images(measure, shared_data):
    """Every JPEG, PNG, GIF and WebP there is, four of them turned by EXIF."""
    suffixes = {".jpg", ".jpeg", ".png", ".gif", ".webp"}
    images = [path.read_bytes() for path in sorted(shared_data.rglob("*.*")) if path.suffix.lower() in suffixes]
    columns, failures = measure(Size(), images)
    assert len(images) > 4000
    assert len(failures) < 20
    for row, found in enumerate(rows(columns)):
        if row not in failures:
            assert found == by_pillow(images[row])


def test_no_pixel_is_decoded(measure, drawn, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    assert not measure(Size(), drawn)[1]


def test_what_has_no_header_fails_alone(measure, drawn):
    columns, failures = measure(Size(), [b"<html>", drawn[0], b""])
    assert failures == {0: "html", 2: "empty"}
    assert columns["width_px"] == [None, 50, None]
