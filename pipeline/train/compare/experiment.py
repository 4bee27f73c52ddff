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

from ....operators.source.files import digest, find
from ....schemas.recipe import Read
from ....schemas.train import TrainRecipe
from ...progress import Reporter, Silent
from ...read import CorpusError, check_claim
from ...store import open_store
from ..errors import TrainError
from .arms import Arm, Chooser, raw_of
from .claim import begin, claim
from .corrupt import CLEAN
from .curation import Curation
from .held_out import content_digest, write_hashes
from .judge import HEADLINES, Judge
from .pool import PROMPTS, draw_pool
from .recipe import ORACLE, RAW, RAW_LONGER, CompareRecipe, Evaluation
from .results import Results, Run, table_as_csv
from .work import Job, Outcome, Workers, working

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
    return 1 if on_gpu() else min(os.cpu_count() or 1, MOST_WORKERS)


def on_gpu() -> bool:
    """Is there a GPU to train on?"""
    import torch

    return torch.cuda.is_available()


def weights_digest(recipe: TrainRecipe) -> list[str]:
    """Digests of the files that a recipe's model is read from; none where names alone say which model it is."""
    places = [place for place in (recipe.model.architecture, recipe.model.pretrained) if place and Path(place).exists()]
    return [digest(entry.path)[1] for place in places for entry in find(place)]


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
            jobs = chooser.score_jobs(lambda *given: self._job(curation, "scores", *given, judged=False))
            scores = _in_groups(crew, "learned scores", jobs)
            arms = chooser.arms(curation, scores, self._clean(curation))
            tried, diverged = self._tune(crew, curation, raw_of(arms))
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
            diverged=diverged,
            margin=self.recipe.margin,
            runs=runs,
            blind=Judge(self.evaluation).blind,
            audit=self._audit(curation, arms),
            seconds=time.perf_counter() - began,
        )
        self._write(results)
        return results

    def _open(self) -> Curation:
        hashes = self.out / "evaluation" / f"phash-{self.held_out[:12]}.parquet"
        if not hashes.is_file():
            write_hashes(self.evaluation, hashes)
        return Curation(self.data, _corpus(self.out, self.data), hashes, self.progress)

    def _save(self, rows: np.ndarray) -> Path:
        """Row numbers as a file that is named by them."""
        name = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:12]
        path = self.out / "rows" / f"{name}.npy"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, rows.astype(np.int64))
            part.replace(path)
        return path

    # Training

    def _tune(
        self, crew: Workers, curation: Curation, raw: Arm
    ) -> tuple[dict[float, dict[str, float]], dict[float, str]]:
        """Learning rate -> metrics of the raw arm with the first seed, and of those that failed why.

        Nothing is tried where there is no choice. TrainError where all fail.
        """
        rates = self.recipe.learning_rates
        if len(rates) < 2:
            return {lr: {} for lr in rates}, {}
        samples = self.recipe.tuning_samples or self._samples(1.0)
        jobs = [self._arm_job(curation, raw, samples, lr) for lr in rates]
        found = dict(zip(rates, crew.tried("learning rates", jobs), strict=True))
        diverged = {lr: str(outcome) for lr, outcome in found.items() if isinstance(outcome, TrainError)}
        if len(diverged) == len(rates):
            raise TrainError(f"no learning rate could be trained with; at {rates[0]:g}: {diverged[rates[0]]}")
        return {lr: outcome.metrics for lr, outcome in found.items() if isinstance(outcome, Outcome)}, diverged

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
        name = f"arm {arm.name}, seed {arm.seed}, {samples:,} samples, learning rate {lr:g}"
        return self._job(curation, "runs", name, arm.rows, chosen, judged=True)

    def _job(
        self, curation: Curation, folder: str, name: str, rows: np.ndarray, chosen: TrainRecipe, *, judged: bool
    ) -> Job:
        """A run in a folder that is named by all that decides what comes of it: two arms of the same rows share it.

        That is the recipe with the weights that it begins from, the data and the rows of them, whether there is a GPU
        (on which precision hangs), and of a judged run what it is judged by: of files their content, not where they
        lie. Cupel's version and that of torch are not in it.
        """
        saved = self._save(rows)
        known = [weights_digest(chosen), curation.raw.digest, self.held_out if judged else None, on_gpu()]
        told = json.dumps([chosen.model_dump(mode="json"), saved.stem, *known])
        key = hashlib.sha256(told.encode()).hexdigest()[:10]
        return Job(
            name=name,
            out=self.out / folder / f"{saved.stem}-{chosen.samples}-s{chosen.seed}-{key}",
            recipe=chosen,
            data=curation.raw.place,
            rows=saved,
            evaluation=self.evaluation.model_dump_json() if judged else None,
        )

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
