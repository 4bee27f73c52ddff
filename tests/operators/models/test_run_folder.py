"""A folder that `cupel train` wrote is a model, known by what is in it."""

from __future__ import annotations

import os
import shutil

import pytest
from small_clip import make_clip

from cupel.operators.models.clip import Network, tokenize
from cupel.operators.models.weights import ModelError, model_config, model_folder, weights_files
from cupel.operators.pair.clip_similarity import ClipSimilarity
from cupel.pipeline.fingerprint import depends_on


@pytest.fixture
def trained(tmp_path, small_clip):
    """A run: its recipe and its model."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    shutil.copytree(small_clip, tmp_path / "run" / "model")
    return tmp_path / "run"


def test_a_run_stands_for_its_model(trained, small_clip):
    assert model_folder(str(trained)) == trained / "model" == model_folder(str(trained / "model"))
    assert model_config(str(trained)) == model_config(str(small_clip))
    assert weights_files(str(trained), "") == (trained / "model",)
    texts = ["a red square", "two cats"]
    ones, others = (
        Network(str(place), "", "fp32").texts(tokenize(str(place), texts)) for place in (trained, small_clip)
    )
    assert ones.tolist() == others.tolist()


def test_it_is_known_by_its_content_and_not_by_its_place(trained, small_clip, tmp_path, monkeypatch):
    """However it is written, wherever it lies: the same scores; trained again: others."""
    monkeypatch.chdir(tmp_path)
    places = [str(trained), f"{trained}/", str(trained / "model"), "run", f".{os.sep}run", str(small_clip)]
    known = [depends_on(ClipSimilarity(model=place)) for place in places]
    assert all(each == known[0] for each in known)
    assert "model" not in known[0][0]
    moved = trained.rename(tmp_path / "elsewhere")
    assert depends_on(ClipSimilarity(model=str(moved))) == known[0]
    make_clip(moved / "model", seed=1)
    assert depends_on(ClipSimilarity(model=str(moved))) != known[0]


def test_a_run_that_is_not_finished_is_told(trained):
    shutil.rmtree(trained / "model")
    with pytest.raises(ValueError, match="run is a run without a model yet: let it finish"):
        ClipSimilarity(model=str(trained))
    (trained / "run.json").unlink()
    with pytest.raises(ModelError, match="has no open_clip_config.json"):
        model_config(str(trained))


def test_weights_beside_a_runs_model_are_refused(trained):
    with pytest.raises(ValueError, match="has its weights with it"):
        ClipSimilarity(model=str(trained), pretrained="laion2b_s34b_b79k")
