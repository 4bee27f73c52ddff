"""The circle: a model that Cupel trained on pairs that are trusted tells right captions from shuffled ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded
from PIL import Image
from typer.testing import CliRunner

from cupel import Recipe, run
from cupel.pipeline.cli import app
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.recipe_file import load_recipe, parse_recipe, recipe_as_yaml
from cupel.pipeline.train.loop import fit
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.recipe import Step
from cupel.schemas.train import TrainRecipe

NAME = "data_filtering_network"
COLOURS = {"red": (200, 30, 30), "green": (30, 170, 50), "blue": (40, 60, 210), "yellow": (230, 210, 40)}
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 1000, "width": 32, "heads": 2, "layers": 1},
}


def drawn(path: Path, rows: int, *, wrong: float, seed: int) -> Path:
    """Pictures of two colours under clouds; of a share of them another picture's caption. A key says which."""
    random, names, pairs = np.random.default_rng(seed), list(COLOURS), []
    for i in range(rows):
        shown = told = random.integers(4, size=2)
        is_wrong = bool(random.random() < wrong)
        while is_wrong and (told == shown).any():
            told = random.integers(4, size=2)
        image = np.repeat([COLOURS[names[colour]] for colour in shown], 24, axis=0)[:, None].repeat(48, axis=1)
        clouds = Image.fromarray(random.integers(0, 256, (6, 6), np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
        image = np.clip(image + (np.asarray(clouds, float) - 128)[:, :, None] / 2, 0, 255).astype(np.uint8)
        text = f"a {names[told[0]]} sky above a {names[told[1]]} field"
        pairs.append(
            {"key": f"{'wrong' if is_wrong else 'right'}{i}", "text": text, "image": encoded(Image.fromarray(image))}
        )
    pq.write_table(pa.Table.from_pylist(pairs), path)
    return path


def by(model: Path) -> Recipe:
    """The shipped recipe with a model of one's own."""
    recipe = load_recipe(NAME).recipe
    steps = [
        step.model_copy(update={"params": {**step.params, "model": str(model)}})
        if isinstance(step, Step) and "model" in step.params
        else step
        for step in recipe.steps
    ]
    return parse_recipe(recipe_as_yaml(recipe.model_copy(update={"steps": tuple(steps)})).encode(), "r.yaml").recipe


def keys(cut: str) -> list[str]:
    tables = [pq.read_table(path, columns=["key"]) for path in sorted(Path(cut, "curated").iterdir())]
    return pa.concat_tables(tables).column("key").to_pylist()


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """The folder of a run over 300 pairs that are right."""
    folder = tmp_path_factory.mktemp("network")
    trusted = drawn(folder / "trusted.parquet", 300, wrong=0, seed=1)
    told = {"name": "filter", "model": {"config": TINY}, "samples": 4800, "batch": 32, "augment": {"crop": 1}}
    fit(TrainRecipe.model_validate(told | {"optimizer": {"lr": 3e-3, "warmup": 0.1}}), str(trusted), folder / "run")
    return folder / "run"


@pytest.mark.usefixtures("ray_session")
def test_a_network_of_ones_own_keeps_the_pairs_that_match(network, tmp_path):
    pool = drawn(tmp_path / "pool.parquet", 500, wrong=0.4, seed=2)
    result = run(by(network), pool, out=tmp_path / "c")
    right = [key for key in pq.read_table(pool).column("key").to_pylist() if key.startswith("right")]
    kept = keys(result.cut)
    assert sum(key.startswith("right") for key in kept) >= max(0.98 * len(kept), 0.9 * len(right))
    fitted = result.steps[-1].fitted["clip_similarity"]
    assert fitted.threshold is not None and fitted.kept_share == len(kept) / fitted.rows
    assert verify_corpus(str(tmp_path / "c")).faults == []
    moved = network.parent / "moved"
    network.rename(moved)
    try:
        assert run(by(moved), pool, out=tmp_path / "c").measured_rows["pair.clip_similarity"] == 0
        assert open_cut(str(tmp_path / "c")).manifest.kept == len(kept)
    finally:
        moved.rename(network)


@pytest.mark.usefixtures("ray_session")
def test_a_clean_pool_loses_none(network, tmp_path):
    pool = drawn(tmp_path / "pool.parquet", 400, wrong=0, seed=3)
    result = run(by(network), pool, out=tmp_path / "c", write=False)
    assert result.kept >= 0.97 * 400, result.steps[-1].fitted


@pytest.mark.usefixtures("ray_session")
def test_as_shipped_it_runs_with_the_model_that_is_shipped(tmp_path):
    result = run(NAME, drawn(tmp_path / "pool.parquet", 20, wrong=0, seed=4), out=tmp_path / "c", write=False)
    assert result.kept == 20
    assert result.steps[-1].fitted["clip_similarity"].why.startswith("20 values are too few")


def test_it_is_listed_and_near_names_are_told():
    listed = CliRunner().invoke(app, ["recipes", "--json"])
    assert NAME in {recipe["name"] for recipe in json.loads(listed.stdout)}
    assert "model: cupel-tiny" in CliRunner().invoke(app, ["recipes", NAME]).stdout
    wrong = CliRunner().invoke(app, ["check", "data_filtering_netwrok"])
    assert wrong.exit_code == 2
    assert f"did you mean '{NAME}'" in " ".join((wrong.stdout + wrong.stderr).split())
