"""A new threshold over a million measured rows: how long the decision takes, and how fast curated/ is written.

    python infra/bench/recut.py                    about 2 minutes, 7 GB of disk
    python infra/bench/recut.py --rows 100000      half a minute

The table has captions, and images of 2 to 4 KB: JPEGs of 8 x 8 px behind a comment of random bytes, so that measuring
is cheap and carrying is not. The first run measures text.length, text.characters and image.size. Then other thresholds
and a `top: 0.3`:

`decide` is `cupel.run(..., write=False)` in a fresh interpreter, so imports and the start of Ray are counted. Meanwhile
the input is hollow: files of the same size, with the same first and last 64 KiB, in which all other images' bytes are
holes. That no image is touched is thus proven: to read one fails on its page (tried for each file). `write` is the same
run with images, on the whole input. Its limit is a plain copy and fsync, in the same run, of as many bytes as curated/
has. As the kept rows lie scattered, nearly every page of images must be read for them, so a second limit adds that:
reading the column of images with pyarrow, page checksums verified, its time divided by the number of cores. They take
turns --repeat times, and the best of each is told. All is read from the page cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

FILE_ROWS = 50_000
EDGE = 64 << 10  # bytes at both ends by which a source knows its file again
FIRST = [
    *("text.length", {"keep": {"words": {"min": 3}}}),
    *("text.characters", {"keep": {"letter_ratio": {"min": 0.4}}}),
    *("image.size", {"keep": {"image_bytes": {"min": 2000}}}),
]
CUT = [
    *("text.length", {"keep": {"words": {"min": 4}, "characters": {"max": 120}}}),
    *("text.characters", {"keep": {"letter_ratio": {"top": 0.3}}}),
    *("image.size", {"keep": {"image_bytes": {"min": 2100}}}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return print(json.dumps(one_run(**json.loads(options.run))))
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as name:
        folder = Path(name)
        write_input(folder / "whole", options.rows)
        hollow(folder / "whole", folder / "hollow")
        bench(folder, options.rows, options.repeat)
    return None


def bench(folder: Path, rows: int, repeat: int) -> None:
    whole = folder / "whole"
    size = sum(file.stat().st_size for file in whole.iterdir())
    print(f"{rows:,} rows, {size / 1e9:.2f} GB; {len(os.sched_getaffinity(0))} cores; best of {repeat}\n")
    first = fresh(folder, whole, FIRST, write=False)
    print(f"first run, measuring all rows:  {first['whole']:6.1f} s ({rows / first['whole']:,.0f} rows/s)")
    told = []
    for _ in range(repeat):
        told.append(fresh(folder, folder / "hollow", CUT, write=False))
        written = fresh(folder, whole, CUT, write=True, measure_nothing=True)
        told[-1] |= {f"write: {name}": value for name, value in written.items()}
        told[-1] |= {"copy": copy(whole, folder / "copy", int(written["bytes"])), "read": read_images(whole)}
        shutil.rmtree(folder / "corpus" / "cuts" / str(told[-1]["cut"]))
    best = min(told, key=lambda line: line["whole"])
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in best["stages"].items())
    print(
        f"decide, new thresholds and top: {best['whole']:6.1f} s in all, {best['whole'] / 10:.2f} of the 10 s allowed"
    )
    print(f"    ({stages}; {best['kept']:,} of {rows:,} rows kept; images hollow)")
    print("    all rounds: " + ", ".join(f"{line['whole']:.1f}" for line in told))
    size = int(best["write: bytes"])
    copied, read = (min(line[name] for line in told) for name in ("copy", "read"))
    written = min(line["write: stages"]["weigh"] + line["write: stages"]["write"] for line in told)
    limit = copied + read / len(os.sched_getaffinity(0))
    print(f"\n{f'curated/, {size / 1e6:,.0f} MB':32}{'seconds':>8}{'MB/s':>8}{'speed of copy':>15}")
    lines = {"limit: copy and fsync": copied, "limit: read all images, copy": limit, "weigh and write": written}
    for name, took in lines.items():
        print(f"{name:32}{took:8.1f}{size / 1e6 / took:8.0f}{copied / took:15.2f}")
    shares = f"{copied / written:.2f} of the speed of a copy, {limit / written:.2f} of that of reading and copying"
    print(f"\nweigh and write: {shares}")


# One run of Cupel in an interpreter of its own


def fresh(folder: Path, place: Path, steps: list, **rest: bool) -> dict:
    """What `one_run` tells, and `whole`: seconds from the start of the interpreter to its end."""
    shown = folder / "in"
    shown.unlink(missing_ok=True)
    shown.symlink_to(place)
    told = json.dumps({"folder": str(folder), "steps": steps, **rest})
    began = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--run", told], check=True, stdout=subprocess.PIPE)
    return {**json.loads(done.stdout), "whole": time.perf_counter() - began}


class Stages:
    """Seconds of each stage; the first one holds imports and the start of Ray."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.seconds: dict[str, float] = {}
        self.stage = "start"

    def begin(self, stage: str, total: int, unit: str = "rows") -> None:
        now = time.perf_counter()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.began
        self.stage, self.began = stage, now

    def advance(self, count: int) -> None: ...

    def say(self, message: str) -> None: ...


def one_run(folder: str, steps: list, write: bool, measure_nothing: bool = False) -> dict:
    stages = Stages(time.perf_counter())
    from cupel import Recipe, run

    made = Recipe(name="bench", steps=steps)
    funnel = run(made, Path(folder, "in"), out=Path(folder, "corpus"), write=write, progress=stages)
    stages.begin("end", 0)
    if measure_nothing:
        assert not any(funnel.measured_rows.values())
    size = sum(file.stat().st_size for file in Path(funnel.cut, "curated").glob("*"))
    cut = Path(funnel.cut).name
    return {"stages": stages.seconds, "kept": funnel.kept, "bytes": size, "cut": cut}


def copy(folder: Path, to: Path, size: int) -> float:
    """Seconds to copy so many bytes of the input into one file and see them on the disk."""
    began = time.perf_counter()
    with to.open("wb") as target:
        for file in sorted(folder.iterdir()):
            with file.open("rb") as source:
                copy_range(source, target, 0, min(file.stat().st_size, size - target.tell()))
        os.fsync(target.fileno())
    took = time.perf_counter() - began
    to.unlink()
    return took


def read_images(folder: Path) -> float:
    """Seconds to read the column of images of all files, one after the other in one thread."""
    import pyarrow.parquet as pq

    began = time.perf_counter()
    for file in sorted(folder.iterdir()):
        with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True) as parquet:
            for _ in parquet.iter_batches(2500, columns=["image"], use_threads=False):
                pass
    return time.perf_counter() - began


def copy_range(source: BinaryIO, target: BinaryIO, begin: int, end: int) -> None:
    """Bytes [begin, end) of the source, to where the target stands."""
    source.seek(begin)
    for at in range(begin, end, 1 << 20):
        target.write(source.read(min(1 << 20, end - at)))


# The input


def write_input(folder: Path, rows: int) -> None:
    """Parquet files of FILE_ROWS rows in row groups of 5,000."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder.mkdir()
    file = io.BytesIO()
    Image.new("L", (8, 8), 99).save(file, "JPEG", optimize=True)
    picture = np.frombuffer(file.getvalue(), np.uint8)
    tail = picture[2:]
    random = np.random.default_rng(7)
    words = np.array([str(i) if i % 7 == 0 else "word" * (i % 3) + "table"[: 1 + i % 5] for i in range(999)])
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        sizes = random.integers(2000, 4000, count)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        data = random.integers(0, 256, ends[-1], np.uint8)
        data[(ends[:-1, None] + np.arange(4)).ravel()] = np.tile([0xFF, 0xD8, 0xFF, 0xFE], count)
        comment = sizes - 2 - len(picture)  # counts itself, but not the marker before it
        data[ends[:-1] + 4], data[ends[:-1] + 5] = comment >> 8, comment & 255
        data[(ends[1:, None] - len(tail) + np.arange(len(tail))).ravel()] = np.tile(tail, count)
        image = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), count, [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(data)]
        )
        chosen = words[random.integers(0, len(words), (count, 16))]
        lengths = random.integers(1, 17, count)
        text = [" ".join(line[:length]) for line, length in zip(chosen.tolist(), lengths.tolist(), strict=True)]
        table = pa.table({"key": [f"{start + i:08}" for i in range(count)], "text": text, "image": image})
        options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
        pq.write_table(table, folder / f"{number:05}.parquet", row_group_size=5000, **options)


def hollow(folder: Path, to: Path) -> None:
    """Copies without the images' bytes, but for those at the ends of a file."""
    import pyarrow.parquet as pq

    to.mkdir()
    for file in sorted(folder.iterdir()):
        size = file.stat().st_size
        footer = pq.read_metadata(file)
        position = footer.schema.to_arrow_schema().get_field_index("image")
        with file.open("rb") as source, (to / file.name).open("wb") as target:
            target.truncate(size)
            at = 0
            for group in range(footer.num_row_groups):
                chunk = footer.row_group(group).column(position)
                target.seek(at)
                copy_range(source, target, at, max(chunk.data_page_offset, EDGE))
                at = min(chunk.data_page_offset + chunk.total_compressed_size, size - EDGE)
            target.seek(at)
            copy_range(source, target, at, size)
        try:
            pq.ParquetFile(to / file.name, page_checksum_verification=True).read(columns=["image"])
        except OSError:
            continue
        raise AssertionError("the images of the hollow files can still be read")


if __name__ == "__main__":
    main()
