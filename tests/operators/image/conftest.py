"""What the tests of all image operators share."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cupel.operators.base import Batch, RowOperator
from cupel.operators.decode import Pixels, RowError, decode, read_header
from cupel.operators.images import ImageStore

Measure = Callable[[RowOperator, Sequence[bytes]], tuple[dict[str, list[object]], dict[int, str]]]


def _measure(operator: RowOperator, images: Sequence[bytes]) -> tuple[dict[str, list[object]], dict[int, str]]:
    rows = pa.table({"key": pa.array([str(row) for row in range(len(images))])})
    batch = Batch(rows, ImageStore(dict(enumerate(images))))
    columns = {name: np.asarray(values).tolist() for name, values in operator(batch).items()}
    return columns, {row: error.kind for row, error in batch.failures.items()}


@pytest.fixture(scope="session")
def measure() -> Measure:
    """The columns an operator adds, as Python lists, and the class of error of each row that failed."""
    return _measure


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def drawn() -> list[bytes]:
    """All modes and formats, odd sizes, flat and symmetric ones where hashes meet ties."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((301, 203), Image.Resampling.BICUBIC)
    ramp = Image.linear_gradient("L")
    flat = [encode(Image.new("RGB", (50, 40), colour), "PNG") for colour in ("black", "white", "gray", "#123456")]
    modes = [encode(photo.convert(mode), "PNG") for mode in ("RGBA", "RGB", "L", "LA", "1", "P")]
    formats = [encode(photo.convert("RGB"), format) for format in ("JPEG", "WEBP", "GIF", "AVIF")]
    sizes = [
        encode(photo.convert("RGB").resize(size), "PNG") for size in ((1, 1), (2, 1), (1, 400), (32, 32), (900, 3))
    ]
    grey16 = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    symmetric = [ramp, ramp.rotate(90), Image.radial_gradient("L"), Image.radial_gradient("L").convert("1"), grey16]
    turned = Image.Exif()
    turned[0x0112] = 6
    others = [encode(photo.convert("CMYK"), "JPEG"), encode(photo.convert("RGB"), "JPEG", exif=turned)]
    return [*flat, *modes, *formats, *sizes, *(encode(image, "PNG") for image in symmetric), *others]


@pytest.fixture(scope="session")
def real_images(shared_data: Path) -> list[bytes]:
    """The readable ones of the sets made for near-duplicate search."""
    paths = [path for path in sorted((shared_data / "neardup").rglob("*")) if path.suffix in (".jpg", ".jpeg", ".png")]
    found = [path.read_bytes() for path in paths]
    return [data for data in found if readable(data)]


def readable(data: bytes) -> bool:
    try:
        decode(data, read_header(data), Pixels())
    except RowError:
        return False
    return True


@pytest.fixture(scope="session")
def pixels() -> Callable[[bytes], Image.Image]:
    """All the pixels of an encoded image, as operators get them."""
    return lambda data: decode(data, read_header(data), Pixels())
