"""Memory as the input grows tenfold: the largest process of each kind, and the ratio of the larger input's to the
smaller's, which should be 1.

    python infra/bench/memory.py                 about 4 minutes
    python infra/bench/memory.py --scale 0.1     a minute; small inputs fill no batch, so the ratios are above 1
    python infra/bench/memory.py --only near_text --rows 100000 1000000 10000000

`images`: captions and drawn JPEGs (sizes, pHash, digest, text). `texts`: captions only. `files`: as many shards as rows
allow, a file of 50 rows each, for what a shard costs the driver. `top`: a ranking, one task that holds key and value of
all rows alive, so its memory grows with them; it is no fault that shows here but the price, told in bytes a row.
`near_images`, `near_text` (14 bands) and `semantic` (512 numbers) are given hashes, bands and embeddings as columns of
the input, a third of them near another row's, and write no images.

Each run has an interpreter and a Ray of its own, with an object store of 200 MB. From outside, this program looks
every 50 ms at what each process of it holds by itself: anonymous memory and its share of mapped files (Pss in
/proc/PID/smaps_rollup), without the shared object store. A peak of less than 50 ms may be missed. A worker counts as
`barrier` from when it first runs one. The largest sum of all processes is told too.
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
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

EVERY_S = 0.05
FILE_ROWS = 20_000
KINDS = ("driver", "worker", "barrier", "gcs_server", "raylet", "all")
TEXTS = [
    *("text.length", {"keep": {"words": {"min": 2}}}),
    *("text.characters", {"keep": {"letter_ratio": {"min": 0.3}}}),
]
CASES: dict[str, tuple[int, list]] = {  # rows of the smaller input, steps
    "images": (2000, [*TEXTS, "image.size", "image.quality", "image.phash", "image.digest"]),
    "texts": (100_000, TEXTS),
    "files": (10_000, TEXTS),
    "top": (100_000, ["text.length", {"keep": {"characters": {"top": 0.5}}}]),
    "near_images": (100_000, [{"dedup.near_images": {"max_distance": 4}}, {"keep": {"near_image_of": None}}]),
    "near_text": (100_000, ["dedup.near_text", {"keep": {"near_text_of": None}}]),
    "semantic": (20_000, ["dedup.semantic", {"keep": {"semantic_of": None}}]),
}
BARRIERS = ("top", "near_images", "near_text", "semantic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rows")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--run", nargs=3, metavar=("CASE", "INPUT", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs="+", help="these numbers of rows, instead of one and ten times it")
    options = parser.parse_args()
    if options.run:
        return one_run(*options.run)
    print(f"MB of the largest process of each kind; {len(os.sched_getaffinity(0))} cores\n")
    print(f"{'case':12}{'rows':>11}{'shards':>8}{'MB in':>8}{'seconds':>9}" + "".join(f"{kind:>11}" for kind in KINDS))
    for case in [options.only] if options.only else CASES:
        if options.rows:
            for rows in options.rows:
                measured(case, rows)
        else:
            tell(case, int(CASES[case][0] * options.scale))
    return None


def tell(case: str, rows: int) -> None:
    """Two lines of figures, one of ratios, one of what grew."""
    small, large = (measured(case, count) for count in (rows, 10 * rows))
    shared = [kind for kind in KINDS if small[kind] and large[kind]]
    ratios = "".join(f"{large[kind] / small[kind]:11.2f}" if kind in shared else f"{'':11}" for kind in KINDS)
    print(f"{'':12}{'ratio':>36}{ratios}")
    shards, more = large["shards"] - small["shards"], large["rows"] - small["rows"]
    if shards > 100:
        print(f"{'':12}driver: {1e3 * (large['driver'] - small['driver']) / shards:.1f} kB a shard")
    if "barrier" in shared:
        print(f"{'':12}barrier: {1e6 * (large['barrier'] - small['barrier']) / more:.0f} bytes a row")
    print(flush=True)


def measured(case: str, rows: int) -> dict[str, float]:
    """The peaks of one run, in MB, and what it ran on."""
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as name:
        folder = Path(name)
        write_input(folder / "in", case, rows)
        size = sum(file.stat().st_size for file in (folder / "in").iterdir()) / 1e6
        command = [sys.executable, __file__, "--run", case, str(folder / "in"), str(folder / "out")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        peaks = watch(process.pid, lambda: process.poll() is None)
        took = time.perf_counter() - began
        assert process.returncode == 0, f"the run of {case} failed"
        assert process.stdout
        shards = json.loads(process.stdout.read())["shards"]
    line = "".join(f"{peaks[kind]:11,.0f}" if kind in peaks else f"{'':11}" for kind in KINDS)
    print(f"{case:12}{rows:11,}{shards:8,}{size:8,.0f}{took:9.1f}{line}", flush=True)
    return {**dict.fromkeys(KINDS, 0.0), **peaks, "shards": shards, "rows": rows}


def one_run(case: str, place: str, out: str) -> None:
    import ray

    from cupel import Recipe, run

    options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 200 << 20}
    ray.init(address="local", logging_level="ERROR", **options)
    funnel = run(Recipe(name="bench", steps=CASES[case][1]), place, out=out, write=case not in BARRIERS)
    print(json.dumps({"shards": funnel.manifest.shards}))
    ray.shutdown()


# Processes


def watch(root: int, goes_on: Callable[[], bool]) -> dict[str, float]:
    """kind -> the most that one process of it held (MB), and the most that all held together."""
    peaks: dict[str, float] = defaultdict(float)
    crossed: set[int] = set()
    while goes_on():
        total = 0.0
        for pid in descendants(root):
            name, held = looked_at(pid)
            if name.startswith("ray::cross"):
                crossed.add(pid)
            kind = "driver" if pid == root else kind_of(name, pid in crossed)
            peaks[kind] = max(peaks[kind], held)
            total += held
        peaks["all"] = max(peaks["all"], total)
        time.sleep(EVERY_S)
    return peaks


def kind_of(name: str, crossed: bool) -> str:
    if name.startswith("ray::"):
        return "barrier" if crossed else "worker"
    return next((kind for kind in KINDS if kind in name.split()[0]), "other") if name else "other"


def descendants(root: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children[parent].append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def looked_at(pid: int) -> tuple[str, float]:
    """Command line, and MB held by itself: shared memory (the object store) is left out."""
    place = Path("/proc", str(pid))
    try:
        name = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        lines = (place / "smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return "", 0.0
    held = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return name, (held.get("Pss_Anon", 0) + held.get("Pss_File", 0)) * 1024 / 1e6


# The input


def write_input(folder: Path, case: str, rows: int) -> None:
    """Parquet files with what the case reads, drawn from the row's number."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    jpegs = [drawn(i) for i in range(200)] if case == "images" else []
    per_file = 50 if case == "files" else FILE_ROWS
    for number, start in enumerate(range(0, rows, per_file)):
        count = min(per_file, rows - start)
        random = np.random.default_rng(number)
        nouns = random.integers(0, 5000, (count, 12))
        columns: dict[str, object] = {"key": [f"{start + i:09}" for i in range(count)]}
        if case in BARRIERS[1:]:
            columns["text"] = columns["key"]  # a source has texts or images
        else:
            columns["text"] = ["a picture of " + " ".join(f"thing{n}" for n in line) for line in nouns.tolist()]
        if jpegs:
            columns["image"] = pa.array([jpegs[(start + i) % len(jpegs)] for i in range(count)], pa.large_binary())
        copies, copied = random.choice(count, count // 3, replace=False), random.integers(0, count, count // 3)
        if case == "near_images":
            hashes = random.integers(0, 2**64, count, np.uint64)
            hashes[copies] = hashes[copied] ^ np.uint64(1) << random.integers(0, 64, len(copies), np.uint64)
            columns["phash"] = hashes
        if case == "near_text":
            bands = random.integers(0, 2**64, (count, 14), np.uint64)
            bands[copies, copies % 14] = bands[copied, copies % 14]
            columns["minhash"] = pa.FixedSizeListArray.from_arrays(pa.array(bands.reshape(-1)), 14)
        if case == "semantic":
            vectors = random.normal(size=(count, 512)).astype(np.float16)
            vectors[copies] = vectors[copied] + (0.1 * random.normal(size=(len(copies), 512))).astype(np.float16)
            columns["image_embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 512)
        pq.write_table(pa.table(columns), folder / f"{number:05}.parquet", row_group_size=1000, use_dictionary=False)


def drawn(number: int) -> bytes:
    """A JPEG of 512 px, 30 KB or so."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).resize(
        (512, 512), Image.Resampling.BICUBIC
    )
    data = io.BytesIO()
    coarse.save(data, "JPEG", quality=90)
    return data.getvalue()


if __name__ == "__main__":
    main()
