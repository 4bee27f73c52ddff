"""The recipes that name a published CLIP, with cupel-tiny in its place: planned as they are, run on real pairs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cupel import Recipe, run
from cupel.operators.models.labels import read_labels
from cupel.pipeline.check import check_recipe
from cupel.pipeline.recipe_file import load_recipe
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.recipe import Read, Step

NAMES = ("laion400m", "laion5b_en", "datacomp_clip_l14_30", "dfn")


@pytest.mark.parametrize("name", NAMES)
def test_planned_as_shipped_without_any_weights(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CUPEL_MODELS", str(tmp_path))
    steps = check_recipe(name).steps
    assert any(step.step == "pair.clip_similarity" and "1 GPU" in step.resources for step in steps)
    assert not list(tmp_path.iterdir())


def offline(name: str, read: Read) -> Recipe:
    """The recipe with the small model instead of the named one."""
    recipe = load_recipe(name).recipe
    steps = [
        step.model_copy(update={"params": {**step.params, "model": "cupel-tiny"}})
        if isinstance(step, Step) and "model" in step.params
        else step
        for step in recipe.steps
    ]
    return recipe.model_copy(update={"steps": tuple(steps), "read": read})


def table(cut: str, part: str) -> list[dict[str, object]]:
    return pa.concat_tables(
        [pq.read_table(path) for path in sorted(Path(cut, part).iterdir())], promote_options="default"
    ).to_pylist()


@pytest.fixture(scope="module")
def openstax(shared_data):
    return Read(input=str(shared_data / "pairs" / "openstax" / "captions.jsonl"), image_url="source_path")


@pytest.fixture(scope="module")
def coco(shared_data):
    return Read(input=str(shared_data / "pairs" / "coco-mini" / "captions.jsonl"))


@pytest.mark.parametrize(("name", "share"), [("datacomp_clip_l14_30", 0.3), ("dfn", 0.15)])
def test_the_best_share_of_the_pool_by_open_clips_own_scores(ray_session, shared_data, coco, tmp_path, name, share):
    result = run(offline(name, coco), out=tmp_path / "c")
    assert (result.rows_in, result.kept) == (505, math.ceil(share * 505))
    assert verify_corpus(str(tmp_path / "c")).faults == []
    folder = shared_data / "pairs" / "coco-mini"
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    tiny = Path(__file__).parents[2] / "operators" / "models" / "cupel_tiny"
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    tokens = open_clip.SimpleTokenizer(str(tiny / "bpe.txt.gz"), context_length=model.context_length)
    with torch.inference_mode():
        model.eval()
        images = model.encode_image(
            torch.stack([transform(Image.open(folder / line["file"]).convert("RGB")) for line in lines]), normalize=True
        )
        texts = model.encode_text(tokens([text for line in lines for text in line["captions"]]), normalize=True)
    expected = (images.repeat_interleave(5, dim=0) * texts).sum(dim=1).numpy()
    order = np.sort(expected)[::-1]
    kept = np.sort([row["clip_similarity"] for row in table(result.cut, "curated")])[::-1]
    np.testing.assert_allclose(kept, order[: len(kept)], atol=1e-5)


@pytest.fixture(scope="module")
def laion400m(ray_session, openstax, tmp_path_factory):
    """The corpus, and what became of it; other cuts of it need not score the pairs again."""
    corpus = tmp_path_factory.mktemp("laion") / "c"
    return corpus, run(offline("laion400m", openstax), out=corpus, write=False)


def test_laion400m_is_its_predicates(laion400m):
    corpus, result = laion400m
    assert result.rows_in == result.kept + sum(result.dropped.values()) == 2690
    assert verify_corpus(str(corpus)).faults == []
    tags: dict[tuple[str, int], dict[int, dict[str, object]]] = {}
    for path in (corpus / "scores").glob("image.zero_shot-*/*.parquet"):
        for row in pq.read_table(path).to_pylist():  # the three lists are told apart by their lengths
            tags.setdefault((path.name, row["row"]), {})[len(row["zero_shot_scores"])] = row
    animals = read_labels("laion_animals")[1]
    expected = {
        place
        for place, by in tags.items()
        if by[35]["zero_shot_watched"] == 0
        or (by[7]["zero_shot_watched"] == 0 and by[33]["zero_shot_label"] not in animals)
    }
    assert 0 < len(expected) < len(tags), "the rule has something to do"
    assert result.kept == len(expected)
    similar = [pq.read_table(path) for path in corpus.glob("scores/pair.clip_similarity-*/*.parquet")]
    assert len(tags) == (pa.concat_tables(similar)["clip_similarity"].to_numpy() >= 0.3).sum()


def test_laion5b_en_keeps_english_above_its_threshold(laion400m, openstax):
    corpus, _ = laion400m
    result = run(offline("laion5b_en", openstax), out=corpus)
    assert result.measured_rows.get("pair.clip_similarity", 0) == 0
    rows = table(result.cut, "curated")
    assert 0 < result.kept == len(rows)
    for row in rows:
        assert row["language"] == "en"
        assert row["language_confidence"] >= 0.7
        assert row["image_bytes"] >= 5000
        assert row["clip_similarity"] >= 0.28
    assert len({row["image_url"] for row in rows}) == len(rows)
