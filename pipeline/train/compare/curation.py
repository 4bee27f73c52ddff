"""Cuts of the data as row numbers, all made by `cupel run` in one corpus: what is measured once serves every cut.

The raw arm is itself a cut: everything but what comes near the evaluation set. Its curated shards are what every arm
trains on; the others are rows of it. Nothing here knows the truth of a drawn pool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ....schemas.recipe import Keep, Recipe, Step, Write
from ...funnel import Funnel
from ...planner import make_plan
from ...progress import Reporter, Silent
from ...read import known_shards
from ...recipe_file import RecipeError, RecipeFile
from ...run import run
from ...store import open_store
from ..errors import TrainError
from ..reader import Dataset, open_dataset
from .left_out import Group

CLEARED: Final = "contaminated_by"


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """A cut's rows as numbers in the raw dataset, ascending, and what it took."""

    rows: np.ndarray
    cut: str  # its folder
    recipe_hash: str
    seconds: float  # of its operators, one core


class Curation:
    """Makes cuts of one input in one corpus."""

    def __init__(self, place: str, corpus: Path, hashes: Path, progress: Reporter) -> None:
        self.place, self.corpus, self.progress = place, corpus, progress
        clear = Step(operator="select.decontaminate", params={"reference": str(hashes)})
        self.first: Group = (Step(operator="image.phash"), clear, Keep.model_validate({CLEARED: None}))
        raw = self._run("raw", self.first, write=True)
        self.raw: Dataset = open_dataset(raw.cut)
        self._places = _kept(raw.cut)
        if len(self._places) != self.raw.rows:
            raise TrainError(f"{raw.cut}: {self.raw.rows:,} rows are written and {len(self._places):,} were kept")
        self.rows_in = raw.rows_in

    def check(self, name: str, steps: Group) -> None:
        """Are these steps possible with these data? Raises RecipeError."""
        known = known_shards(open_store(str(self.corpus)))
        assert known is not None, "raw has been made"
        try:
            make_plan(RecipeFile(recipe=Recipe(name="check", steps=self._whole(steps))), known.schema)
        except RecipeError as error:
            raise RecipeError(f"cut {name}: {re.sub(r'^steps[.][0-9]+[.]', '', str(error))}") from error

    def _whole(self, steps: Group) -> Group:
        """With those of raw before them; pHash is measured already."""
        return (*self.first, *(step for step in steps if step not in self.first[:1]))

    def cut(self, name: str, steps: Group) -> Cutting:
        """The rows that these steps keep of the raw ones."""
        done = self._run(name, self._whole(steps), write=False)
        kept = _kept(done.cut)
        rows = np.searchsorted(self._places, kept)
        if not np.isin(kept, self._places).all():
            raise TrainError(f"the cut {name} has rows that raw has not; steps that make rows cannot be compared")
        if not len(rows):
            raise TrainError(f"the cut {name} keeps no row; `cupel stats {self.corpus}` tells why")
        seconds = sum(line.seconds for line in done.steps)
        return Cutting(rows=rows, cut=done.cut, recipe_hash=done.manifest.recipe_hash, seconds=seconds)

    def _run(self, name: str, steps: Group, *, write: bool) -> Funnel:
        self.progress.begin(f"cut {name}", 0)
        words = "".join(letter if letter.isalnum() or letter in "_." else "_" for letter in name)
        recipe = Recipe(name=words, steps=steps, write=Write(row_group_mb=4))
        done = run(recipe, self.place, out=self.corpus, write=write, progress=Silent())
        if done.unreadable:
            file, why = next(iter(done.unreadable.items()))
            raise TrainError(f"{file} cannot be read ({why}); arms would not be of the same data")
        return done


def _kept(cut: str) -> np.ndarray:
    """The kept rows of a cut in the order of its curated shards: int64, the shard's number above the row's."""
    store = open_store(cut)
    parts = [np.zeros(0, np.int64)]
    for path in store.files("kept"):
        table = store.table(path, ["row", "parent"])
        if table.column("parent").null_count < len(table):
            raise TrainError(f"{cut} has rows that a step made of others; such a cut cannot be compared with raw")
        shard = int(Path(path).stem)
        parts.append(table.column("row").to_numpy().astype(np.int64) + (shard << 32))
    return np.concatenate(parts)
