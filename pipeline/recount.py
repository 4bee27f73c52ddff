"""Add up a cut's files anew: is every row kept, dropped or used up, once, and does the manifest say so?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.source.base import Shard
from ..schemas.corpus import Manifest, StepTotals, row_name


class Recount:
    """Takes the tables of one shard after the other. A space is the steps between two extractors."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.rows = self.kept = 0
        self.rules: Counter[tuple[str, str]] = Counter()  # (step, rule as the manifest writes it) -> rows
        self.made: Counter[str] = Counter()
        self.childless: Counter[str] = Counter()
        self.extractors = [line.step for line in manifest.steps if line.made is not None]

    def add(self, shard: Shard, tables: Mapping[str, pa.Table]) -> str:
        """What is wrong with a shard's kept/, dropped/ and parents/; empty where nothing is."""
        rows, origin = shard.rows, None
        for space, extractor in enumerate([*self.extractors, None]):
            gone, left = tables["dropped"], tables["kept"]
            if self.extractors:
                gone = gone.filter(pc.is_in(gone.column("dropped_by"), self._steps(space)))
            if extractor is not None:
                left = tables["parents"].filter(pc.equal(tables["parents"].column("extracted_by"), extractor))
            both = pa.concat_tables([gone.select(_identity(gone)), left.select(_identity(left))]).sort_by("row")
            if not np.array_equal(both.column("row").to_numpy(), np.arange(rows)):
                return "rows of the shard are lost or counted twice"
            if origin is not None and not both.column("parent").combine_chunks().equals(origin):
                return "children are not in the order of the rows that parents/ counts them for"
            if extractor is not None:
                rows, origin = self._used_up(shard, extractor, left.sort_by("row"))
        self.rows, self.kept = self.rows + shard.rows, self.kept + tables["kept"].num_rows
        counts = tables["dropped"].group_by(["dropped_by", "column", "rule"]).aggregate([([], "count_all")]).to_pylist()
        self.rules.update({(c["dropped_by"], f"{c['column']} {c['rule']}"): c["count_all"] for c in counts})
        return ""

    def _steps(self, space: int) -> pa.Array:
        """The steps of a space, by their names."""
        numbers = np.cumsum([0, *(line.made is not None for line in self.manifest.steps)]).tolist()
        steps = zip(self.manifest.steps, numbers, strict=False)
        return pa.array([line.step for line, number in steps if number == space], pa.string())

    def _used_up(self, shard: Shard, extractor: str, parents: pa.Table) -> tuple[int, pa.Array]:
        """How many children a shard's parents have, and whose each is."""
        children = parents.column("children").to_numpy()
        self.made[extractor] += int(children.sum())
        self.childless[extractor] += int((children == 0).sum())
        of_row = [row_name(shard.id, row) for row in parents.column("row").to_pylist()]
        return int(children.sum()), pa.array(of_row, pa.string()).take(
            pa.array(np.repeat(np.arange(len(of_row)), children))
        )

    def miscounts(self) -> str:
        """What the manifest counts otherwise than the files do; empty where they agree."""
        alive, dropped = self.rows, Counter[str]()
        for (step, _), count in self.rules.items():
            dropped[step] += count
        for line in self.manifest.steps:
            if wrong := self._miscounted(line, alive, dropped[line.step]):
                return wrong
            alive = alive - line.dropped if line.made is None else line.made
        manifest, rows, kept = self.manifest, self.rows, self.kept
        if (manifest.rows_in, manifest.kept, manifest.dropped) != (rows, kept, dropped):
            told = f"{manifest.kept} of {manifest.rows_in} rows kept, {manifest.dropped} dropped"
            return f"says {told}; in the files {kept} of {rows}, {dict(dropped)}"
        return ""

    def _miscounted(self, line: StepTotals, alive: int, dropped: int) -> str:
        counted = Counter({(line.step, rule): count for rule, count in line.rules.items()})
        held = Counter({rule: count for rule, count in self.rules.items() if rule[0] == line.step})
        if (line.rows_in, line.dropped, counted) != (alive, dropped, held):
            told = f"{line.step}: dropped {line.dropped} of {line.rows_in} rows"
            return f"{told}; in the files {dropped} of {alive}, by these rules: {dict(held)}"
        made, childless = self.made[line.step], self.childless[line.step]
        if line.made is not None and (line.made, line.childless) != (made, childless):
            told = f"{line.step}: made {line.made} rows, and none of {line.childless}"
            return f"{told}; in the files {made}, and none of {childless}"
        return ""


def _identity(table: pa.Table) -> list[str]:
    """Columns that tell which row it is; cuts from before there were extractors have no `parent`."""
    return [name for name in ("row", "parent") if name in table.column_names]
