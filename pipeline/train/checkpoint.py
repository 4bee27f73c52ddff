"""Checkpoints that are there whole or not at all: tensors in safetensors, integers in JSON, named last.

    RUN/checkpoints/00001000/state.safetensors    weights, moments, moving average, sums of losses
    RUN/checkpoints/00001000/state.json           step, digest of the dataset, version

There is no random state in it: whatever is drawn at a step is drawn from (seed, step).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import TrainError

KEPT: Final = 2  # the newest ones
TENSORS: Final = "state.safetensors"
FACTS: Final = "state.json"


def save(folder: Path, step: int, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> Path:
    """Write the checkpoint of a step below `folder` and delete those that are older than the two newest."""
    target = folder / f"{step:08d}"
    staging = folder / f".{target.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, staging / TENSORS)
    (staging / FACTS).write_text(json.dumps(facts | {"step": step}) + "\n")
    for name in (TENSORS, FACTS):
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
    if target.exists():  # of a run that was killed right after it
        shutil.rmtree(target)
    staging.rename(target)
    for old in found(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def found(folder: Path) -> list[Path]:
    """All checkpoints, the newest last."""
    return sorted(path for path in folder.glob("[0-9]*") if (path / FACTS).is_file())


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors on the CPU, and the facts. TrainError where it is damaged."""
    try:
        return load_file(path / TENSORS), json.loads((path / FACTS).read_text())
    except (SafetensorError, ValueError) as error:
        raise TrainError(
            f"the checkpoint {path} is damaged ({error}); delete it to go on from the one before"
        ) from error


def clear(folder: Path) -> None:
    """A finished run needs none."""
    shutil.rmtree(folder, ignore_errors=True)


def with_moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything that a step changes, by name."""
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state |= {f"optimizer.{part}.{name}": value for part, value in optimizer.state.get(parameter, {}).items()}
    return state


def restore(model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor]) -> None:
    """Put back what `with_moments` gave."""
    model.load_state_dict({name[6:]: tensor for name, tensor in state.items() if name.startswith("model.")})
    for name, parameter in model.named_parameters():
        if (step := state.get(f"optimizer.step.{name}")) is None:
            continue  # a locked one
        moments = {part: state[f"optimizer.{part}.{name}"] for part in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": step.to(parameter.device)} | {
            # In the parameter's own strides: the fused kernel walks through their memory side by side.
            part: torch.empty_like(parameter).copy_(moment)
            for part, moment in moments.items()
        }
