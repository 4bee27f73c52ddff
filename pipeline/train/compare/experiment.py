"""The equal-compute experiment: the same model, steps and samples on each arm; only the rows differ.

    draw or read -> cuts -> learned scores -> cuts by them -> a learning rate, chosen on raw -> arms x seeds x budgets

OUT/ keeps all of it: corpus/ (what `cupel run` measured), scores/ and runs/ (a folder a run), and of each experiment on
these data NAME/ with results.json, results.csv, audit.csv, report.html and plot.svg. Whatever is there is not made
again: an experiment goes on where it was stopped, and one with more seeds, arms or budgets costs what it adds. The
truth of a drawn pool is read by the oracle and the audit alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ....schemas.recipe import Read
from ...progress import Reporter, Silent
from ...read import CorpusError, check_claim
from ...store import open_store
from ..cores import cores
from ..errors import TrainError
from ..reader import Dataset
from .arms import Arm, Chooser, raw_of
from .claim import begin, claim
from .corrupt import CLEAN
from .curation import Curation
from .held_out import content_digest, write_hashes
from .jobs import Jobs
from .judge import HEADLINES, Judge
from .pool import PROMPTS, draw_pool
from .recipe import RAW, RAW_LONGER, CompareRecipe, Evaluation
from .results import Results, Run, table_as_csv
from .truth import audit, faults_of
from .work import Job, Outcome, Workers, gpus, working

MOST_WORKERS: Final = 16  # a process takes more than 1 GB


def compare(
    recipe: CompareRecipe, out: Path, *, workers: int | None = None, progress: Reporter | None = None
) -> Results:
    """Run the experiment, or what is missing of it, and write its results.

    `workers`: runs at a time; default one a GPU, or one a core. Raises TrainError, RecipeError and what `cupel run`
    raises, in words for the user.
    """
    return _Experiment(recipe, out, progress or Silent()).go(workers or default_workers())


def default_workers() -> int:
    """A run a GPU; without any, a run a core."""
    return len(gpus()) or min(cores(), MOST_WORKERS)


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A run of an arm."""

    arm: Arm
    budget: float
    job: Job


class _Experiment:
    def __init__(self, recipe: CompareRecipe, out: Path, progress: Reporter) -> None:
        self.recipe, self.out, self.progress = recipe, out, progress
        begin(recipe, out)
        self.truth: Path | None = None
        if recipe.pool is not None:
            progress.begin("draw", 0)
            drawn = draw_pool(recipe.pool, out)
            self.truth, self.data = drawn.truth, str(drawn.pool)
            self.evaluation = Evaluation(pairs=str(drawn.pairs), classes=str(drawn.classes), prompts=PROMPTS)
        else:
            assert recipe.data is not None and recipe.evaluation is not None
            self.data, self.evaluation = recipe.data, recipe.evaluation
        self.held_out = content_digest(self.evaluation)
        claim(recipe, out)

    def go(self, workers: int) -> Results:
        """Everything, and the files of the results."""
        began = time.perf_counter()
        chooser = Chooser(self.recipe, self._open)
        with working(workers, self.progress) as crew:
            curation = chooser.begin()
            jobs = Jobs(out=self.out, raw=curation.raw, evaluation=self.evaluation, held_out=self.held_out)
            scores = _in_groups(crew, "learned scores", chooser.score_jobs(jobs.score))
            faults = None if self.truth is None else faults_of(curation.raw, self.truth)
            arms = chooser.arms(curation, scores, None if faults is None else np.flatnonzero(faults == CLEAN))
            tried, diverged = self._tune(crew, jobs, raw_of(arms))
            lr = max(tried, key=lambda each: _judged(tried[each])) if tried else self.recipe.train.optimizer.lr
            runs = self._train(crew, jobs, arms, lr)
        judge = Judge(self.evaluation)
        results = Results(
            name=self.recipe.name,
            synthetic=self.recipe.pool is not None,
            judged=self.recipe.judged,
            rows_in=curation.rows_in,
            rows_raw=curation.raw.rows,
            lr=lr,
            tried=tried,
            diverged=diverged,
            left_out=tuple(self.recipe.left_out),
            margin=self.recipe.margin,
            runs=runs,
            blind=judge.blind,
            grains=judge.grains,
            audit=[] if faults is None else audit(faults, arms),
            seconds=time.perf_counter() - began,
        )
        self._write(results)
        return results

    def _open(self) -> Curation:
        hashes = self.out / "evaluation" / f"phash-{self.held_out[:12]}.parquet"
        if not hashes.is_file():
            write_hashes(self.evaluation, hashes)
        return Curation(self.data, _corpus(self.out, self.data), hashes, self.progress)

    # Training

    def _tune(self, crew: Workers, jobs: Jobs, raw: Arm) -> tuple[dict[float, dict[str, float]], dict[float, str]]:
        """Learning rate -> metrics of the raw arm with the first seed, and of those that failed why.

        Nothing is tried where there is no choice. TrainError where all fail.
        """
        rates = self.recipe.learning_rates
        if len(rates) < 2:
            return {lr: {} for lr in rates}, {}
        samples = self.recipe.tuning_samples or self._samples(1.0)
        tries = [jobs.arm(raw, self.recipe.train, samples, lr) for lr in rates]
        found = dict(zip(rates, crew.tried("learning rates", tries), strict=True))
        diverged = {lr: str(outcome) for lr, outcome in found.items() if isinstance(outcome, TrainError)}
        if len(diverged) == len(rates):
            raise TrainError(f"no learning rate could be trained with; at {rates[0]:g}: {diverged[rates[0]]}")
        return {lr: outcome.metrics for lr, outcome in found.items() if isinstance(outcome, Outcome)}, diverged

    def _train(self, crew: Workers, jobs: Jobs, arms: Sequence[Arm], lr: float) -> list[Run]:
        """All runs. The longer raw arm comes last: how long it is, the others tell."""
        planned = [
            _Planned(arm=arm, budget=budget, job=jobs.arm(arm, self.recipe.train, self._samples(budget), lr))
            for budget in self.recipe.budgets
            for arm in arms
            if arm.name != RAW_LONGER
        ]
        outcomes = crew.outcomes("arms", [each.job for each in planned])
        longer = list(self._longer(jobs, arms, lr, planned, outcomes))
        if longer:
            planned += longer
            outcomes += crew.outcomes(RAW_LONGER, [each.job for each in longer])
        found = [_run(each, outcome, jobs.raw, lr) for each, outcome in zip(planned, outcomes, strict=True)]
        order = {name: i for i, name in enumerate(self.recipe.all_arms)}
        return sorted(found, key=lambda run: (run.budget, order[run.arm], run.seed))

    def _longer(
        self, jobs: Jobs, arms: Sequence[Arm], lr: float, planned: Sequence[_Planned], outcomes: list[Outcome]
    ) -> Iterator[_Planned]:
        """Raw with the samples that the judged cut's learned score cost, besides."""
        raw = next(o for p, o in zip(planned, outcomes, strict=True) if p.arm.name == RAW)
        cost = {arm.seed: arm.flops for arm in arms if arm.name == self.recipe.judged}
        for arm in arms:
            for budget in self.recipe.budgets if arm.name == RAW_LONGER else ():
                samples = self._samples(budget) + round(cost[arm.seed] / raw.flops_per_sample)
                yield _Planned(arm=arm, budget=budget, job=jobs.arm(arm, self.recipe.train, samples, lr))

    def _samples(self, budget: float) -> int:
        return round((self.recipe.train.samples or 0) * budget)

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


def _run(planned: _Planned, outcome: Outcome, raw: Dataset, lr: float) -> Run:
    """What is written down of a run."""
    arm = planned.arm
    return Run(
        arm=arm.name,
        budget=planned.budget,
        seed=arm.seed,
        pool_hash=raw.digest[:16],
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


def _corpus(out: Path, data: str) -> Path:
    """Where these data are measured: OUT/corpus, or one beside it if that was made before OUT was moved."""
    usual = out / "corpus"
    try:
        check_claim(open_store(str(usual)), Read(input=data))
    except CorpusError:
        return out / f"corpus-{hashlib.sha256(os.path.realpath(data).encode()).hexdigest()[:8]}"
    return usual


def _in_groups(crew: Workers, stage: str, jobs: dict[str, list[Job]]) -> dict[str, list[Outcome]]:
    """Each job's outcome, by group."""
    if not jobs:
        return {}
    done = iter(crew.outcomes(stage, [job for group in jobs.values() for job in group]))
    return {name: [next(done) for _ in group] for name, group in jobs.items()}


def _judged(metrics: dict[str, float]) -> float:
    """One number to choose a learning rate by: the mean of the headline metrics."""
    return float(np.mean([metrics[name] for name in HEADLINES if name in metrics])) if metrics else 0.0
