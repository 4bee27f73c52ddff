from __future__ import annotations

import numpy as np
import pytest
from drawing import picture
from PIL import Image, ImageDraw

from cupel.operators.image._paint import painted_over

SQUARE = np.array([[0.4, 0.4, 0.6, 0.4, 0.6, 0.6, 0.4, 0.6]])


@pytest.mark.parametrize("size", [(300, 200), (1500, 1100), (40, 700)])
@pytest.mark.parametrize(
    "polygon", [SQUARE, [[0.1, 0.2, 0.7, 0.1, 0.8, 0.5, 0.2, 0.6]], [[0, 0, 0.4, 0, 0.4, 1, 0, 1]]]
)
def test_what_stands_on_a_plain_ground_vanishes(size, polygon):
    plain = Image.new("RGB", size, (200, 120, 40))
    written = plain.copy()
    corners = np.reshape(polygon, (-1, 2)) * size
    centre = corners.mean(axis=0)
    smaller = [tuple(centre + 0.9 * (corner - centre)) for corner in corners]
    ImageDraw.Draw(written).polygon(smaller, fill=(0, 0, 255))
    apart = np.abs(np.asarray(painted_over(written, np.array(polygon)), float) - np.asarray(plain))
    assert apart.max() <= 2
    assert np.asarray(written).tobytes() != np.asarray(plain).tobytes(), "the picture given is left as it was"


def test_each_takes_the_colour_around_it():
    halves = Image.new("RGB", (400, 200), (255, 0, 0))
    halves.paste((0, 0, 255), (200, 0, 400, 200))
    left = [0.1, 0.3, 0.3, 0.3, 0.3, 0.7, 0.1, 0.7]
    right = [0.6, 0.3, 0.9, 0.3, 0.9, 0.7, 0.6, 0.7]
    noisy = halves.copy()
    for place in (left, right):
        ImageDraw.Draw(noisy).polygon([tuple(p) for p in np.reshape(place, (-1, 2)) * noisy.size], fill=(0, 255, 0))
    np.testing.assert_array_equal(np.asarray(painted_over(noisy, np.array([left, right]))), np.asarray(halves))


def test_the_mean_over_an_edge():
    halves = Image.new("RGB", (500, 500), (200, 0, 0))
    halves.paste((0, 0, 100), (250, 0, 500, 500))
    middle = np.asarray(painted_over(halves, SQUARE))[250, 250]
    np.testing.assert_allclose(middle, (100, 0, 50), atol=2)


def test_text_beside_text_is_not_its_surroundings():
    image = Image.new("RGB", (500, 300), (250, 250, 250))
    draw, polygons = ImageDraw.Draw(image), []
    for row in range(5):  # lines that touch
        y = 0.2 + row * 0.1
        polygons.append([0.2, y, 0.8, y, 0.8, y + 0.1, 0.2, y + 0.1])
    draw.rectangle([100, 60, 400, 210], fill=(0, 0, 0))
    assert np.asarray(painted_over(image, np.array(polygons)))[100:200, 150:350].min() >= 245


def test_where_nothing_is_left_it_is_the_mean_of_all():
    image = picture(1)
    whole = np.array([[0, 0, 1, 0, 1, 1, 0, 1]], float)
    painted = np.asarray(painted_over(image, whole)).reshape(-1, 3)
    np.testing.assert_allclose(painted[0], np.asarray(image).reshape(-1, 3).mean(axis=0), atol=2)
    assert (painted == painted[0]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_small_and_thin_pictures(size):
    many = np.array([[0, 0, 1, 0, 1, 1, 0, 1], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], *SQUARE])
    assert painted_over(Image.new("RGB", size), many).size == size


def test_no_place_no_change():
    assert painted_over(picture(1), np.zeros((0, 8))).tobytes() == picture(1).tobytes()
