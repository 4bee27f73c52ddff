"""`cupel check`: the plan without running it, or a run on a few rows that tells yield, time and cost of the whole."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from ..operators.base import ByRow, Operator
from ..operators.source import open_source
from ..operators.source.base import Rows, Scan, Shard, Source
from ..schemas.corpus import shard_name
from .cluster import ray_session
from .columns import supposed
from .funnel import Funnel
from .plan import ExtractStep, KeepStep, Plan, RowStep, is_barrier
from .planner import check_operators, make_plan
from .progress import Reporter, Silent
from .read import ShardList, anything_measured, check_claim, known_shards, lend_members
from .recipe_file import load_recipe
from .run import Engine, with_input
from .store import Store, open_store

SAMPLE_ROWS = 100  # of one shard at least, or what a call costs would hide what a row costs


@dataclass(frozen=True, kw_only=True)
class Line:
    """One step of the plan; `rows_in` and what follows are of the sample."""

    step: str
    group: int  # steps of one group go over a shard together; a barrier is a group of its own, an extractor ends one
    barrier: bool
    extracts: bool
    reads: tuple[str, ...]
    adds: tuple[str, ...]
    resources: str
    measured_shards: int | None  # with scores in the corpus folder; None where none was given
    rows_in: int | None = None
    dropped: int | None = None
    made: int | None = None  # rows, by an extractor
    ms_per_row: float | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a sample says of the whole corpus.

    Time is that of the row operators; barriers, reading and writing come on top. Duplicates are rarer in a sample than
    in the whole, so a recipe that drops them keeps less than is told here.
    """

    rows: int
    kept: int
    rows_in_corpus: int
    kept_of_corpus: int
    core_hours: float
    cores: int
    seconds: float  # on so many cores


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A plan, what is measured of it already, and what a sample gave."""

    recipe: str
    steps: tuple[Line, ...]
    shards: int | None = None  # None: there is no input
    sample: Estimate | None = None

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return asdict(self)

    def table(self) -> Table:
        """For people."""
        caption = _in_words(self.sample) if self.sample else ""
        table = Table(title=f"{self.recipe}: the plan", title_justify="left", caption=caption, caption_justify="left")
        for name in ("group", "step", "resources", "measured", *(("dropped", "ms/row") if self.sample else ())):
            table.add_column(name, overflow="fold")
        for line in self.steps:
            step = line.step + (" (barrier)" if line.barrier else " (makes rows)" if line.extracts else "")
            known = line.measured_shards is not None
            done = f"{line.measured_shards}/{self.shards} shards" if known else ""
            dropped = f"{line.dropped / line.rows_in:.1%}" if line.dropped and line.rows_in else ""
            if line.made is not None and line.rows_in:
                dropped = f"{line.made / line.rows_in:.2f} rows each"
            each = f"{line.ms_per_row:.3f}" if line.ms_per_row is not None else ""
            cells = (str(line.group), step, line.resources, done, *((dropped, each) if self.sample else ()))
            table.add_row(*map(Text, cells))  # not markup: a column may be called [red]
        return table


def check_recipe(
    recipe: str,
    input: str | None = None,
    *,
    out: str | None = None,
    sample: int = 0,
    ray_address: str | None = None,
    progress: Reporter | None = None,
) -> Checked:
    """Plan a recipe; without an input, against what it seems to want. Raises what `run` raises; writes nothing."""
    file = load_recipe(recipe)
    corpus = open_store(out) if out else None
    if input is None and file.recipe.read is None and not sample:
        known = known_shards(corpus) if corpus else None
        return _checked(make_plan(file, known.schema if known else supposed(file.recipe)), known, corpus)
    file = with_input(file, input)
    check_operators(file)
    assert file.recipe.read is not None
    source = open_source(file.recipe.read)
    source.files()
    known = None
    if corpus and anything_measured(corpus):
        check_claim(corpus, file.recipe.read)
        known = known_shards(corpus)
    if known and not sample:
        return _checked(make_plan(file, known.schema), known, corpus)
    place = corpus if known else None
    with ray_session(ray_address), _scratch(place) as scratch:
        shards = known or Engine(scratch, source, progress or Silent()).scan()
        checked = _checked(make_plan(file, shards.schema), shards, corpus)
        if not sample:
            return checked
        some = _spread(shards, sample)
        head = Head(whole=source, rows_of={shard.id: shard.rows for shard in shards.shards})
        # First to start workers and load models, then for the time; nobody's hosts are asked twice for that.
        plan = make_plan(file, shards.schema)
        asks_hosts = any(step.operator.asks_hosts for step in plan.by_row)
        for told in (progress or Silent(),) if asks_hosts else (Silent(), progress or Silent()):
            with _scratch(place) as own:
                lend_members(place or scratch, own, some.shards)
                engine = Engine(own, head, told)
                funnel = engine.run(file, some, write=False, began=0.0)
        return _sampled(checked, funnel, shards.rows, engine.slots)


@dataclass(frozen=True, kw_only=True)
class Head(Source):
    """The first rows of the shards of another source."""

    whole: Source
    rows_of: Mapping[int, int]  # rows of the shards when they are whole

    def files(self) -> list[str]:
        return self.whole.files()

    def scan(self, file: str) -> Scan:
        return self.whole.scan(file)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        left = shard.rows
        for rows in self.whole.rows(replace(shard, rows=self.rows_of[shard.id]), schema, columns):
            count = min(left, len(rows.slots))
            yield replace(rows, table=rows.table.slice(0, count), slots=rows.slots[:count])
            left -= count
            if not left:
                return


def _spread(shards: ShardList, rows: int) -> ShardList:
    """About so many rows: the first few of shards spread evenly over the corpus."""
    count = max(1, min(len(shards.shards), rows // SAMPLE_ROWS))
    picked = [shards.shards[i * len(shards.shards) // count] for i in range(count)]
    each = -(-rows // count)
    return replace(shards, shards=tuple(replace(shard, rows=min(shard.rows, each)) for shard in picked))


@contextmanager
def _scratch(corpus: Store | None) -> Iterator[Store]:
    """Where a sample's scores go until it is over: below the corpus, which all workers see, or else a local folder."""
    if corpus is None:
        with tempfile.TemporaryDirectory(prefix="cupel-check-") as folder:
            yield open_store(folder)
        return
    store = open_store("/".join((corpus.uri, "tmp", f"check-{uuid.uuid4().hex[:8]}")))
    try:
        yield store
    finally:
        store.delete("")


def _checked(plan: Plan, shards: ShardList | None, corpus: Store | None) -> Checked:
    """The plan's lines, with how many shards have scores of each step in the corpus folder."""
    names = {shard_name(shard.id) for shard in shards.shards} if shards else set()
    lines: list[Line] = []
    group = 1
    for step in plan.steps:
        group += bool(lines) and (lines[-1].barrier or lines[-1].extracts or is_barrier(step))
        line = Line(
            step=step.label,
            group=group,
            barrier=is_barrier(step),
            extracts=isinstance(step, ExtractStep),
            reads=step.columns if isinstance(step, KeepStep) else tuple(step.reads.values()),
            adds=() if isinstance(step, KeepStep) else tuple(step.names.values()),
            resources="" if isinstance(step, KeepStep) else _resources(step.operator),
            measured_shards=None,
        )
        if corpus and shards and isinstance(step, RowStep):
            files = corpus.files(step.record)
            there = {path.rpartition("/")[2].split(".")[0].split("+")[0] for path in files}
            line = replace(line, measured_shards=len(names & there))
        lines.append(line)
    return Checked(recipe=plan.recipe.name, steps=tuple(lines), shards=len(shards.shards) if shards else None)


def _resources(operator: Operator) -> str:
    needs = operator.needs
    gpu = f", {needs.gpus:g} GPU" if isinstance(operator, ByRow) and operator.models else ""
    return f"{needs.cpus:g} CPU{gpu}, {needs.memory_gb:g} GB"


def _sampled(checked: Checked, funnel: Funnel, whole: int, cores: int) -> Checked:
    """The plan with what the sample's run gave."""
    lines = [
        replace(
            line,
            rows_in=totals.rows_in,
            dropped=totals.dropped,
            made=totals.made,
            ms_per_row=round(totals.seconds / totals.measured * 1000, 3) if totals.measured else None,
        )
        for line, totals in zip(checked.steps, funnel.steps, strict=True)
    ]
    scale = whole / funnel.rows_in if funnel.rows_in else 0.0
    seconds = sum(totals.seconds for totals in funnel.steps if totals.measured) * scale
    estimate = Estimate(
        rows=funnel.rows_in,
        kept=funnel.kept,
        rows_in_corpus=whole,
        kept_of_corpus=round(funnel.kept * scale),
        core_hours=round(seconds / 3600, 4),
        cores=cores,
        seconds=round(seconds / cores, 1),
    )
    return replace(checked, steps=tuple(lines), sample=estimate)


def _in_words(sample: Estimate) -> str:
    return (
        f"sample: {sample.rows:,} rows in, {sample.kept:,} kept; of all {sample.rows_in_corpus:,} rows "
        f"{sample.kept_of_corpus:,} would come (fewer where duplicates go, which are rarer in a sample), measured in "
        f"{sample.seconds:,} s on {sample.cores} cores ({sample.core_hours} core hours; barriers, reading and writing "
        "not counted)"
    )
