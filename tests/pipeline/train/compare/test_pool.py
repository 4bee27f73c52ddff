"""The drawn pool: what is planted is there, and the truth agrees with pictures and captions."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cupel.pipeline.train.compare.captions import BOILERPLATE, captions, different_stories, stories
from cupel.pipeline.train.compare.drawn import COLOURS, PLACES, RELATIONS, SHAPES, draw_scenes, paint
from cupel.pipeline.train.compare.pool import Drawn, Pool, draw_pool

FAULTS = {"shuffled": 0.30, "near_duplicate": 0.15, "boilerplate": 0.12, "foreign": 0.10, "blurred": 0.08}
POOL = Pool(rows=1000, faults=FAULTS, sources=5, evaluation_rows=200, seed=3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Drawn:
    return draw_pool(POOL, tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def rows(drawn) -> list[dict]:
    """The pool's rows with their truth."""
    pool, truth = pq.read_table(drawn.pool).to_pylist(), pq.read_table(drawn.truth).to_pylist()
    return [row | told for row, told in zip(pool, truth, strict=True) if row["key"] == told["key"]]


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)).hexdigest()


def phash(image: bytes) -> imagehash.ImageHash:
    return imagehash.phash(Image.open(io.BytesIO(image)))


def test_faults_have_their_shares_exactly(rows):
    found = {name: sum(row["fault"] == name for row in rows) for name in (*FAULTS, "clean")}
    assert found == {name: round(1000 * share) for name, share in FAULTS.items()} | {"clean": 250}


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(drawn, tmp_path):
    again = draw_pool(POOL, tmp_path / "again")
    other = draw_pool(POOL.model_copy(update={"seed": 4}), tmp_path / "other")
    assert digest(again.truth.parent) == digest(drawn.truth.parent) != digest(other.truth.parent)


def test_the_pool_itself_says_nothing_of_the_truth(drawn):
    assert drawn.truth.parent == drawn.pool.parent, "beside the pool, not in it"
    for file in drawn.pool.iterdir():
        schema = pq.read_schema(file)
        assert schema.names == ["key", "image", "text"]
        assert not any(fault.encode() in value for fault in FAULTS for value in (schema.metadata or {}).values())


def test_a_clean_pool_is_clean(tmp_path):
    table = pq.read_table(draw_pool(Pool(rows=200, faults={}), tmp_path).truth)
    assert set(table.column("fault").to_pylist()) == {"clean"}


def test_near_duplicates_look_like_the_row_they_name_and_others_do_not(rows):
    images = {row["key"]: row["image"] for row in rows}
    copies = [row for row in rows if row["fault"] == "near_duplicate"]
    apart = [phash(row["image"]) - phash(images[row["copy_of"]]) for row in copies]
    assert len({row["copy_of"] for row in copies}) == 5
    assert all(row["copy_of"] is None for row in rows if row not in copies)
    assert np.mean(np.array(apart) <= 4) > 0.97
    clean = [row["image"] for row in rows if row["fault"] == "clean"]
    assert np.mean([phash(a) - phash(b) <= 6 for a, b in pairwise(clean)]) < 0.02
    assert all(row["image"] != images[row["copy_of"]] for row in copies)


def test_blurred_pictures_have_lost_their_detail(rows):
    def detail(row: dict) -> float:
        """Mean step between neighbouring pixels, at the size it is stored."""
        pixels = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L"), float)
        return float(np.abs(np.diff(pixels)).mean()) if pixels.shape == (32, 32) else 0.0

    found = {name: [detail(row) for row in rows if row["fault"] == name] for name in ("blurred", "clean")}
    assert np.mean(found["blurred"]) < 0.5 * min(found["clean"])
    small = [row for row in rows if Image.open(io.BytesIO(row["image"])).width < 32]
    assert {row["fault"] for row in small} == {"blurred"}


def test_captions_are_as_the_truth_has_them(rows):
    texts = {name: [row["text"] for row in rows if row["fault"] == name] for name in (*FAULTS, "clean")}
    assert set(texts["boilerplate"]) <= set(BOILERPLATE)
    english = {"background", "image", "picture", "drawing", "we"}
    assert all(english & set(text.split()) for text in texts["clean"])
    assert not any({"the", "background", "picture"} & set(text.split()) for text in texts["foreign"])


def where(pixels: np.ndarray) -> tuple[float, float]:
    """Centre (x, y), as shares of the side, of what is coloured unlike the corners."""
    side = len(pixels)
    ground = np.median(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    far = np.abs(pixels - ground).max(axis=-1) > 70
    y, x = np.nonzero(far)
    return x.mean() / side, y.mean() / side


def test_a_caption_says_where_the_thing_is_and_which_colour_it_has():
    scenes = draw_scenes(200, ("one",), np.random.default_rng(0))
    colours = np.array(list(COLOURS.values()), float)
    right = 0
    for row, pixels in enumerate(paint(scenes, 64).astype(float)):
        cell = scenes.place[row]
        x, y = int((0.29 + 0.42 * (cell % 2)) * 64), int((0.29 + 0.42 * (cell // 2)) * 64)
        seen = pixels[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3)
        nearest = np.abs(seen[:, None] - colours).sum(-1).min(0).argmin()
        centre = where(pixels)
        text = stories(scenes.take(np.array([row])))[0]
        assert text.startswith(f"a picture of a {list(COLOURS)[scenes.colour[row]]}".replace("a orange", "an orange"))
        assert PLACES[cell] in text and SHAPES[scenes.shape[row]] in text
        right += nearest == scenes.colour[row] and (centre[0] > 0.5, centre[1] > 0.5) == (cell % 2 == 1, cell >= 2)
    assert right > 170  # a ring or a crescent may be empty in its middle


def test_two_things_stand_as_the_caption_says():
    scenes = draw_scenes(300, ("two",), np.random.default_rng(0))
    light = np.array([list(COLOURS)[c] for c in scenes.colour])
    first = np.flatnonzero((light == "yellow") & np.isin(scenes.ground, (1, 3)))  # yellow on black or teal
    assert len(first) > 10
    for row, pixels in zip(first, paint(scenes.take(first), 64).astype(float), strict=True):
        yellow = np.abs(pixels - np.array(COLOURS["yellow"])).sum(-1) < 110
        y, x = (axis.mean() / 64 for axis in np.nonzero(yellow))
        said = RELATIONS[scenes.relation[row]]
        side = {"left of": x < 0.5, "right of": x > 0.5, "above": y < 0.5, "below": y > 0.5}
        assert side[said], (said, x, y)


def test_the_same_scene_is_painted_alike_among_others():
    scenes = draw_scenes(300, ("one", "many", "two"), np.random.default_rng(1))
    some = np.array([250, 3, 120])
    np.testing.assert_array_equal(paint(scenes.take(some), 32), paint(scenes, 32)[some])


def test_evaluation_is_of_other_pictures_and_no_two_captions_mean_the_same(drawn):
    pool, held_out = (pq.read_table(place) for place in (drawn.pool, drawn.pairs))
    assert held_out.num_rows == 200
    assert not set(pool.column("image").to_pylist()) & set(held_out.column("image").to_pylist())
    assert not set(pool.column("key").to_pylist()) & set(held_out.column("key").to_pylist())
    folders = {path.name for path in drawn.classes.iterdir()}
    assert folders <= {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES} and len(folders) > 40


@pytest.mark.parametrize("worlds", [("one",), ("many",), ("one", "many", "one")])
def test_as_many_captions_differ_as_are_allowed(worlds):
    drawn = draw_scenes(40_000, worlds, np.random.default_rng(0))
    assert len(set(stories(drawn))) == different_stories(worlds)


def test_captions_vary_and_stay_true():
    scenes = draw_scenes(1, ("one",), np.random.default_rng(5)).take(np.zeros(200, np.int64))
    assert len(set(captions(scenes, np.random.default_rng(0)))) > 8
    assert len(set(stories(scenes))) == 1


@pytest.mark.parametrize("faults", [{"near_duplicate": 0.5, "shuffled": 0.5}, {"shuffled": 0.7, "foreign": 0.7}])
def test_shares_that_do_not_fit_are_told(faults, tmp_path):
    with pytest.raises(ValueError, match="faults"):
        Pool(rows=100, faults=faults)
