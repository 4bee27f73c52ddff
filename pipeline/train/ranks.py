"""The processes that train one model together: torchrun's and Ray Train's environment, gathered tensors.

Nothing here but a rank and a number of ranks: one process alone needs no process group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import TrainError


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among all that train the model."""

    rank: int = 0
    world: int = 1
    local: int = 0  # number of this process on its machine, and of its GPU

    @property
    def first(self) -> bool:
        """The one that writes files and tells how far it is."""
        return self.rank == 0

    def device(self) -> torch.device:
        """This rank's GPU, or the CPU; also where a GPU is seen, but the ranks were started to meet on CPUs."""
        if self.world > 1 and dist.is_initialized() and dist.get_backend() == "gloo":
            return torch.device("cpu")
        return torch.device("cuda", self.local) if torch.cuda.is_available() else torch.device("cpu")

    def gather(self, rows: Tensor) -> Tensor:
        """The same tensor of all ranks, one below the other, with gradients back to each."""
        if self.world == 1:
            return rows
        found: Tensor = _Gathered.apply(rows, self) if rows.requires_grad else _gathered(rows, self.world)
        return found

    def total(self, number: Tensor) -> Tensor:
        """The sum of a number over all ranks, without gradient."""
        if self.world == 1:
            return number
        found = number.clone()
        dist.all_reduce(found)
        return found

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.world > 1:
            dist.barrier()

    def agree(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return bool(self.total(torch.tensor(int(flag), device=self.device()))) if self.world > 1 else flag


def _gathered(rows: Tensor, world: int) -> Tensor:
    found = [torch.empty_like(rows) for _ in range(world)]
    dist.all_gather(found, rows.contiguous())
    return torch.cat(found)


class _Gathered(torch.autograd.Function):
    """all_gather; a rank's gradient is the sum of what all ranks' losses say of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.rows = ranks, len(rows)
        return _gathered(rows, ranks.world)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = gradient.contiguous()
        dist.all_reduce(whole)
        return whole[ctx.ranks.rank * ctx.rows : (ctx.ranks.rank + 1) * ctx.rows], None


@contextmanager
def joined() -> Iterator[Ranks]:
    """The process group that torchrun's environment names (or one that is there already); alone without it."""
    if dist.is_available() and dist.is_initialized():  # Ray Train's
        local = int(os.environ.get("LOCAL_RANK", "0"))
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size(), local=local)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    try:
        ranks = Ranks(
            rank=int(os.environ["RANK"]),
            world=int(os.environ["WORLD_SIZE"]),
            local=int(os.environ.get("LOCAL_RANK", "0")),
        )
    except (KeyError, ValueError) as error:
        raise TrainError(f"WORLD_SIZE is set, but RANK is not a number: start it by torchrun ({error})") from error
    device = ranks.device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    on_gpu = device.type == "cuda"
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
    try:
        yield ranks
        ranks.wait()  # gloo's threads let go of the last tensors; at the interpreter's end they would abort it
    finally:
        dist.destroy_process_group()
