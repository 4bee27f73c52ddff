"""A cut, opened to be looked at: its recipe as a plan again, its shards, and what was decided on their rows.

Nothing is measured. The plan is made with the fingerprints that the cut recorded, so that models need not be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from ...operators.source import open_source
from ...operators.source.base import Rows, Scan, Shard, ShardError, Source, SourceError
from ...schemas.corpus import shard_name
from ...schemas.recipe import Recipe
from ...schemas.summary import Summary
from ..children import ChildView
from ..cuts import CutEntry, chosen_cut
from ..keep import Mask, rules_of
from ..plan import KeepStep, Plan, RowStep
from ..planner import make_plan
from ..read import CorpusError, known_shards, schema_of_text, with_members
from ..recipe_file import parse_recipe
from ..shard import Job, ShardView, Walk
from ..store import Store, open_store

_WHY = ("dropped_by", "column", "rule")


def open_cut(place: str | Store, cut: str | None = None) -> OpenedCut:
    """Open a cut of a corpus, or a cut by its own folder.

    `place` is a corpus folder (local or s3://), then `cut` is a recipe's name or the folder's, and the newest of all
    where it is None; or a cut's folder. Raises CorpusError when there is none, in words for the user.
    """
    store = place if isinstance(place, Store) else open_store(place)
    if not store.exists("corpus.json") and store.exists("manifest.json"):
        corpus, _, name = store.uri.rstrip("/").rpartition("/cuts/")
        around = open_store(corpus) if corpus else store
        if not around.exists("corpus.json"):
            raise CorpusError(f"{store.uri} is a cut without its corpus around it; give the corpus folder")
        return open_cut(around, name)
    if not store.exists("corpus.json"):
        raise CorpusError(f"{store.uri} is neither a corpus folder nor a finished cut")
    return OpenedCut(store, chosen_cut(store, cut))


@dataclass(frozen=True)
class Gone(Source):
    """An input that is not there any more."""

    why: str

    def files(self) -> list[str]:
        raise SourceError(self.why)

    def scan(self, file: str) -> Scan:
        raise ShardError(self.why)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        raise ShardError(self.why)


class OpenedCut:
    """One cut: what it says of itself, and its shards."""

    def __init__(self, store: Store, entry: CutEntry) -> None:
        self.store, self.folder, self.manifest, self.title = store, entry.folder, entry.manifest, entry.title
        known = known_shards(store)
        if known is None:
            raise CorpusError(f"{store.uri} has no shard list")
        recorded = self.manifest.source_schema
        self._schema = known.schema if recorded is None else schema_of_text(recorded)
        there = set(store.files(f"{self.folder}/kept"))
        self.shards: tuple[Shard, ...] = tuple(
            shard for shard in known.shards if f"{self.folder}/kept/{shard_name(shard.id)}.parquet" in there
        )
        self._by_id = {shard.id: shard for shard in self.shards}

    @property
    def uri(self) -> str:
        """Where the cut lies."""
        return f"{self.store.uri}/{self.folder}"

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe as run, every default written out."""
        text = self.store.read(f"{self.folder}/recipe.yaml")
        return parse_recipe(text, f"{self.folder}/recipe.yaml").recipe

    @cached_property
    def plan(self) -> Plan:
        """The plan that made the cut. Raises RecipeError where an operator is not there any more."""
        file = parse_recipe(self.store.read(f"{self.folder}/recipe.yaml"), f"{self.folder}/recipe.yaml")
        recorded = {i: line.fingerprint for i, line in enumerate(self.manifest.steps) if line.fingerprint}
        plan = make_plan(file, self._schema, self.manifest.source_digest, recorded)
        if not recorded and plan.cut != self.folder:
            raise CorpusError(
                f"{self.uri} was made by an earlier version, or with other models than those here; "
                "run its recipe again to look at it"
            )
        return replace(plan, folder=self.folder)

    @cached_property
    def source(self) -> Source:
        """Reads the rows that the cut was made of. Where the input is gone, scores can still be looked at."""
        assert self.recipe.read is not None, "a run writes it down"
        try:
            return open_source(self.recipe.read)
        except SourceError as error:
            return Gone(str(error))

    @cached_property
    def summary(self) -> Summary | None:
        """What the decision looked like; None of a cut that was made before there were summaries."""
        try:
            return Summary.model_validate_json(self.store.read(f"{self.folder}/summary.json"))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise CorpusError(f"{self.uri}/summary.json is damaged: {error.errors()[0]['msg']}") from error

    def lineage(self, shard: Shard) -> list[tuple[ShardView, Walk]]:
        """The shard's rows of the source, the rows that extractors made of them, and so on.

        Each with its decision as the cut's own ledger has it. Raises CorpusError where rows were made anew since.
        """
        view = self.view(0, shard.id)
        found = [(view, self._decision(view))]
        while view.space is not self.plan.spaces[-1]:
            view = ChildView(view, found[-1][1])
            found.append((view, self._decision(view)))
        return found

    def view(self, space: int, shard: int) -> ShardView:
        """The rows of one space of one shard. KeyError where there is none."""
        if not 0 <= space < len(self.plan.spaces):
            raise KeyError(f"there is no space {space}")
        job = Job(shard=with_members(self.store, self._by_id[shard]), until=len(self.plan.steps))
        view = ShardView(self.plan, self.store, self.source, job)
        for _ in range(space):
            view = ChildView(view, Walk(alive=self._used_up(view)))
        return view

    def _used_up(self, view: ShardView) -> Mask:
        """The rows that the extractor at the end of their steps has seen."""
        used = self._ledger("parents", view, ["row", "extracted_by"])
        rows = used.filter(pl.col("extracted_by") == view.steps()[-1].label)["row"].to_numpy()
        return self._mask(view, rows)

    def _decision(self, view: ShardView) -> Walk:
        """What became of the rows, from kept/, dropped/ and parents/."""
        keeps = [step for step in view.steps() if isinstance(step, KeepStep)]
        named = [
            (step.label, rule.column, rule.text, step.index, i)
            for step in keeps
            for i, rule in enumerate(rules_of(step.keep))
        ]
        schema = {**dict.fromkeys(_WHY, pl.String), "step": pl.Int32, "number": pl.Int16}
        rules = pl.DataFrame(named, schema=schema, orient="row")
        gone = self._ledger("dropped", view, ["row", *_WHY]).join(rules, on=_WHY, how="inner")
        if view.space is self.plan.spaces[-1]:
            stayed = self._mask(view, self._ledger("kept", view, ["row"])["row"].to_numpy())
        else:
            stayed = self._used_up(view)
        if int(stayed.sum()) + gone.height != view.shard.rows:
            raise CorpusError(f"{self.uri}: rows were made anew since this cut was made; run its recipe again")
        found = Walk(alive=np.ones(view.shard.rows, bool))
        for step in view.steps():
            if isinstance(step, KeepStep):
                here = gone.filter(pl.col("step") == step.index)
                blame = np.full(view.shard.rows, -1, np.int16)
                blame[here["row"].to_numpy()] = here["number"].to_numpy()
                found.blames[step.index] = (blame, rules_of(step.keep))
                found.alive = found.alive & (blame < 0)
            elif isinstance(step, RowStep):
                found.failures[step.label] = found.alive & view.scores(step, found.alive).failed
        return found

    def _mask(self, view: ShardView, rows: np.ndarray) -> Mask:
        if len(rows) and rows.max() >= view.shard.rows:
            raise CorpusError(f"{self.uri}: rows were made anew since this cut was made; run its recipe again")
        mask = np.zeros(view.shard.rows, bool)
        mask[rows] = True
        return mask

    def _ledger(self, folder: str, view: ShardView, columns: list[str]) -> pl.DataFrame:
        """Columns of what the cut's own files say of a shard."""
        frame = pl.from_arrow(self.store.table(f"{self.folder}/{folder}/{shard_name(view.shard.id)}.parquet", columns))
        assert isinstance(frame, pl.DataFrame)
        return frame
