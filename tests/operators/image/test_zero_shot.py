from __future__ import annotations

import io

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from drawing import encoded, picture
from PIL import Image
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.image.zero_shot import ZeroShot
from cupel.operators.images import ImageStore
from cupel.operators.models.labels import read_labels, shipped_lists
from cupel.operators.models.weights import ModelError
from cupel.operators.pair.clip_similarity import ClipSimilarity

IMAGES = [encoded(picture(seed)) for seed in range(6)]
LABELS = ("a cat", "two dogs", "a red car", "nothing at all", "a drawing")


def batch(**columns):
    table = pa.table({"text": [""] * len(IMAGES), **columns})
    return Batch(table, ImageStore(dict(enumerate(IMAGES))))


def test_probabilities_are_those_of_open_clip(small_clip):
    """The zero-shot recipe of open_clip's README: prompts averaged, softmax of 100 times the cosines."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{small_clip}")
    tokens = open_clip.get_tokenizer(f"local-dir:{small_clip}")
    templates = ("a photo of {}", "a drawing of {}.")
    with torch.inference_mode():
        prompts = [tokens([template.replace("{}", label) for template in templates]) for label in LABELS]
        heads = torch.stack([model.encode_text(prompt, normalize=True).mean(dim=0) for prompt in prompts])
        heads = torch.nn.functional.normalize(heads, dim=-1)
        images = model.eval().encode_image(
            torch.stack([transform(Image.open(io.BytesIO(data))) for data in IMAGES]), normalize=True
        )
        cosines = images @ heads.T
        odds = (100 * cosines).softmax(dim=-1)
    found = ZeroShot(model=str(small_clip), labels=LABELS, templates=templates, watch=LABELS[:2])(batch())
    np.testing.assert_allclose(np.array(found["zero_shot_scores"].to_pylist()), cosines, atol=1e-5)
    np.testing.assert_allclose(found["zero_shot_probability"], odds.max(dim=1).values, atol=1e-3)
    np.testing.assert_allclose(found["zero_shot_watched_probability"], odds[:, :2].sum(dim=1), atol=1e-3)
    best = odds.topk(2).indices
    assert found["zero_shot_label"] == [LABELS[i] for i in best[:, 0]]
    assert found["zero_shot_second"] == [LABELS[i] for i in best[:, 1]]
    assert found["zero_shot_watched"].tolist() == (best < 2).sum(dim=1).tolist()


def test_kept_embeddings_give_the_same_without_an_image(small_clip):
    kept = ClipSimilarity(model=str(small_clip), embeddings=True)(batch())["image_embedding"]
    step = ZeroShot(model=str(small_clip), labels=LABELS, column="image_embedding")
    assert step.reads == ("image_embedding",)
    assert [model.reads for model in step.models] == ["text"], "no image tower is loaded"
    without = Batch(pa.table({"image_embedding": kept}))
    seen = ZeroShot(model=str(small_clip), labels=LABELS)(batch())
    found = step(without)
    np.testing.assert_allclose(
        np.array(found["zero_shot_scores"].to_pylist()), np.array(seen["zero_shot_scores"].to_pylist()), atol=1e-3
    )


def test_an_embedding_of_another_width_is_refused(small_clip):
    wrong = pa.array([[0.0] * 8] * 3, pa.list_(pa.float16(), 8))
    step = ZeroShot(model=str(small_clip), labels=LABELS, column="image_embedding")
    with pytest.raises(ModelError, match="has 8 numbers a row; .* has 256"):
        step(Batch(pa.table({"image_embedding": wrong})))
    with pytest.raises(ModelError, match="holds string, and no embeddings"):
        step(Batch(pa.table({"image_embedding": ["a"]})))


def test_a_template_without_a_place_for_the_label(small_clip):
    with pytest.raises(ValidationError, match="which has no {} for the label"):
        ZeroShot(model=str(small_clip), labels=LABELS, templates=("a photo",))


def test_laions_categories():
    """19 that are none, then those of the tag; the two that its code ran together are apart."""
    names, watched = read_labels("laion_nsfw")
    assert len(names) == 35
    assert names[19:] == watched
    assert {"animal, bird, mammal, insect", "fashion, clothes"} <= set(names[:19])
    for name in shipped_lists():
        assert len(read_labels(name)[0]) >= 2


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "at least two"),
        (["one"], "at least two"),
        (["a", " "], "none empty"),
        (["a", "b", "a"], "'a' twice"),
        ("laion_nfsw", "did you mean 'laion_nsfw'"),
    ],
)
def test_lists_that_are_no_choice(small_clip, labels, said):
    with pytest.raises(ValidationError, match=said):
        ZeroShot(model=str(small_clip), labels=labels)


def test_a_file_of_labels(small_clip, tmp_path):
    (tmp_path / "mine.txt").write_text("# mine\na cat\n\n! a dog\n")
    step = ZeroShot(model=str(small_clip), labels=str(tmp_path / "mine.txt"))
    assert tmp_path / "mine.txt" in step.files
    assert read_labels(str(tmp_path / "mine.txt")) == (("a cat", "a dog"), ("a dog",))
    with pytest.raises(ValidationError, match="watch names 'a cow'"):
        ZeroShot(model=str(small_clip), labels=("a", "b"), watch=("a cow",))
