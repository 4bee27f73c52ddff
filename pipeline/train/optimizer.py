"""How long a run is, its learning rate at every step, and its optimizer."""

from __future__ import annotations

import math

import torch

from ...schemas.train import TrainRecipe
from .build import decayed


def steps_of(recipe: TrainRecipe, rows: int) -> int:
    """Steps of a whole run."""
    samples = recipe.samples if recipe.samples is not None else (recipe.epochs or 0) * rows
    return max(1, math.ceil(round(samples / recipe.batch, 6)))  # 1.1 epochs of 100 rows are 110.00000000000001


def learning_rate(recipe: TrainRecipe, step: int, steps: int) -> float:
    """Of a step, counted from 0: a straight rise, then level or along a cosine down to nothing."""
    spec = recipe.optimizer
    warm = round(spec.warmup * steps)
    if step < warm:
        return spec.lr * (step + 1) / warm
    if spec.schedule == "constant":
        return spec.lr
    return spec.lr * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def adamw(model: torch.nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """AdamW over what is trained; matrices and filters decay."""
    spec = recipe.optimizer
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for n, p in named if decayed(n, p)], "weight_decay": spec.weight_decay},
        {"params": [p for n, p in named if not decayed(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
