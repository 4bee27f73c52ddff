"""What an experiment found: a line for each run, means and differences by arm, and which rows each arm kept."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from .judge import HEADLINES, METRICS
from .recipe import RANDOM, RAW, RAW_LONGER
from .statistics import Interval, Worth, harm, interval, paired, standing, worth

CSV_FIRST: Final = ("arm", "budget", "seed", "pool_hash", "filter_recipe_hash", "filter_FLOPs", "filter_s", "n_unique")
CSV_NEXT: Final = ("samples_seen", "epochs", "train_FLOPs", "lr", "loss_last", "wall_s")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained and judged model."""

    arm: str
    budget: float
    seed: int
    pool_hash: str
    filter_recipe_hash: str
    filter_flops: float
    filter_s: float
    n_unique: int
    samples_seen: int
    epochs: float
    train_flops: float
    lr: float
    loss_last: float
    wall_s: float
    metrics: dict[str, float]

    def as_row(self) -> dict[str, Any]:
        """A line of results.csv, without the metrics."""
        first = asdict(self) | {"filter_FLOPs": self.filter_flops, "train_FLOPs": self.train_flops}
        return {name: first[name] for name in (*CSV_FIRST, *CSV_NEXT)}


@dataclass(frozen=True, kw_only=True)
class Line:
    """An arm at a budget: means over seeds, and paired differences."""

    arm: str
    budget: float
    rows: float
    samples_seen: float
    epochs: float
    train_flops: float
    filter_flops: float
    metrics: dict[str, Interval]
    to_raw: dict[str, Interval]
    to_random: dict[str, Interval]
    to_judged: dict[str, Interval]

    @property
    def filter_cost(self) -> float:
        """Operations of the learned score as a share of those of the arm's own training."""
        return self.filter_flops / self.train_flops


@dataclass(frozen=True, kw_only=True)
class Results:
    """All of it."""

    name: str
    synthetic: bool
    judged: str
    rows_in: int
    rows_raw: int  # rows left after what comes near the evaluation set was taken out
    lr: float
    tried: dict[float, dict[str, float]]  # learning rate -> metrics of the raw arm
    runs: list[Run]
    diverged: dict[float, str] = field(default_factory=dict)  # learning rate -> why it could not be trained with
    left_out: tuple[str, ...] = ()  # arms that are the judged cut without one of its rules
    margin: float | None = None  # how far below raw still is no harm
    grains: dict[str, float] = field(default_factory=dict)  # metric -> what one image or caption more is worth
    blind: float | None = None  # comp_acc of the better of two models that see no image
    audit: list[dict[str, Any]] = field(default_factory=list)  # arm, fault, rows, kept: means over seeds
    seconds: float = 0.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that there are, in order."""
        return tuple(name for name in METRICS if all(name in run.metrics for run in self.runs))

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that were run, in order."""
        return tuple(dict.fromkeys(run.arm for run in self.runs))

    @property
    def budgets(self) -> tuple[float, ...]:
        """Multiples of the recipe's samples, ascending."""
        return tuple(sorted({run.budget for run in self.runs}))

    @property
    def chosen(self) -> bool:
        """Was the learning rate chosen among several?"""
        return len(self.tried) + len(self.diverged) > 1

    @property
    def base_budget(self) -> float:
        """The budget nearest to the recipe's own samples."""
        return min(self.budgets, key=lambda budget: abs(math.log(budget)))

    @property
    def lines(self) -> list[Line]:
        """Arms at their budgets, in the order of the runs."""
        places = dict.fromkeys((run.budget, run.arm) for run in self.runs)
        return [self._line(arm, budget) for budget, arm in places]

    def line(self, arm: str, budget: float = 1.0) -> Line | None:
        """One of them."""
        return next((line for line in self.lines if line.arm == arm and line.budget == budget), None)

    def _line(self, arm: str, budget: float) -> Line:
        runs = self._runs(arm, budget)
        return Line(
            arm=arm,
            budget=budget,
            **{
                ours: float(np.mean([getattr(run, theirs) for run in runs]))
                for ours, theirs in (("rows", "n_unique"), *((n, n) for n in _MEANS))
            },
            metrics={
                name: interval([run.metrics[name] for run in runs], self.grains.get(name, 0.0)) for name in self.metrics
            },
            to_raw=self._differences(arm, RAW, budget),
            to_random=self._differences(arm, RANDOM, budget),
            to_judged=self._differences(arm, self.judged, budget),
        )

    def _runs(self, arm: str, budget: float) -> list[Run]:
        return [run for run in self.runs if run.arm == arm and run.budget == budget]

    def _differences(self, arm: str, other: str, budget: float) -> dict[str, Interval]:
        if arm == other:
            return {}
        runs = [self._runs(name, budget) for name in (arm, other)]
        return {
            name: paired(
                *({run.seed: run.metrics[name] for run in each} for each in runs), grain=self.grains.get(name, 0.0)
            )
            for name in self.metrics
        }

    @property
    def others(self) -> tuple[str, ...]:
        """What the judged cut is held against: raw, random, and raw with the filter's cost where that was run."""
        return tuple(name for name in (RAW, RANDOM, RAW_LONGER) if name in self.arms)

    @property
    def verdict(self) -> dict[str, Any]:
        """Where the judged cut's interval lies beside the others', for each budget and headline metric.

        `beats_both_everywhere`: above raw and above random in all of them. `harm` (where a margin was asked for) judges
        the paired difference to raw; `rules`, that of the cut without each of its rules to the cut.
        """
        found: dict[str, Any] = {"cut": self.judged, "budgets": {}, "filter_cost": {}}
        damage: dict[str, dict[str, str]] = {}
        for budget in self.budgets:
            ours = self.line(self.judged, budget)
            theirs = {name: line for name in self.others if (line := self.line(name, budget)) is not None}
            if ours is None or not {RAW, RANDOM} <= theirs.keys():
                continue
            names = [name for name in HEADLINES if name in ours.metrics]
            found["filter_cost"][f"{budget:g}"] = ours.filter_cost
            found["budgets"][f"{budget:g}"] = {
                name: {other: standing(ours.metrics[name], line.metrics[name]) for other, line in theirs.items()}
                for name in names
            }
            if self.margin is not None:
                damage[f"{budget:g}"] = {name: harm(ours.to_raw[name], self.margin) for name in names}
        both = [(by[RAW], by[RANDOM]) for metrics in found["budgets"].values() for by in metrics.values()]
        found["beats_both_everywhere"] = bool(both) and all(pair == ("above", "above") for pair in both)
        found |= {} if self.margin is None else {"margin": self.margin, "harm": damage}
        return found | ({"rules": self._worths()} if self.left_out else {})

    def _worths(self) -> dict[str, dict[str, dict[str, Worth]]]:
        """budget -> arm without a rule -> headline metric -> what the rule does."""
        return {
            f"{budget:g}": {
                line.arm: {name: worth(line.to_judged[name]) for name in HEADLINES if name in line.to_judged}
                for line in self.lines
                if line.budget == budget and line.arm in self.left_out
            }
            for budget in self.budgets
        }

    def as_dict(self) -> dict[str, Any]:
        """results.json, and what `--json` prints."""
        return {
            "name": self.name,
            "synthetic": self.synthetic,
            "rows_in": self.rows_in,
            "rows_raw": self.rows_raw,
            "learning_rate": self.lr,
            "learning_rates_tried": {f"{lr:g}": metrics for lr, metrics in self.tried.items()},
            "learning_rates_diverged": {f"{lr:g}": why for lr, why in self.diverged.items()},
            "blind_acc": self.blind,
            "verdict": self.verdict,
            "arms": [_line_as_dict(line) for line in self.lines],
            "audit": self.audit,
            "runs": self._rows(),
            "seconds": round(self.seconds, 1),
        }

    def as_json(self) -> str:
        """For results.json."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"

    def as_csv(self) -> str:
        """For results.csv: a line a run."""
        return table_as_csv(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return [
            run.as_row() | {name: run.metrics[name] for name in self.metrics} | {"blind_acc": self.blind}
            for run in self.runs
        ]


_MEANS: Final = ("samples_seen", "epochs", "train_flops", "filter_flops")


def _line_as_dict(line: Line) -> dict[str, Any]:
    plain = {name: getattr(line, name) for name in ("arm", "budget", "rows", *_MEANS)}
    parts = {"metrics": line.metrics, "minus_raw": line.to_raw, "minus_random": line.to_random}
    parts |= {"minus_judged": line.to_judged}
    return plain | {name: {m: each.as_dict() for m, each in part.items()} for name, part in parts.items()}


def table_as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows that have the same keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
