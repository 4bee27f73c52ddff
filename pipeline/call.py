"""Call an operator on a batch, and pin what goes wrong on the rows that did it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.exceptions import RayError

from ..operators import base
from ..operators.base import (
    Batch,
    Budgets,
    DocumentOperator,
    Extractor,
    FetchOperator,
    RowOperator,
    Submit,
)
from ..operators.decode import RowError
from ..operators.models.weights import ModelError
from .documents import DocumentBatch
from .plan import DocumentStep, ExtractStep, FetchStep, Plan, RowStep
from .shard import ShardView, crumb_path

CAREFUL_ROWS = 64  # at a time, of a shard that kills its worker
PASSING = (RayError,)  # the cluster's faults, not the row's: the task fails and is tried again

Columns = dict[str, pa.Array]
Failures = Mapping[int, RowError]

_loaded: dict[str, RowOperator | FetchOperator | DocumentOperator | Extractor] = {}
_of: tuple[str, ...] = ()  # fingerprints of the plan that models are kept for


def renew(plan: Plan) -> None:
    """Forget models that were kept for another plan: a file of the same name may hold others now."""
    global _of
    fingerprints = tuple(step.fingerprint for step in plan.by_row)
    if fingerprints != _of:
        base.forget_kept()
        _of = fingerprints


class SetupError(Exception):
    """An operator cannot be set up: a model that is missing or damaged. In words for the user."""


def loaded(step: RowStep) -> RowOperator | FetchOperator | DocumentOperator | Extractor:
    """The step's operator after `setup()`, loaded once per worker process and fingerprint."""
    if step.fingerprint not in _loaded:
        with setting_up(step.label):
            step.operator.setup()
        _loaded[step.fingerprint] = step.operator
    return _loaded[step.fingerprint]


@contextmanager
def setting_up(label: str) -> Iterator[None]:
    """Whatever goes wrong in a `setup()` is no row's fault."""
    try:
        yield
    except Exception as error:
        raise SetupError(f"{label}: {error}") from error


class ContractError(Exception):
    """An operator broke its contract (wrong length, wrong type): no row's fault, so the run stops."""


def called(step: RowStep, batch: Batch | DocumentBatch) -> Columns:
    """The columns in the types that were declared, an extractor's with `parent`; a broken contract stops the run."""
    operator = loaded(step)
    if isinstance(batch, DocumentBatch):
        assert isinstance(operator, DocumentOperator)
        return _of_documents(step, operator, batch)
    if isinstance(operator, RowOperator):
        return _checked(step, operator(batch), len(batch))
    assert isinstance(operator, Extractor)
    result = operator(batch)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ContractError(f"{step.label} returned no pair of parents and columns")
    parents = np.asarray(result[0], np.int64)
    if parents.ndim != 1 or (np.diff(parents, prepend=0, append=len(batch) - 1) < 0).any():
        raise ContractError(f"{step.label}: parents do not ascend from 0 to {len(batch) - 1}: {parents.tolist()[:20]}")
    return {**_checked(step, result[1], len(parents)), "parent": pa.array(parents)}


def _of_documents(step: RowStep, operator: DocumentOperator, batch: DocumentBatch) -> Columns:
    """What has a value for each node as a list for each document."""
    result = operator(batch.nodes, batch.starts)
    if not isinstance(result, Mapping) or set(result) != {added.name for added in step.added}:
        raise ContractError(f"{step.label} returned {sorted(result)}, and declares {[c.name for c in step.added]}")
    whole = _checked(step, {c.name: result[c.name] for c in operator.adds}, len(batch), operator.adds)
    nodes = {c.name: result[c.name] for c in operator.adds_to_nodes}
    starts = pa.array(batch.starts, pa.int32())
    of_nodes = _checked(step, nodes, len(batch.nodes), operator.adds_to_nodes)
    return whole | {name: pa.ListArray.from_arrays(starts, column) for name, column in of_nodes.items()}


def _checked(
    step: RowStep, result: Mapping[str, object], length: int, declared: Sequence[pa.Field] | None = None
) -> Columns:
    declared = step.added if declared is None else declared
    names = [added.name for added in declared]
    if sorted(result) != sorted(names):
        raise ContractError(f"{step.label} returned the columns {sorted(result)}, and declares {sorted(names)}")
    columns = {}
    for added in declared:
        value = result[added.name]
        try:
            column = value.cast(added.type) if isinstance(value, pa.Array) else pa.array(value, added.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ContractError(f"{step.label}: column {added.name!r} is not {added.type}: {error}") from error
        if len(column) != length:
            raise ContractError(f"{step.label}: column {added.name!r} has {len(column)} values for {length} rows")
        columns[added.name] = column
    return columns


def _nothing(step: RowStep) -> Columns:
    """What stands for a row that failed: nulls, or no child."""
    if isinstance(step, ExtractStep):
        return {added.name: pa.nulls(0, added.type) for added in step.operator.adds} | {
            "parent": pa.nulls(0, pa.int64())
        }
    listed = {old for old, new in step.names.items() if new in step.of_nodes} if isinstance(step, DocumentStep) else ()
    kinds = {added.name: pa.list_(added.type) if added.name in listed else added.type for added in step.added}
    return {name: pa.nulls(1, kind) for name, kind in kinds.items()}


def _failure(error: Exception) -> RowError:
    """What an operator raised on one row."""
    kind, message = (error.kind, error.message) if isinstance(error, RowError) else (type(error).__name__, str(error))
    return RowError(kind, message or kind, transient=isinstance(error, OSError | MemoryError))


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls operators for one shard. `on_gpu` runs models on GPU workers; without it they run here."""

    view: ShardView
    on_gpu: Submit | None = None
    budgets: Budgets | None = None

    def poison(self, step: RowStep) -> dict[int, RowError]:
        """The rows that are known to kill a worker at this step, and how."""
        careful = self.view.job.careful
        known = careful.poison.get(step.label, {}) if careful else {}
        return {
            row: RowError(kind, f"{step.label} on this row: {kind.replace('_', ' ')}") for row, kind in known.items()
        }

    def load(self, step: RowStep) -> None:
        """Load what the step needs in this process; GPU workers have loaded their models by now."""
        loaded(step)
        with setting_up(step.label):
            for model in step.operator.models:
                model.ready()
                if not self.on_gpu:
                    base.loaded(model)

    def call(self, step: RowStep, batch: Batch | DocumentBatch, rows: np.ndarray) -> tuple[Columns, Failures]:
        """The operator's columns for a batch. An exception is pinned on the row that raises it by halving the batch."""
        if self.view.job.careful and len(batch) > 1 and self._suspect(rows):
            return self._halves(step, batch, rows)
        self._leave_crumb(step, rows)
        try:
            return called(step, batch), batch.failures
        except (ContractError, SetupError, ModelError, *PASSING):
            raise
        except Exception as error:  # noqa: BLE001  the row border: it becomes an error entry
            if len(batch) > 1:
                return self._halves(step, batch, rows)
            return _nothing(step), {0: _failure(error)}

    def fetch(self, step: FetchStep, batch: Batch, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Columns]]:
        """What a FetchOperator gives, checked; an exception is pinned on the row that raises it, as in `call`.

        In careful mode few rows are fetched at a time, to find the culprit.
        """
        waiting = [np.arange(len(rows))]
        if self.view.job.careful:
            waiting = np.array_split(waiting[0], -(-len(rows) // CAREFUL_ROWS))
        while waiting:
            some = waiting.pop(0)
            if len(some) > 1 and self._suspect(rows[some]):
                waiting[:0] = [some[i : i + 1] for i in range(len(some))]
                continue
            self._leave_crumb(step, rows[some])
            part, left = batch.take(some), np.ones(len(some), bool)
            try:
                for places, values in self._fetched(step, part):
                    left[places] = False
                    yield some[places], values
            except (ContractError, SetupError, ModelError, *PASSING):
                raise
            except Exception as error:  # noqa: BLE001  the row border: it becomes an error entry
                rest = some[left]
                if len(rest) == 1:
                    batch.fail(int(rest[0]), _failure(error))
                    yield rest, _nothing(step)
                elif len(rest):
                    waiting[:0] = np.array_split(rest, 2)
            for place, failure in part.failures.items():
                batch.fail(int(some[place]), failure, keep_values=failure.keeps_values)

    def _fetched(self, step: FetchStep, batch: Batch) -> Iterator[tuple[np.ndarray, Columns]]:
        operator = loaded(step)
        assert isinstance(operator, FetchOperator)
        for places, values in operator(batch):
            yield np.asarray(places, np.int64), _checked(step, values, len(places))

    def _suspect(self, rows: np.ndarray) -> bool:
        span = self.view.job.careful.suspects if self.view.job.careful else None
        return span is not None and bool(((rows >= span[0]) & (rows <= span[1])).any())

    def _halves(self, step: RowStep, batch: Batch | DocumentBatch, rows: np.ndarray) -> tuple[Columns, Failures]:
        middle = len(batch) // 2
        index = np.arange(len(batch))
        left, left_failed = self.call(step, batch.take(index[:middle]), rows[:middle])
        right, right_failed = self.call(step, batch.take(index[middle:]), rows[middle:])
        if isinstance(step, ExtractStep):
            right["parent"] = pc.add(right["parent"], middle)
        values = {name: pa.concat_arrays([left[name], right[name]]) for name in left}
        return values, {**left_failed} | {row + middle: error for row, error in right_failed.items()}

    def _leave_crumb(self, step: RowStep, rows: np.ndarray) -> None:
        """In careful mode, say what is about to be tried, so that a death can be pinned on it."""
        if self.view.job.careful:
            crumb = {"step": step.label, "first": int(rows[0]), "last": int(rows[-1])}
            self.view.store.write(crumb_path(self.view.plan, self.view.shard), json.dumps(crumb).encode(), replace=True)
