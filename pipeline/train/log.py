"""What a run tells while it goes: lines of JSON, TensorBoard files, and what the hardware could have done."""

from __future__ import annotations

import json
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

# Dense bf16 with fp32 sums, from the makers' data sheets, by words of the device's name, the first that fits; a GPU
# that is not here has no MFU.
PEAK_FLOPS: Final = {
    ("H100", "PCIe"): 756e12,
    ("H100", "NVL"): 835e12,
    ("H100",): 989e12,
    ("H200",): 989e12,
    ("A100",): 312e12,
    ("L40S",): 362e12,
    ("L40",): 181e12,
    ("L4",): 121e12,
    ("V100",): 125e12,  # fp16; it has no bf16
}


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
    peak = peak_flops(torch.cuda.get_device_name(device))
    return flops_per_s / peak if peak else None


def peak_flops(name: str) -> float | None:
    """Of a GPU by its name, as in `NVIDIA A100-SXM4-80GB`."""
    words = set(re.split(r"[^A-Za-z0-9]+", name))
    return next((peak for parts, peak in PEAK_FLOPS.items() if words.issuperset(parts)), None)


def memory_gb(device: torch.device) -> float:
    """The most that was ever held: on the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 1e9 if sys.platform == "darwin" else held * 1024 / 1e9


def forward_flops(towers: torch.nn.Module, images: torch.Tensor, ids: torch.Tensor) -> float:
    """Operations of one forward of these rows, counted by torch (a multiplication and an addition are two)."""
    from torch.utils.flop_counter import FlopCounterMode

    training, fused = towers.training, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole layer of attention, which nobody counts
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            towers.eval()(images, ids, torch.float32)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
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
