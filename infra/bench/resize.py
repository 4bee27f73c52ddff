"""Resizing on the way in: time and picture of each way to make a JPEG smaller, beside img2dataset's.

    python infra/bench/resize.py                                                               one core: about a minute
    python infra/bench/resize.py --data ../shared/data/sites ../shared/data/neardup        and on real photographs

The pictures of `crawl.py` (drawn: soft colours, hard edges, colour grain), and JPEGs below --data whose shorter side is
at least 640 px. Each is made `size_px` on its shorter side. `img2dataset` is what its Resizer calls: decode all pixels,
OpenCV's area resize, encode (quality 95); `scaled N` decodes at the smallest scale of 1, 1/2, 1/4, 1/8 that is N times
the size wanted, with OpenCV's area resize; `cupel` is what we do (N = 2, and bilinear at a multiple, then halved).

ms: of processor time, from bytes to bytes in one thread, best of --repeat passes. PSNR in dB against the area resize of
all pixels in floating point: of the pixels before they are encoded (and the 5 % of images where that is worst), then of
the JPEG, which is what a reader gets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from _rig import drawn

from cupel.operators.crawl import _resize
from cupel.operators.crawl._resize import Resize
from cupel.operators.decode import Header

QUALITY = 95
Way = Callable[[bytes, int, int], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 224, 256, 384, 512])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sets = {"drawn": [drawn(seed) for seed in range(options.images)]}
    if options.data:
        sets["real"] = list(photographs(options.data))
    print("images  size_px  way            ms   x img2dataset   PSNR: pixels   worst 5 %   as JPEG")
    for name, images in sets.items():
        for size_px in options.sizes:
            table(name, images, size_px, options.repeat)


def photographs(folders: Sequence[Path]) -> list[bytes]:
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.jp*g")):
        data = path.read_bytes()
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            continue
        if min(height, width) >= 640 and space == "YCbCr":
            found.append(data)
    return found


def table(name: str, images: Sequence[bytes], size_px: int, repeat: int) -> None:
    ways: dict[str, Way] = {
        "img2dataset": lambda data, *size: area(cv2.imdecode(np.frombuffer(data, np.uint8), RAW), *size),
        **{f"scaled {of}": lambda data, *size, of=of: area(scaled(data, *size, of), *size) for of in (1, 1.5, 2, 3)},
        "cupel": lambda data, *size: ours(data, *size),
    }
    targets = [target(data, size_px) for data in images]
    exact = [area(whole(data).astype(np.float64), *size) for data, size in zip(images, targets, strict=True)]
    took = dict.fromkeys(ways, np.inf)
    for _ in range(repeat):
        for way, make in ways.items():
            began = time.process_time()
            for data, size in zip(images, targets, strict=True):
                encode(make(data, *size))
            took[way] = min(took[way], (time.process_time() - began) / len(images))
    for way, make in ways.items():
        made = [make(data, *size) for data, size in zip(images, targets, strict=True)]
        pixels = np.array([psnr(one, other) for one, other in zip(made, exact, strict=True)])
        stored = np.array([psnr(decode(encode(one)), other) for one, other in zip(made, exact, strict=True)])
        print(
            f"{name:6}{size_px:9}  {way:12}{1000 * took[way]:6.2f}{took['img2dataset'] / took[way]:12.2f}"
            f"{pixels.mean():18.1f}{np.quantile(pixels, 0.05):12.1f}{stored.mean():12.2f}",
            flush=True,
        )


RAW = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def target(data: bytes, size_px: int) -> tuple[int, int]:
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    scale = size_px / min(width, height)
    return round(width * scale), round(height * scale)


def whole(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, "BGR")


def scaled(data: bytes, width: int, height: int, times: float) -> np.ndarray:
    full_height, full_width = simplejpeg.decode_jpeg_header(data)[:2]
    scale = min(full_width / width, full_height / height)
    of = max((of for of in (2, 4, 8) if scale >= times * of), default=1)
    return simplejpeg.decode_jpeg(data, "BGR", min_height=-(-full_height // of), min_width=-(-full_width // of))


def area(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def ours(data: bytes, width: int, height: int) -> np.ndarray:
    """`resize` without its encoder, so that the pixels can be compared."""
    full_height, full_width = simplejpeg.decode_jpeg_header(data)[:2]  # as it lies, like the others
    header = Header(width_px=full_width, height_px=full_height, format="jpeg", frames=1, orientation=1)
    pixels = _resize._decode_jpeg(data, header, (width, height))
    assert pixels is not None
    return _resize._scaled(pixels, width, height)


def encode(pixels: np.ndarray) -> bytes:
    return _resize._encode(pixels, Resize(mode="keep_ratio", quality=QUALITY))


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), RAW)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


if __name__ == "__main__":
    main()
