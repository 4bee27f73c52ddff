"""Shipped training runs: each says what it is, and the model that it names can be built."""

from __future__ import annotations

import pytest
from training import pairs

from cupel.pipeline.train.build import build, decayed
from cupel.pipeline.train.compare.recipe import CompareRecipe
from cupel.pipeline.train.loop import fit
from cupel.pipeline.train.optimizer import steps_of
from cupel.pipeline.train.recipe_file import load_as, load_train_recipe, train_recipes

RUNS = [name for name in train_recipes() if not name.startswith("proof")]


@pytest.mark.parametrize("name", train_recipes())
def test_it_is_a_recipe_of_its_name(name):
    recipe = load_train_recipe(name) if name in RUNS else load_as(CompareRecipe, name)
    assert recipe.name == name and train_recipes()[name].read_text().startswith("# ")


@pytest.mark.parametrize("name", [name for name in RUNS if not load_train_recipe(name).model.pretrained])
def test_its_model_can_be_built(name):
    recipe = load_train_recipe(name)
    built = build(recipe)
    assert built.side_px == (32 if name == "smoke" else 224)
    assert built.tokenize(["a red circle"]).shape == (1, built.config["text_cfg"]["context_length"])
    assert any(decayed(*named) for named in built.model.named_parameters())


def test_datacomps_small_scale_is_what_it_says():
    recipe = load_train_recipe("vit_b_32")  # arXiv:2304.14108, appendix N: 12.8 million samples, 500 steps of warm-up
    assert steps_of(recipe, 1) == 3125 and round(recipe.optimizer.warmup * 3125) == 500


def test_smoke_trains_on_any_pairs(tmp_path):
    recipe = load_train_recipe("smoke").model_copy(update={"samples": 512})
    result = fit(recipe, str(pairs(tmp_path / "in")), tmp_path / "run")
    assert result.loss_last < result.loss_first and result.parameters == 1_008_209
