"""`make demo`: draw 1,200 pictures with known flaws, run a recipe on them, and count which flaws it found.

    python infra/demo.py [--out .demo]

A second run reuses the pictures and everything measured on them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from plant import CONTROLS, FLAWS, Planted, plant
from rich.console import Console
from rich.table import Table

from cupel import run

RECIPE: Final = Path(__file__).with_name("demo.yaml")
SHOWN: Final = 5  # mistakes shown in full
WRONG: Final = "wrong_caption"


@dataclass(frozen=True)
class Drop:
    """Why a row went: the column, the bound that did not hold, and the value (None where there was none)."""

    column: str
    rule: str
    value: str | None

    def __str__(self) -> str:
        return f"no {self.column}" if self.value is None else f"{self.column} {self.rule}"


@dataclass(frozen=True)
class Score:
    """How the rows of one flaw, or of one control, fared; `why` counts the rules that dropped them."""

    kind: str
    planted: int
    why: Counter[str]
    missed: list[str]  # files that are still there

    @property
    def found(self) -> int:
        """Rows that are gone, or whose twin is."""
        return self.planted - len(self.missed)

    @property
    def mostly(self) -> str:
        """The rule that dropped most of them, and how many it was."""
        return "{} ({})".format(*self.why.most_common(1)[0]) if self.why else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path(".demo"), help="folder for pictures and corpus (default: .demo)"
    )
    out: Path = parser.parse_args(arguments).out
    console = Console(highlight=False)
    began = time.perf_counter()
    try:
        truth, new = plant(out)
    except FileExistsError as error:
        sys.exit(f"demo: {error}")
    flawed = sum(bool(row.flaw) for row in truth)
    how = f"drawn in {time.perf_counter() - began:.1f} s" if new else "there already"
    console.print(f"{len(truth):,} pictures with captions, {flawed} of them with a known flaw: {how}.")
    funnel = run(RECIPE, out / "photos", out=out / "corpus")
    console.print(funnel.table())
    if not any(funnel.measured_rows.values()):
        console.print("Nothing was measured again: all scores were there from an earlier run.")
    dropped, kept = read_cut(Path(funnel.cut))
    for table in report(truth, dropped):
        console.print(table)
    right, swapped = similarities(truth, out / "corpus", Path(funnel.cut))
    console.print(
        f"pair.clip_similarity puts a right caption above a wrong one {100 * auc(right, swapped):.1f} % of the time "
        f"(AUC; {len(right)} right, {len(swapped)} wrong)."
    )
    show_mistakes(console, truth, dropped)
    lost = [row.file for row in truth if row.key not in dropped and row.key not in kept]
    if lost or funnel.unreadable:
        sys.exit(f"demo: rows that are neither kept nor dropped: {lost[:SHOWN]} {funnel.unreadable}")
    show_next(console, out, Path(funnel.cut))


def read_cut(cut: Path) -> tuple[dict[str, Drop], set[str]]:
    """key -> why it was dropped, and the keys that were kept."""
    dropped = {
        row["key"]: Drop(row["column"], row["rule"], row["value"])
        for path in sorted((cut / "dropped").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }
    kept = (pq.read_table(path)["key"].to_pylist() for path in sorted((cut / "kept").glob("*.parquet")))
    return dropped, {key for keys in kept for key in keys}


def similarities(truth: Sequence[Planted], corpus: Path, cut: Path) -> tuple[np.ndarray, np.ndarray]:
    """`clip_similarity` of the rows without a flaw, and of those with the caption of another picture."""
    tables = []
    for path in sorted(corpus.glob("scores/pair.clip_similarity-*/*.parquet")):
        shard = path.name.partition("+")[0].partition(".")[0]
        keys = [pq.read_table(cut / part / f"{shard}.parquet", columns=["row", "key"]) for part in ("kept", "dropped")]
        columns = pq.read_table(path, columns=["row", "clip_similarity"])
        tables.append(columns.join(pa.concat_tables(keys), "row", join_type="inner"))
    of_key = {row["key"]: row["clip_similarity"] for row in pa.concat_tables(tables).to_pylist()}
    flaws = {flaw: [of_key[row.key] for row in truth if row.flaw == flaw and row.key in of_key] for flaw in ("", WRONG)}
    return np.array(flaws[""], float), np.array(flaws[WRONG], float)


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """How often one of `high` exceeds one of `low`; ties count a half."""
    return float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2)


def scores(truth: Sequence[Planted], dropped: Mapping[str, Drop]) -> list[Score]:
    """One per flaw. A duplicate is found when it or its original is gone: one picture of the two stays."""
    found = []
    for flaw in FLAWS:
        rows = [row for row in truth if row.flaw == flaw]
        drops = {row.file: dropped.get(row.key) or dropped.get(row.original) for row in rows}
        why = Counter(str(drop) for drop in drops.values() if drop)
        found.append(Score(flaw, len(rows), why, [file for file, drop in drops.items() if drop is None]))
    return found


def mistakes(truth: Sequence[Planted], dropped: Mapping[str, Drop]) -> list[tuple[Planted, Drop]]:
    """Rows without a flaw that were dropped, save originals that went in their copy's stead."""
    instead = {row.original for row in truth if row.original and row.key not in dropped}
    clean = (row for row in truth if not row.flaw and row.key not in instead)
    return [(row, dropped[row.key]) for row in clean if row.key in dropped]


def report(truth: Sequence[Planted], dropped: Mapping[str, Drop]) -> tuple[Table, Table]:
    """The flaws that were planted and found, and the oddities that must stay."""
    flaws = _table("Planted flaws", "planted", "found", "missed", "mostly by")
    for score in scores(truth, dropped):
        missed = f"[red]{len(score.missed)}[/red]" if score.missed else ""
        flaws.add_row(score.kind, str(score.planted), str(score.found), missed, score.mostly.replace("[", r"\["))
    odd = _table("Odd, but sound: these should stay", "planted", "kept")
    for kind in CONTROLS:
        rows = [row for row in truth if row.detail == f"control: {kind}"]
        odd.add_row(kind, str(len(rows)), str(sum(row.key not in dropped for row in rows)))
    return flaws, odd


def _table(title: str, *columns: str) -> Table:
    table = Table("kind", title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name == "mostly by" else "right")
    return table


def show_mistakes(console: Console, truth: Sequence[Planted], dropped: Mapping[str, Drop]) -> None:
    """What the recipe got wrong, either way."""
    wrong = mistakes(truth, dropped)
    clean = sum(not row.flaw for row in truth)
    console.print(f"Dropped by mistake: {len(wrong)} of {clean} rows without a flaw.")
    for row, drop in wrong[:SHOWN]:
        console.print(f"  {row.file}: {drop}, value {drop.value}", markup=False)
    missed = [file for score in scores(truth, dropped) for file in score.missed]
    details = {row.file: f"{row.flaw}, {row.detail}" for row in truth}
    for file in missed[:SHOWN]:
        console.print(f"  missed: {file} ({details[file]})", markup=False)


def show_next(console: Console, out: Path, cut: Path) -> None:
    """Where things lie, and what to try."""
    cupel, photos, corpus = (
        _shown(path) for path in (Path(sys.executable).with_name("cupel"), out / "photos", out / "corpus")
    )
    mine = _shown(out / "mine.yaml")
    console.print(
        f"""
Look at
  {photos}    the pictures and captions; {_shown(out / "truth.csv")} has the flaws
  {_shown(cut)}
      curated/ holds what was kept, dropped/ the reason for every other row

Try
  sed 's/max_distance: 4/max_distance: 8/' {_shown(RECIPE)} > {mine}
  {cupel} run {mine} {photos} --out {corpus}    # a new cut, from the scores that are there
  {cupel} verify {corpus}    # checksums, and rows in = kept + dropped
  {cupel} operators    # what else can be measured""",
        markup=False,
        soft_wrap=True,
    )


def _shown(path: Path) -> str:
    """A path as one would type it here: relative where it lies below, quoted where it must be."""
    here = Path.cwd()
    path = path.absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


if __name__ == "__main__":
    main()
