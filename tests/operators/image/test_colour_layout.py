"""image.colour_layout against Pillow's colours, and on pictures that differ in nothing else."""

from __future__ import annotations

import csv
import io

import imagehash
import numpy as np
from PIL import Image

from cupel.operators.image.colour_layout import ColourLayout


def values(columns):
    """uint8 [rows, quarter, Cb or Cr]"""
    return np.array(columns["colour_layout"], np.uint64).astype(">u8").view(np.uint8).reshape(-1, 4, 2)


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def flag(*colours):
    picture = Image.new("RGB", (90, 60))
    for stripe, colour in enumerate(colours):
        picture.paste(colour, (0, 20 * stripe, 90, 20 * stripe + 20))
    return png(picture)


def test_quarters_in_reading_order(measure):
    picture = Image.new("RGB", (40, 20), "grey")
    for corner, colour in (((0, 0), "red"), ((20, 0), "lime"), ((0, 10), "blue")):
        picture.paste(colour, (*corner, corner[0] + 20, corner[1] + 10))
    columns, failures = measure(ColourLayout(), [png(picture)])
    assert not failures
    # The primaries in JFIF's YCbCr, as in any table of them.
    assert values(columns)[0].tolist() == [[85, 255], [44, 21], [255, 107], [128, 128]]


def test_as_pillow_has_them(measure, drawn, pixels):
    columns, failures = measure(ColourLayout(), drawn)
    assert not failures
    quarters = [pixels(data).resize((2, 2), Image.Resampling.BOX).convert("YCbCr") for data in drawn]
    expected = np.array([np.asarray(image)[..., 1:].reshape(4, 2) for image in quarters])
    assert np.abs(values(columns).astype(int) - expected).max() <= 2  # Pillow cuts where this rounds


def test_a_large_jpeg_is_decoded_small_and_has_nearly_the_same(measure, real_images, pixels):
    columns, _ = measure(ColourLayout(), real_images)
    quarters = [pixels(data).resize((2, 2), Image.Resampling.BOX).convert("YCbCr") for data in real_images]
    expected = np.array([np.asarray(image)[..., 1:].reshape(4, 2) for image in quarters])
    apart = np.abs(values(columns).astype(int) - expected).max(axis=(1, 2))
    assert np.mean(apart <= 1) > 0.95
    assert apart.max() <= 4


def test_tells_flags_apart_that_have_one_hash(measure):
    flags = [flag("black", "red", "yellow"), flag("red", "white", "blue"), flag("white", "blue", "red")]
    columns, _ = measure(ColourLayout(), [*flags, flags[0]])
    apart = np.abs(np.diff(values(columns).astype(int), axis=0)).max(axis=(1, 2))
    assert apart.min() > 30
    assert columns["colour_layout"][0] == columns["colour_layout"][3]


def test_of_two_editions_of_a_figure(measure, shared_data):
    """Of the figures labelled alike by eye none differs by more than the default bound of dedup.near_images."""
    folder = shared_data / "neardup/textbook-editions"
    with (folder / "pairs.csv").open(newline="") as file:
        pairs = [pair for pair in csv.DictReader(file) if pair["label"] == "near-duplicate"]
    first, second = (
        values(measure(ColourLayout(), [(folder / pair[side]).read_bytes() for pair in pairs])[0])
        for side in ("file_a", "file_b")
    )
    assert len(pairs) == 78
    assert np.abs(first.astype(int) - second).max() <= 8


def test_flags_of_an_encyclopedia(measure, shared_data):
    """Real flags with nearly one pHash: of every pair within 4 bits the colours lie further apart than the bound."""
    paths = sorted((shared_data / "sites" / "wikipedia-ray-charles-2015" / "I" / "m").glob("Flag_of_*"))
    layouts = values(measure(ColourLayout(), [path.read_bytes() for path in paths])[0]).astype(int)
    hashes = []
    for path in paths:
        with Image.open(path) as image:
            flat = Image.new("RGBA", image.size, "white")
            flat.alpha_composite(image.convert("RGBA"))
            hashes.append(int(str(imagehash.phash(flat)), 16))
    near = [
        np.abs(layouts[i] - layouts[j]).max()
        for i in range(len(paths))
        for j in range(i)
        if (hashes[i] ^ hashes[j]).bit_count() <= 4
    ]
    assert len(near) > 40
    assert min(near) > 8
