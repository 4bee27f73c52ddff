"""Words per second of `cupel lm train`, and the peak memory of its driver and workers, for texts of several sizes.

    python infra/bench/lm.py --words 1000000 10000000

Memory is bounded if ten times the text does not take ten times the memory: what grows is the vocabulary alone. Texts
are generated, a line of 20 words at a time: a word is drawn by Zipf's law from what may follow the one before it (2,000
words, by a hash of that one), or from all of --vocabulary, so that n-grams repeat as they do in text. Each size runs in
a process of its own, with an embedded Ray; memory is the greatest resident size (VmHWM), sampled ten times a second, of
the driver and of each worker below it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

LINE = 20


def write_text(path: Path, words: int, vocabulary: int, seed: int = 0) -> None:
    """Generated lines, in blocks, so that this takes no memory worth a figure."""
    generator = np.random.default_rng(seed)
    names = np.array([f"w{i}" for i in range(vocabulary)])
    with path.open("w") as file:
        for start in range(0, words, 200_000):
            lines = min(200_000, words - start) // LINE
            column = np.empty((LINE, lines), np.int64)
            column[0] = generator.zipf(1.2, lines) % vocabulary
            for i in range(1, LINE):
                rank = generator.zipf(1.2, lines)
                follows = (column[i - 1] * 2_654_435_761 + (rank % 2_000) * 40_503) % vocabulary
                column[i] = np.where(generator.random(lines) < 0.6, follows, rank % vocabulary)
            file.writelines(" ".join(line) + "\n" for line in names[column.T])


def peak_mb(process: int) -> float:
    """The greatest resident size that a process has had."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def workers_below(ancestor: int) -> list[int]:
    """Ray's worker processes that descend from a process."""
    parent, found = {}, []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = int(status.parent.name), status.read_text().rpartition(")")[2].split()
            parent[number] = int(rest[1])
            if (status.parent / "cmdline").read_bytes().startswith(b"ray::"):
                found.append(number)
        except OSError:
            continue  # it has just ended

    def descends(number: int) -> bool:
        while number > 1 and number != ancestor:
            number = parent.get(number, 0)
        return number == ancestor

    return [number for number in found if descends(number)]


def watch(peaks: dict[int, float], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        for worker in workers_below(os.getpid()):
            try:
                peaks[worker] = peak_mb(worker)
            except OSError:
                continue  # it has just ended


def measure(words: int, vocabulary: int, order: int) -> None:
    """In a process of its own: train once, print what it took."""
    from cupel.pipeline.lm.trainer import train

    peaks: dict[int, float] = {}
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        command = [sys.executable, __file__, "--write", str(text), "--words", str(words)]
        subprocess.run([*command, "--vocabulary", str(vocabulary)], check=True)
        thread = threading.Thread(target=watch, args=(peaks, stop))
        thread.start()
        begin = time.perf_counter()
        made = train([text], Path(folder) / "model.arpa", order=order)
        seconds = time.perf_counter() - begin
        stop.set()
        thread.join()
        figures = {"megabytes": text.stat().st_size / 1e6, "seconds": seconds, "words_per_s": made.words / seconds}
    memory = {"driver_mb": peak_mb(os.getpid()), "worker_mb": max(peaks.values()), "workers": len(peaks)}
    print(json.dumps({"words": made.words, "ngrams": made.ngrams, **figures, **memory}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--vocabulary", type=int, default=100_000)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write_text(options.write, options.words[0], options.vocabulary)
    if options.measure:
        return measure(options.words[0], options.vocabulary, options.order)
    head = f"{'words':>12}{'MB':>8}{'distinct n-grams':>18}{'s':>8}{'words/s':>10}{'driver MB':>11}{'worker MB':>11}"
    print(head + f"{'workers':>9}")
    for words in options.words:
        command = [sys.executable, __file__, "--measure", "--words", str(words), "--order", str(options.order)]
        done = subprocess.run([*command, "--vocabulary", str(options.vocabulary)], check=True, capture_output=True)
        one = json.loads(done.stdout)
        line = f"{one['words']:>12,}{one['megabytes']:>8,.0f}{sum(one['ngrams']):>18,}{one['seconds']:>8,.0f}"
        line += f"{one['words_per_s']:>10,.0f}{one['driver_mb']:>11,.0f}{one['worker_mb']:>11,.0f}{one['workers']:>9}"
        print(line, flush=True)
    return None


if __name__ == "__main__":
    main()
