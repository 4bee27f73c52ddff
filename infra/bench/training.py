"""Pairs a second of `cupel train` from Parquet with live decoding, beside the same step without any reading.

    python infra/bench/training.py                                          a small model on a CPU, about 10 minutes
    python infra/bench/training.py --architecture ViT-B-32 --batch 1024 --steps 60 --warm 20 --images 20000   on a GPU
    python infra/bench/training.py --architecture ViT-S-16 --batch 512 --steps 60 --warm 20 --images 20000 --compile

Contenders, each in a process of its own, one after the other, --repeat times:
`synthetic`: our loop on one batch of pixels that stays where it is: what the model allows.
`cupel`: our loop, images decoded in each epoch anew.
`open_clip`: open_clip_train's own loop on the same images in tars, with as many workers as there are cores; left out
where webdataset is not installed (`pip install pandas 'webdataset<=0.2.86'`).

Columns: pairs/s between the step after --warm and the last, median and best; share of synthetic's best; share of that
time that the step waited for a batch; MFU where the device's peak is known. On a GPU both train in bf16.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from _loaders import NEEDS, prepare

CONTENDERS = ("synthetic", "cupel", "open_clip")


class Clock:
    """When the step after the warm-up and the last one asked for their batches."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.at, self.steps, self.asked = (options.warm, options.steps - 1), options.steps, 0
        self.moments: list[float] = []
        self.waits: list[float] = []  # seconds blocked until then
        self.rows = options.batch * (self.at[1] - self.at[0])

    def ask(self, waited_s: float) -> None:
        """A step asks for its batch."""
        import torch

        if self.asked in self.at:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.moments.append(time.perf_counter())
            self.waits.append(waited_s)
        self.asked += 1

    def told(self) -> dict[str, float]:
        """Pairs/s and share of the time that was waited."""
        first, last = self.moments
        return {"rate": self.rows / (last - first), "wait": (self.waits[1] - self.waits[0]) / (last - first)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-S-32-alt", help="one of open_clip's")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm", type=int, default=2, help="steps that are not counted")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for all")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--sizes", nargs="+", default=["256x256", "500x375"], help="of drawn images")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--run", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run = open_clip if options.run == "open_clip" else cupel
        return print(json.dumps(run(options)), flush=True)
    there = list(CONTENDERS)
    if not all(map(importlib.util.find_spec, NEEDS["open_clip-webdataset"])):
        there.remove("open_clip")
        print(f"open_clip: left out, needs {' and '.join(NEEDS['open_clip-webdataset'])}")
    print(f"{options.architecture}, batches of {options.batch}, {options.cores} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as folder:
        for size in options.sizes:
            place = Path(folder) / size
            prepare(place, size, options.images, options.cores, [], None)
            table(size, place, there, options)
    return None


def table(size: str, place: Path, there: list[str], options: argparse.Namespace) -> None:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in there}
    for _ in range(options.repeat):
        for name in there:
            arguments = [__file__, *sys.argv[1:], "--run", name, "--place", str(place)]
            done = subprocess.run([sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    limit = max(run["rate"] for run in runs["synthetic"])
    print(f"\n{size:9} contender    median/s    best/s   of synthetic   waited     MFU")
    for name, found in runs.items():
        rates, best = [run["rate"] for run in found], max(found, key=lambda run: run["rate"])
        used = f"{best['mfu']:7.1%}" if best.get("mfu") else "      -"
        shares = f"{best['rate'] / limit:12.1%} {best['wait']:10.1%} {used}"
        print(f"{size:9} {name:11} {statistics.median(rates):9.1f} {best['rate']:9.1f} {shares}")


def cupel(options: argparse.Namespace) -> dict[str, float]:
    """Our loop, on what is read or on its first batch again and again."""
    from cupel.pipeline.train import loop
    from cupel.pipeline.train.log import mfu
    from cupel.pipeline.train.ranks import Ranks
    from cupel.schemas.train import TrainRecipe

    recipe = TrainRecipe.model_validate(
        {
            "name": "bench",
            "model": {"architecture": options.architecture},
            "samples": options.steps * options.batch,
            "batch": options.batch,
            "compile": options.compile,
            "checkpoint_steps": options.steps + 1,
        }
    )
    clock = Clock(options)

    class Clocked(loop.Feed):
        def __iter__(self) -> Iterator[object]:
            first = None
            for found in super().__iter__():
                first = first or found
                clock.ask(self.waited_s)
                yield found
                while options.run == "synthetic":
                    clock.ask(self.waited_s)
                    yield first

    with (
        mock.patch.object(loop, "Feed", Clocked),
        mock.patch.object(loop, "CACHE_MB", 0),  # else images of so small a set are decoded once
        tempfile.TemporaryDirectory(dir=options.place) as out,
    ):
        result = loop.fit(recipe, str(options.place / "parquet"), Path(out) / "run", threads=options.cores)
    found = clock.told()
    return found | {"mfu": mfu(found["rate"] * result.flops_per_sample, Ranks().device()) or 0.0}


def open_clip(options: argparse.Namespace) -> dict[str, float]:
    """open_clip_train's loop, as its command starts it."""
    import torch
    from open_clip_train import main as trainer

    clock, get_data = Clock(options), trainer.get_data

    class Clocked:
        """Their loader, and the time that it takes."""

        def __init__(self, loader: object) -> None:
            self.loader, self.waited_s = loader, 0.0

        def __getattr__(self, name: str) -> object:
            return getattr(self.loader, name)

        def __iter__(self) -> Iterator[object]:
            batches = iter(self.loader)
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.waited_s += time.perf_counter() - began
                if batch is None:
                    return
                clock.ask(self.waited_s)
                yield batch

    def clocked(*arguments: object, **named: object) -> dict[str, object]:
        data = get_data(*arguments, **named)
        data["train"].dataloader = Clocked(data["train"].dataloader)
        return data

    tars = len(list((options.place / "tars").iterdir()))
    on_gpu = torch.cuda.is_available()
    given = {
        "train-data": f"{options.place}/tars/{{00000..{tars - 1:05d}}}.tar",
        "train-num-samples": options.steps * options.batch,
        "dataset-type": "webdataset",
        "model": options.architecture,
        "batch-size": options.batch,
        "precision": "amp_bf16" if on_gpu else "fp32",
        "device": "cuda" if on_gpu else "cpu",
        "workers": options.cores,
        "epochs": 1,
        "warmup": 1,
        "lr": 5e-4,
        "save-frequency": 0,
        "logs": options.place / f"logs-{time.time_ns()}",
    }
    arguments = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    arguments += ["--dataset-resampled", *(["--torchcompile"] if options.compile else [])]
    with mock.patch.object(trainer, "get_data", clocked):
        trainer.main(arguments)
    return clock.told()


if __name__ == "__main__":
    main()
