"""image.phash and image.dhash against imagehash, which the field's published hashes come from."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from cupel.operators.image.dhash import Dhash
from cupel.operators.image.phash import Phash

HASHES = pytest.mark.parametrize(
    ("operator", "name", "oracle"), [(Phash, "phash", imagehash.phash), (Dhash, "dhash", imagehash.dhash)]
)


def hexes(columns, name):
    return [f"{value:016x}" for value in columns[name]]


@HASHES
def test_bits_of_drawn_images(measure, drawn, pixels, operator, name, oracle):
    columns, failures = measure(operator(), drawn)
    assert not failures
    assert hexes(columns, name) == [str(oracle(pixels(data))) for data in drawn]


@HASHES
def test_bits_of_real_images(measure, real_images, pixels, operator, name, oracle):
    assert len(real_images) > 350
    columns, _ = measure(operator(), real_images)
    assert hexes(columns, name) == [str(oracle(pixels(data))) for data in real_images]


@HASHES
def test_a_row_does_not_depend_on_its_neighbours(measure, drawn, operator, name, oracle):
    whole = measure(operator(), drawn)[0][name]
    assert [measure(operator(), [data])[0][name][0] for data in drawn] == whole
    assert measure(operator(), drawn[::-1])[0][name] == whole[::-1]
    assert measure(operator(), [])[0][name] == []


@HASHES
def test_what_does_not_decode_fails_alone(measure, drawn, operator, name, oracle):
    columns, failures = measure(operator(), [drawn[0], drawn[5][:200], b"", drawn[1]])
    assert failures == {1: "truncated", 2: "empty"}
    assert [columns[name][0], columns[name][3]] == measure(operator(), drawn[:2])[0][name]


@HASHES
def test_scaled_stays_near(measure, shared_data, operator, name, oracle):
    """Photographs enlarged to 1,500 px and compressed, so that there is something to leave out."""
    large = []
    for path in sorted((shared_data / "pairs/openstax/images").rglob("*.jpg"))[:400:10]:
        with Image.open(path) as image:
            file = io.BytesIO()
            image.convert("RGB").resize((1500, 1500 * image.height // image.width)).save(file, "JPEG")
            large.append(file.getvalue())
    full, scaled = (measure(operator(decode=decode), large)[0][name] for decode in ("full", "scaled"))
    distances = np.bitwise_count(np.array(full, np.uint64) ^ np.array(scaled, np.uint64))
    assert distances.max() <= 8
    assert np.median(distances) <= 2


@HASHES
def test_scaled_is_full_where_nothing_is_left_out(measure, drawn, operator, name, oracle):
    lossless = [data for data in drawn if data[:4] == b"\x89PNG"]
    assert measure(operator(decode="scaled"), lossless) == measure(operator(), lossless)


def test_parameters_are_checked():
    with pytest.raises(ValidationError):
        Phash(decode="half")
