"""Losses against open_clip's and closed forms; a batch in parts and over ranks against the whole."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from ranked import CASES, ROWS, batch, gradients
from safetensors.torch import load_file
from training import pairs, recipe

from cupel.pipeline.train.build import build
from cupel.pipeline.train.objectives import Loss, Towers
from cupel.pipeline.train.ranks import Ranks

PLUGIN = Path(__file__).parents[2] / "plugin"


def unit(rows: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("case", ["clip", "siglip", "coca"])
def test_towers_and_losses_are_open_clips(case):
    settings = recipe(**CASES[case])
    model = build(settings).model.eval()
    inputs = batch(False)
    found = Towers(model)(inputs.images, inputs.ids, torch.float32)
    losses = Loss(objective=settings.objective, ranks=Ranks())(found, None)
    model.output_dict = True
    theirs = model(inputs.images, inputs.ids)
    for name in ("image_features", "text_features"):
        torch.testing.assert_close(found[name], theirs[name], rtol=1e-4, atol=1e-6)
    if case == "coca":
        wanted = open_clip.CoCaLoss(2.0, 1.0)(**theirs, output_dict=True)
        torch.testing.assert_close(losses["contrastive"], wanted["contrastive_loss"])
        torch.testing.assert_close(losses["caption"], wanted["caption_loss"])
    else:
        oracle = {"clip": open_clip.ClipLoss, "siglip": open_clip.loss.SigLipLoss}[case]()
        torch.testing.assert_close(losses["contrastive"], oracle(**theirs))


def test_captions_are_encoded_without_their_padding():
    model = build(recipe()).model.eval()
    ids = batch(False).ids
    short = Towers(model)(batch(False).images, ids[:, :9], torch.float32)["text_features"]
    torch.testing.assert_close(short, model.encode_text(ids, normalize=True), rtol=1e-4, atol=1e-6)


def test_hard_negatives_are_texts_that_no_image_matches():
    images, texts, scale = unit(4, 0), unit(8, 1), torch.tensor(3.0)
    real = torch.tensor([True, False, True, True])
    objective = recipe(**CASES["negatives"]).objective
    found = Loss(objective=objective, ranks=Ranks())(
        {"image_features": images, "text_features": texts, "logit_scale": scale}, real
    )
    total = 0.0
    for i in range(4):
        others = [*range(4), *(4 + j for j in range(4) if real[j])]
        per_image = [float(torch.exp(scale * images[i] @ texts[j])) for j in others]
        per_text = [float(torch.exp(scale * images[j] @ texts[i])) for j in range(4)]
        total -= float(torch.log(torch.tensor(per_image[i] / sum(per_image)))) / 8
        total -= float(torch.log(torch.tensor(per_text[i] / sum(per_text)))) / 8
    assert float(found["contrastive"]) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parts", [2, 4, ROWS])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(case, parts):
    close(gradients(case, Ranks(), parts), gradients(case, Ranks(), 1))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """What two processes computed together."""
    folder = tmp_path_factory.mktemp("ranked")
    pairs(folder / "in")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, str(PLUGIN / "ranked.py"), str(folder)]
    started = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    told = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    assert "Warning" not in "".join(told)
    return folder


def test_two_ranks_have_the_loss_and_gradients_of_one_process(two_ranks):
    found = load_file(two_ranks / "gradients.safetensors")
    for case in CASES:
        alone = gradients(case, Ranks(), 1)
        for parts in (1, 2):
            start = f"{case} {parts} "
            close({k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}, alone)


def test_two_ranks_that_were_stopped_go_on_bit_for_bit(two_ranks):
    whole, stopped = two_ranks / "whole", two_ranks / "stopped"
    assert (stopped / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    told = [json.loads((folder / "result.json").read_text()) for folder in (whole, stopped)]
    assert told[0]["loss_last"] == told[1]["loss_last"] and told[0]["loss_first"] == pytest.approx(
        told[1]["loss_first"]
    )
