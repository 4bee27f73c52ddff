"""One shard in one worker: measure what is missing, then decide. The only code that runs operators on rows.

A stretch of steps (row operators and plain keeps) runs on batches of rows; the rows alive shrink on the way, so a cheap
bound saves the dear measurements after it. What was measured is committed a file per step and shard; the decision is
then read off the committed columns, so it is the same whether they were measured now or a year ago.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..operators.base import Batch, Submit
from ..operators.decode import RowError
from ..operators.images import ImageStore
from ..operators.source.base import Images, Rows
from ..schemas.corpus import ERRORS, ROW, STATE, State
from .call import Caller
from .keep import Mask, decide
from .plan import CorpusStep, KeepStep, MeasureStep, PlannedStep
from .shard import ShardView, selected, version_path, walk

LOAD_SLOTS = 16  # images fetched at a time
PART_BYTES = 64 << 20  # encoded images in memory at a time
PART_PIXELS = 16 << 20  # 64 MB of RGB (Pillow takes four bytes a pixel); more at a time was slower
CAREFUL_ROWS = 64


@dataclass(kw_only=True)
class Report:
    """Counts of one shard. Never data."""

    shard: int
    measured: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def measure(view: ShardView, until: int, on_gpu: Submit | None = None) -> Report:
    """Measure every row of the shard that is alive where a step comes and has no entry yet; commit; forget."""
    report = Report(shard=view.shard.id)
    if walk(view, until).missing is None:
        return report
    run = _Run(view, until, report, on_gpu)
    for rows in view.source.rows(view.shard, view.plan.schema, run.source_columns):
        run.batch(rows)
    run.commit()
    view.forget()
    return report


class Rereadable:
    """A batch's images, of which the last one fetched may be asked for again (captions that share it may be apart)."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._last: tuple[int, bytes | RowError | None] | None = None

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        again = [self._last[1]] if self._last and slots and slots[0] == self._last[0] else []
        found = again + self._images.load(slots[len(again) :])
        if slots:
            self._last = (slots[-1], found[-1])
        return found


@dataclass(kw_only=True)
class _Window:
    """Some consecutive rows on their way through the steps."""

    first: int
    alive: Mask
    table: pa.Table
    rows: Rows
    slots: np.ndarray
    columns: dict[str, pa.Array]
    images: ImageStore | None = None

    def part(self, start: int, stop: int) -> _Window:
        cut = slice(start, stop)
        return replace(
            self,
            first=self.first + start,
            alive=self.alive[cut],
            table=self.table.slice(start, stop - start),
            slots=self.slots[cut],
            columns={name: column.slice(start, stop - start) for name, column in self.columns.items()},
        )


class _Run:
    """The steps of a stretch over the batches of a shard, collecting what they measure."""

    def __init__(self, view: ShardView, until: int, report: Report, on_gpu: Submit | None) -> None:
        self.view, self.report = view, report
        self.steps: tuple[PlannedStep, ...] = view.plan.steps[:until]
        self.results: dict[int, list[pa.Table]] = defaultdict(list)
        self.errors: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
        used = {column for step in self.steps if isinstance(step, MeasureStep) for column in step.reads.values()}
        used |= {name for step in self.steps if isinstance(step, KeepStep) for name in step.columns}
        self.source_columns = [name for name in view.plan.schema.names if name in used and name != "image"]
        self.careful = view.job.careful
        self.caller = Caller(view=view, on_gpu=on_gpu)

    def batch(self, rows: Rows) -> None:
        """Run all steps on one batch of the source."""
        rows = replace(rows, images=Rereadable(rows.images))
        length = len(rows.slots)
        size = CAREFUL_ROWS if self.careful else length
        window = _Window(
            first=rows.first,
            alive=np.ones(length, bool),
            table=rows.table,
            rows=rows,
            slots=rows.slots,
            columns={name: rows.table.column(name).combine_chunks() for name in rows.table.column_names},
        )
        for start in range(0, length, max(size, 1)):
            self._steps(window.part(start, min(start + size, length)), 0)

    def _steps(self, window: _Window, begin: int) -> None:
        for step in self.steps[begin:]:
            if not window.alive.any():
                return
            if isinstance(step, MeasureStep):
                todo = window.alive & ~self._known(window, step)
                if todo.any() and step.reads_image and window.images is None:
                    for part in self._parts(window):
                        self._steps(part, step.index)
                    return
                self._measure(window, step, todo)
            else:
                self._decide(window, step)

    def _known(self, window: _Window, step: MeasureStep) -> Mask:
        return self.view.scores(step).known[window.first : window.first + len(window.alive)]

    def _decide(self, window: _Window, step: CorpusStep | KeepStep) -> None:
        cut = (window.first, len(window.alive))
        ranks = {}
        if isinstance(step, CorpusStep) or step.ranked:
            ranks = {name: column.slice(*cut) for name, column in self.view.ranks(step).items()}
        if isinstance(step, CorpusStep):
            window.columns |= ranks
            return
        columns = {name: window.columns[self.view.plan.view.get(name, name)] for name in step.columns}
        window.alive = decide(step.keep, columns, selected(ranks), window.alive).stays

    def _parts(self, window: _Window) -> Iterator[_Window]:
        """The window in runs of rows whose images fit in memory together, encoded and decoded."""
        slots = np.unique(window.slots[window.alive & (window.slots >= 0)])
        start, images, held_bytes, held_pixels = 0, ImageStore(), 0, 0
        for begin in range(0, len(slots), LOAD_SLOTS):
            some = slots[begin : begin + LOAD_SLOTS].tolist()
            for slot, data in zip(some, window.rows.images.load(some), strict=True):
                size, pixels = images.add(slot, data)
                held_bytes, held_pixels = held_bytes + size, held_pixels + pixels
                if len(images) > 1 and (held_bytes > PART_BYTES or held_pixels > PART_PIXELS):
                    following = images.split_off(slot)
                    stop = int(np.flatnonzero(window.slots == slot)[0])
                    yield _with_images(window.part(start, stop), images)
                    start, images, held_bytes, held_pixels = stop, following, size, pixels
        yield _with_images(window.part(start, len(window.alive)), images)

    def _measure(self, window: _Window, step: MeasureStep, todo: Mask) -> None:
        """Run one operator on the rows that need it; put its columns beside the others."""
        if todo.any():
            self.caller.load(step)
        began = time.perf_counter()  # loading is once a worker, not a row's: `check --sample` scales this time up
        cut = (window.first, len(window.alive))
        known = {name: column.slice(*cut) for name, column in self.view.scores(step).columns.items()}
        if todo.any():
            rows = np.flatnonzero(todo)
            table = self._measured(window, step, rows)
            self.results[step.index].append(table)
            # Old and new, one after the other: any type can be taken from (there are embeddings).
            place = pa.array(np.where(todo, len(todo) + np.cumsum(todo) - 1, np.arange(len(todo))))
            for old, name in step.names.items():
                known[name] = pa.chunked_array([known[name], *table.column(old).chunks]).take(place).combine_chunks()
            skipped = pc.sum(pc.equal(table.column("state"), State.NOT_APPLICABLE.value)).as_py()
            self.report.measured[step.label] += len(rows) - skipped
        window.columns |= known
        self.report.seconds[step.label] += time.perf_counter() - began

    def _measured(self, window: _Window, step: MeasureStep, rows: np.ndarray) -> pa.Table:
        """row, state and the operator's columns for these rows of the window."""
        errors, ready = self._sort_out(window, step, rows)
        values: dict[str, pa.Array] = {}
        failed: dict[int, RowError] = {}
        if len(ready):
            values, failed = self.caller.call(step, self._batch(window, step, ready), window.first + ready)
            errors |= {int(ready[i]): error for i, error in failed.items()}
        states = np.full(len(rows), State.NOT_APPLICABLE.value, dtype=object)
        position = np.full(len(window.alive), -1, np.int64)
        position[ready] = np.arange(len(ready))
        states[np.isin(rows, ready)] = State.MEASURED.value
        for i, row in enumerate(rows.tolist()):
            if row in errors:
                states[i] = (State.FAILED_TRANSIENT if errors[row].transient else State.FAILED).value
                position[row] = -1
        take = pa.array(position[rows], mask=position[rows] < 0)
        self.errors[step.index] += [(window.first + r, e.kind, e.message[:500]) for r, e in sorted(errors.items())]
        columns = {"row": pa.array(window.first + rows, pa.int32()), "state": pa.array(states.tolist(), pa.string())}
        for added in step.operator.adds:
            value = values.get(added.name)
            columns[added.name] = pa.nulls(len(rows), added.type) if value is None else value.take(take)
        return pa.table(columns)

    def _sort_out(self, window: _Window, step: MeasureStep, rows: np.ndarray) -> tuple[dict[int, RowError], np.ndarray]:
        """Rows that cannot be measured (with their errors), and rows that have all the operator reads."""
        errors: dict[int, RowError] = {}
        ready = np.ones(len(rows), bool)
        for column in step.reads.values():
            offset = window.first - window.rows.first
            broken = window.rows.errors.get(column, {})
            errors |= {r: broken[r + offset] for r in rows.tolist() if r + offset in broken} if broken else {}
            if column == "image":
                ready &= window.slots[rows] >= 0
            else:
                ready &= ~window.columns[column].is_null().to_numpy(zero_copy_only=False)[rows]
        if self.careful:
            poison = self.careful.poison.get(step.label, {})
            for row in rows.tolist():
                if window.first + row in poison:
                    kind = poison[window.first + row]
                    errors[row] = RowError(kind, f"{step.label} on this row: {kind.replace('_', ' ')}")
        if errors:
            ready &= ~np.isin(rows, list(errors))
        return errors, rows[ready]

    def _batch(self, window: _Window, step: MeasureStep, rows: np.ndarray) -> Batch:
        take = pa.array(rows)
        columns = {asked: window.columns[name].take(take) for asked, name in step.reads.items() if name != "image"}
        if not columns:
            columns = {"row": pa.array(window.first + rows, pa.int32())}
        images, slots = window.images, window.slots[rows]
        if "image" in step.reads and not step.reads_image:  # a transform's version of the image
            encoded = window.columns[step.reads["image"]].take(take).to_pylist()
            images, slots = ImageStore(dict(enumerate(encoded))), np.arange(len(rows))
        return Batch(pa.table(columns), images, slots, self.caller.on_gpu)

    def commit(self) -> None:
        """Publish what was measured, errors first: a score file says that the shard's errors are there too."""
        for step in self.steps:
            if not isinstance(step, MeasureStep) or not self.results[step.index]:
                continue
            number = self.view.scores(step).files
            fields = [ROW, STATE, *step.operator.adds]
            about = {"operator": step.label, "fingerprint": step.fingerprint}
            table = pa.concat_tables(self.results[step.index]).cast(pa.schema(fields, metadata=about))
            errors = self.errors[step.index]
            if errors:
                entries = pa.Table.from_pylist([dict(zip(ERRORS.names, e, strict=True)) for e in errors], ERRORS)
                path = version_path(f"errors/{step.folder}", self.view.shard.id, number)
                self.view.store.write_table(path, entries, replace=True)
            self.view.store.write_table(version_path(f"scores/{step.folder}", self.view.shard.id, number), table)


def _with_images(window: _Window, images: ImageStore) -> _Window:
    """Rows that turn out to have no image get the slot -1."""
    slots = np.array(
        [
            s if s >= 0 and (not a or images.has(s)) else -1
            for s, a in zip(window.slots.tolist(), window.alive, strict=True)
        ]
    )
    return replace(window, images=images, slots=slots.astype(np.int64))
