"""The equal-compute experiment: the same model, steps and samples on each arm; only the rows differ.

    draw or read -> cuts -> learned scores -> cuts by them -> a learning rate, chosen on raw -> arms x seeds x budgets

OUT/ keeps all of it: corpus/ (what `cupel run` measured), scores/ and runs/ (a folder a run), and of each experiment on
these data NAME/ with results.json, results.csv, audit.csv, report.html and plot.svg. Whatever is there is not made
again: an experiment goes on where it was stopped, and one with more seeds, arms or budgets costs what it adds. The
truth of a drawn pool is read by the oracle and the audit alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from ....schemas.train import TrainRecipe
from ...progress import Reporter, Silent
from ..errors import TrainError
from .arms import Arm, Chooser, raw_of
from .corrupt import CLEAN
from .curation import Curation, write_hashes
from .judge import HEADLINES, Judge
from .pool import PROMPTS, draw_pool
from .recipe import ORACLE, RAW, RAW_LONGER, CompareRecipe, Evaluation
from .results import Results, Run, table_as_csv
from .work import Job, Outcome, Workers, working

CLAIM: Final = "experiment.json"
MOST_WORKERS: Final = 16  # a process takes more than 1 GB


def compare(
    recipe: CompareRecipe, out: Path, *, workers: int | None = None, progress: Reporter | None = None
) -> Results:
    """Run the experiment, or what is missing of it, and write its results.

    `workers`: runs at a time; default one a core, or one on a GPU. Raises TrainError, RecipeError and what `cupel run`
    raises, in words for the user.
    """
    return _Experiment(recipe, out, progress or Silent()).go(workers or default_workers())


def default_workers() -> int:
    """A run a core; on a GPU one after the other."""
    import torch

    return 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, MOST_WORKERS)


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A run of an arm."""

    arm: Arm
    budget: float
    job: Job


class _Experiment:
    def __init__(self, recipe: CompareRecipe, out: Path, progress: Reporter) -> None:
        self.recipe, self.out, self.progress = recipe, out, progress
        _claim(recipe, out)
        self.truth: Path | None = None
        if recipe.pool is not None:
            progress.begin("draw", 0)
            drawn = draw_pool(recipe.pool, out)
            self.truth, self.data = drawn.truth, str(drawn.pool)
            self.evaluation = Evaluation(pairs=str(drawn.pairs), classes=str(drawn.classes), prompts=PROMPTS)
        else:
            assert recipe.data is not None and recipe.evaluation is not None
            self.data, self.evaluation = recipe.data, recipe.evaluation

    def go(self, workers: int) -> Results:
        """Everything, and the files of the results."""
        began = time.perf_counter()
        chooser = Chooser(self.recipe, self._open)
        with working(workers, self.progress) as crew:
            curation = chooser.begin()
            jobs = chooser.score_jobs(lambda rows, spec: self._job(curation, "scores", rows, spec, judged=False))
            scores = _in_groups(crew, "learned scores", jobs)
            arms = chooser.arms(curation, scores, self._clean(curation))
            tried = self._tune(crew, curation, raw_of(arms))
            lr = max(tried, key=lambda each: _judged(tried[each])) if tried else self.recipe.train.optimizer.lr
            runs = self._train(crew, curation, arms, lr)
        results = Results(
            name=self.recipe.name,
            synthetic=self.recipe.pool is not None,
            judged=self.recipe.judged,
            rows_in=curation.rows_in,
            rows_raw=curation.raw.rows,
            lr=lr,
            tried=tried,
            runs=runs,
            blind=Judge(self.evaluation).blind,
            audit=self._audit(curation, arms),
            seconds=time.perf_counter() - began,
        )
        self._write(results)
        return results

    def _open(self) -> Curation:
        hashes = self.out / "evaluation" / "phash.parquet"
        if not hashes.is_file():
            write_hashes(self.evaluation, hashes)
        return Curation(self.data, self.out / "corpus", hashes, self.progress)

    def _save(self, rows: np.ndarray) -> Path:
        """Row numbers as a file that is named by them."""
        digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:12]
        path = self.out / "rows" / f"{digest}.npy"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            np.save(path, rows.astype(np.int64))
        return path

    # Training

    def _tune(self, crew: Workers, curation: Curation, raw: Arm) -> dict[float, dict[str, float]]:
        """Learning rate -> metrics of the raw arm with the first seed; nothing where there is no choice."""
        if len(self.recipe.learning_rates) < 2:
            return {lr: {} for lr in self.recipe.learning_rates}
        samples = self.recipe.tuning_samples or self._samples(1.0)
        jobs = [self._arm_job(curation, raw, samples, lr) for lr in self.recipe.learning_rates]
        found = crew.outcomes("learning rates", jobs)
        return {lr: outcome.metrics for lr, outcome in zip(self.recipe.learning_rates, found, strict=True)}

    def _train(self, crew: Workers, curation: Curation, arms: Sequence[Arm], lr: float) -> list[Run]:
        """All runs. The longer raw arm comes last: how long it is, the others tell."""
        planned = [
            _Planned(arm=arm, budget=budget, job=self._arm_job(curation, arm, self._samples(budget), lr))
            for budget in self.recipe.budgets
            for arm in arms
            if arm.name != RAW_LONGER
        ]
        outcomes = crew.outcomes("arms", [each.job for each in planned])
        longer = list(self._longer(curation, arms, lr, planned, outcomes))
        if longer:
            planned += longer
            outcomes += crew.outcomes(RAW_LONGER, [each.job for each in longer])
        found = [self._run(each, outcome, curation, lr) for each, outcome in zip(planned, outcomes, strict=True)]
        order = {name: i for i, name in enumerate(self.recipe.all_arms)}
        return sorted(found, key=lambda run: (run.budget, order[run.arm], run.seed))

    def _longer(
        self, curation: Curation, arms: Sequence[Arm], lr: float, planned: Sequence[_Planned], outcomes: list[Outcome]
    ) -> Iterator[_Planned]:
        """Raw with the samples that the judged cut's learned score cost, besides."""
        raw = next(o for p, o in zip(planned, outcomes, strict=True) if p.arm.name == RAW)
        cost = {arm.seed: arm.flops for arm in arms if arm.name == self.recipe.judged}
        for arm in arms:
            for budget in self.recipe.budgets if arm.name == RAW_LONGER else ():
                samples = self._samples(budget) + round(cost[arm.seed] / raw.flops_per_sample)
                yield _Planned(arm=arm, budget=budget, job=self._arm_job(curation, arm, samples, lr))

    def _samples(self, budget: float) -> int:
        return round((self.recipe.train.samples or 0) * budget)

    def _arm_job(self, curation: Curation, arm: Arm, samples: int, lr: float) -> Job:
        spec = self.recipe.train
        optimizer = spec.optimizer.model_copy(update={"lr": lr})
        chosen = spec.model_copy(update={"samples": samples, "seed": arm.seed, "optimizer": optimizer})
        return self._job(curation, "runs", arm.rows, chosen, judged=True)

    def _job(self, curation: Curation, folder: str, rows: np.ndarray, chosen: TrainRecipe, *, judged: bool) -> Job:
        """A run in a folder that is named by all that decides what comes of it: two arms of the same rows share it."""
        saved, evaluation = self._save(rows), self.evaluation.model_dump_json() if judged else None
        told = json.dumps([chosen.model_dump(mode="json"), saved.stem, curation.raw.digest, evaluation])
        digest = hashlib.sha256(told.encode()).hexdigest()[:10]
        out = self.out / folder / f"{saved.stem}-{chosen.samples}-s{chosen.seed}-{digest}"
        return Job(out=out, recipe=chosen, data=curation.raw.place, rows=saved, evaluation=evaluation)

    def _run(self, planned: _Planned, outcome: Outcome, curation: Curation, lr: float) -> Run:
        arm = planned.arm
        return Run(
            arm=arm.name,
            budget=planned.budget,
            seed=arm.seed,
            pool_hash=curation.raw.digest[:16],
            filter_recipe_hash=arm.recipe_hash[:16],
            filter_flops=arm.flops,
            filter_s=round(arm.seconds, 3),
            n_unique=len(arm.rows),
            samples_seen=outcome.samples_seen,
            epochs=outcome.epochs,
            train_flops=outcome.flops,
            lr=lr,
            loss_last=outcome.loss_last,
            wall_s=round(outcome.seconds, 2),
            metrics=outcome.metrics,
        )

    # The truth

    def _faults(self, curation: Curation) -> np.ndarray | None:
        """What is wrong with each raw row; None where nobody knows."""
        if self.truth is None:
            return None
        table = pq.read_table(self.truth)
        faults = dict(zip(table.column("key").to_pylist(), table.column("fault").to_pylist(), strict=True))
        return np.array([faults[key] for key in curation.raw.column("key").to_pylist()])

    def _clean(self, curation: Curation) -> np.ndarray | None:
        faults = self._faults(curation)
        return None if faults is None or ORACLE not in self.recipe.all_arms else np.flatnonzero(faults == CLEAN)

    def _audit(self, curation: Curation, arms: Sequence[Arm]) -> list[dict[str, Any]]:
        """Rows of each fault that each arm kept, averaged over seeds."""
        faults = self._faults(curation)
        if faults is None:
            return []
        kinds, totals = np.unique(faults, return_counts=True)
        found = []
        for name in dict.fromkeys(arm.name for arm in arms):
            kept = np.mean([[(faults[a.rows] == kind).sum() for kind in kinds] for a in arms if a.name == name], axis=0)
            for kind, rows, stayed in zip(kinds.tolist(), totals.tolist(), kept.tolist(), strict=True):
                found.append({"arm": name, "fault": kind, "rows": rows, "kept": stayed, "dropped": rows - stayed})
        return found

    def _write(self, results: Results) -> None:
        from .page import render
        from .plot import plot

        folder = self.out / self.recipe.name
        folder.mkdir(exist_ok=True)
        files = {"results.json": results.as_json(), "results.csv": results.as_csv(), "plot.svg": plot(results)}
        files |= {"report.html": render(results, self.recipe)}
        if results.audit:
            files["audit.csv"] = table_as_csv(results.audit)
        for name, text in files.items():
            part = folder / f".{name}.part"
            part.write_text(text, "utf-8")
            part.replace(folder / name)


def _in_groups(crew: Workers, stage: str, jobs: dict[str, list[Job]]) -> dict[str, list[Outcome]]:
    """Each job's outcome; a job that stands in two groups is done once."""
    each = {job.out: job for group in jobs.values() for job in group}
    if not each:
        return {}
    done = dict(zip(each, crew.outcomes(stage, list(each.values())), strict=True))
    return {name: [done[job.out] for job in group] for name, group in jobs.items()}


def _judged(metrics: dict[str, float]) -> float:
    """One number to choose a learning rate by: the mean of the headline metrics."""
    return float(np.mean([metrics[name] for name in HEADLINES if name in metrics])) if metrics else 0.0


def _claim(recipe: CompareRecipe, out: Path) -> None:
    """Make the folder this experiment's. TrainError where it holds one of other data, or something else."""
    mine = {"name": recipe.name, "data": recipe.model_dump(mode="json", include={"pool", "data", "evaluation"})}
    path = out / CLAIM
    if path.is_file():
        if json.loads(path.read_text())["data"] != mine["data"]:
            raise TrainError(f"{out} has an experiment on other data; choose another --out")
        return
    if out.exists() and any(out.iterdir()):
        raise TrainError(f"{out} is not empty and holds no experiment; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(mine, indent=1) + "\n")
