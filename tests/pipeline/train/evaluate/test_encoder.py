"""Encoders: which model a name stands for, and vectors that are open_clip's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import encoded, picture
from small_clip import make_clip

from cupel.operators.decode import RowError
from cupel.operators.models.weights import SHIPPED, ModelError
from cupel.pipeline.train.evaluate.encoder import model_of, open_encoder


def test_a_run_a_folder_and_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED["cupel-tiny"], "run/model")
    assert model_of("run") == model_of("run/") == model_of("run/model") == str(Path("run/model"))
    assert model_of("cupel-tiny") == "cupel-tiny"
    assert model_of("ViT-B-32") == "ViT-B-32"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("begun", "begun is a run without a model yet"),
        ("runs/gone", "there is no run or model runs/gone"),
        ("./gone", "there is no run or model ./gone"),
        ("cupel-tyni", "no model 'cupel-tyni'.*cupel-tiny"),
        ("empty", "has no open_clip_config.json"),
    ],
)
def test_what_is_no_model(place: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("begun").mkdir()
    Path("begun/run.json").write_text("{}")
    Path("empty").mkdir()
    with pytest.raises(ModelError, match=told):
        open_encoder(place)


def test_vectors_are_open_clips(tmp_path: Path) -> None:
    """With the towers, the transform and the tokenizer as open_clip itself puts them together."""
    import open_clip

    folder = make_clip(tmp_path / "clip")
    encoder = open_encoder(str(folder))
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
    images, texts = [picture(seed, 90, 70) for seed in range(3)], ["a red circle", "", "many " * 60]
    pixels = np.stack([encoder.prepared(encoded(image, "PNG")) for image in images])
    assert (pixels.shape, pixels.dtype) == ((3, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        theirs = model.encode_image(torch.stack([transform(image) for image in images]), normalize=True).numpy()
        said = model.encode_text(tokens(texts), normalize=True).numpy()
    assert np.abs(encoder.images(pixels) - theirs).max() < 1e-5
    assert np.abs(encoder.texts(texts) - said).max() < 1e-5
    assert encoder.cut_short == 1


def test_a_broken_image_has_a_class() -> None:
    with pytest.raises(RowError, match="html"):
        open_encoder("cupel-tiny").prepared(b"<!doctype html><html></html>")
