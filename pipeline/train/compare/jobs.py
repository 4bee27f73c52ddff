"""The runs of an experiment, each in a folder that is named by all that decides what comes of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....operators.source.files import digest, find
from ....schemas.train import TrainRecipe
from ..reader import Dataset
from .arms import Arm
from .recipe import Evaluation
from .work import Job, gpus


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Makes them, for raw data and what models are judged by."""

    out: Path
    raw: Dataset
    evaluation: Evaluation
    held_out: str  # digest of its content

    def score(self, name: str, rows: np.ndarray, recipe: TrainRecipe) -> Job:
        """A model that scores pairs, trained on these rows."""
        return self._job("scores", name, rows, recipe, judged=False)

    def arm(self, arm: Arm, spec: TrainRecipe, samples: int, lr: float) -> Job:
        """A run of an arm, judged."""
        optimizer = spec.optimizer.model_copy(update={"lr": lr})
        chosen = spec.model_copy(update={"samples": samples, "seed": arm.seed, "optimizer": optimizer})
        name = f"arm {arm.name}, seed {arm.seed}, {samples:,} samples, learning rate {lr:g}"
        return self._job("runs", name, arm.rows, chosen, judged=True)

    def _job(self, folder: str, name: str, rows: np.ndarray, chosen: TrainRecipe, *, judged: bool) -> Job:
        """Two arms of the same rows share it.

        It is named by the recipe with the weights that it begins from, the data and the rows of them, whether there is
        a GPU (on which precision hangs), and if judged by what: of files their content, not where they lie. Cupel's
        version and that of torch are not in it.
        """
        saved = self._saved(rows)
        known = [_weights_digest(chosen), self.raw.digest, self.held_out if judged else None, bool(gpus())]
        told = json.dumps([chosen.model_dump(mode="json"), saved.stem, *known])
        key = hashlib.sha256(told.encode()).hexdigest()[:10]
        return Job(
            name=name,
            out=self.out / folder / f"{saved.stem}-{chosen.samples}-s{chosen.seed}-{key}",
            recipe=chosen,
            data=self.raw.place,
            rows=saved,
            evaluation=self.evaluation.model_dump_json() if judged else None,
        )

    def _saved(self, rows: np.ndarray) -> Path:
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


def _weights_digest(recipe: TrainRecipe) -> list[str]:
    """Digests of the files that a recipe's model is read from; none where names alone say which model it is."""
    places = [place for place in (recipe.model.architecture, recipe.model.pretrained) if place and Path(place).exists()]
    return [digest(entry.path)[1] for place in places for entry in find(place)]
