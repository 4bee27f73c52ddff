"""What a run tells while it goes: lines of JSON, TensorBoard files, and what the hardware could have done."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

# Dense bf16 with fp32 sums, from the makers' data sheets; a GPU that is not here has no MFU.
PEAK_FLOPS: Final = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12}
PCIE_H100: Final = 756e12


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished run came to; `result.json` in its folder. Losses are means over its first and last twentieth."""

    name: str
    loss_first: float
    loss_last: float
    steps: int
    samples_seen: int
    rows: int  # of the dataset
    epochs: float
    samples_per_s: float  # since it was last started
    data_wait_share: float
    mfu: float | None  # null: nobody told what the hardware can do
    flops_per_sample: float  # forward and backward
    memory_gb: float
    skipped: int  # images that could not be read, each replaced by the one after it
    seconds: float  # since it was last started
    parameters: int
    trained_parameters: int
    dataset: str
    digest: str
    seed: int
    model: str


def mfu(flops_per_s: float, device: torch.device) -> float | None:
    """Share of the device's peak, of a run in bf16; None where the peak is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    peak = PCIE_H100 if "H100 PCIe" in name else next((p for part, p in PEAK_FLOPS.items() if part in name), None)
    return flops_per_s / peak if peak else None


def memory_gb(device: torch.device) -> float:
    """The most that was ever held: on the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 1e9 if sys.platform == "darwin" else held * 1024 / 1e9


def forward_flops(towers: torch.nn.Module, images: torch.Tensor, ids: torch.Tensor) -> float:
    """Operations of one forward of these rows, counted by torch (a multiplication and an addition are two)."""
    from torch.utils.flop_counter import FlopCounterMode

    training = towers.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        towers.eval()(images, ids, torch.float32)
    towers.train(training)
    return float(counter.get_total_flops())


class Log:
    """`log.jsonl` and TensorBoard's events. A run that goes on cuts off what came after its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self.path = folder / "log.jsonl"
        lines = self.path.read_text().splitlines(keepends=True) if self.path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]  # the last one may have been cut off
        draft = self.path.with_suffix(".draft")
        draft.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))
        draft.replace(self.path)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """A line; its numbers go to TensorBoard."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        for name, value in values.items():
            if isinstance(value, int | float):
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._events.close()
