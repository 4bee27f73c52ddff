"""One process of a test of several: gradients of a batch that all ranks share, and runs that are stopped and go on.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=... python ranked.py FOLDER

FOLDER/in holds pairs; FOLDER/gradients.safetensors, FOLDER/whole and FOLDER/stopped come of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from training import COCA, recipe

from cupel.pipeline.train.build import build
from cupel.pipeline.train.errors import Stopped
from cupel.pipeline.train.loop import ASK_STEPS, fit
from cupel.pipeline.train.objectives import Inputs, Loss, Towers, backward
from cupel.pipeline.train.ranks import Ranks, joined

ROWS = 8
CASES = {
    "clip": {"objective": {"name": "clip"}},
    "siglip": {"objective": {"name": "siglip"}},
    "coca": {"objective": {"name": "coca"}, "model": {"config": COCA}},
    "negatives": {"objective": {"name": "clip", "negatives": {}}},
    "siglip_negatives": {"objective": {"name": "siglip", "negatives": {}}},
}


def batch(negatives: bool) -> Inputs:
    """Eight images and captions, the same in each process; where asked, a hard negative for all but two."""
    torch.manual_seed(7)
    images = torch.randn(ROWS, 3, 16, 16)
    ids = torch.zeros(2 * ROWS, 16, dtype=torch.int64)
    for row in range(2 * ROWS):
        length = 4 + row % 5
        ids[row, :length] = torch.randint(1, 900, (length,))
        ids[row, length] = 999
    wrong = ids[ROWS:]
    wrong[[1, 6]] = 0
    return Inputs(images=images, ids=ids[:ROWS], wrong=wrong if negatives else None)


def gradients(case: str, ranks: Ranks, parts: int) -> dict[str, torch.Tensor]:
    """The loss and all gradients of this rank's share after they were brought together."""
    settings = recipe(**CASES[case])
    model = build(settings).model
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
    towers: torch.nn.Module = Towers(model)
    if ranks.world > 1:
        towers = torch.nn.parallel.DistributedDataParallel(towers)
    whole = batch(settings.objective.negatives is not None)
    size = ROWS // ranks.world
    mine = slice(ranks.rank * size, (ranks.rank + 1) * size)
    inputs = Inputs(
        images=whole.images[mine], ids=whole.ids[mine], wrong=None if whole.wrong is None else whole.wrong[mine]
    )
    loss = Loss(objective=settings.objective, ranks=ranks)
    losses = backward(towers, loss, inputs, parts, torch.float32, lambda part: None)
    found = {name: p.grad.contiguous() for name, p in model.named_parameters() if p.grad is not None}
    total = ranks.total(torch.stack(list(losses.values())).sum()) / ranks.world
    return found | {"loss": total}


def runs(folder: Path, ranks: Ranks) -> None:
    """A run in one go, and one that a single rank was asked to stop."""
    settings, data = recipe(samples=120, ema=0.9), str(folder / "in")
    fit(settings, data, folder / "whole", ranks=ranks)
    try:
        fit(settings, data, folder / "stopped", ranks=ranks, stop=lambda: not ranks.first)
    except Stopped as stopped:
        assert str(stopped).startswith(f"stopped at step {ASK_STEPS} of 15"), stopped
        fit(settings, data, folder / "stopped", ranks=ranks)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with joined() as ranks:
        runs(folder, ranks)
        found = {}
        for case in CASES:
            for parts in (1, 2):
                found |= {f"{case} {parts} {k}": v for k, v in gradients(case, ranks, parts).items()}
        if ranks.first:
            save_file(found, folder / "gradients.safetensors")


if __name__ == "__main__":
    main()
