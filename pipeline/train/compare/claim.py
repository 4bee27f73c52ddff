"""Whose an experiment's folder is: it is claimed for its data when they are there, so that a fault claims nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from ..errors import TrainError
from .recipe import CompareRecipe

CLAIM: Final = "experiment.json"
BEGUN: Final = ".begun"  # until the claim is made


def begin(recipe: CompareRecipe, out: Path) -> None:
    """Make sure that the folder may be this experiment's. TrainError where it holds one of other data, or other things.

    What was drawn by a start that did not come to its claim is drawn again.
    """
    path, begun = out / CLAIM, out / BEGUN
    if path.is_file():
        if json.loads(path.read_text())["data"] != _data_of(recipe):
            raise TrainError(f"{out} has an experiment on other data; choose another --out")
        return
    if begun.is_file():
        for folder in (out / "pool", out / "evaluation"):
            shutil.rmtree(folder, ignore_errors=True)
        (out / "truth.parquet").unlink(missing_ok=True)
    elif out.exists() and any(out.iterdir()):
        raise TrainError(f"{out} is not empty and holds no experiment; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    begun.touch()


def claim(recipe: CompareRecipe, out: Path) -> None:
    """Make the folder this experiment's, now that its data are there."""
    path = out / CLAIM
    if not path.is_file():
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"name": recipe.name, "data": _data_of(recipe)}, indent=1) + "\n")
        part.replace(path)
    (out / BEGUN).unlink(missing_ok=True)


def _data_of(recipe: CompareRecipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", include={"pool", "data", "evaluation"})
