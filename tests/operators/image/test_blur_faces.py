from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from cupel import Recipe, run
from cupel.operators.base import Batch
from cupel.operators.image.blur_faces import BlurFaces, blur
from cupel.operators.image.digest import Digest
from cupel.operators.images import ImageStore

BOX = [0.4, 0.4, 0.6, 0.6]
BOXES = pa.list_(pa.list_(pa.float32()))


def noise(width: int = 300, height: int = 200) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def blurred(
    images: list[bytes], boxes: list[object], **parameters: object
) -> tuple[list[bytes | None], dict[int, str]]:
    batch = Batch(pa.table({"face_boxes": pa.array(boxes, BOXES)}), ImageStore(dict(enumerate(images))))
    found = BlurFaces(**parameters)(batch)["blurred_image"]
    return found, {row: error.kind for row, error in batch.failures.items()}


def roughness(image: Image.Image, box: list[float]) -> float:
    """Standard deviation of the grey levels in a box."""
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(box, 2 * image.size, strict=True))
    return float(np.asarray(image.convert("L"), float)[y0:y1, x0:x1].std())


def as_published(image: Image.Image, box: list[float]) -> np.ndarray:
    """One box as img2dataset's BoundingBoxBlurrer treats it, by SciPy's Gaussian."""
    pixels = np.asarray(image, float)
    x0, y0, x1, y1 = (int(share * side) for share, side in zip(box, 2 * image.size, strict=True))
    side = max(x1 - x0, y1 - y0)
    mask = np.zeros(pixels.shape)
    mask[int(y0 - 0.1 * side) : int(y1 + 0.1 * side), int(x0 - 0.1 * side) : int(x1 + 0.1 * side)] = 1
    sigma = (0.1 * side, 0.1 * side, 0)
    mask = gaussian_filter(mask, sigma)
    return pixels * (1 - mask) + gaussian_filter(pixels, sigma) * mask


@pytest.mark.parametrize("box", [BOX, [0.3, 0.3, 0.5, 0.8], [0.25, 0.45, 0.7, 0.6]])
@pytest.mark.parametrize("image", [picture(3, 300, 200), noise()], ids=["smooth", "noise"])
def test_one_box_as_published(image, box):
    apart = np.abs(np.asarray(blur(image, np.array([box])), float) - as_published(image, box))
    assert apart.mean() < 1  # of 256 levels; on noise, half of which is blurred, nothing done would be 20
    assert np.quantile(apart, 0.999) < 16


def test_a_small_face_beside_a_large_one_is_blurred_too():
    image, small = noise(600, 400), [0.9, 0.05, 0.94, 0.11]
    after = blur(image, np.array([[0.05, 0.1, 0.6, 0.95], small]))
    assert roughness(after, small) < 0.3 * roughness(image, small)


@pytest.mark.parametrize("box", [[0, 0, 0.3, 0.3], [0.7, 0.7, 1, 1], [0, 0, 1, 1], [0.05, 0.4, 0.3, 0.6]])
def test_a_face_at_the_edge_is_blurred_too(box):
    image = noise()
    assert roughness(blur(image, np.array([box])), box) < 0.3 * roughness(image, box)


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.501, 0.9], [1, 1, 1, 1]])
def test_a_box_of_no_size_does_no_harm(box):
    image = noise()
    apart = np.abs(np.asarray(blur(image, np.array([box])), float) - np.asarray(image))
    assert (apart.max(axis=2) > 0).mean() < 0.2


@pytest.mark.parametrize(
    ("kind", "after"), [("JPEG", "JPEG"), ("WEBP", "WEBP"), ("AVIF", "AVIF"), ("PNG", "PNG"), ("GIF", "PNG")]
)
def test_the_format_stays_and_what_has_no_face_keeps_its_bytes(kind, after):
    image = picture(1)
    found, failures = blurred([encoded(image, kind)] * 2, [[BOX], []])
    assert not failures
    assert found[1] == encoded(image, kind)
    assert opened(found[0]).format == after
    before = np.asarray(opened(encoded(image, kind)).convert("RGB"), float)
    assert np.abs(np.asarray(opened(found[0]), float)[:40] - before[:40]).mean() < 3, "far from the face"


def test_upright_and_without_metadata():
    upright = picture(2, 200, 300)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    (image,) = map(opened, blurred([turned], [[BOX]])[0])
    assert (image.size, dict(image.getexif())) == ((200, 300), {})
    np.testing.assert_array_equal(np.asarray(image), np.asarray(blur(upright, np.array([BOX], np.float32))))


def test_of_an_animation_the_first_frame_is_left():
    frames = [picture(i, 64, 64) for i in range(3)]
    for kind in ("GIF", "WEBP", "PNG"):
        moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        (image,) = map(opened, blurred([moving], [[BOX]])[0])
        assert getattr(image, "n_frames", 1) == 1
        assert np.abs(np.asarray(image.convert("RGB"), float)[:8] - np.asarray(frames[0])[:8]).mean() < 25


def test_quality_is_that_of_the_file():
    small, large = (len(blurred([encoded(noise())], [[BOX]], quality=quality)[0][0]) for quality in (20, 95))
    assert small < large / 3


@pytest.mark.parametrize("boxes", [[[40.0, 40, 60, 60]], [[0.6, 0.4, 0.2, 0.2]], [[0.1, 0.2, 0.3]], [None, BOX]])
def test_boxes_that_are_none_cost_the_row_its_image(boxes):
    found, failures = blurred([encoded(picture(1))] * 3, [boxes, [BOX], []])
    assert failures == {0: "ValueError"}
    assert found[0] is None or found[0] == encoded(picture(1)), "the engine nulls the values of a row that failed"
    assert found[1] != found[2] == encoded(picture(1))


def test_an_image_that_does_not_decode_fails_alone():
    whole = encoded(picture(1))
    _, failures = blurred([whole[:2000], whole, b""], [[BOX], [BOX], [BOX]])
    assert failures == {0: "truncated", 2: "empty"}


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_has_a_range(quality):
    with pytest.raises(ValidationError, match="quality"):
        BlurFaces(quality=quality)


@pytest.mark.usefixtures("ray_session")
def test_a_run_writes_and_measures_the_blurred_version(tmp_path):
    """Boxes from the source, as DataComp's metadata has them; a row without boxes in the metadata loses its image."""
    images = [encoded(picture(seed)) for seed in range(4)]
    boxes = [[BOX], [], None, [[0.1, 0.1, 0.3, 0.4], BOX]]
    rows = {"key": list("abcd"), "text": ["a face"] * 4, "image": images}
    pq.write_table(pa.table({**rows, "face_bboxes": pa.array(boxes, BOXES)}), tmp_path / "rows.parquet")
    steps = [{"image.blur_faces": {"column": "face_bboxes"}}, "image.digest"]
    result = run(Recipe(name="r", steps=steps), tmp_path / "rows.parquet", out=tmp_path / "c")
    assert result.errors == {}
    written = pq.read_table(f"{result.cut}/curated").to_pylist()
    assert [row["image"] == image for row, image in zip(written, images, strict=True)] == [False, True, False, False]
    assert written[2]["image"] is None
    for i in (0, 3):
        expected = blur(opened(images[i]).convert("RGB"), np.array(boxes[i]))
        assert np.abs(np.asarray(opened(written[i]["image"]), float) - np.asarray(expected)).mean() < 2
    kept = [row for row in written if row["image"]]
    batch = Batch(pa.table({"row": range(3)}), ImageStore({i: row["image"] for i, row in enumerate(kept)}))
    assert [row["sha256"] for row in kept] == Digest()(batch)["sha256"]
