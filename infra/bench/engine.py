"""What the engine costs: a whole run against its operators alone, on the same rows, as a ratio.

    python infra/bench/engine.py                          about 8 minutes
    python infra/bench/engine.py --rows 8000 --repeat 1   about a minute

The limit is what the cores could do: the operators called one after the other in one process, the same keeps applied,
nothing scheduled and nothing written, its time divided by the number of cores. The floor is a bare window of Ray tasks,
each of which does the same for a shard: what Ray costs, and what cores cost each other. `measure and decide` is
`cupel.run` without curated/: scan, scores/, kept/, dropped/, manifest. `write curated/` is that run repeated with
images written, nothing measured. Ray and its workers are started before the clock, and told by themselves.

Each figure is the best of --repeat rounds; a round runs all of them, so that a noisy neighbour meets all alike. CPU
seconds are those of all processes together and less noisy than the clock. `others` is how many cores programs that are
none of ours took meanwhile, in the fastest round: where that is not near 0, believe the CPU seconds and not the clock.

Images are OpenStax figures of up to 320 px (--data), or drawn ones of 512 px where there is no such folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from PIL import Image, ImageDraw

from cupel import Recipe, run
from cupel.operators.base import Batch, RowOperator
from cupel.operators.images import ImageStore
from cupel.operators.registry import find
from cupel.operators.source import open_source
from cupel.operators.source.base import Shard, Source
from cupel.pipeline.read import ShardList, grow
from cupel.schemas.recipe import Read

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pairs" / "openstax"
FILE_ROWS = 10_000
CHUNK = 64  # images at a time in the loop that sets the limit
STEPS = [
    *("text.length", {"keep": {"words": {"min": 3}, "characters": {"min": 6}}}),
    *("text.characters", {"keep": {"letter_ratio": {"min": 0.5}}}),
    *("text.language", {"keep": {"language": {"in": ["en"]}}}),
    *("image.size", {"keep": {"min_side_px": {"min": 64}, "aspect_ratio": {"max": 3.0}}}),
    *("image.quality", {"keep": {"contrast": {"min": 5}}}),
    *("image.phash", "image.digest"),
]
Took = tuple[float, float, float]  # seconds by the clock, CPU seconds of all our processes, cores that others took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return print(json.dumps(alone(options.alone)))
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as name:
        folder = Path(name)
        write_input(folder / "in", options.rows, samples(options.data))
        write_input(folder / "small", 400 * cores, samples(options.data))
        began = time.perf_counter()
        ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        run(recipe(), folder / "small", out=folder / "warm", write=False)
        started = time.perf_counter() - began
        rounds = [one_round(folder, number) for number in range(options.repeat)]
        ray.shutdown()
    tell(rounds, options, cores, started)
    return None


def tell(rounds: list[dict[str, Took]], options: argparse.Namespace, cores: int, started: float) -> None:
    best = {name: min(one[name] for one in rounds) for name in rounds[0]}
    seconds, cpu, others = best.pop("operators alone, one process")
    limit = seconds / cores
    what = "OpenStax figures" if options.data.is_dir() else "drawn 512 px JPEGs"
    print(f"{options.rows:,} rows of {what}; {cores} cores; best of {options.repeat}")
    print(f"Ray, its workers and a first run of {400 * cores} rows took {started:.1f} s, not counted below\n")
    print(f"{'':36}{'seconds':>9}{'rows/s':>9}{'of limit':>10}{'CPU s':>8}{'of alone':>10}{'others':>8}")

    def line(name: str, seconds: float, more: str) -> None:
        print(f"{name:36}{seconds:9.1f}{options.rows / seconds:9,.0f}{more}")

    line("operators alone, one process", seconds, f"{'':10}{cpu:8.1f}{1:10.3f}{others:8.2f}")
    line(f"limit: that / {cores} cores", limit, f"{1:10.3f}")
    for name, (took, used, others) in best.items():
        line(name, took, f"{took / limit:10.3f}{used:8.1f}{used / cpu:10.3f}{others:8.2f}")
    ratio, floor = (best[name][0] / limit for name in ("measure and decide", "floor: bare Ray tasks"))
    print(f"\nmeasure and decide / limit: {ratio:.3f} (target: below 1.10); / floor: {ratio / floor:.3f}")


def one_round(folder: Path, number: int) -> dict[str, Took]:
    command = [sys.executable, __file__, "--alone", str(folder / "in")]
    single = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    told: list[bytes] = []
    *_, others = timed(lambda: told.append(subprocess.check_output(command, env=single)))
    seconds, cpu, kept = json.loads(told[0])
    out = folder / f"corpus-{number}"
    counts: list[int] = []
    took = {
        "operators alone, one process": (seconds, cpu, others),
        "floor: bare Ray tasks": timed(lambda: counts.append(bare(folder / "in"))),
        "measure and decide": timed(
            lambda: counts.append(run(recipe(), folder / "in", out=out, write=False).kept),
        ),
        "write curated/": timed(lambda: counts.append(run(recipe(), folder / "in", out=out).kept)),
    }
    assert set(counts) == {kept}, f"not the same rows: {kept} and {counts}"
    return took


def timed(call: Callable[[], None]) -> Took:
    cpu, busy, began = cpu_seconds(), busy_seconds(), time.perf_counter()
    call()
    took, used = time.perf_counter() - began, cpu_seconds() - cpu
    return took, used, max(0.0, (busy_seconds() - busy - used) / took)


def busy_seconds() -> float:
    """CPU seconds of all programs of the machine."""
    fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    user, nice, system, _, _, interrupts, soft, stolen = map(int, fields[:8])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Of this process and all below it, those that ended included."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        used[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    total, waiting = 0, [os.getpid()]
    while waiting:
        process = waiting.pop()
        total += used.get(process, 0)
        waiting += children.get(process, [])
    return total / os.sysconf("SC_CLK_TCK")


def recipe() -> Recipe:
    return Recipe(name="bench", steps=STEPS)


# The operators alone


def alone(folder: Path) -> tuple[float, float, int]:
    """Seconds, CPU seconds and rows kept of all shards in this process, after one to warm up."""
    source, found = shards(folder)
    measure_alone(source, found.shards[0], found.schema)
    began, cpu = time.perf_counter(), time.process_time()
    kept = sum(measure_alone(source, shard, found.schema) for shard in found.shards)
    return time.perf_counter() - began, time.process_time() - cpu, kept


def bare(folder: Path) -> int:
    """Rows kept, by a window of Ray tasks of one shard each."""
    source, found = shards(folder)
    task = ray.remote(measure_alone)
    waiting, running, kept = list(found.shards), [], 0
    while waiting or running:
        while waiting and len(running) < 2 * len(os.sched_getaffinity(0)):
            running.append(task.remote(source, waiting.pop(), found.schema))
        (ready,), running = ray.wait(running)
        kept += ray.get(ready)
    return kept


def shards(folder: Path) -> tuple[Source, ShardList]:
    """The shards as the engine cuts them."""
    source = open_source(Read(input=str(folder)))
    return source, grow(None, {file: source.scan(file) for file in source.files()})


_operators: dict[str, RowOperator] = {}


def measure_alone(source: Source, shard: Shard, schema: pa.Schema) -> int:
    """Rows of the shard that all the keeps leave."""
    image = next(i for i, step in enumerate(STEPS) if str(step).startswith("image."))
    kept = 0
    for rows in source.rows(shard, schema, ["text"]):
        alive = through(STEPS[:image], Batch(rows.table), np.arange(rows.table.num_rows))
        for start in range(0, len(alive), CHUNK):
            some = alive[start : start + CHUNK]
            slots = rows.slots[some]
            images = ImageStore(dict(zip(slots.tolist(), rows.images.load(slots.tolist()), strict=True)))
            batch = Batch(rows.table.take(pa.array(some)), images, slots)
            kept += len(through(STEPS[image:], batch, some))
    return kept


def through(steps: list[str | dict], batch: Batch, rows: np.ndarray) -> np.ndarray:
    """Those of the rows that the keeps among these steps leave."""
    columns: dict[str, np.ndarray] = {}
    for step in steps:
        if isinstance(step, str):
            if step not in _operators:
                _operators[step] = find(step)()
                _operators[step].setup()
            for name, values in _operators[step](batch).items():
                columns[name] = np.asarray(values)
            assert not batch.failures
        else:
            stay = np.flatnonzero(np.logical_and.reduce(list(holds(step["keep"], columns))))
            columns = {name: values[stay] for name, values in columns.items()}
            batch, rows = batch.take(stay), rows[stay]
    return rows


def holds(keep: dict[str, dict], columns: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    for name, bound in keep.items():
        for kind, limit in bound.items():
            values = columns[name]
            yield values >= limit if kind == "min" else values <= limit if kind == "max" else np.isin(values, limit)


# The input


def samples(data: Path) -> list[tuple[str, bytes]]:
    """(caption, JPEG): real ones, or drawn ones."""
    if not data.is_dir():
        with ThreadPoolExecutor() as pool:
            return list(pool.map(drawn, range(600)))
    with (data / "captions.jsonl").open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [(row["caption"] or row["alt"], (data / row["file"]).read_bytes()) for row in found]


def drawn(number: int) -> tuple[str, bytes]:
    """A gradient with ellipses and some grain, 512 px, about as large as a photo of that size."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:512, 0:512] / 512
    shades = random.uniform(0, 255, (3, 3))
    base = shades[0] + x[..., None] * (shades[1] - shades[0]) + y[..., None] * (shades[2] - shades[0])
    image = Image.fromarray((base + random.normal(0, 8, (512, 512, 1))).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        left, top, wide, high = random.integers(0, 400, 4).tolist()
        draw.ellipse((left, top, left + wide, top + high), fill=tuple(random.integers(0, 256, 3).tolist()))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return f"A drawing of twenty coloured ellipses on a soft gradient, number {number} of the series", data.getvalue()


def write_input(folder: Path, rows: int, found: list[tuple[str, bytes]]) -> None:
    """Parquet files of FILE_ROWS rows, the samples again and again, in row groups of 500."""
    folder.mkdir()
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        some = [found[i % len(found)] for i in range(start, min(rows, start + FILE_ROWS))]
        columns = {
            "key": [f"{start + i:08}" for i in range(len(some))],
            "text": [text for text, _ in some],
            "image": pa.array([image for _, image in some], pa.large_binary()),
        }
        table = pa.table(columns)
        pq.write_table(
            table, folder / f"{number:05}.parquet", row_group_size=500, compression="none", use_dictionary=False
        )


if __name__ == "__main__":
    main()
