"""CLIP scores from JPEG bytes in Parquet, against the network alone and a plain open_clip loop over the same file.

    python infra/bench/clip.py                                     two cores, ViT-B-32: about 6 minutes
    python infra/bench/clip.py --models ViT-B-32 ViT-L-14 --rows 60000 --base-rows 4000     a GPU and 16 cores

Rates in pairs/s, measured one after the other, `--repeat` times, the best of each:

    forward   both towers on synthetic tensors of the batch's size, in the precision of the device: the limit
    cut       the same with captions cut to their own length, as cupel cuts them: the limit of cupel's own work
    plain     DataLoader over the same rows, PIL, open_clip's transform and tokenizer, encode_image and encode_text
    cupel     `cupel.run` of pair.clip_similarity, with the exact transform and with `decode: scaled`

Weights are random: speed does not depend on them. cupel's rate is that of the rows beyond `--base-rows`: a run on these
alone takes the start of Ray and the loading of the model off. On a GPU its idle share is sampled meanwhile. On a CPU
the others have all cores in one process and cupel has a process a core, which may scale better.
`scores` tells how far the scaled decode moves the scores.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from cupel import Recipe, run
from cupel.operators.models import clip

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pairs" / "coco-mini" / "images"
CUDA = torch.cuda.is_available()
TEXT = "a photograph of two people and a dog that walk along the beach in the evening"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ViT-B-32"])
    parser.add_argument("--rows", type=int, default=60_000 if CUDA else 500)
    parser.add_argument("--base-rows", type=int, default=4_000 if CUDA else 64)
    parser.add_argument("--batch", type=int, default=1024 if CUDA else 32)
    parser.add_argument("--loaders", type=int, default=16 if CUDA else 0, help="DataLoader workers of the plain loop")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of JPEGs; drawn ones where there is none")
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name() if CUDA else 'CPU'}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = pictures(options.data)
        print(f"{len(images)} JPEGs of {np.mean([len(i) for i in images]) / 1000:.0f} kB, {options.rows} rows")
        files = {rows: write_rows(folder / f"rows{rows}", images, rows) for rows in (options.base_rows, options.rows)}
        for model in options.models:
            compare(folder, model, files, options)


def compare(folder: Path, model: str, files: dict[int, Path], options: argparse.Namespace) -> None:
    """One model's table."""
    weights = random_weights(folder / model, model)
    rates: dict[str, float] = {}
    notes: dict[str, str] = {}
    for _ in range(options.repeat):
        for name, measure in measures(model, weights, files, options):
            with idle_share() as idle:
                rate = measure()
            if rate > rates.get(name, 0):
                rates[name] = rate
                notes[name] = f"GPU idle {100 * np.mean(idle):.0f} %" if idle else ""
    print(f"{model}: {'pairs/s':>26} / forward  / plain")
    for name, rate in rates.items():
        print(f"  {name:20}{rate:12.1f}{rate / rates['forward']:10.2f}{rate / rates['plain']:9.2f}  {notes[name]}")
    exact, scaled = (scores(folder / f"{model}-{decode}" / str(options.rows)) for decode in ("full", "scaled"))
    moved = np.abs(exact - scaled)
    print(f"  scores: scaled decode moves them by {moved.mean():.4f} on average, {moved.max():.4f} at most", flush=True)


def measures(
    model: str, weights: Path, files: dict[int, Path], options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], float]]]:
    yield "forward", lambda: alone(["forward", model, str(options.batch)])
    yield "cut", lambda: alone(["cut", model, str(options.batch)])
    yield "plain", lambda: alone(["plain", model, str(options.batch), str(options.loaders), str(files[options.rows])])
    for decode in ("full", "scaled"):
        yield f"cupel {decode}", lambda decode=decode: cupel_rate(model, decode, weights, files)


def alone(arguments: list[str]) -> float:
    """A rate measured in a process of its own, which gives the device's memory back."""
    command = [sys.executable, __file__, "--alone", *arguments]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def forward_rate(model: str, batch: int, cut: bool) -> float:
    """Both towers on tensors that lie on the device already."""
    network, _ = build(model)
    ours = clip.Network.__new__(clip.Network)  # its text tower alone, over the same network
    ours.model, ours.dtype = network, torch.bfloat16 if CUDA else torch.float32
    encode_text = ours._encode_text if cut else network.encode_text
    device = next(network.parameters()).device
    kind = torch.bfloat16 if CUDA else torch.float32
    pixels = torch.randn(batch, 3, *image_size(network), device=device).to(kind)
    tokens = open_clip.get_tokenizer(model)([TEXT] * batch).to(device)

    def once() -> None:
        network.encode_image(pixels)
        encode_text(tokens)

    return batch * timed(once, 10.0)


def plain_rate(model: str, batch: int, loaders: int, file: Path) -> float:
    """What one writes by hand."""
    network, transform = build(model)
    device = next(network.parameters()).device
    rows = Rows(file, transform, open_clip.get_tokenizer(model))
    began, done = time.perf_counter(), 0
    for pixels, tokens in DataLoader(rows, batch_size=batch, num_workers=loaders, pin_memory=CUDA):
        found = network.encode_image(pixels.to(device, torch.bfloat16 if CUDA else torch.float32), normalize=True)
        (found * network.encode_text(tokens.to(device), normalize=True)).sum(dim=1).float().cpu()
        done += len(pixels)
    return done / (time.perf_counter() - began)


class Rows(Dataset):
    def __init__(self, file: Path, transform: object, tokenizer: object) -> None:
        table = pq.read_table(file)
        self.images, self.texts = table["image"], table["text"]
        self.transform, self.tokenizer = transform, tokenizer

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(io.BytesIO(self.images[i].as_py()))
        return self.transform(image), self.tokenizer([self.texts[i].as_py()])[0]


def cupel_rate(model: str, decode: str, weights: Path, files: dict[int, Path]) -> float:
    """Rows beyond the first ones, over the time that they take."""
    took = {}
    for rows, file in files.items():
        out = weights.parent / f"{model}-{decode}" / str(rows)
        if out.exists():
            subprocess.run(["rm", "-r", str(out)], check=True)
        step = {"pair.clip_similarity": {"model": str(weights), "decode": decode}}
        recipe = Recipe.model_validate({"name": "clip", "steps": [step]})
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        began = time.perf_counter()
        run(recipe, file, out=out, write=False)
        took[rows] = time.perf_counter() - began
        ray.shutdown()
    few, many = sorted(files)
    return (many - few) / (took[many] - took[few])


def scores(corpus: Path) -> np.ndarray:
    found = [pq.read_table(path) for path in sorted(corpus.glob("scores/pair.clip_similarity-*/*.parquet"))]
    return pa.concat_tables(found)["clip_similarity"].to_numpy()


def build(model: str) -> tuple[torch.nn.Module, object]:
    network, _, transform = open_clip.create_model_and_transforms(
        model, precision="bf16" if CUDA else "fp32", device="cuda" if CUDA else "cpu"
    )
    return network.eval().requires_grad_(False), transform


def image_size(network: torch.nn.Module) -> tuple[int, int]:
    size = network.visual.image_size
    return size if isinstance(size, tuple) else (size, size)


def timed(once: Callable[[], None], seconds: float) -> float:
    """Calls a second, warm."""
    with torch.inference_mode():
        once()
        wait()
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            once()
            wait()
            calls += 1
        return calls / (time.perf_counter() - began)


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def random_weights(folder: Path, model: str) -> Path:
    """A folder that `model:` may name, with weights as open_clip initialises them."""
    folder.mkdir()
    network = open_clip.create_model(model)
    config = {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def write_rows(folder: Path, images: list[bytes], rows: int) -> Path:
    """Parquet files of 4,096 rows; every row has an image of its own."""
    folder.mkdir()
    for start in range(0, rows, 4096):
        stop = min(start + 4096, rows)
        table = pa.table(
            {
                "key": [f"{row:09d}" for row in range(start, stop)],
                "image": pa.array([images[row % len(images)] for row in range(start, stop)], pa.binary()),
                "text": [TEXT] * (stop - start),
            }
        )
        pq.write_table(table, folder / f"{start:09d}.parquet", row_group_size=256, compression="none")
    return folder


def pictures(folder: Path) -> list[bytes]:
    found = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))] if folder.is_dir() else []
    return found or [drawn(seed) for seed in range(64)]


def drawn(seed: int) -> bytes:
    """A JPEG of 640 x 480 with as much detail as a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(coarse)
    for x, y, r, *colour in rng.integers(0, 256, (60, 6)):
        pen.ellipse((2.5 * x - r / 4, 1.8 * y - r / 4, 2.5 * x + r / 4, 1.8 * y + r / 4), fill=tuple(colour))
    out = io.BytesIO()
    coarse.save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def idle_share() -> Iterator[list[float]]:
    """Twice a second, the share of time in which the GPU computed nothing; empty without one."""
    found: list[float] = []
    over = threading.Event()

    def sample() -> None:
        query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(0.5):
            found.append(1 - float(subprocess.run(query, check=True, stdout=subprocess.PIPE).stdout) / 100)

    thread = threading.Thread(target=sample)
    if CUDA:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        if CUDA:
            thread.join()
    if CUDA:
        busy = [i for i, share in enumerate(found) if share < 0.9]
        found[:] = found[busy[0] : busy[-1] + 1] if busy else found  # without the start and the end


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of every network with random weights
    if sys.argv[1:2] == ["--alone"]:
        kind, model, batch, *rest = sys.argv[2:]
        with torch.inference_mode():
            if kind in ("forward", "cut"):
                print(forward_rate(model, int(batch), kind == "cut"))
            else:
                print(plain_rate(model, int(batch), int(rest[0]), Path(rest[1])))
    else:
        main()
