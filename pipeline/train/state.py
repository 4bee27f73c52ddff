"""What a step changes: the model, its optimizer, its moving average and the sums of its losses."""

from __future__ import annotations

import copy
import math
from typing import Any, Final, cast

import torch

from ...schemas.train import TrainRecipe
from . import checkpoint
from .build import Built, norms, with_lora
from .errors import TrainError
from .optimizer import adamw, learning_rate

MAX_SCALE: Final = math.log(100)  # CLIP's bound on the logit scale (arXiv:2103.00020, section 2.5)


class State:
    """Of a run of `steps` steps, on one rank. TrainError where the model cannot be trained as the recipe says."""

    def __init__(self, recipe: TrainRecipe, built: Built, steps: int, device: torch.device) -> None:
        self.recipe, self.steps = recipe, steps
        self.model: Any = built.model if recipe.model.lora is None else with_lora(built.model, recipe.model.lora)
        self.model.to(device).to(memory_format=torch.channels_last)
        self._still = norms(self.model, frozen=True)
        if recipe.accumulate > 1 and norms(self.model, frozen=False):
            raise TrainError("accumulate is for models without batch normalisation: its statistics would be a part's")
        self._optimizer = adamw(self.model, recipe)
        self._average = copy.deepcopy(self.model).requires_grad_(False) if recipe.ema else None
        self._sums = torch.zeros(2, device=device)
        self._window = max(1, steps // 20)

    @property
    def logit_scale(self) -> torch.nn.Parameter:
        """However deep adapters have put it."""
        model: torch.nn.Module = self.model
        return next(scale for name, scale in model.named_parameters() if name.split(".")[-1] == "logit_scale")

    def begin(self, step: int) -> None:
        """Make ready for the gradients of a step, counted from 0."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.steps)
        self._optimizer.zero_grad(set_to_none=True)
        self.model.train()
        for norm in self._still:
            norm.eval()

    def end(self, step: int, losses: dict[str, torch.Tensor]) -> None:
        """Take the step that the gradients say."""
        if self.recipe.optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimizer.clip_norm)
        self._optimizer.step()
        with torch.no_grad():
            self.logit_scale.clamp_(0, MAX_SCALE)
            self._follow(step)
            total = torch.stack(list(losses.values())).sum()
            self._sums[0] += total * (step < self._window)
            self._sums[1] += total * (step >= self.steps - self._window)

    def _follow(self, step: int) -> None:
        """The moving average, shorter at first, lest it holds on to where the run began; buffers as they are."""
        if self._average is None or self.recipe.ema is None:
            return
        old = min(self.recipe.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._average.parameters()), list(self.model.parameters()), 1 - old)  # one kernel
        for mine, its in zip(self._average.buffers(), self.model.buffers(), strict=True):
            mine.copy_(its)

    def losses(self) -> torch.Tensor:
        """Means (2,) of this rank's losses over the first and the last twentieth of the steps."""
        return self._sums / self._window

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it by name, for a checkpoint; this rank's sums of losses among it."""
        state = checkpoint.with_moments(self.model, self._optimizer) | {"sums": self._sums}
        if self._average is not None:
            state |= {f"average.{name}": tensor for name, tensor in self._average.state_dict().items()}
        return state

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave."""
        checkpoint.restore(self.model, self._optimizer, state)
        if self._average is not None:
            self._average.load_state_dict({n[8:]: t for n, t in state.items() if n.startswith("average.")})
        self._sums = state["sums"].to(self._sums.device)

    def final(self) -> torch.nn.Module:
        """The model to keep: the average where there is one, adapters merged into it."""
        model = self.model if self._average is None else self._average
        if self.recipe.model.lora is not None:
            model = cast(Any, copy.deepcopy(model)).merge_and_unload()
        return cast(torch.nn.Module, model)
