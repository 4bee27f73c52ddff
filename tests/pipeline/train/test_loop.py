"""A run from its recipe to its folder: what it computes, what it writes, and how it goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from training import COCA, VIT, pairs, recipe

from cupel.operators.models.clip import Network, tokenize
from cupel.operators.models.weights import ModelError
from cupel.pipeline.progress import Silent
from cupel.pipeline.train import checkpoint
from cupel.pipeline.train.build import build
from cupel.pipeline.train.errors import Stopped, TrainError
from cupel.pipeline.train.folder import alone
from cupel.pipeline.train.loop import _Run, fit
from cupel.pipeline.train.optimizer import learning_rate, steps_of
from cupel.pipeline.train.ranks import Ranks
from cupel.pipeline.train.reader import open_dataset
from cupel.pipeline.train.state import State

EFFICIENT = {"image_tower": "test_efficientnet.r160_in1k", "image_px": 32}  # normalises and activates in one layer
TIMES = ("samples_per_s", "data_wait_share", "memory_gb", "mfu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(pairs(tmp_path_factory.mktemp("pairs") / "in"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The folder of a run that went through at once."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(recipe(), data, folder)
    return folder


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def log(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def after(steps: int):
    """Asks to stop when so many steps are done."""
    left = iter(range(steps))
    return lambda: next(left, None) == steps - 1


def test_a_run_learns_and_says_so(data, tmp_path):
    found = fit(recipe(samples=960, batch=16), data, tmp_path / "run")
    assert found.loss_first > 1.5 > 1.2 > found.loss_last
    assert (found.steps, found.samples_seen, found.rows, found.epochs, found.skipped) == (60, 960, 48, 20.0, 0)
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == asdict(found)
    lines = log(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert found.loss_first == pytest.approx(np.mean([line["loss"] for line in lines[:3]]), rel=1e-5)
    assert found.loss_last == pytest.approx(np.mean([line["loss"] for line in lines[-3:]]), rel=1e-5)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert not (tmp_path / "run" / "checkpoints").exists(), "a finished run needs none"


def test_its_model_is_what_operators_load(whole):
    folder = str(whole / "model")
    network = Network(folder, "", "fp32")
    saved = load_file(whole / "model" / "model.safetensors")
    model = build(recipe()).model.eval()
    model.load_state_dict(saved)
    texts = ["a red sky above a blue field", "a green sky"]
    ids = tokenize(folder, texts)
    wanted = model.encode_text(torch.from_numpy(ids[:, :-1].astype(np.int64)), normalize=True).detach().numpy()
    np.testing.assert_allclose(network.texts(ids)[:, :-1], wanted, atol=1e-5)


def test_the_same_recipe_gives_the_same_bytes(data, whole, tmp_path):
    fit(recipe(), data, tmp_path / "run", threads=1)
    assert weights(tmp_path / "run") == weights(whole)
    fit(recipe(seed=1), data, tmp_path / "other")
    assert weights(tmp_path / "other") != weights(whole)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9},
        {"model": {"config": VIT, "lora": {"dropout": 0.5}}},
        {"model": {"config": VIT, "image_tower": "test_resnet.r160_in1k", "image_px": 32}},
    ],
    ids=["plain", "ema", "lora", "batch_norm"],
)
def test_a_stopped_run_goes_on_bit_for_bit(data, tmp_path, changes):
    settings = recipe(**changes)
    fit(settings, data, tmp_path / "whole")
    for stop in (1, 4, 5):
        with pytest.raises(Stopped, match="the same command goes on"):
            fit(settings, data, tmp_path / "run", stop=after(stop))
    found = fit(settings, data, tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert log(tmp_path / "run") == log(tmp_path / "whole")
    wanted = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert (found.loss_first, found.loss_last) == (wanted["loss_first"], wanted["loss_last"])


def test_a_killed_run_goes_on_bit_for_bit(data, tmp_path):
    settings = recipe(samples=640, checkpoint_steps=8)
    fit(settings, data, tmp_path / "whole")
    code = "import sys; from cupel.pipeline.train.loop import fit; from training import recipe\n"
    code = code.replace("import sys;", "import sys, torch; torch.set_num_threads(1);")
    code += "fit(recipe(samples=640, checkpoint_steps=8), sys.argv[1], sys.argv[2])"
    process = subprocess.Popen([sys.executable, "-c", code, data, str(tmp_path / "run")], stderr=subprocess.DEVNULL)
    while process.poll() is None and len(checkpoint.found(tmp_path / "run" / "checkpoints")) < 2:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still under way"
    fit(settings, data, tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert log(tmp_path / "run") == log(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(data, whole):
    before = (whole / "result.json").stat().st_mtime_ns
    assert asdict(fit(recipe(), data, whole)) == json.loads((whole / "result.json").read_text())
    assert (whole / "result.json").stat().st_mtime_ns == before


def test_another_runs_folder_is_left_alone(data, whole, tmp_path):
    with pytest.raises(TrainError, match=r"another recipe \(batch, seed differ\)"):
        fit(recipe(batch=16, seed=3), data, whole)
    with pytest.raises(TrainError, match=f"was trained on {data}, and this is .*, other data"):
        fit(recipe(), str(pairs(tmp_path / "in", rows=40)), whole)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("dear")
    with pytest.raises(TrainError, match="not empty and holds no run"):
        fit(recipe(), data, tmp_path / "full")


def test_a_damaged_checkpoint_is_told(data, tmp_path):
    with pytest.raises(Stopped):
        fit(recipe(), data, tmp_path / "run", stop=after(5))
    (newest,) = [path for path in checkpoint.found(tmp_path / "run" / "checkpoints") if path.name == "00000005"]
    (newest / checkpoint.TENSORS).write_bytes(b"none")
    with pytest.raises(TrainError, match="00000005 is damaged"):
        fit(recipe(), data, tmp_path / "run")


def test_a_loss_that_is_no_number_ends_the_run(data, tmp_path):
    with pytest.raises(TrainError, match=r"the loss is .* lower optimizer.lr"):
        fit(recipe(optimizer={"lr": 1e30, "warmup": 0.0, "clip_norm": None}), data, tmp_path / "run")


def test_parts_of_a_batch_give_the_same_run(data, whole, tmp_path):
    fit(recipe(accumulate=4), data, tmp_path / "run")
    for mine, theirs in zip(log(tmp_path / "run"), log(whole), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


def test_the_moving_average_is_what_is_written_and_shorter_at_first(data, whole, tmp_path):
    fit(recipe(ema=0.9999, samples=8), data, tmp_path / "run")
    fit(recipe(samples=8), data, tmp_path / "plain")
    first, last = build(recipe()).model.state_dict(), load_file(tmp_path / "plain" / "model" / "model.safetensors")
    found = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, value in found.items():
        torch.testing.assert_close(value, 0.1 * first[name] + 0.9 * last[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "frozen", "trained"),
    [
        ({"model": {"config": VIT, "lock_image": True}}, "visual.", "transformer."),
        ({"model": {"config": VIT, "lock_text": True}}, "transformer.", "visual."),
        ({"model": {"config": VIT, "lock_image": True, **EFFICIENT}}, "visual.", "transformer."),
    ],
)
def test_a_locked_tower_stays_as_it_is(data, tmp_path, changes, frozen, trained):
    result = fit(recipe(**changes), data, tmp_path / "run")
    plain = {**changes["model"], "lock_image": False, "lock_text": False}
    first = build(recipe(model=plain)).model.state_dict()
    found = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert found.keys() == first.keys()
    assert all(torch.equal(found[name], first[name]) for name in found if name.startswith(frozen))
    assert all(not torch.equal(found[name], first[name]) for name in found if name.startswith(trained))
    assert result.trained_parameters < result.parameters


def test_lora_moves_the_layers_that_it_names_alone(data, tmp_path):
    settings = recipe(model={"config": VIT, "lora": {"rank": 2, "targets": ["c_fc"]}})
    result = fit(settings, data, tmp_path / "run")
    first, found = build(recipe()).model.state_dict(), load_file(tmp_path / "run" / "model" / "model.safetensors")
    moved = {name for name in found if not torch.equal(found[name], first[name])}
    layers = {name for name in found if name.endswith("c_fc.weight")}
    assert moved == layers | {"logit_scale"} and len(layers) == 2
    assert all(torch.linalg.matrix_rank(found[name] - first[name]) <= 2 for name in layers)
    assert result.trained_parameters == 2 * 2 * (32 + 128) + 1
    Network(str(tmp_path / "run" / "model"), "", "fp32")


@pytest.mark.parametrize(("objective", "learns"), [("siglip", True), ("clip", False)])
def test_a_bias_learns_with_adapters_where_the_objective_reads_it(objective, learns):
    biased = {**VIT, "init_logit_bias": -10.0, "init_logit_scale": 2.0}
    settings = recipe(model={"config": biased, "lora": {}}, objective={"name": objective})
    state = State(settings, build(settings), 12, torch.device("cpu"))
    assert {n.split(".")[-1] for n, p in state.model.named_parameters() if p.requires_grad and "lora" not in n} == {
        "logit_scale",
        *(["logit_bias"] if learns else []),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"name": "siglip"}},
        {"objective": {"name": "clip", "negatives": {}}},
        {"objective": {"name": "coca"}, "model": {"config": COCA}},
        {"model": {"config": VIT, "image_tower": "test_vit.r160_in1k", "image_px": 32}},
        {"precision": "bf16"},
        {"augment": {"crop": 0.5, "flip": True, "resize": "squash"}, "optimizer": {"lr": 1e-2, "schedule": "constant"}},
    ],
    ids=["siglip", "negatives", "coca", "timm", "bf16", "augment"],
)
def test_every_kind_of_run_learns_and_loads(data, tmp_path, changes):
    found = fit(recipe(samples=480, batch=16, **changes), data, tmp_path / "run")
    assert found.loss_last < found.loss_first
    network = Network(found.model, "", "fp32")
    side = network.model.visual.image_size
    side = side if isinstance(side, int) else side[0]
    assert network.images(np.zeros((1, side, side, 3), np.uint8)).shape == (1, 32)


def test_weights_of_another_run_are_where_it_begins(data, whole, tmp_path):
    onward = recipe(
        model={"architecture": str(whole / "model"), "pretrained": "own"}, samples=8, optimizer={"lr": 1e-12}
    )
    fit(onward, data, tmp_path / "run")
    first, found = (load_file(run / "model" / "model.safetensors") for run in (whole, tmp_path / "run"))
    assert all(torch.allclose(found[name], first[name], atol=1e-6) for name in first)


@pytest.mark.long
def test_torch_compile_computes_the_same(data, whole, tmp_path):
    fit(recipe(compile=True), data, tmp_path / "run")
    for mine, theirs in zip(log(tmp_path / "run"), log(whole), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


@pytest.mark.parametrize("step", range(0, 100, 9))
def test_the_learning_rate_rises_straight_and_falls_along_a_cosine(step):
    settings = recipe(optimizer={"lr": 2.0, "warmup": 0.1})
    wanted = 2.0 * (step + 1) / 10 if step < 10 else 1.0 + math.cos(math.pi * (step - 10) / 90)
    assert learning_rate(settings, step, 100) == pytest.approx(wanted)
    level = recipe(optimizer={"lr": 2.0, "warmup": 0.1, "schedule": "constant"})
    assert learning_rate(level, step, 100) == pytest.approx(min(2.0, 0.2 * (step + 1)))


def test_a_hard_negative_that_differs_behind_the_contexts_end_is_none(data, tmp_path):
    settings = recipe(objective={"negatives": {"kinds": ["attribute"]}})
    long, short = "one " * 20 + "a red sky above a blue field", "a red sky above a blue field"
    with _Run(settings, open_dataset(data), claimed(tmp_path / "run"), Ranks(), Silent(), 1) as run:
        tokens = run._tokenize([long, short])
    assert tokens.shape == (2, 2, 16)
    assert not tokens[0, 1].any() and tokens[1, 1].any() and (tokens[1, 1] != tokens[1, 0]).any()


def claimed(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_skipped_rows_of_earlier_starts_are_told(tmp_path):
    folder = pairs(tmp_path / "in")
    table = pq.read_table(folder / "00000000.parquet")
    images = table.column("image").to_pylist()
    images[3] = b"no picture"
    pq.write_table(table.set_column(2, "image", pa.array(images)), folder / "00000000.parquet", row_group_size=8)
    with pytest.raises(Stopped):
        fit(recipe(), str(folder), tmp_path / "run", stop=after(7))
    found = fit(recipe(), str(folder), tmp_path / "run")
    (line,) = (tmp_path / "run" / "skips.jsonl").read_text().splitlines()
    assert found.skipped == 1 and json.loads(line) | {"message": ""} == {
        "row": 3,
        "kind": "not_an_image",
        "message": "",
    }


def test_batch_norm_is_not_computed_in_parts(data, tmp_path):
    norm = {"config": VIT, "image_tower": "test_resnet.r160_in1k", "image_px": 32}
    with pytest.raises(TrainError, match="without batch normalisation"):
        fit(recipe(model=norm, accumulate=2), data, tmp_path / "run")


def test_one_start_at_a_time(data, tmp_path):
    with pytest.raises(Stopped):
        fit(recipe(), data, tmp_path / "run", stop=after(1))
    with alone(tmp_path / "run", Ranks()), pytest.raises(TrainError, match="another process is training"):
        fit(recipe(), data, tmp_path / "run")


def test_a_run_that_has_learned_nothing_makes_way(data, tmp_path):
    wrong = recipe(model={"config": {**VIT, "embed_dims": 3}})
    with pytest.raises(TrainError, match="cannot build this model"):
        fit(wrong, data, tmp_path / "run")
    with pytest.raises(Stopped):
        fit(recipe(), data, tmp_path / "run", stop=after(5))
    with pytest.raises(TrainError, match=r"run of another recipe \(seed differ\)"):
        fit(recipe(seed=1), data, tmp_path / "run")
    told_otherwise = recipe(log_steps=2, checkpoint_steps=5, max_bad_share=0.5)
    assert fit(told_otherwise, data, tmp_path / "run").loss_last == fit(recipe(), data, tmp_path / "other").loss_last


def test_a_batch_larger_than_the_data_is_told(tmp_path):
    class Heard(Silent):
        said = ""

        def say(self, message):
            Heard.said += message

    few = str(pairs(tmp_path / "few", rows=6))
    assert fit(recipe(samples=8), few, tmp_path / "run", progress=Heard()).epochs == 8 / 6
    assert Heard.said.startswith(f"a batch of 8 is more than the 6 rows of {few}")


def test_epochs_and_samples_are_rounded_up_to_batches():
    assert steps_of(recipe(samples=97), 48) == 13
    assert steps_of(recipe(samples=None, epochs=1.5), 48) == 9
    assert steps_of(recipe(samples=None, epochs=1.1, batch=10), 100) == 11


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {"architecture": "ViT-B-33"}}, "no model 'ViT-B-33'"),
        ({"model": {"config": {**VIT, "embed_dims": 3}}}, "cannot build this model"),
        (
            {"model": {"config": {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": "big"}}}},
            "'big'|cannot build",
        ),
        ({"model": {"config": VIT, "image_tower": "resnet51"}}, "timm has no image model 'resnet51'"),
        ({"objective": {"name": "coca"}}, "needs a model with a multimodal_cfg"),
        ({"model": {"config": COCA}}, "trained by objective coca"),
        ({"model": {"architecture": "cupel-tiny", "pretrained": "openai"}}, "pretrained: own"),
        ({"model": {"architecture": "ViT-B-32", "pretrained": "own"}}, "give a tag or a file"),
        ({"model": {"config": {**VIT, "text_cfg": {**VIT["text_cfg"], "vocab_size": 100}}}}, "vocab_size is 100"),
    ],
)
def test_a_model_that_cannot_be_is_told(data, tmp_path, changes, told):
    with pytest.raises((TrainError, ModelError), match=told):
        fit(recipe(**changes), data, tmp_path / "run")
