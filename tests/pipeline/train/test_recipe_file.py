"""Training recipes: shipped ones, files, and mistakes told with their line."""

from __future__ import annotations

import pytest

from cupel.pipeline.recipe_file import SHIPPED, RecipeError, load_recipe
from cupel.pipeline.train.compare.recipe import CompareRecipe
from cupel.pipeline.train.recipe_file import load_as, load_train_recipe, train_recipes
from cupel.schemas.train import TrainRecipe

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
        (GOOD + "batchs: 3\n", r":5: unknown key 'batchs'; did you mean 'batch' or 'base'\? \(known: name, model"),
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


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        (TrainRecipe, "proof_smoke", "proof_smoke.yaml is for `cupel compare`"),
        (CompareRecipe, "smoke", "smoke.yaml is for `cupel train`"),
        (TrainRecipe, str(SHIPPED / "laion400m.yaml"), "laion400m.yaml is for `cupel run`"),
    ],
)
def test_a_recipe_of_another_command_is_told_as_one(kind, name, told):
    with pytest.raises(RecipeError, match=told):
        load_as(kind, name)
    with pytest.raises(RecipeError, match="smoke is a training run or an experiment: for `cupel train` or `cupel comp"):
        load_recipe("smoke")


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    """YAML 1.1 takes 1e-3 for text; 1.2 and everybody who trains do not."""
    (tmp_path / "mine.yaml").write_text(GOOD + "optimizer: {lr: 1e-3, weight_decay: 2E+0}\nema: .9e0\n")
    found = load_train_recipe(tmp_path / "mine.yaml")
    assert (found.optimizer.lr, found.optimizer.weight_decay, found.ema) == (0.001, 2.0, 0.9)
    (tmp_path / "text.yaml").write_text("name: 1e\nmodel: {architecture: e-3}\nsamples: 1\n")
    assert load_train_recipe(tmp_path / "text.yaml").name == "1e"


def test_an_unknown_name_is_told_with_what_is_near():
    with pytest.raises(RecipeError, match=r"no recipe 'smoek'.*did you mean 'smoke'"):
        load_train_recipe("smoek")


def test_a_base_gives_whole_keys_that_the_file_does_not_say(tmp_path):
    (tmp_path / "first.yaml").write_text(GOOD + "seed: 3\noptimizer: {lr: 0.1, warmup: 0.5}\nbatch: 10\n")
    (tmp_path / "second.yaml").write_text("base: first.yaml\nbatch: 20\n")
    (tmp_path / "third.yaml").write_text("base: second.yaml\noptimizer: {lr: 0.2}\n")
    found = load_train_recipe(tmp_path / "third.yaml")
    assert (found.name, found.seed, found.batch, found.samples) == ("third", 3, 20, 100)
    assert (found.optimizer.lr, found.optimizer.warmup) == (0.2, 0.05), "the base's warmup went with its optimizer"
    (tmp_path / "mine.yaml").write_text("base: train/smoke\nseed: 8\n")
    mine = load_train_recipe(tmp_path / "mine.yaml").model_dump()
    assert mine == load_train_recipe("smoke").model_dump() | {"name": "mine", "seed": 8}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base: first.yaml\noptimizer: {lr: -1.0}\n", "mine.yaml:2: lr: Input should be greater than 0"),
        ("base: first.yaml\n", "first.yaml:5: unknown key 'batchs'"),
        ("base: gone.yaml\n", r"mine.yaml:1: base: no recipe '.*gone.yaml'"),
        ("base: 3\n", "mine.yaml:1: base is the name of a recipe, or a file beside this one, not 3"),
        ("base:\n", "mine.yaml:1: base is the name of a recipe, or a file beside this one, not None"),
        ("base: mine.yaml\n", "mine.yaml:1: base: .*mine.yaml is made of itself"),
        ("base: other.yaml\n", "mine.yaml:1: base: .*other.yaml:1: base: .*mine.yaml is made of itself"),
        (
            "base: empty.yaml\nbass: 1\nmodel: {architecture: a}\n",
            r"mine.yaml:2: unknown key 'bass'; did you mean 'base'\?",
        ),
        ("base: empty.yaml\n", "mine.yaml:1: 'model' is missing"),
    ],
)
def test_a_mistake_in_a_base_is_told_where_it_stands(tmp_path, text, told):
    (tmp_path / "first.yaml").write_text(GOOD + "batchs: 3\n")
    (tmp_path / "other.yaml").write_text("base: mine.yaml\n")
    (tmp_path / "empty.yaml").write_text("samples: 3\n")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=told):
        load_train_recipe(str(tmp_path / "mine.yaml"))
