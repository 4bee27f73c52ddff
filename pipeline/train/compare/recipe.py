"""An experiment: which data, which cuts of it, and how the same model is trained on each. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from ....schemas.recipe import Step, Strict, read_step
from ....schemas.train import TrainRecipe
from .left_out import LEARNED, Group, each_left_out
from .pool import Pool

RAW, RANDOM, ORACLE, RAW_LONGER = "raw", "random", "oracle", "raw and filter budget"
OWN_ARMS: Final = (RAW, RANDOM, ORACLE, RAW_LONGER)
KEPT_FOLDERS: Final = ("pool", "corpus", "evaluation", "rows", "scores", "runs")
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+. -]*$", max_length=60)]


class Evaluation(Strict):
    """What the models are held against, never shown to a filter, and taken out of the data by perceptual hash."""

    pairs: str = Field(description="images with captions, for retrieval: a table, tars, a folder, a cut")
    classes: str | None = Field(None, description="a folder with a folder of images a class, for zero-shot")
    prompts: tuple[str, ...] = Field((), strict=False, description="templates with {}; default: `cupel evaluate`'s")

    @model_validator(mode="after")
    def _prompts_take_a_class(self) -> Self:
        for prompt in self.prompts:
            if prompt.count("{}") != 1:
                raise ValueError(f"prompt {prompt!r} needs {{}} once, for the class, as in 'a photo of a {{}}.'")
        return self


class Cut(Strict):
    """A way to curate: a recipe's steps. `model: learned` in a step is the score that is trained for this cut."""

    after: str | None = Field(None, description="the cut whose steps come before these")
    steps: Group = Field(strict=False, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("steps"), list | tuple):
            return {**value, "steps": tuple(read_step(step) for step in value["steps"])}
        return value


class CompareRecipe(Strict):
    """One complete experiment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)  # of the folder of its results
    pool: Pool | None = Field(None, description="draw the data, with planted faults and an oracle")
    data: str | None = Field(None, description="instead: anything that `cupel run` reads")
    evaluation: Evaluation | None = Field(None, description="goes with data; a pool draws its own")
    cuts: dict[ArmName, Cut] = Field(min_length=1)
    headline: str | None = Field(None, description="the cut that is judged; default: the last one")
    arms: tuple[ArmName, ...] = Field(
        (), strict=False, description=f"default: {RAW}, {RANDOM}, all cuts, and with a pool {ORACLE}"
    )
    leave_out: bool = Field(False, description="also the headline cut without each of its rules in turn")
    train: TrainRecipe
    scorer: TrainRecipe | None = Field(None, description="how `model: learned` is trained; default: as `train`")
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), strict=False, description="tried on the raw arm, the best is everybody's; default: train's"
    )
    tuning_samples: int | None = Field(None, ge=1, description="pairs seen to try one; default: train's")
    seeds: int = Field(5, ge=2, description="runs of each arm, with the same seeds in all of them")
    budgets: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), strict=False, min_length=1, description="multiples of train's samples"
    )
    margin: float | None = Field(
        None, gt=0, lt=1, description="how far below raw still is no harm, as a share of 1; default: not asked"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.pool is None) == (self.data is None):
            raise ValueError("an experiment needs exactly one of pool and data")
        if (self.data is None) != (self.evaluation is None):
            raise ValueError("evaluation goes with data, and data with evaluation: a pool draws its own")
        if self.train.samples is None:
            raise ValueError("train needs samples: arms differ in rows, so epochs would not be equal compute")
        if self.scorer is not None and self.scorer.samples is None:
            raise ValueError("scorer needs samples")
        if strange := [name for name in self.cuts if name in OWN_ARMS]:
            raise ValueError(f"{strange[0]!r} is no name for a cut: an arm is called so")
        if self.headline is not None and self.headline not in self.cuts:
            raise ValueError(f"headline {self.headline!r} is none of the cuts ({', '.join(self.cuts)})")
        if self.name in KEPT_FOLDERS:
            raise ValueError(f"name {self.name!r} is that of a folder of every experiment's; choose another")
        for name in self.cuts:
            self.steps(name)
        self._check_arms()
        return self

    def _check_arms(self) -> None:
        for name, given in (("arms", self.arms), ("learning_rates", self.learning_rates), ("budgets", self.budgets)):
            if twice := [value for value in given if given.count(value) > 1]:
                raise ValueError(f"{name} has {twice[0]} twice; once is enough")
        known = (*OWN_ARMS, *self.cuts)
        for arm in self.arms:
            if arm not in known:
                raise ValueError(f"there is no arm {arm!r} (known: {', '.join(known)})")
        if ORACLE in self.arms and self.pool is None:
            raise ValueError(f"the arm {ORACLE} needs a pool: of real data nobody knows the truth")
        if self.arms and not {RAW, RANDOM, self.judged} <= set(self.arms):
            raise ValueError(f"arms must have {RAW}, {RANDOM} and {self.judged}: the result is their difference")

    @property
    def judged(self) -> str:
        """The headline cut."""
        return self.headline or list(self.cuts)[-1]

    @property
    def all_arms(self) -> tuple[str, ...]:
        """The arms in order, each once; those that leave a rule out stand at the end."""
        chosen = self.arms or (RAW, RANDOM, *self.cuts, *([ORACLE] if self.pool else []))
        return tuple(dict.fromkeys([*chosen, *self.left_out]))

    @property
    def left_out(self) -> dict[str, Group]:
        """arm -> the headline cut's steps without one rule and what only it needs."""
        return each_left_out(self.steps(self.judged), self.cuts) if self.leave_out else {}

    def steps(self, cut: str) -> Group:
        """A cut's steps with those that come before it. ValueError for an unknown name and for a circle."""
        found: Group = ()
        seen: list[str] = []
        name: str | None = cut
        while name is not None:
            if name not in self.cuts:
                raise ValueError(f"after: there is no cut {name!r} (known: {', '.join(self.cuts)})")
            if name in seen:
                raise ValueError(f"the cuts {', '.join(seen)} come after each other in a circle")
            seen.append(name)
            found = (*self.cuts[name].steps, *found)
            name = self.cuts[name].after
        return found

    def steps_of(self, arm: str) -> Group:
        """The steps of an arm that is a cut, or one without a rule."""
        return self.left_out[arm] if arm in self.left_out else self.steps(arm)


def needs_learned(steps: Group) -> int | None:
    """The place of the first step whose model is learned; None where there is none."""
    places = [i for i, step in enumerate(steps) if isinstance(step, Step) and step.params.get("model") == LEARNED]
    return places[0] if places else None


def with_model(steps: Group, model: str) -> Group:
    """The steps with a model's folder in place of `learned`."""
    return tuple(
        step.model_copy(update={"params": {**step.params, "model": model}})
        if isinstance(step, Step) and step.params.get("model") == LEARNED
        else step
        for step in steps
    )
