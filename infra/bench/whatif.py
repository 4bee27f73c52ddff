"""Other bounds for a million rows with twelve scores, decided in memory: how long, and how much memory it takes.

    python infra/bench/whatif.py                  1 minute; 2 minutes and 2 GB of disk more the first time
    python infra/bench/whatif.py --rows 100000    a quarter of a minute

The corpus is that of `inspector.py`, made by the real engine below the system's folder for temporary files and used
again. Every bound of its recipe is moved, the first keep's too, and every keep behind it decided anew. `first` is the
first time that a bound is moved in this process, `then` the median of seven other values; `curve` the yield at 40
values, `nearest` the 12 rows on either side. Beside seconds the CPU's own are told, as other programs may run; the
yardstick is to compare twelve columns with a number, which any decision must do. Memory is the highest resident set of
the process, and what it was once the rows were loaded.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _million import BOUNDS, scored_corpus

LIMITS_MS = {"decide": 300, "curve": 300, "nearest": 50}
MOVES = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "cupel-bench-inspect"))
    options = parser.parse_args()
    bench(scored_corpus(options.folder, options.rows))


def bench(corpus: Path) -> None:
    from cupel.pipeline.inspect.opened import open_cut
    from cupel.pipeline.inspect.rows import load_rows
    from cupel.pipeline.inspect.thresholds.whatif import WhatIf

    began = time.perf_counter()
    rows = load_rows(open_cut(str(corpus)))
    loaded = peak_gb()
    print(f"{len(rows.last):,} rows, {len(rows.rules)} rules; loaded in {time.perf_counter() - began:.1f} s")
    columns = tuple(np.asarray(rows.last.column(name).fill_null(0)) for name in BOUNDS)
    yardstick = min(timed(lambda: [column >= 1 for column in columns])[1] for _ in range(MOVES))
    print(f"yardstick: {len(BOUNDS)} columns compared with a number, {yardstick:.0f} ms of CPU")
    whatif = WhatIf(rows)
    print(f"\n{'ms (of CPU)':34}{'first':>14}{'then':>14}{'curve':>14}{'nearest':>14}   exact")
    worst: dict[str, list[float]] = {name: [] for name in LIMITS_MS}
    for change, values in moves(whatif):
        one_bound(whatif, change, values, worst)
    print()
    for name, limit in LIMITS_MS.items():
        most = max(worst[name])
        print(f"{name:10} slowest {most:6.0f} ms, {most / limit:.2f} of the {limit} ms allowed")
    print(f"memory: {peak_gb():.2f} GB at most, {loaded:.2f} GB when the rows were loaded")


def one_bound(whatif, change, values: list, worst: dict[str, list[float]]) -> None:
    from cupel.pipeline.inspect.thresholds.beside import nearest
    from cupel.pipeline.inspect.thresholds.yields import yield_curve

    first, *others = [vary(change, value) for value in values]
    cold = timed(lambda: whatif.decide([first]))
    warm = [timed(lambda other=other: whatif.decide([other])) for other in others]
    curve = timed(lambda: yield_curve(whatif, first, [first]))
    near = timed(lambda: nearest(whatif, first, 12, [first]))
    took = [cold, tuple(map(statistics.median, zip(*warm, strict=True))), curve, near]
    worst["decide"] += [cold[0], took[1][0]]
    worst["curve"].append(curve[0])
    worst["nearest"].append(near[0])
    cells = "".join(f"{wall:7.0f} ({cpu:4.0f})" for wall, cpu in took)
    print(f"{change.format():34}{cells}   {whatif.decide([first]).exact}", flush=True)


def vary(change, value):
    from dataclasses import replace

    return replace(change, value=value)


def moves(whatif) -> Iterator[tuple[object, list]]:
    """Each bound as the recipe has it, and other values of its column (or other shares)."""
    from cupel.pipeline.inspect.thresholds.changes import Change
    from cupel.pipeline.inspect.thresholds.ranking import numbers_of
    from cupel.pipeline.plan import KeepStep

    for step in whatif.plan.steps:
        groups = [step.keep.bounds, *step.keep.any] if isinstance(step, KeepStep) else []
        for at, group in enumerate(groups, -1):
            for column, bound in group.items():
                for side in ("min", "max", "top"):
                    if getattr(bound, side) is None:
                        continue
                    option = at if at >= 0 else None
                    change = Change(step=step.index, column=column, side=side, value=None, option=option)
                    shares = np.linspace(0.1, 0.9, MOVES + 1)
                    if side == "top":
                        yield change, shares.round(3).tolist()
                        continue
                    numbers, valid = numbers_of(whatif.rows.last.column(column))
                    yield change, np.quantile(numbers[valid], shares, method="nearest").tolist()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds, and those of the CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3


def peak_gb() -> float:
    """The highest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
