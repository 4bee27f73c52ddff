"""Samples a second of the trainer's reader beside other loaders: same images, same cores, one after the other.

    python infra/bench/reader.py                                             256 px and 500 px drawn, about 15 minutes
    python infra/bench/reader.py --seconds 2 --repeat 1 --only ours open_clip-webdataset
    python infra/bench/reader.py --pairs ../shared/data/pairs/coco-mini      real photographs

Contenders: open_clip's webdataset and CSV loaders (open_clip_train's own functions), Hugging Face `datasets` streaming
Parquet, Ray Data's `iter_torch_batches`, litData, Mosaic streaming; what is not installed is named and left out. (`pip
install pandas 'webdataset<=0.2.86' datasets litdata mosaicml-streaming`, into an environment of its own: open_clip's
loader reads nothing with webdataset 1.0, and the pins of the others disagree with ours.) Each run
is a process of its own on --cores cores, with as many workers (we: threads), files in the page cache, and reads
endlessly; counted are --seconds after a warm-up. The runs of all contenders alternate, --repeat times.

Ways: `own`: what is done to train: open_clip's random crop (Pillow), normalised floats and its tokenizer; we: the short
side resized and the centre cropped, uint8, and the same tokenizer (crop and normalisation happen on the device, a few
per cent of a step). `same`: all make the same uint8 squares, resized by Pillow's bicubic where they are not ours.
`inside`: theirs with our decoder: what is left is the container, the workers and the way of the batch between them.

Columns: samples/s of wall time, median and best (of a shared machine the best says more); samples per second of
processor time of the process and all its children; how many times ours is that. `dB`: PSNR of a batch against Pillow's
full decode, bicubic resize and crop (own: random crops, nothing to compare).
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

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from _loaders import LOADERS, NEEDS, Setting, prepare, reference

LIMIT_S = 120  # to start and warm up
WAYS = ("own", "same", "inside")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--pairs", type=Path, help="a folder with captions.jsonl and images: real pairs, too")
    parser.add_argument("--only", nargs="+", choices=LOADERS, default=list(LOADERS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--sizes", nargs="*", default=["256x256", "500x375"], help="of drawn images")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(Setting(**json.loads(options.run)), options.seconds)), flush=True)
        if ray := sys.modules.get("ray"):
            ray.shutdown()
        os._exit(0)  # some loaders' workers would keep it for a minute
    there = [name for name in options.only if all(map(importlib.util.find_spec, NEEDS.get(name, ())))]
    for name in sorted(set(options.only) - set(there)):
        print(f"{name}: left out, needs {' and '.join(NEEDS[name])}")
    print(f"{options.cores} cores, {options.side} px, batches of {options.batch}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as folder:
        sets = [(size, None) for size in options.sizes] + ([("pairs", options.pairs)] if options.pairs else [])
        for name, pairs in sets:
            place = Path(folder) / name
            prepare(place, name, options.images, options.cores, there, pairs)
            table(name, place, there, options)


def table(name: str, place: Path, there: list[str], options: argparse.Namespace) -> None:
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.repeat):
        for way in options.ways:
            for loader in there:
                if way == "inside" and loader == "ours":
                    continue
                setting = {"loader": loader, "way": way, "place": str(place), "side": options.side}
                setting |= {"batch": options.batch, "cores": options.cores}
                if found := measured(setting, options.seconds):
                    runs.setdefault((way, loader), []).append(found)
                    print(f"{name} {way} {loader}: {found['rate']:.0f}/s", file=sys.stderr, flush=True)
    print(
        f"\n{name:9} way     loader                 median/s    best/s   per CPU-s   ours: median   best    CPU      dB"
    )
    for way in options.ways:
        ours = runs.get(("own" if way == "own" else "same", "ours"))
        for loader in there:
            if found := runs.get((way, loader)):
                print(f"{name:9} {way:7} {loader:21} {line(found, ours)}")
    if options.json:
        print(json.dumps({f"{name} {way} {loader}": found for (way, loader), found in runs.items()}))


def line(found: list[dict[str, float]], ours: list[dict[str, float]] | None) -> str:
    def told(runs: list[dict[str, float]]) -> tuple[float, float, float]:
        rates = [run["rate"] for run in runs]
        return statistics.median(rates), max(rates), max(run["cpu_rate"] for run in runs)

    mine = told(found)
    times = [f"{theirs / own:6.2f}x" for theirs, own in zip(told(ours), mine, strict=True)] if ours else ["      -"] * 3
    decibels = f"{found[0]['psnr']:8.1f}" if found[0]["psnr"] else "       -"
    return f"{mine[0]:9.0f} {mine[1]:9.0f} {mine[2]:11.0f}     {times[0]:>10} {times[1]} {times[2]} {decibels}"


def measured(setting: dict[str, object], seconds: float) -> dict[str, float] | None:
    """A run in a process of its own; None where it failed, which is told."""
    command = [sys.executable, "-W", "ignore", __file__, "--run", json.dumps(setting), "--seconds", str(seconds)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{setting['place']}/hf", "RAY_DEDUP_LOGS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S + seconds)
    except subprocess.TimeoutExpired:
        print(f"{setting['loader']} {setting['way']}: no end after {LIMIT_S:.0f} s, left out", flush=True)
        return None
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        print(f"{setting['loader']} {setting['way']} failed: {' '.join(why)[:300]}", flush=True)
        return None
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"rate"')))  # Ray prints, too


def run(setting: Setting, seconds: float) -> dict[str, float]:
    """One contender, in this process."""
    import torch

    torch.set_num_threads(1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting.cores])
    batches: Iterator[tuple[object, object]] = LOADERS[setting.loader](setting)
    images, marks = next(batches)
    psnr = 0.0 if setting.way == "own" else compared(setting, np.asarray(images), np.asarray(marks).reshape(-1))
    for _ in range(4 * setting.cores + 4):  # what workers have made ahead
        next(batches)
    rows, began, used = 0, time.perf_counter(), processor_s()
    while time.perf_counter() < began + seconds:
        rows += len(next(batches)[0])
    took, used = time.perf_counter() - began, processor_s() - used
    return {"rate": rows / took, "cpu_rate": rows / used, "psnr": psnr}


def compared(setting: Setting, images: np.ndarray, marks: np.ndarray) -> float:
    """Mean PSNR of a batch against Pillow; it stops where an image is another one."""
    assert images.dtype == np.uint8
    assert images.shape[1:] == (setting.side, setting.side, 3)
    found = []
    for pixels, mark in zip(images, marks.tolist(), strict=True):
        apart = np.mean((pixels.astype(float) - reference(setting, mark)) ** 2)
        found.append(10 * np.log10(255**2 / max(apart, 1e-2)))
    assert min(found) > 20, f"{setting.loader}: image {marks[int(np.argmin(found))]} is another one"
    return float(np.mean(found))


def processor_s() -> float:
    """Processor time so far of this process and all that it has started and that still run."""
    parents, times = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(fields[1])
        times[int(folder.name)] = int(fields[11]) + int(fields[12])
    mine, more = set(), {os.getpid()}
    while more:
        mine |= more
        more = {process for process, parent in parents.items() if parent in more} - mine
    return sum(times[process] for process in mine) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
