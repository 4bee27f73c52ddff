"""Copies against torchvision's crops and Pillow's rotation; what is drawn depends on the pair alone."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from drawing import encoded, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.images import ImageStore
from cupel.operators.pair.augment import Augment, random_crop, turned_crop, upright_inside

STILL = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "max_rotation_deg": 0.0}


def made(images: list[bytes], texts: list[str] | None = None, **parameters) -> list[dict[str, object]]:
    """The children with their parents."""
    batch = Batch(pa.table({"text": texts or [f"caption {i}" for i in range(len(images))]}), store(images))
    parents, columns = Augment(**parameters)(batch)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [{"parent": parent, **row} for parent, row in zip(parents.tolist(), rows, strict=True)]


def store(images: list[bytes]) -> ImageStore:
    return ImageStore(dict(enumerate(images)))


def opened(row: dict[str, object]) -> Image.Image:
    return Image.open(io.BytesIO(row["image"]))


IMAGES = [encoded(picture(i), kind) for i, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF"))]


def test_the_pair_comes_first_and_then_its_copies():
    rows = made(IMAGES, copies=2)
    assert [row["parent"] for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [row["image"] for row in rows[::3]] == IMAGES
    assert [row["augmentation"] is None for row in rows] == [True, False, False] * 4
    assert [row["text"] for row in rows] == [f"caption {i}" for i in range(4) for _ in range(3)]
    assert [opened(row).format for row in rows[1::3]] == ["JPEG", "PNG", "JPEG", "JPEG"]
    assert made(IMAGES, copies=2, keep_original=False) == [row for row in rows if row["augmentation"]]


def test_what_is_drawn_depends_on_the_pair_its_number_and_the_seed():
    rows = made(IMAGES[:2], copies=3, keep_original=False)
    backwards = made(IMAGES[1::-1], ["caption 1", "caption 0"], copies=3, keep_original=False)
    assert [{**row, "parent": 1 - row["parent"]} for row in backwards[3:] + backwards[:3]] == rows
    assert len({row["image"] for row in rows}) == 6
    assert made(IMAGES[:1], copies=1, keep_original=False) == rows[:1]
    for other in (made(IMAGES[:1], seed=1), made(IMAGES[:1], ["caption 1"])):
        assert other[1]["augmentation"] != rows[0]["augmentation"]


@pytest.mark.parametrize(
    ("size", "scale"), [((640, 480), (0.08, 1.0)), ((300, 500), (0.9, 1.0)), ((40, 400), (0.5, 1))]
)
def test_crops_are_spread_as_torchvisions(size, scale):
    import torch
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    draw, ratio, image = Random(0), (3 / 4, 4 / 3), torch.zeros(1, size[1], size[0])
    ours = np.array([random_crop(size, scale, ratio, draw) for _ in range(4000)])
    theirs = np.array([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(4000)])[:, [1, 0, 3, 2]]
    assert (ours[:, :2] + ours[:, 2:] <= size).all()
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        found, expected = (np.quantile(boxes, share, axis=0) for boxes in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=0.04 * max(size))


@pytest.mark.parametrize("angle", [0.0, 3.0, -11.0, 45.0])
@pytest.mark.parametrize("size", [(160, 120), (90, 130)])
def test_turned_as_pillow_turns(size, angle):
    image = picture(3, *size)
    inside = upright_inside(size, angle)
    found = turned_crop(image, angle, inside, (0, 0, *inside))
    left, top = ((whole - part) / 2 for whole, part in zip(size, inside, strict=True))
    shift = (1, 0, left, 0, 1, top)
    bilinear = Image.Resampling.BILINEAR
    expected = image.rotate(angle, bilinear).transform(inside, Image.Transform.AFFINE, shift, bilinear)
    difference = np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16))
    assert difference[2:-2, 2:-2].max() <= 6, "Pillow resamples twice here"


@given(st.integers(1, 500), st.integers(1, 500), st.floats(-45, 45), st.integers())
def test_no_corner_is_filled(width, height, angle, seed):
    inside = upright_inside((width, height), angle)
    if min(inside) < 1:
        return
    box = random_crop(inside, (0.5, 1.0), (3 / 4, 4 / 3), Random(seed))
    crop = turned_crop(Image.new("RGB", (width, height), "white"), angle, inside, box)
    assert crop.size == box[2:]
    assert np.asarray(crop).min() >= 250


@pytest.mark.parametrize("size", [(1, 300), (700, 2), (1, 1)])
def test_thin_images_have_copies_too(size):
    (copy,) = made([encoded(picture(1, *size), "PNG")], keep_original=False, max_rotation_deg=45.0)
    assert min(opened(copy).size) >= 1


def test_a_panorama_keeps_its_sides():
    rows = made([encoded(picture(1, 640, 160))], copies=40, keep_original=False, max_rotation_deg=0.0)
    sizes = np.array([opened(row).size for row in rows])
    assert ((sizes.prod(axis=1) / (640 * 160)) > 0.88).all()


def test_mirrored_only_where_asked():
    red_left = Image.new("RGB", (64, 64), "blue")
    red_left.paste("red", (0, 0, 32, 64))
    left = [opened(row).getpixel((4, 30))[0] > 128 for row in made([encoded(red_left)], copies=60)]
    assert all(left)
    rows = made([encoded(red_left)], copies=60, flip=True, keep_original=False)
    left = [opened(row).getpixel((4, 30))[0] > 128 for row in rows]
    assert 15 < sum(left) < 45
    assert left == ["mirrored" not in row["augmentation"] for row in rows]


def test_captions_are_put_into_templates():
    texts = ["a {} cat", "100 % {0}"]
    rows = made(IMAGES[:2], texts, copies=60, templates=("{}", "a photo of {}."), **STILL)
    for parent, text in enumerate(texts):
        found = [row["text"] for row in rows if row["parent"] == parent][1:]
        assert set(found) == {text, f"a photo of {text}."}
        assert 15 < found.count(text) < 45


def test_sizes_and_quality():
    (copy,) = made(IMAGES[:1], keep_original=False, **{**STILL, "size_px": 96})
    assert opened(copy).size == (96, 96)
    low, high = (made(IMAGES[:1], keep_original=False, quality=quality)[0]["image"] for quality in (30, 95))
    assert len(low) < len(high)
    whole = made([encoded(picture(1, 80, 80), "PNG")], keep_original=False, **STILL)
    assert np.array_equal(np.asarray(opened(whole[0])), np.asarray(picture(1, 80, 80))), "nothing done, nothing lost"


def test_an_image_that_does_not_decode_makes_nothing():
    batch = Batch(pa.table({"text": ["a", "b", "c"]}), store([IMAGES[0], IMAGES[1][:200], IMAGES[2]]))
    parents, columns = Augment()(batch)
    assert parents.tolist() == [0, 0, 2, 2]
    assert [error.kind for error in batch.failures.values()] == ["truncated"]
    assert len(columns["image"]) == 4


@pytest.mark.parametrize(
    "parameters",
    [
        *({"scale": (0.9, 0.5)}, {"scale": (0.5, 1.5)}, {"ratio": (0, 1)}, {"copies": 0}, {"max_rotation_deg": 60}),
        *({"templates": ()}, {"templates": ("photo",)}, {"templates": ("{} and {}",)}, {"templates": ("{name}",)}),
    ],
)
def test_mistakes_are_refused(parameters):
    with pytest.raises(ValidationError):
        Augment(**parameters)
