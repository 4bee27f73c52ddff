"""How inspect's findings look in a terminal: text of strangers without control characters, charts of block letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from rich.text import Text

from .charts.axis import axis_for
from .charts.buckets import Buckets
from .charts.chart import Limit
from .serve.words import number, visible

COLUMNS: Final = 56  # of a chart
KEPT: Final = "cyan"
DROPPED: Final = "yellow"
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_LOWER: Final = ("min", "top", "adaptive")


def line(text: object, limit: int = 100) -> str:
    """A value on one line: cut short, control characters as their codes, line breaks as signs."""
    found = visible(str(text)[: limit + 1]).replace("\n", "↵").replace("\t", "⇥")
    return found if len(str(text)) <= limit else f"{found[:limit]}…"


def figure(value: object) -> str:
    """A number or a text in a table's cell."""
    return number(value) if isinstance(value, int | float) else "–" if value is None else line(value)


def histogram(buckets: Buckets, limits: Sequence[Limit]) -> list[Text]:
    """Two rows of blocks to one scale, kept above dropped, and below them a row for each bound."""
    edges = [limit.edge(buckets) for limit in limits]
    bins = axis_for(buckets, edges).spaced(COLUMNS, edges[0] if edges else None)
    counts = buckets.counted(bins)
    kept, dropped = counts[0], counts[1:].sum(0)
    most = max(int(kept.max()), int(dropped.max()), 1)
    gone, here = int(dropped.sum()), int(counts[1].sum())
    told = f"{gone:,} ({here:,} by bounds on it)" if here and here < gone else f"{gone:,}"
    wide = max(1, COLUMNS // len(kept))
    rows = [
        Text(f"  kept    {_blocks(kept, most, wide)} {int(kept.sum()):,}", KEPT),
        Text(f"  dropped {_blocks(dropped, most, wide)} {told}", DROPPED),
    ]
    marks = (_mark(bins, limit, edge, wide) for limit, edge in zip(limits, edges, strict=True))
    return rows + [Text(f"          {mark}") for mark in marks]


def beside(a: Buckets, b: Buckets) -> list[Text]:
    """Two spreads on one axis, each to the scale of its own rows: so that shapes are compared, not sizes."""
    one, two = axis_for(a), axis_for(b)
    axis = replace(one if one.kind != "linear" else two, low=min(one.low, two.low), high=max(one.high, two.high))
    bins = axis.spaced(COLUMNS)
    counts = [buckets.counted(bins).sum(0) for buckets in (a, b)]
    most = max(float(count.max()) / max(1, int(count.sum())) for count in counts)
    wide = max(1, COLUMNS // (len(bins) - 1))
    drawn = [_blocks(count / max(1, int(count.sum())), most, wide) for count in counts]
    return [
        Text(f"  {name} {blocks} {int(count.sum()):,}") for name, blocks, count in zip("AB", drawn, counts, strict=True)
    ]


def _blocks(counts: np.ndarray, most: float, wide: int) -> str:
    """Letters for each count; what is there is seen, however little it is beside the others."""
    levels = np.where(counts > 0, np.maximum(1, np.rint(counts / most * 8)), 0).astype(int)
    return "".join(_BLOCKS[level] * wide for level in levels)


def _mark(bins: np.ndarray, limit: Limit, edge: float, wide: int) -> str:
    """An arrow under the first (or last) column that a bound lets through."""
    at = int(np.searchsorted(bins, edge)) - (limit.side not in _LOWER)
    at = min(max(at, 0), len(bins) - 2) * wide + (wide - 1) * (limit.side not in _LOWER)
    words = line(limit.text, 40)
    return f"{' ' * at}▲ {words}" if at + len(words) < COLUMNS else f"{words:>{max(at - 1, 0)}} ▲"
