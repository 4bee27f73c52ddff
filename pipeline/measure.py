"""One shard in one worker: measure what is missing, then decide. The only code that runs operators on rows.

A stretch of steps (row operators and plain keeps) runs on batches of rows; the rows alive shrink on the way, so a cheap
bound saves the dear measurements after it. What was measured is committed a file per step and shard; the decision is
then read off the committed columns, so it is the same whether they were measured now or a year ago.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ..operators.base import Batch, Budgets, Submit
from ..operators.decode import RowError
from ..operators.images import ImageStore
from ..operators.source.base import Images, Rows
from ..schemas.corpus import ROW, STATE, State
from .call import CAREFUL_ROWS, Caller, Columns
from .children import lines_of, making
from .fetch import fetch
from .findings import Report, entries, state_of, write_errors
from .keep import Mask, decide
from .measure_documents import measure_documents
from .plan import CorpusStep, DocumentStep, ExtractStep, FetchStep, KeepStep, MeasureStep, PlannedStep, RowStep
from .row_groups import RowGroups
from .scores import version_path
from .shard import ShardView, selected, walk

LOAD_SLOTS = 16  # images fetched at a time
PART_BYTES = 64 << 20  # encoded images in memory at a time
PART_PIXELS = 16 << 20  # 64 MB of RGB (Pillow takes four bytes a pixel); more at a time was slower
FIRST_ROWS = 16  # parents that an extractor is given, until it is known how much it makes of each
EXTRACT_ROWS = 256  # parents at a time at most,
EXTRACT_BYTES = 16 << 20  # and fewer where what is made of them would take more than that


def measure(
    view: ShardView, until: int, report: Report, on_gpu: Submit | None = None, budgets: Budgets | None = None
) -> None:
    """Measure every row of the view that is alive where a step comes and has no entry yet; commit; forget."""
    caller = Caller(view=view, on_gpu=on_gpu, budgets=budgets)
    missing = (found := walk(view, until)).missing
    while missing is not None:
        step, stop = view.plan.steps[missing], missing + 1
        if isinstance(step, FetchStep):
            fetch(caller, step, found.alive, report)
        elif isinstance(step, DocumentStep):
            measure_documents(caller, step, found.alive, report)
        else:
            stop = next((s.index for s in view.steps(until) if s.index > missing and _whole(s)), until)
            _measure_rows(caller, stop, report)
        view.forget(missing, stop)
        missing = (found := walk(view, until)).missing
        assert missing is None or missing >= stop, f"{step.label} leaves rows out"


def _measure_rows(caller: Caller, stop: int, report: Report) -> None:
    """Row operators and rules before a step."""
    with ExitStack() as extracted:  # published when the block ends
        run = _Run(caller, stop, report, extracted)
        for rows in caller.view.rows(run.first_columns):
            run.batch(rows)
        run.commit()


def _whole(step: PlannedStep) -> bool:
    """Does it see all rows of a shard at once?"""
    return isinstance(step, FetchStep | DocumentStep)


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

    def __init__(self, caller: Caller, until: int, report: Report, extracted: ExitStack) -> None:
        self.caller, self.report, self.extracted = caller, report, extracted
        self.view = view = caller.view
        self.steps = view.steps(until)
        self.lines: RowGroups | None = None  # of the extractor that ends these steps, once it is called
        self.at_once = FIRST_ROWS  # parents that it is given
        self.results: dict[int, list[pa.Table]] = defaultdict(list)
        self.errors: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
        used = {column for step in self.steps if isinstance(step, RowStep) for column in step.reads.values()}
        used |= {step.reads[name] for step in self.steps if isinstance(step, KeepStep) for name in step.columns}
        self.first_columns = [name for name in view.space.schema.names if name in used and name != "image"]
        if view.documents is not None:
            used.add("kind")
        self.careful = view.job.careful

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
                if _whole(step):  # known by now
                    self._add_known(window, step)
                    continue
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
        known: Mask = self.view.scores(step).known
        return known[window.first : window.first + len(window.alive)]

    def _decide(self, window: _Window, step: CorpusStep | KeepStep) -> None:
        cut = (window.first, len(window.alive))
        ranks = {}
        if isinstance(step, CorpusStep) or step.ranked:
            ranks = {name: column.slice(*cut) for name, column in self.view.ranks(step).items()}
        if isinstance(step, CorpusStep):
            window.columns |= ranks
            return
        columns = {name: window.columns[step.reads[name]] for name in step.columns}
        nodes = self.view.nodes(step, slice(cut[0], sum(cut)))
        window.alive = decide(step.keep, columns, selected(ranks), window.alive, nodes).stays

    def _add_known(self, window: _Window, step: RowStep) -> None:
        columns = self.view.scores(step).columns
        window.columns |= {name: column.slice(window.first, len(window.alive)) for name, column in columns.items()}

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
            rows, parts = np.flatnonzero(todo), []
            while len(rows):
                some, rows = np.split(rows, [self._fitting(window, step, rows)])
                parts.append(self._measured(window, step, some))
            table = pa.concat_tables(parts)
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
            rows, todo = np.split(todo, [min(self.at_once, self._fitting(window, step, todo))])
            made, place, states = self._called(window, step, rows)
            lines = lines_of(step, self.view.numbers[window.first + rows], states, place, made)
            self.at_once = int(np.clip(EXTRACT_BYTES * len(rows) // lines.nbytes, 1, EXTRACT_ROWS))
            assert self.lines is not None
            self.lines.add(lines)
        self.report.seconds[step.label] += time.perf_counter() - began

    def _fitting(self, window: _Window, step: RowStep, todo: np.ndarray) -> int:
        """How many rows' fetched pages may be in memory together: one at least."""
        ends = np.zeros(len(todo), np.int64)
        for name in step.reads.values():
            if (sizes := self.view.sizes(name)) is not None:
                ends += np.cumsum(np.maximum(sizes[window.first + todo], 0))
        return max(1, int(np.searchsorted(ends, PART_BYTES, side="right")))

    def _called(self, window: _Window, step: RowStep, rows: np.ndarray) -> tuple[Columns, np.ndarray, pa.Array]:
        """What the operator gives, the place of each row in what it was given (-1: none, or it failed), the states."""
        errors, ready = self._sort_out(window, step, rows)
        values: Columns = {}
        if len(ready):
            values, failed = self.caller.call(step, self._batch(window, step, ready), window.first + ready)
            errors |= {int(ready[i]): error for i, error in failed.items()}
        place = np.full(len(window.alive), -1, np.int64)
        place[ready] = np.arange(len(ready))
        place[[row for row, error in errors.items() if not error.keeps_values]] = -1
        states = np.where(place >= 0, State.MEASURED.value, State.NOT_APPLICABLE.value).astype(object)
        for row, error in errors.items():
            states[row] = state_of(error)
        numbers = self.view.numbers[window.first + np.array(sorted(errors), np.int64)].tolist()
        self.errors[step.index] += entries(numbers, [error for _, error in sorted(errors.items())])
        self.report.measured[step.label] += int((states[rows] != State.NOT_APPLICABLE.value).sum())
        return values, place[rows], pa.array(states[rows].tolist(), pa.string())

    def _sort_out(self, window: _Window, step: RowStep, rows: np.ndarray) -> tuple[dict[int, RowError], np.ndarray]:
        """Rows that cannot be measured (with their errors), and rows that have all the operator reads."""
        errors: dict[int, RowError] = {}
        ready = np.ones(len(rows), bool)
        for asked, column in step.reads.items():
            if asked in step.takes:
                continue
            offset = window.first - window.rows.first
            broken = window.rows.errors.get(column, {})
            errors |= {r: broken[r + offset] for r in rows.tolist() if r + offset in broken} if broken else {}
            if column == "image":
                ready &= window.slots[rows] >= 0
            elif (sizes := self.view.sizes(column)) is not None:
                ready &= sizes[window.first + rows] >= 0
            else:
                ready &= ~window.columns[column].is_null().to_numpy(zero_copy_only=False)[rows]
        poison = self.caller.poison(step)
        errors |= {row: poison[window.first + row] for row in rows.tolist() if window.first + row in poison}
        if errors:
            ready &= ~np.isin(rows, list(errors))
        return errors, rows[ready]

    def _batch(self, window: _Window, step: RowStep, rows: np.ndarray) -> Batch:
        take = pa.array(rows)
        columns = {
            asked: window.columns[name].take(take)
            if name in window.columns
            else self.view.take(name, window.first + rows)
            for asked, name in step.reads.items()
            if name != "image"
        }
        if not columns:
            columns = {"row": pa.array(window.first + rows, pa.int32())}
        images, slots = window.images, window.slots[rows]
        if "image" in step.reads and not step.reads_image:  # a transform's version of the image
            encoded = window.columns[step.reads["image"]].take(take).to_pylist()
            images, slots = ImageStore(dict(enumerate(encoded))), np.arange(len(rows))
        return Batch(pa.table(columns), images, slots, self.caller.on_gpu, self.caller.budgets)

    def commit(self) -> None:
        """Publish what was measured, errors first: a score file says that the shard's errors are there too."""
        for step in self.steps:
            if not isinstance(step, RowStep) or not (self.results[step.index] or self.errors[step.index]):
                continue
            number, about = self.view.scores(step).files, self.view.about(step)
            write_errors(self.view, step, self.errors[step.index])
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
