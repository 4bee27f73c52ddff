"""One shard in one worker: measure what is missing, then decide. The only code that runs operators on rows.

A stretch of steps (row operators and plain keeps) runs on batches of rows; the rows alive shrink on the way, so a cheap
bound saves the dear measurements after it. What was measured is committed a file per step and shard; the decision is
then read off the committed columns, so it is the same whether they were measured now or a year ago.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from ..operators.base import Batch, Submit
from ..operators.decode import RowError
from ..operators.images import ImageStore
from ..operators.source.base import Images, Rows
from ..schemas.corpus import ERRORS, ROW, STATE, State
from .call import Caller, Columns
from .children import lines_of, making
from .keep import Mask, decide
from .plan import CorpusStep, ExtractStep, KeepStep, MeasureStep, RowStep
from .row_groups import RowGroups
from .shard import ShardView, selected, version_path, walk

LOAD_SLOTS = 16  # images fetched at a time
PART_BYTES = 64 << 20  # encoded images in memory at a time
PART_PIXELS = 16 << 20  # 64 MB of RGB (Pillow takes four bytes a pixel); more at a time was slower
CAREFUL_ROWS = 64
FIRST_ROWS = 16  # parents that an extractor is given, until it is known how much it makes of each
EXTRACT_ROWS = 256  # parents at a time at most,
EXTRACT_BYTES = 16 << 20  # and fewer where what is made of them would take more than that


@dataclass(kw_only=True)
class Report:
    """Counts of one shard. Never data."""

    measured: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def measure(view: ShardView, until: int, report: Report, on_gpu: Submit | None = None) -> None:
    """Measure every row of the view that is alive where a step comes and has no entry yet; commit; forget."""
    if walk(view, until).missing is None:
        return
    with ExitStack() as extracted:  # published when the block ends
        run = _Run(view, until, report, on_gpu, extracted)
        for rows in view.rows(run.first_columns):
            run.batch(rows)
        run.commit()
    view.forget()


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

    def __init__(
        self, view: ShardView, until: int, report: Report, on_gpu: Submit | None, extracted: ExitStack
    ) -> None:
        self.view, self.report, self.extracted = view, report, extracted
        self.steps = view.steps(until)
        self.lines: RowGroups | None = None  # of the extractor that ends these steps, once it is called
        self.at_once = FIRST_ROWS  # parents that it is given
        self.results: dict[int, list[pa.Table]] = defaultdict(list)
        self.errors: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
        used = {column for step in self.steps if isinstance(step, RowStep) for column in step.reads.values()}
        used |= {step.reads[name] for step in self.steps if isinstance(step, KeepStep) for name in step.columns}
        self.first_columns = [name for name in view.space.schema.names if name in used and name != "image"]
        self.careful = view.job.careful
        self.caller = Caller(view=view, on_gpu=on_gpu)

    def batch(self, rows: Rows) -> None:
        """Run all steps on one batch of rows."""
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
        for i, step in enumerate(self.steps[begin:], begin):
            if not window.alive.any():
                return
            if isinstance(step, RowStep):
                todo = window.alive & ~self._known(window, step)
                if todo.any() and step.reads_image and window.images is None:
                    for part in self._parts(window):
                        self._steps(part, i)
                    return
                if isinstance(step, ExtractStep):
                    self._extract(window, step, np.flatnonzero(todo))
                else:
                    self._measure(window, step, todo)
            else:
                self._decide(window, step)

    def _known(self, window: _Window, step: RowStep) -> Mask:
        return self.view.scores(step).known[window.first : window.first + len(window.alive)]

    def _decide(self, window: _Window, step: CorpusStep | KeepStep) -> None:
        cut = (window.first, len(window.alive))
        ranks = {}
        if isinstance(step, CorpusStep) or step.ranked:
            ranks = {name: column.slice(*cut) for name, column in self.view.ranks(step).items()}
        if isinstance(step, CorpusStep):
            window.columns |= ranks
            return
        columns = {name: window.columns[step.reads[name]] for name in step.columns}
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

    def _measure(self, window: _Window, step: RowStep, todo: Mask) -> None:
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
        window.columns |= known
        self.report.seconds[step.label] += time.perf_counter() - began

    def _measured(self, window: _Window, step: RowStep, rows: np.ndarray) -> pa.Table:
        """row, state and the operator's columns for these rows of the window."""
        values, place, states = self._called(window, step, rows)
        take = pa.array(place, mask=place < 0)
        columns = {"row": pa.array(self.view.numbers[window.first + rows], pa.int32()), "state": states}
        for added in step.operator.adds:
            value = values.get(added.name)
            columns[added.name] = pa.nulls(len(rows), added.type) if value is None else value.take(take)
        return pa.table(columns)

    def _extract(self, window: _Window, step: ExtractStep, todo: np.ndarray) -> None:
        """Run the extractor on some rows at a time, as each may have many children, and write those down."""
        if self.lines is None and len(todo):
            self.lines = self.extracted.enter_context(making(self.view, step))
            self.caller.load(step)
        began = time.perf_counter()
        while len(todo):
            rows, todo = np.split(todo, [self.at_once])
            made, place, states = self._called(window, step, rows)
            lines = lines_of(step, self.view.numbers[window.first + rows], states, place, made)
            self.at_once = int(np.clip(EXTRACT_BYTES * len(rows) // lines.nbytes, 1, EXTRACT_ROWS))
            assert self.lines is not None
            self.lines.add(lines)
        self.report.seconds[step.label] += time.perf_counter() - began

    def _called(self, window: _Window, step: RowStep, rows: np.ndarray) -> tuple[Columns, np.ndarray, pa.Array]:
        """What the operator gives, the place of each row in what it was given (-1: none, or it failed), the states."""
        errors, ready = self._sort_out(window, step, rows)
        values: Columns = {}
        if len(ready):
            values, failed = self.caller.call(step, self._batch(window, step, ready), window.first + ready)
            errors |= {int(ready[i]): error for i, error in failed.items()}
        place = np.full(len(window.alive), -1, np.int64)
        place[ready] = np.arange(len(ready))
        place[list(errors)] = -1
        states = np.where(place >= 0, State.MEASURED.value, State.NOT_APPLICABLE.value).astype(object)
        for row, error in errors.items():
            states[row] = (State.FAILED_TRANSIENT if error.transient else State.FAILED).value
        numbers = self.view.numbers[window.first + np.array(sorted(errors), np.int64)].tolist()
        self.errors[step.index] += [
            (number, error.kind, error.message[:500])
            for number, (_, error) in zip(numbers, sorted(errors.items()), strict=True)
        ]
        self.report.measured[step.label] += int((states[rows] != State.NOT_APPLICABLE.value).sum())
        return values, place[rows], pa.array(states[rows].tolist(), pa.string())

    def _sort_out(self, window: _Window, step: RowStep, rows: np.ndarray) -> tuple[dict[int, RowError], np.ndarray]:
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

    def _batch(self, window: _Window, step: RowStep, rows: np.ndarray) -> Batch:
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
            if not isinstance(step, RowStep) or not (self.results[step.index] or self.errors[step.index]):
                continue
            number, about = self.view.scores(step).files, self.view.about(step)
            errors = self.errors[step.index]
            if errors:
                schema = ERRORS.with_metadata(about)
                entries = pa.Table.from_pylist([dict(zip(ERRORS.names, e, strict=True)) for e in errors], schema)
                path = version_path(f"errors/{step.folder}", self.view.shard.id, number)
                self.view.store.write_table(path, entries, replace=True)
            if isinstance(step, MeasureStep):
                fields = [ROW, STATE, *step.operator.adds]
                table = pa.concat_tables(self.results[step.index]).cast(pa.schema(fields, metadata=about))
                self.view.store.write_table(version_path(step.record, self.view.shard.id, number), table)


def _with_images(window: _Window, images: ImageStore) -> _Window:
    """Rows that turn out to have no image get the slot -1."""
    slots = np.array(
        [
            s if s >= 0 and (not a or images.has(s)) else -1
            for s, a in zip(window.slots.tolist(), window.alive, strict=True)
        ]
    )
    return replace(window, images=images, slots=slots.astype(np.int64))
