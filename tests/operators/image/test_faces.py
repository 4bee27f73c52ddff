from __future__ import annotations

from pathlib import Path

import cv2
import cv2.data
import numpy as np
import pyarrow as pa
import pytest
from drawing import encoded, picture
from PIL import Image, ImageDraw, ImageFilter

from cupel.operators.base import Batch, forget_kept
from cupel.operators.image.faces import Faces
from cupel.operators.images import ImageStore
from cupel.operators.models.weights import ModelError


def face(side: int = 100) -> Image.Image:
    """A drawn face that looks straight out; eyes at 0.38 and 0.62 of the width, 0.45 of the height."""
    image = Image.new("RGB", (100, 100), (90, 110, 140))
    draw = ImageDraw.Draw(image)
    draw.ellipse([22, 8, 78, 95], fill=(215, 175, 150))
    draw.chord([20, 2, 80, 60], 190, 350, fill=(60, 40, 30))
    for x in (38, 62):
        draw.ellipse([x - 10, 38, x + 10, 52], fill=(150, 110, 95))
        draw.ellipse([x - 6, 42, x + 6, 49], fill=(240, 235, 230))
        draw.ellipse([x - 3, 42, x + 3, 49], fill=(30, 20, 20))
        draw.line([x - 9, 37, x + 9, 36], fill=(60, 40, 30), width=3)
    draw.polygon([(50, 48), (44, 66), (56, 66)], fill=(225, 190, 165))
    draw.line([45, 67, 55, 67], fill=(140, 95, 85), width=2)
    draw.ellipse([38, 74, 62, 82], fill=(160, 70, 70))
    return image.filter(ImageFilter.GaussianBlur(1)).resize((side, side), Image.Resampling.BICUBIC)


def with_faces(*places: tuple[int, int, int], size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Faces of a side at x and y."""
    image = Image.new("RGB", size, (90, 110, 140))
    for side, x, y in places:
        image.paste(face(side), (x, y))
    return image


def found(*images: bytes, **parameters: object) -> dict[str, list]:
    batch = Batch(pa.table({"row": range(len(images))}), ImageStore(dict(enumerate(images))))
    columns = Faces(**parameters)(batch)
    assert not batch.failures
    return columns


def is_of(box: list[float], place: tuple[int, int, int], size: tuple[int, int]) -> bool:
    """Does the box hold eyes and mouth of the face drawn there, and little more than the face?"""
    side, left, top = place
    x0, y0, x1, y1 = np.array(box) * (2 * size)
    inside = all(
        x0 < left + x * side < x1 and y0 < top + y * side < y1 for x, y in ((0.38, 0.45), (0.62, 0.45), (0.5, 0.78))
    )
    return inside and (x1 - x0) * (y1 - y0) < 1.2 * side**2


@pytest.mark.parametrize(
    "places", [[(40, 100, 50)], [(300, 20, 100)], [(200, 0, 0)], [(150, 400, 300), (90, 60, 40), (60, 300, 20)]]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_drawn_faces_are_found_where_they_are(places, kind):
    columns = found(encoded(with_faces(*places), kind))
    assert columns["faces"] == [len(places)]
    boxes = columns["face_boxes"][0]
    assert all(is_of(box, place, (640, 480)) for box, place in zip(boxes, places, strict=True)), "the largest first"
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    assert columns["face_area_share"] == [pytest.approx(sum(areas))], "they do not overlap"


@pytest.mark.parametrize("size", [(1600, 1200), (200, 150)])
def test_large_and_small_pictures_are_searched_at_one_size(size):
    image = with_faces((150, 400, 300), (300, 60, 40))
    boxes = found(encoded(image.resize(size), "JPEG"))["face_boxes"][0]
    np.testing.assert_allclose(boxes, found(encoded(image, "PNG"))["face_boxes"][0], atol=0.02)


def test_boxes_are_of_the_upright_picture():
    upright = with_faces((150, 400, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert found(turned)["face_boxes"] == found(encoded(upright, "PNG"))["face_boxes"]


def test_where_there_is_no_face(drawn):
    images = [*drawn, encoded(picture(1, 3000, 3), "PNG"), encoded(Image.effect_noise((200, 200), 80), "PNG")]
    columns = found(*images, long_side_px=128)
    assert columns["faces"] == [0] * len(images)
    assert columns["face_boxes"] == [[]] * len(images)
    assert columns["face_area_share"] == [0.0] * len(images)


def test_more_votes_find_fewer(real_images):
    few, more = (found(*real_images[:8], long_side_px=256, min_votes=votes)["faces"] for votes in (2, 9))
    assert all(a >= b for a, b in zip(few, more, strict=True))
    assert sum(few) > sum(more)


def test_threads_change_nothing(shared_data):
    photo = (shared_data / "pairs/openstax/images/introduction-sociology/Soc3e_17_02_05.jpg").read_bytes()
    alone = found(photo)
    cv2.setNumThreads(4)
    try:
        assert found(photo) == alone
    finally:
        cv2.setNumThreads(1)


@pytest.mark.parametrize(
    ("name", "faces"),
    [
        ("introduction-anthropology/ANTHRO_Figure_06_05_015.jpg", 1),
        ("introduction-anthropology/ANTHRO_Figure_09_01_003A.jpg", 1),
        ("introduction-sociology/Soc3e_13_01_01.jpg", 3),
        ("introduction-sociology/Soc3e_17_02_05.jpg", 16),
        ("introduction-anthropology/ANTHRO_Figure_04_02_004.jpg", 0),
    ],
)
def test_photographs_counted_by_eye(shared_data, name, faces):
    assert found((shared_data / "pairs/openstax/images" / name).read_bytes())["faces"] == [faces]


def test_an_opencv_without_cascades_is_told_before_anything_runs(tmp_path, monkeypatch):
    forget_kept()
    monkeypatch.setattr(cv2.data, "haarcascades", f"{tmp_path}/")
    with pytest.raises(ModelError, match=r"has no haarcascade_frontalface_alt2.xml: pip install .*<5"):
        _ = Faces().files
    with pytest.raises(ModelError, match="has no haarcascade_frontalface_alt2"):
        Faces().setup()
    monkeypatch.undo()
    assert all(Path(path).is_file() for path in Faces().files)
