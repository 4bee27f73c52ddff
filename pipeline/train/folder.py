"""A run's folder: whose it is, who writes in it, and its files, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ...schemas.train import TrainRecipe
from ..recipe_file import as_yaml
from .checkpoint import found
from .errors import TrainError
from .log import Result
from .ranks import Ranks
from .reader import Dataset

SAID: Final = "run.json"
LOCK: Final = ".lock"
FREE: Final = frozenset({"checkpoint_steps", "log_steps", "max_bad_share"})  # of a recipe; the model is the same


@contextmanager
def alone(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Make the folder, for one start of a run at a time. TrainError where another is under way, or it is no run's."""
    taken = ranks.first and not (folder / SAID).is_file() and folder.exists() and any(set(_names(folder)) - {LOCK})
    if ranks.agree(taken):
        raise TrainError(f"{folder} is not empty and holds no run; choose another --out")
    if not ranks.first:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainError(f"another process is training in {folder}") from error
        yield


def claim(folder: Path, recipe: TrainRecipe, dataset: Dataset, ranks: Ranks) -> Result | None:
    """Make the folder this run's, or see that it is; the result where it is finished. TrainError if another's.

    A run that has learned nothing yet makes way for another.
    """
    wanted: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "digest": dataset.digest}
    said = folder / SAID
    if ranks.first and not (found(folder / "checkpoints") or (folder / "result.json").is_file()):
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        put(said, json.dumps(wanted | {"place": dataset.place, "version": version("cupel")}))
        (folder / "recipe.yaml").write_text(as_yaml(wanted["recipe"]))
    ranks.wait()
    there = json.loads(said.read_text())
    if there["digest"] != wanted["digest"]:
        raise TrainError(
            f"{folder} was trained on {there['place']}, and this is {dataset.place}, other data; choose another --out, "
            "or those data (of a corpus, another --cut)"
        )
    names = [name for name in wanted["recipe"] if name not in FREE]
    if differs := [name for name in names if there["recipe"].get(name) != wanted["recipe"][name]]:
        raise TrainError(f"{folder} has a run of another recipe ({', '.join(differs)} differ); choose another --out")
    if (folder / "result.json").is_file():
        return Result(**json.loads((folder / "result.json").read_text()))
    return None


def _names(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.iterdir())


def put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.parent.with_name(f".{path.parent.name}.{path.name}")  # beside the folder: in it, it would fill it
    draft.write_text(text + "\n")
    draft.replace(path)
