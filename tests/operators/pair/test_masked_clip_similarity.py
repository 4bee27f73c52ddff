"""The masked score against pair.clip_similarity of pictures painted over beforehand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder
from PIL import Image, ImageDraw, ImageFont

from cupel import Recipe, run
from cupel.operators.base import Batch, run_here
from cupel.operators.image._paint import painted_over
from cupel.operators.image.text_regions import TextRegions
from cupel.operators.images import ImageStore
from cupel.operators.models.weights import ModelError
from cupel.operators.pair.clip_similarity import ClipSimilarity
from cupel.operators.pair.masked_clip_similarity import MaskedClipSimilarity

POLYGONS = pa.list_(pa.list_(pa.float32()))
PLACES = [
    [[0.1, 0.1, 0.9, 0.1, 0.9, 0.4, 0.1, 0.4]],
    [],
    [[0.0, 0.5, 0.5, 0.4, 0.6, 0.8, 0.1, 0.9], [0.6, 0.1, 0.9, 0.1, 0.9, 0.3, 0.6, 0.3]],
    [],
]
PICTURES = [picture(seed, *size) for seed, size in enumerate([(300, 200), (200, 300), (640, 480), (64, 64)])]
TEXTS = ["a dog", "a red car", "left of the house", ""]


def batch(images: list[bytes], places: list[object] = PLACES, texts: list[str] = TEXTS, **more: object) -> Batch:
    columns = {"text": pa.array(texts, pa.string()), "text_polygons": pa.array(places, POLYGONS)}
    return Batch(pa.table(columns), ImageStore(dict(enumerate(images))), **more)


@pytest.mark.parametrize("decode", ["full", "scaled"])
def test_the_score_of_the_picture_painted_over(small_clip, decode):
    plain = [encoded(image, "PNG") for image in PICTURES]
    places = [np.array(place, np.float32).astype(float).reshape(-1, 8) for place in PLACES]
    painted = [painted_over(image, place) for image, place in zip(PICTURES, places, strict=True)]
    step = {"model": str(small_clip), "decode": decode}
    found = MaskedClipSimilarity(**step)(batch(plain))["masked_clip_similarity"]
    expected = ClipSimilarity(**step)(batch([encoded(image, "PNG") for image in painted]))["clip_similarity"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    unmasked = ClipSimilarity(**step)(batch(plain))["clip_similarity"]
    assert ((np.abs(found - unmasked) > 1e-4) == [bool(place) for place in PLACES]).all()


def test_a_picture_without_text_is_not_run_twice(small_clip):
    ran = []

    def counted(model, prepared):
        ran.append((type(model).__name__, len(prepared)))
        return run_here(model, prepared)

    rows = batch([encoded(image, "PNG") for image in PICTURES], submit=counted)
    step = {"model": str(small_clip)}
    plain = ClipSimilarity(**step)(rows)["clip_similarity"]
    masked = MaskedClipSimilarity(**step)(rows)["masked_clip_similarity"]
    MaskedClipSimilarity(**step)(rows)
    texts = [("TextTower", 4)]
    assert ran == [*texts, ("ImageTower", 4), *texts, ("MaskedImageTower", 2), *texts]
    np.testing.assert_array_equal(masked[[1, 3]], plain[[1, 3]])


def test_captions_that_share_a_picture_share_its_pass(small_clip):
    ran = []

    def counted(model, prepared):
        ran.append((type(model).__name__, len(prepared)))
        return run_here(model, prepared)

    rows = batch([encoded(PICTURES[0])], [PLACES[0]] * 4, slots=np.zeros(4, np.int64), submit=counted)
    found = MaskedClipSimilarity(model=str(small_clip))(rows)["masked_clip_similarity"]
    assert ran == [("TextTower", 4), ("MaskedImageTower", 1)]
    assert len(set(found.tolist())) == 4


def test_what_fails_fails_alone(small_clip):
    images = [encoded(image) for image in PICTURES]
    whole = batch(images)
    expected = MaskedClipSimilarity(model=str(small_clip))(whole)["masked_clip_similarity"]
    assert not whole.failures
    broken = batch([images[0], images[1][:900], images[2], b""], [[[0.1, 0.2, 0.3]], *PLACES[1:]])
    found = MaskedClipSimilarity(model=str(small_clip))(broken)["masked_clip_similarity"]
    assert {row: error.kind for row, error in broken.failures.items()} == {0: "ValueError", 1: "truncated", 3: "empty"}
    np.testing.assert_allclose(found[2], expected[2], atol=1e-6)
    pixels = batch(images, [[[10.0, 10, 60, 10, 60, 30, 10, 30]], *PLACES[1:]])
    MaskedClipSimilarity(model=str(small_clip))(pixels)
    assert {row: error.kind for row, error in pixels.failures.items()} == {0: "ValueError"}


def test_a_column_that_holds_no_places_stops_the_run(small_clip):
    rows = Batch(pa.table({"text": ["a"], "ocr": ["STOP"]}), ImageStore({0: encoded(PICTURES[0])}))
    step = MaskedClipSimilarity(model=str(small_clip), column="ocr")
    assert step.reads == ("image", "text", "ocr")
    with pytest.raises(ModelError, match="column 'ocr' holds string"):
        step(rows)


def test_text_that_is_found_no_longer_counts(small_clip):
    """The same ground with two different words: masked, both score alike."""
    images = []
    for word in ("HOTEL", "BREAD"):
        image = Image.new("RGB", (400, 300), (180, 170, 90))
        ImageDraw.Draw(image).text((60, 110), word, fill=(10, 10, 40), font=ImageFont.load_default(80))
        images.append(encoded(image, "PNG"))
    places = TextRegions()(batch(images, [[]] * 2, ["a sign"] * 2))["text_polygons"]
    rows = batch(images, places, ["a sign"] * 2)
    plain = ClipSimilarity(model=str(small_clip))(rows)["clip_similarity"]
    masked = MaskedClipSimilarity(model=str(small_clip))(rows)["masked_clip_similarity"]
    assert abs(plain[0] - plain[1]) > 1e-3
    assert masked[0] == pytest.approx(masked[1], abs=1e-6)


@pytest.mark.usefixtures("ray_session")
def test_in_a_run(small_clip, tmp_path):
    """T-MARS: the masked score decides, and the picture that is written is the original."""
    write_folder(tmp_path / "in", 3)
    sign = Image.new("RGB", (400, 300), (180, 170, 90))
    ImageDraw.Draw(sign).text((60, 110), "HOTEL", fill=(10, 10, 40), font=ImageFont.load_default(80))
    (tmp_path / "in" / "p0001.jpg").write_bytes(encoded(sign))
    steps = [
        "image.text_regions",
        {"pair.clip_similarity": {"model": str(small_clip)}},
        {"pair.masked_clip_similarity": {"model": str(small_clip)}},
        {"keep": {"masked_clip_similarity": {"min": -1}}},
    ]
    result = run(Recipe(name="r", steps=steps), tmp_path / "in", out=tmp_path / "c")
    rows = pq.read_table(f"{result.cut}/curated").to_pylist()
    assert [row["image"] for row in rows] == [path.read_bytes() for path in sorted((tmp_path / "in").glob("*.jpg"))]
    apart = [abs(row["masked_clip_similarity"] - row["clip_similarity"]) > 1e-4 for row in rows]
    assert apart == [row["text_regions"] > 0 for row in rows]
    assert apart[1]
