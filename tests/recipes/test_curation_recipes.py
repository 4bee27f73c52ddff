"""Recipes of COYO, CC3M, CC12M, MetaCLIP, SemDeDup, T-MARS and DataComp on real pairs, cupel-tiny for their CLIP."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from recipe_files import ENTRIES, write_recipe_files

from cupel import Recipe, run
from cupel.pipeline.funnel import Funnel
from cupel.pipeline.recipe_file import load_recipe
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.recipe import Keep, Read, Step

pytestmark = pytest.mark.usefixtures("ray_session")


def offline(steps: Iterable[Step | Keep], folder: Path) -> list[Step | Keep]:
    """The steps with the small model instead of the named one, and with files from that folder."""
    made: list[Step | Keep] = []
    for step in steps:
        if isinstance(step, Step):
            params = {
                name: str(folder / value) if is_file(folder, value) else value for name, value in step.params.items()
            }
            model = {"model": "cupel-tiny"} if "model" in params else {}
            step = step.model_copy(update={"params": {**params, **model}})
        made.append(step)
    return made


def is_file(folder: Path, value: object) -> bool:
    return isinstance(value, str) and (folder / value).is_file()


@pytest.fixture
def made(tmp_path, shared_data):
    """Run a recipe, or other steps by its name, on the first rows of a set."""
    write_recipe_files(tmp_path)

    def make(name: str, pairs: str, rows: int, steps: Iterable[Step | Keep] = ()) -> Funnel:
        folder = shared_data / "pairs" / pairs
        lines = (folder / "captions.jsonl").read_text().splitlines()[:rows]
        some = [{**json.loads(line), "file": str(folder / json.loads(line)["file"])} for line in lines]
        (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in some))
        columns = {"image_url": "source_path"} if pairs == "openstax" else {}
        read = Read(table=str(tmp_path / "pairs.jsonl"), root=str(folder), **columns)
        recipe = Recipe(name=name, read=read, steps=offline(steps or load_recipe(name).recipe.steps, tmp_path))
        result = run(recipe, out=tmp_path / "c")
        assert verify_corpus(str(tmp_path / "c")).faults == []
        assert result.rows_in == result.kept + sum(result.dropped.values())
        return result

    return make


def rows_of(result: Funnel, part: str = "curated") -> list[dict]:
    tables = [pq.read_table(path) for path in sorted(Path(result.cut, part).iterdir())]
    return pa.concat_tables(tables, promote_options="default").to_pylist()


def test_coyo_is_its_predicates(made):
    result = made("coyo", "openstax", 600)
    rows = rows_of(result)
    assert 0 < len(rows) == result.kept
    for row in rows:
        image = Image.open(io.BytesIO(row["image"]))
        text = row["text"]
        assert text == " ".join(text.split())
        assert 6 <= len(text) <= 1000
        assert 3 <= len(text.split()) <= 256
        assert row["language"] == "en"
        assert len(row["image"]) >= 5000
        assert min(image.size) >= 200
        assert max(image.size) / min(image.size) <= 3
        assert row["nouns"] >= 1
    assert len({(row["phash"], row["text"]) for row in rows}) == len(rows)
    assert int(str(imagehash.phash(Image.open(io.BytesIO(rows[0]["image"])).convert("L"))), 16) == rows[0]["phash"]


@pytest.mark.parametrize("name", ["cc3m", "cc12m"])
def test_conceptual_captions(made, name):
    """Without the rule on sizes, which most of these pictures are too small for."""
    steps = [s for s in load_recipe(name).recipe.steps if not (isinstance(s, Keep) and "min_side_px" in s.bounds)]
    result = made(name, "coco-mini", 101, steps)
    rows = rows_of(result)
    assert 0 < len(rows) < 505
    for row in rows:
        assert row["nouns"] >= 1
        assert row["determiners"] >= 1
        assert row["labels_agreeing"] >= 1
        words = [word.strip(".,") for word in row["text"].lower().split()]
        if name == "cc3m":
            assert row["prepositions"] >= 1
            assert row["text"][0].isupper()
        else:
            assert 1 - len(set(words)) / len(words) <= 0.2 + 1e-9


def test_metaclip_keeps_what_an_entry_matches(made):
    result = made("metaclip_400m", "openstax", 300)
    rows = rows_of(result)
    assert len(rows) > 0
    for row in rows:
        words = row["text"].translate(str.maketrans(dict.fromkeys(",.;:?!`", " "))).split()
        assert row["balance_matches"] == len(set(words) & set(ENTRIES))
        assert row["balance_probability"] == 1, "20,000 rows an entry are more than there are"
    assert any("balance_matches" in rule for step in result.manifest.steps for rule in step.rules)


def test_semdedup_leaves_one_of_a_group(made):
    result = made("semdedup", "openstax", 300)
    assert 0 < result.dropped["keep semantic_of"] < 300
    gone = {row["value"] for row in rows_of(result, "dropped")}
    assert all(name.count(":") == 1 for name in gone)


def test_image_based_and_clip_score(made, tmp_path):
    result = made("datacomp_image_based_clip", "coco-mini", 101)
    assert result.rows_in - result.dropped["keep clip_similarity"] == math.ceil(0.3 * 505)
    reference, centroids = (np.load(tmp_path / f"{name}.npy") for name in ("in1k_clip_vit_l14", "centroids"))
    reference = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    reached = set((reference @ centroids.T).argmax(axis=1).tolist())
    rows = rows_of(result)
    assert len(rows) > 0
    for row in rows:
        vector = np.array(row["image_embedding"], np.float64)
        assert int((centroids @ vector).argmax()) == row["reference_cluster"]
        assert row["reference_cluster"] in reached


def test_tmars_keeps_the_better_half_by_the_masked_score(made):
    result = made("tmars", "coco-mini", 12)
    assert result.kept == math.ceil(60 / 2)
    assert {"text_regions", "masked_clip_similarity"} <= set(rows_of(result)[0])


def test_commonpool_safety_blurs_the_faces_that_it_finds(made, shared_data):
    result = made("commonpool_safety", "coco-mini", 15)
    assert 0 < result.dropped["keep nsfw"] < 75
    folder = shared_data / "pairs" / "coco-mini"
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    originals = {(folder / line["file"]).read_bytes() for line in lines}
    rows = rows_of(result)
    assert 0 < sum(row["faces"] > 0 for row in rows) < len(rows)
    for row in rows:
        assert (row["image"] in originals) == (row["faces"] == 0)
