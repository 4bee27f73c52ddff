"""The arms of an experiment as rows of the raw data, one choice a seed, and what it cost to choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ....schemas.train import TrainRecipe
from ...cluster import ray_session
from .curation import Curation, Cutting
from .recipe import ORACLE, OWN_ARMS, RANDOM, RAW, CompareRecipe, needs_learned, with_model
from .work import Job, Outcome

SCORER_SEEDS: Final = 1000
STAND_IN: Final = "cupel-tiny"  # a model that is there, for one that is yet to be learned


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Rows to train on with one seed."""

    name: str
    seed: int
    rows: np.ndarray  # numbers in the raw dataset, ascending
    recipe_hash: str = ""  # of the cut; empty where no recipe made it
    flops: float = 0.0  # that training and running the learned score took
    seconds: float = 0.0  # of the cut's operators, one core


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score that a cut learns: the rows that are trusted, and what came of training on them with each seed."""

    trusted: Cutting
    outcomes: Mapping[int, Outcome]

    def flops(self, seed: int) -> float:
        """Training, and a forward of every row that is scored; backward costs twice a forward."""
        outcome = self.outcomes[seed]
        return outcome.flops + outcome.flops_per_sample / 3 * len(self.trusted.rows)


class Chooser:
    """Chooses the rows of all arms: rules by `cupel run`, learned scores by training on what stands before them."""

    def __init__(self, recipe: CompareRecipe, open_curation: Callable[[], Curation]) -> None:
        self.recipe = recipe
        wanted = [arm for arm in recipe.all_arms if arm not in OWN_ARMS]
        self.cuts = {arm: recipe.steps_of(arm) for arm in dict.fromkeys([*wanted, recipe.judged])}
        self._open = open_curation
        self._plain: dict[str, Cutting] = {}
        self._trusted: dict[str, Cutting] = {}

    def begin(self) -> Curation:
        """Raw, the cuts without a learned score, and of the others what their score is trained on."""
        with ray_session(None):
            curation = self._open()
            for name, steps in self.cuts.items():  # what is mistyped is told before anything is trained
                curation.check(name, with_model(steps, STAND_IN))
            for name, steps in self.cuts.items():
                place = needs_learned(steps)
                if place is None:
                    self._plain[name] = curation.cut(name, steps)
                else:
                    self._trusted[name] = curation.cut(f"before_{name}", steps[:place])
        return curation

    def score_jobs(self, job: Callable[[str, np.ndarray, TrainRecipe], Job]) -> dict[str, list[Job]]:
        """The training runs of learned scores, one a cut and seed; cuts that trust the same rows share them.

        Their seeds are none of the arms'.
        """
        spec, seeds = self.recipe.scorer or self.recipe.train, range(self.recipe.seeds)
        return {
            name: [
                job(
                    f"learned score of {name}, seed {seed}",
                    cutting.rows,
                    spec.model_copy(update={"seed": SCORER_SEEDS + seed}),
                )
                for seed in seeds
            ]
            for name, cutting in self._trusted.items()
        }

    def arms(
        self, curation: Curation, outcomes: Mapping[str, Sequence[Outcome]], clean: np.ndarray | None
    ) -> list[Arm]:
        """All arms for all seeds. `clean`: the rows that nothing is wrong with, where somebody knows."""
        scores = {
            name: Score(trusted=self._trusted[name], outcomes=dict(enumerate(found)))
            for name, found in outcomes.items()
        }
        found: list[Arm] = []
        with ray_session(None):
            for seed in range(self.recipe.seeds):
                cuts = {name: self._arm(curation, name, seed, scores.get(name)) for name in self.cuts}
                size = len(cuts[self.recipe.judged].rows)
                for name in self.recipe.all_arms:
                    if name in cuts:
                        found.append(cuts[name])
                    else:
                        rows = _own_rows(name, curation.raw.rows, size, seed, clean)
                        found.append(Arm(name=name, seed=seed, rows=rows))
        return found

    def _arm(self, curation: Curation, name: str, seed: int, score: Score | None) -> Arm:
        if score is None:
            cutting, flops = self._plain[name], 0.0
        else:
            steps = with_model(self.cuts[name], score.outcomes[seed].model)
            cutting, flops = curation.cut(f"{name}_s{seed}", steps), score.flops(seed)
        return Arm(
            name=name,
            seed=seed,
            rows=cutting.rows,
            recipe_hash=cutting.recipe_hash,
            flops=flops,
            seconds=cutting.seconds,
        )


def _own_rows(name: str, rows: int, size: int, seed: int, clean: np.ndarray | None) -> np.ndarray:
    if name == RANDOM:
        return np.sort(np.random.default_rng([seed, 3]).choice(rows, size, replace=False))
    if name == ORACLE:
        assert clean is not None
        return clean
    return np.arange(rows)  # raw, with its own budget or a longer one


def raw_of(arms: Sequence[Arm]) -> Arm:
    """The raw arm of the first seed."""
    return next(arm for arm in arms if arm.name == RAW)
