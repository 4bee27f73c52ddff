"""Scores against open_clip's own transform, tokenizer and towers."""

from __future__ import annotations

import io
import threading

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from drawing import encoded, picture
from PIL import Image
from pydantic import ValidationError
from small_clip import CONFIG, make_clip, weights_of

from cupel.operators.base import Batch, forget_kept, run_here
from cupel.operators.images import ImageStore
from cupel.operators.models import clip
from cupel.operators.models.weights import ModelError
from cupel.operators.pair.clip_similarity import ClipSimilarity

SIZES = [(640, 480), (64, 64), (31, 200), (900, 333), (65, 64), (480, 640), (1200, 1600), (80, 70)]
IMAGES = [encoded(picture(i, *size), "JPEG") for i, size in enumerate(SIZES)]
TEXTS = ["a dog", "", "a " * 40, "ein Hund läuft", "日本語のテキスト", "🏳️‍🌈", "the " * 30, "left of the red car"]


def batch(images=IMAGES, texts=TEXTS, **more):
    return Batch(pa.table({"text": pa.array(texts, pa.string())}), ImageStore(dict(enumerate(images))), **more)


def by_open_clip(name: str, **settings) -> tuple[np.ndarray, np.ndarray]:
    model, _, transform = open_clip.create_model_and_transforms(name, **settings)
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    pixels = torch.stack([transform(Image.open(io.BytesIO(data))) for data in IMAGES])
    with torch.inference_mode():
        model.eval()
        return (
            model.encode_image(pixels, normalize=True).numpy(),
            model.encode_text(tokens, normalize=True).numpy(),
        )


def test_equal_to_open_clip_in_fp32(small_clip):
    images, texts = by_open_clip(f"local-dir:{small_clip}")
    rows = batch()
    found = ClipSimilarity(model=str(small_clip), embeddings=True)(rows)
    assert not rows.failures
    np.testing.assert_allclose(found["clip_similarity"], (images * texts).sum(axis=1), atol=1e-5)
    kept = np.asarray(found["image_embedding"].flatten(), np.float32).reshape(len(IMAGES), -1)
    np.testing.assert_allclose(kept, images, atol=1e-3)  # fp16
    np.testing.assert_allclose(
        np.asarray(found["text_embedding"].flatten(), np.float32).reshape(len(TEXTS), -1), texts, atol=1e-3
    )


def test_a_published_architecture_in_fp32_and_bf16(tmp_path):
    """ViT-B-32 with random weights, and the activation that `openai` was trained with."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu")
    path = tmp_path / "b32.pt"
    torch.save(model.state_dict(), path)
    images, texts = by_open_clip("ViT-B-32-quickgelu", pretrained=str(path))
    expected = (images * texts).sum(axis=1)
    for precision, apart in (("fp32", 1e-5), ("bf16", 2e-3)):
        step = ClipSimilarity(model="ViT-B-32-quickgelu", pretrained=str(path), precision=precision)
        np.testing.assert_allclose(step(batch())["clip_similarity"], expected, atol=apart)
    forget_kept()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "custom_text": True,
            "vision_cfg": {
                **CONFIG["vision_cfg"],
                "attentional_pool": True,
                "attn_pooler_heads": 2,
                "output_tokens": True,
            },
            "text_cfg": {**CONFIG["text_cfg"], "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {"context_length": 32, "vocab_size": 49408, "width": 256, "heads": 2, "layers": 2},
        },
        {"vision_cfg": {**CONFIG["vision_cfg"], "ls_init_value": 0.1}},
        {"vision_cfg": {**CONFIG["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2}},
        {"custom_text": True},
        {"text_cfg": {**CONFIG["text_cfg"], "no_causal_mask": True, "pool_type": "last"}},
        {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}},
    ],
    ids=["CoCa", "layer scale", "attentional pool", "custom text", "no causal mask", "ResNet"],
)
def test_other_architectures_in_fp32_and_bf16(tmp_path, changes):
    """What is no plain ViT with a causal text tower; open_clip's own bf16 fails for the first three."""
    folder = make_clip(tmp_path / "other", **changes)
    images, texts = by_open_clip(f"local-dir:{folder}")
    expected = (images * texts).sum(axis=1)
    for precision, apart in (("fp32", 1e-5), ("bf16", 1e-2)):
        found = ClipSimilarity(model=str(folder), precision=precision)(batch())
        np.testing.assert_allclose(found["clip_similarity"], expected, atol=apart)


def test_a_thin_image_is_not_blown_up(small_clip):
    """65,000 x 1 px would be 266 megapixels before the crop."""
    thin = encoded(picture(0, 65_000, 1), "PNG")
    rows = batch([thin, *IMAGES[1:]])
    found = ClipSimilarity(model=str(small_clip))(rows)["clip_similarity"]
    assert {row: error.kind for row, error in rows.failures.items()} == {0: "too_large"}
    assert not np.isnan(found[1:]).any()


def test_an_endless_word_is_tokenized_as_open_clip_does(small_clip):
    texts = ["x" * 60_000, "a " + "y" * 3000 + " b", "Z" * 2001]
    tokens = open_clip.get_tokenizer(f"local-dir:{small_clip}")
    found = clip.tokenize(str(small_clip), texts)
    np.testing.assert_array_equal(found[1:, :-1], tokens(texts[1:]))
    assert found[:, -1].tolist() == [1, 1, 1]


def test_threads_that_ask_at_once_load_one_network(small_clip, monkeypatch):
    forget_kept()
    made = []
    load = clip.load_model
    monkeypatch.setattr(clip, "load_model", lambda *arguments: made.append(1) or load(*arguments))
    towers = [ClipSimilarity(model=str(small_clip)).models[i % 2] for i in range(4)]
    threads = [threading.Thread(target=tower.setup) for tower in towers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_tells_a_caption_that_was_cut(small_clip):
    found = ClipSimilarity(model=str(small_clip))(batch())["clip_truncated"]
    tokens = open_clip.get_tokenizer(f"local-dir:{small_clip}")
    assert found.tolist() == [len(tokens.encode(text)) + 2 > 32 for text in TEXTS]
    exact = "a " * 30
    found = ClipSimilarity(model=str(small_clip))(batch(IMAGES[:2], [exact, exact + "b"]))
    assert found["clip_truncated"].tolist() == [False, True]


def test_the_scaled_decode_moves_scores_little(small_clip):
    exact, scaled = (
        ClipSimilarity(model=str(small_clip), decode=decode)(batch())["clip_similarity"]
        for decode in ("full", "scaled")
    )
    assert (exact != scaled).any()
    assert np.abs(exact - scaled).max() < 0.05


def test_an_image_runs_once_for_all_its_captions_and_all_operators(small_clip):
    from cupel.operators.image.zero_shot import ZeroShot

    ran = []

    def counted(model, prepared):
        ran.append((model.reads, len(prepared)))
        return run_here(model, prepared)

    slots = np.array([0, 0, 0, 1, 1, 2])
    rows = Batch(pa.table({"text": TEXTS[:6]}), ImageStore(dict(enumerate(IMAGES[:3]))), slots, counted)
    ClipSimilarity(model=str(small_clip))(rows)
    ZeroShot(model=str(small_clip), labels=("a cat", "a dog"))(rows)
    assert ran == [("text", 6), ("image", 3), ("text", 2)]


def test_an_image_that_does_not_decode_fails_alone(small_clip):
    rows = batch([IMAGES[0][:900], *IMAGES[1:]])
    found = ClipSimilarity(model=str(small_clip))(rows)["clip_similarity"]
    whole = ClipSimilarity(model=str(small_clip))(batch())["clip_similarity"]
    assert {row: error.kind for row, error in rows.failures.items()} == {0: "truncated"}
    np.testing.assert_allclose(found[1:], whole[1:], atol=1e-6)


def test_what_does_not_fit_in_memory_is_tried_in_halves(small_clip, monkeypatch):
    network = clip.network(str(small_clip), "openai", "fp32")
    towers, sizes = network.model.encode_image, []

    def small_memory(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return towers(pixels)

    whole = ClipSimilarity(model=str(small_clip), precision="fp32")(batch())["clip_similarity"]
    monkeypatch.setattr(network, "rows", 8)
    monkeypatch.setattr(network.model, "encode_image", small_memory)
    halved = ClipSimilarity(model=str(small_clip), precision="fp32")(batch())["clip_similarity"]
    np.testing.assert_allclose(halved, whole, atol=1e-6)
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert network.rows == 2, "and it is remembered"


def test_what_is_wrong_with_a_model_is_told_before_anything_runs(tmp_path):
    with pytest.raises(ValidationError, match="no model 'ViT-B-33'; did you mean 'ViT-B-32'"):
        ClipSimilarity(model="ViT-B-33")
    with pytest.raises(ValidationError, match="has no open_clip_config.json"):
        ClipSimilarity(model=str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("[1]")
    with pytest.raises(ValidationError, match="holds no JSON object"):
        ClipSimilarity(model=str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ValidationError, match="has no model_cfg with embed_dim"):
        ClipSimilarity(model=str(tmp_path))
    with pytest.raises(ValidationError, match="cupel-tiny has its weights with it; leave `pretrained: laion` out"):
        ClipSimilarity(model="cupel-tiny", pretrained="laion")
    with pytest.raises(ModelError, match=r"no file of weights 'gone.safetensors'"):
        _ = ClipSimilarity(pretrained="gone.safetensors").files


def test_weights_that_are_damaged_or_another_models(small_clip, tmp_path):
    other = make_clip(tmp_path / "other", embed_dim=32)
    weights_of(other).write_bytes(weights_of(small_clip).read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded as local-dir.*size mismatch"):
        ClipSimilarity(model=str(other))(batch())
    weights_of(other).write_bytes(weights_of(small_clip).read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        ClipSimilarity(model=str(other))(batch())
    weights_of(other).unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        ClipSimilarity(model=str(other))(batch())
    with pytest.raises(ModelError, match="cannot be loaded as ViT-B-32"):
        ClipSimilarity(model="ViT-B-32", pretrained=str(weights_of(small_clip)))(batch())


def test_a_pickle_with_code_in_it_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="cannot be loaded as RN50"):
        clip.load_model("RN50", str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()
