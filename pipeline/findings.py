"""What comes of measuring: counts for the driver, and entries for what went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ..operators.decode import RowError
from ..schemas.corpus import ERRORS, State
from .plan import RowStep
from .scores import version_path
from .shard import ShardView

Entry = tuple[int, str, str]  # row, class, message
MESSAGE = 500  # characters of a message that are kept


@dataclass(kw_only=True)
class Report:
    """Counts of one shard. Never data."""

    measured: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def state_of(error: RowError) -> str:
    """What is noted of a row that failed."""
    return (State.FAILED_TRANSIENT if error.transient else State.FAILED).value


def entries(numbers: Sequence[int], errors: Sequence[RowError]) -> list[Entry]:
    """What `errors/` says of these rows."""
    told = zip(numbers, errors, strict=True)
    return [(number, error.kind, error.message[:MESSAGE]) for number, error in told]


def write_errors(view: ShardView, step: RowStep, errors: Sequence[Entry]) -> None:
    """Publish a step's errors, before its findings: those say that the errors are there too."""
    if errors:
        schema = ERRORS.with_metadata(view.about(step))
        table = pa.Table.from_pylist([dict(zip(ERRORS.names, entry, strict=True)) for entry in errors], schema)
        path = version_path(f"errors/{step.folder}", view.shard.id, view.scores(step).files)
        view.store.write_table(path, table, replace=True)
