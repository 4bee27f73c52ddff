"""A run's folder: whose it is, who writes in it, and its files, whole or not at all."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ...schemas.train import TrainRecipe
from .errors import TrainError
from .log import Result
from .ranks import Ranks
from .reader import Dataset


@contextmanager
def alone(folder: Path, ranks: Ranks) -> Iterator[None]:
    """One start of a run at a time. TrainError where another is under way."""
    if not ranks.first:
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainError(f"another process is training in {folder}") from error
        yield


def claim(folder: Path, recipe: TrainRecipe, dataset: Dataset, ranks: Ranks) -> Result | None:
    """Make the folder this run's, or see that it is; the result where it is finished. TrainError if another's."""
    wanted: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "digest": dataset.digest}
    said = folder / "run.json"
    taken = ranks.first and not said.is_file() and folder.exists() and any(folder.iterdir())
    if ranks.agree(taken):
        raise TrainError(f"{folder} is not empty and holds no run; choose another --out")
    if ranks.first and not said.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        put(said, json.dumps(wanted | {"place": dataset.place, "version": version("cupel")}))
    ranks.wait()
    found = json.loads(said.read_text())
    if found["digest"] != wanted["digest"]:
        raise TrainError(f"{folder} was trained on another dataset ({found['place']}); choose another --out")
    if differs := [name for name, value in wanted["recipe"].items() if found["recipe"].get(name) != value]:
        raise TrainError(f"{folder} has a run of another recipe ({', '.join(differs)} differ); choose another --out")
    if (folder / "result.json").is_file():
        return Result(**json.loads((folder / "result.json").read_text()))
    if ranks.first:
        text = yaml.safe_dump(wanted["recipe"], sort_keys=False, allow_unicode=True)
        (folder / "recipe.yaml").write_text(text)
    return None


def put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.parent.with_name(f".{path.parent.name}.{path.name}")  # beside the folder: in it, it would fill it
    draft.write_text(text + "\n")
    draft.replace(path)
