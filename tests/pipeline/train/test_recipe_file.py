"""Training recipes: shipped ones, files, and mistakes told with their line."""

from __future__ import annotations

import pytest

from cupel.pipeline.recipe_file import RecipeError
from cupel.pipeline.train.recipe_file import load_train_recipe, train_recipes

GOOD = "name: mine\nmodel:\n  architecture: cupel-tiny\nsamples: 100\n"


@pytest.mark.parametrize("name", ["smoke", "train/smoke"])
def test_a_shipped_recipe_by_its_name(name):
    assert load_train_recipe(name).name == "smoke"
    assert "smoke" in train_recipes()


def test_a_file_without_a_name_has_its_files(tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD.replace("name: mine\n", ""))
    assert load_train_recipe(tmp_path / "mine.yaml").name == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "batchs: 3\n", r":5: unknown key 'batchs'; did you mean 'batch'\? \(known: name, model"),
        (GOOD + "optimizer:\n  lr: 0.1\n  wamup: 3\n", r":7: unknown key 'wamup'; did you mean 'warmup'\?"),
        (GOOD + "objective: {negatives: {knds: [order]}}\n", r":5: unknown key 'knds'; did you mean 'kinds'\?"),
        (GOOD + "batch: many\n", r":5: batch: Input should be a valid integer, not 'many'"),
        (GOOD + "batch: 10\naccumulate: 3\n", "batch 10 cannot be computed in 3 equal parts"),
        (GOOD + "epochs: 2.0\n", "a run needs exactly one of samples and epochs"),
        (
            "model: {architecture: a, config: {}}\nsamples: 1\n",
            ":1: model needs exactly one of architecture and config",
        ),
        ("samples: 1\n", "'model' is missing"),
        (GOOD + "optimizer: {lr: -1.0}\n", ":5: lr: Input should be greater than 0, not -1.0"),
        (GOOD + "objective: {name: coca, negatives: {}}\n", ":5: negatives go with clip and siglip"),
        ("- a\n", ":1: a recipe is a mapping with name, model, objective, augment and more, not list"),
        (GOOD + "optimizer: {betas: [2.0, 3.0]}\n", ":5: 0: Input should be less than 1"),
        (GOOD.replace("samples: 100", "epochs: .inf"), ":4: epochs: Input should be a finite number"),
        (GOOD + "seed: 99999999999999999999\n", ":5: seed: Input should be less than"),
        (GOOD + "samples: 3\n", ":5: 'samples' stands here twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, told):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=rf"mine.yaml.*{told}"):
        load_train_recipe(str(tmp_path / "mine.yaml"))


def test_an_unknown_name_is_told_with_what_is_near():
    with pytest.raises(RecipeError, match=r"no recipe 'smoek'.*did you mean 'smoke'"):
        load_train_recipe("smoek")
