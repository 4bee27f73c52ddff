from __future__ import annotations

import importlib.util

import numpy as np
import pyarrow as pa
import pytest
import shapely
from drawing import encoded
from PIL import Image, ImageDraw, ImageFont

from cupel.operators.base import Batch, forget_kept
from cupel.operators.image import text_regions
from cupel.operators.image.text_regions import TextRegions
from cupel.operators.images import ImageStore
from cupel.operators.models import _text_reader
from cupel.operators.models.weights import ModelError

Drawn = tuple[Image.Image, list[tuple[float, float, float, float]]]


def written(*lines: tuple[str, int, int, int], size: tuple[int, int] = (640, 480)) -> Drawn:
    """Lines of a font size at x and y on a plain ground, and where their letters are in pixels."""
    image = Image.new("RGB", size, (235, 235, 220))
    draw, boxes = ImageDraw.Draw(image), []
    for text, points, x, y in lines:
        font = ImageFont.load_default(points)
        draw.text((x, y), text, fill=(20, 20, 60), font=font)
        boxes.append(draw.textbbox((x, y), text, font=font))
    return image, boxes


def measured(*images: bytes, **parameters: object) -> dict[str, list]:
    batch = Batch(pa.table({"row": range(len(images))}), ImageStore(dict(enumerate(images))))
    columns = TextRegions(**parameters)(batch)
    assert not batch.failures
    return columns


LINES = [("Fresh Bread Daily", 40, 60, 40), ("from 7 to 12", 24, 300, 200), ("Closed on Sunday", 30, 40, 380)]


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (320, 240)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_drawn_lines_are_found_and_read(size, kind):
    image, boxes = written(*LINES)
    columns = measured(encoded(image.resize(size, Image.Resampling.LANCZOS), kind), read=True)
    assert columns["text_regions"] == [3]
    assert columns["image_text"] == ["\n".join(text for text, *_ in LINES)]
    assert columns["image_text_confidence"][0] > 0.9
    polygons = np.array(columns["text_polygons"][0]).reshape(3, 4, 2)
    for corners, box in zip(polygons, boxes, strict=True):
        place, letters = shapely.Polygon(corners * (640, 480)), shapely.box(*box)
        assert place.intersection(letters).area > 0.9 * letters.area
        assert place.area < 2.5 * letters.area, "with a margin, and not much more"
    assert columns["text_area_share"] == [pytest.approx(sum(shapely.Polygon(corners).area for corners in polygons))]


def test_without_reading_the_same_places():
    image = encoded(written(*LINES)[0], "PNG")
    places, read = measured(image), measured(image, read=True)
    assert list(places) == ["text_regions", "text_area_share", "text_polygons"]
    assert places == {name: read[name] for name in places}
    assert [added.name for added in TextRegions(read=True).adds] == list(read)


def test_where_there_is_no_text():
    sizes = ((640, 480), (1, 1), (3000, 3), (2, 900), (33, 31))
    images = [encoded(Image.linear_gradient("L").resize(size), "PNG") for size in sizes]
    assert measured(*images, read=True) == {
        "text_regions": [0] * len(images),
        "text_area_share": [0.0] * len(images),
        "text_polygons": [[]] * len(images),
        "image_text": [""] * len(images),
        "image_text_confidence": [None] * len(images),
    }


def test_pictures_of_all_modes_and_sizes(drawn):
    columns = measured(*drawn, long_side_px=320)
    assert [len(polygons) for polygons in columns["text_polygons"]] == columns["text_regions"]
    assert all(0 <= share < 0.5 for share in columns["text_area_share"])
    assert all(0 <= x <= 1 for polygons in columns["text_polygons"] for polygon in polygons for x in polygon)


def test_places_are_of_the_upright_picture():
    upright = written(*LINES)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert measured(turned) == measured(encoded(upright, "PNG"))


@pytest.mark.parametrize(
    ("width", "height", "stays"),
    [(640, 480, False), (400, 200, False), (300, 300, False), (192, 192, True), (600, 220, True), (100, 400, True)],
)
def test_what_is_too_tall_for_a_line_is_none(width, height, stays):
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float)
    assert len(text_regions._plausible(corners, 640)) == stays


def test_a_picture_that_the_detector_takes_for_text_as_a_whole(shared_data):
    """A plate of pizza, one of one photograph in ten of which PP-OCRv6 says so."""
    photo = (shared_data / "pairs/coco-mini/images/000000072258.jpg").read_bytes()
    whole = _text_reader.text_reader().find(Image.open(shared_data / "pairs/coco-mini/images/000000072258.jpg"))
    assert shapely.area(shapely.polygons(whole)).max() > 0.9 * 384**2
    assert measured(photo)["text_area_share"][0] < 0.1


def test_signs_in_photographs(shared_data):
    names = ("000000460229.jpg", "000000205401.jpg", "000000568290.jpg")
    images = [(shared_data / "pairs/coco-mini/images" / name).read_bytes() for name in names]
    assert measured(*images, read=True)["image_text"] == ["STOP", "N23456", "Qbuzz"]


def test_the_largest_lines_are_read_and_no_more(monkeypatch):
    monkeypatch.setattr(text_regions, "_READ_AT_MOST", 2)
    image = encoded(written(*LINES)[0], "PNG")
    assert measured(image, read=True)["image_text"] == ["Fresh Bread Daily\nClosed on Sunday"]


def test_what_is_read_without_confidence_is_left_out(monkeypatch):
    monkeypatch.setattr(_text_reader.TextReader, "read", lambda *_: (["sure", "no", "half"], [0.9, 0.49, 0.5]))
    columns = measured(encoded(written(*LINES)[0], "PNG"), read=True)
    assert (columns["image_text"], columns["text_regions"]) == (["sure\nhalf"], [3])
    assert columns["image_text_confidence"] == [pytest.approx(0.7)]


@pytest.mark.parametrize("missing", ["rapidocr", "onnxruntime"])
def test_what_to_install_is_told_before_anything_runs(missing, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(ModelError, match=r"needs rapidocr and onnxruntime: pip install 'cupel\[rapidocr\]'"):
        _ = TextRegions().files


def test_a_model_that_is_not_shipped_is_not_fetched(monkeypatch):
    forget_kept()
    monkeypatch.setattr(_text_reader, "DETECTOR", "other.onnx")
    with pytest.raises(ModelError, match=r"this rapidocr does not ship other.onnx: pip install"):
        TextRegions().setup()


def test_the_reader_is_part_of_the_fingerprint_where_it_reads():
    assert [path.name for path in TextRegions().files] == [_text_reader.DETECTOR]
    assert [path.name for path in TextRegions(read=True).files] == [_text_reader.DETECTOR, _text_reader.READER]
