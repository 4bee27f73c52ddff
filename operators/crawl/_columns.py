"""Columns that all fetched rows have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch
from ..decode import RowError
from ._outcome import Outcome
from ._reasons import Reason

STATUS = field(
    "crawl_status",
    pa.string(),
    "ok, or why there are no bytes",
    range=", ".join(sorted(reason.value for reason in Reason)),
)
HTTP_STATUS = field("http_status", pa.int32(), "of the last answer; null where there was none", range="100 to 999")
FINAL_URL = field("final_url", pa.string(), "where redirects led", unit="URL")
FETCHED_BYTES = field("fetched_bytes", pa.int64(), "bytes of the body as sent", unit="bytes", range=">= 0")
FETCHED_AT = field("fetched_at", pa.timestamp("ms", "UTC"), "when the fetching ended; null where nobody was asked")
FETCH_S = field("fetch_s", pa.float32(), "from the request to the last byte", unit="s", range=">= 0")
OPT_OUT = field("opt_out", pa.string(), "what kept us from it: the rule of robots.txt, the header, the tag")
COMMON = (STATUS, HTTP_STATUS, FINAL_URL, FETCHED_BYTES, FETCHED_AT, FETCH_S, OPT_OUT)
# An image's row has its page's columns, too.
COMMON_OF_IMAGES = tuple(column.with_name(f"image_{column.name.removeprefix('crawl_')}") for column in COMMON)


def told(batch: Batch, row: int, outcome: Outcome) -> None:
    """A row without bytes is a failure by its reason, and keeps its columns."""
    if outcome.reason is not Reason.OK:
        error = RowError(outcome.reason.value, outcome.message, transient=outcome.transient)
        batch.fail(row, error, keep_values=True)


def common_columns(outcomes: Sequence[Outcome]) -> dict[str, pa.Array]:
    """What all fetched rows have."""
    return {
        STATUS.name: pa.array([each.reason.value for each in outcomes], STATUS.type),
        HTTP_STATUS.name: pa.array([each.http_status for each in outcomes], HTTP_STATUS.type),
        FINAL_URL.name: pa.array([each.final_url for each in outcomes], FINAL_URL.type),
        FETCHED_BYTES.name: pa.array([each.fetched_bytes for each in outcomes], FETCHED_BYTES.type),
        FETCHED_AT.name: pa.array([each.fetched_at for each in outcomes], FETCHED_AT.type),
        FETCH_S.name: pa.array([each.fetch_s for each in outcomes], FETCH_S.type),
        OPT_OUT.name: pa.array([each.opt_out for each in outcomes], OPT_OUT.type),
    }


def bytes_column(values: Sequence[bytes | None]) -> pa.Array:
    """One copy; Arrow's builder would copy as often as it grows."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    there = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    data = pa.py_buffer(b"".join(value for value in values if value is not None))
    return pa.Array.from_buffers(pa.large_binary(), len(values), [there, pa.py_buffer(offsets), data])
