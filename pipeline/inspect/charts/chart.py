"""Charts as SVG text: how values are spread and who stayed, what other bounds would yield, counts as bars.

They hold no script and no style: classes say what a thing is, and static/chart.css how that looks, in the light and in
the dark. What was dropped is hatched, so that it is told from what was kept without colours too; the hatches must stand
once in a page (`svg.patterns`). Text in them is escaped, with hidden characters made visible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

import numpy as np

from ..serve.words import number, share, visible
from .axis import BINS, Axis, axis_for, linear_ticks
from .buckets import FATES, Buckets
from .svg import at, box, compact, cut_to, fill, svg, text

WIDTH, HEIGHT = 440, 200  # of a chart, in its own units; the page stretches it
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 430, 34, 164  # of the area of the bars
_DWARFS: Final = 5  # times as high as the next
_ROOM: Final = 48  # for a share in words
_SAMPLES: Final = 160  # points of a curve
_LOWER: Final = ("min", "top", "adaptive")  # these keep what is above

Side = Literal["min", "max", "top", "bottom", "adaptive"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound to be drawn; of `top`, `bottom` and `adaptive` the value at which they cut."""

    value: float
    side: Side
    text: str  # as in the recipe: `min 0.28`

    def edge(self, buckets: Buckets) -> float:
        """Where what stays is parted from what goes; between two whole numbers where the values are such."""
        if not buckets.whole or not math.isfinite(self.value):
            return self.value
        return math.ceil(self.value) - 0.5 if self.side in _LOWER else math.floor(self.value) + 0.5


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of a bar chart."""

    label: str
    kept: int
    dropped: int


def histogram(buckets: Buckets, *, title: str, limits: Sequence[Limit] = (), unit: str = "") -> str:
    """How many rows have which value, by what became of them, with the bounds on it; an SVG element."""
    buckets, edges = _parted(buckets, limits), [limit.edge(buckets) for limit in limits]
    axis = axis_for(buckets, edges)
    bins = axis.spaced(BINS if buckets.total > 500 else BINS * 2 // 3, edges[0] if edges else None)
    counts = buckets.counted(bins)
    most, higher = _top(counts.sum(0))
    levels = [level for level in linear_ticks(0, most, 4, whole=True) if level > 0]
    parts = [
        *(_cut_away(axis, limit, edge) for limit, edge in zip(limits, edges, strict=True)),
        *(_level(level / most, compact(level)) for level in levels),
        *_stacks(_x(axis, bins), counts, most),
        "" if higher is None else _broken(_x(axis, bins), higher, int(counts[:, higher].sum())),
        _ground(axis, unit),
        *(_threshold(axis, limit, edge, i) for i, (limit, edge) in enumerate(zip(limits, edges, strict=True))),
        _hits(axis, bins, counts),
    ]
    return svg("chart", parts, title=title, words=_spread_in_words(buckets, limits), width=WIDTH, height=HEIGHT)


def curve(buckets: Buckets, limit: Limit, *, title: str, others: Sequence[Limit] = (), unit: str = "") -> str:
    """The share of the rows with a value that pass, for every place of a bound; an SVG element.

    The area is what was kept in the end, and would be; where a looser bound lets in rows whose fate by other rules is
    not known, a dashed line says how much that can be at most. `others` are bounds on the same column that stay.
    """
    buckets, edge = _parted(buckets, [limit, *others]), limit.edge(buckets)
    axis = axis_for(buckets, [edge, *(other.edge(buckets) for other in others)])
    places = axis.spaced(_SAMPLES, edge)
    places = places[(places >= axis.low) & (places <= axis.high)]
    passing = _passing(buckets, limit.side, places, others)
    kept, at_most = passing[0], passing[0] + passing[1]
    x, looser = _x(axis, places), at_most > kept + 1e-9
    now = _passing(buckets, limit.side, np.array([edge]), others)[:, 0]
    parts = [
        *(_level(level, f"{level:.0%}") for level in (0.25, 0.5, 0.75, 1.0)),
        f'<path class="area kept" d="{_path([(x[0], 0.0), *zip(x, kept, strict=True), (x[-1], 0.0)])}Z"/>',
        f'<path class="line at-most" d="{_path(zip(x[looser], at_most[looser], strict=True))}"/>',
        f'<path class="line passing" d="{_path(zip(x, passing.sum(0), strict=True))}"/>',
        _ground(axis, unit),
        _threshold(axis, limit, edge, 1),
        _point(axis, limit, edge, float(now.sum()), "passing"),
        _point(axis, limit, edge, float(now[0]), "kept") if now[1:].any() else "",
    ]
    words = f"{share(float(now.sum()))} of the values pass {limit.text}; {share(float(now[0]))} were kept in the end."
    return svg("chart", parts, title=title, words=words, width=WIDTH, height=HEIGHT)


def bars(items: Sequence[Bar], *, title: str) -> str:
    """Counts as horizontal bars, kept and dropped side by side, in the order given; an SVG element."""
    most = max([item.kept + item.dropped for item in items], default=0) or 1
    lines = [_bar(item, 4 + 22 * i, most) for i, item in enumerate(items)]
    words = "; ".join(f"{item.label[:40]}: {item.kept:,} kept, {item.dropped:,} dropped" for item in items[:12])
    return svg("chart", lines, title=title, words=words, width=WIDTH, height=8 + 22 * len(items))


def strip(kept: int, dropped: int, whole: int, *, title: str) -> str:
    """One step of a funnel: of `whole` the rows that went on, and beside them those that it dropped; an SVG element."""
    wide = 240
    on, off = (wide * count / max(whole, 1) for count in (kept, dropped))
    off = max(off, 1.5) if dropped else 0.0  # a row among millions is still seen
    on = min(on, wide - off)
    parts = [box("ground", 0, 0, wide, 12), box("kept", 0, 0, on, 12), box("dropped", on, 0, off, 12)]
    return svg("chart strip", parts, title=title, width=wide, height=12)


def _parted(buckets: Buckets, limits: Sequence[Limit]) -> Buckets:
    for limit in limits:
        buckets = buckets.parted(limit.edge(buckets), above=limit.side in _LOWER)
    return buckets


def _passing(buckets: Buckets, side: Side, places: np.ndarray, others: Sequence[Limit]) -> np.ndarray:
    """Share of all rows with a value, fate by place, that pass a bound there, and the bounds that stay."""
    low = max((limit.edge(buckets) for limit in others if limit.side in _LOWER), default=-math.inf)
    high = min((limit.edge(buckets) for limit in others if limit.side not in _LOWER), default=math.inf)
    first = np.maximum(places, low) if side in _LOWER else np.full(len(places), low)
    last = np.minimum(places, high) if side not in _LOWER else np.full(len(places), high)
    return np.asarray(np.maximum(buckets.below(last) - buckets.below(first), 0) / buckets.total)


def _top(totals: np.ndarray) -> tuple[int, int | None]:
    """The count at the top of the chart; and the bar that goes beyond, where it would dwarf all others."""
    highest = int(np.argmax(totals))
    others = np.delete(totals, highest).max(initial=0)
    if others and totals[highest] > _DWARFS * others:
        return math.ceil(others * 1.5), highest
    return max(int(totals[highest]), 1), None


def _broken(x: np.ndarray, bin: int, count: int) -> str:
    """A bar that goes beyond the top: a gap in it, and its count."""
    left, right, y = float(x[bin]) - 2, float(x[bin + 1]) + 2, _TOP + 14
    gap = f'<path class="gap" d="M{at(left)} {y + 3}L{at(right)} {y - 3}"/>'
    far = right > _RIGHT - 60
    return gap + text("tick", left - 2 if far else right + 2, _TOP + 9, f"{count:,} ↑", "end" if far else "start")


def _stacks(x: np.ndarray, counts: np.ndarray, most: int) -> list[str]:
    """One path for each fate: the bars of what was kept below, then what was dropped here, then the others."""
    tops = _y(np.minimum(np.vstack([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)]) / most, 1))
    gap = 0.8 if np.diff(x).mean() > 4 else 0.0
    right = np.maximum(x[1:] - gap, x[:-1] + 0.5)
    found = []
    for fate, name in enumerate(FATES):
        boxes = [
            f"M{at(x[i])} {at(tops[fate][i])}V{at(tops[fate + 1][i])}H{at(right[i])}V{at(tops[fate][i])}Z"
            for i in np.flatnonzero(counts[fate])
        ]
        found.append(f'<path class="bar {name}"{fill(name)} d="{"".join(boxes)}"/>' if boxes else "")
    return found


def _level(height: float, words: str) -> str:
    """A horizontal line at a height of 0 to 1, with what it stands for."""
    y = float(_y(height))
    line = f'<path class="grid" d="M{_LEFT} {at(y)}H{_RIGHT}"/>'
    return line + text("tick", _LEFT - 6, y + 4, words, "end")


def _ground(axis: Axis, unit: str) -> str:
    """The axis below, with its ticks and what is measured."""
    ticks = axis.ticks()
    places = _x(axis, ticks)
    marks = "".join(f"M{at(x)} {_BOTTOM}v4" for x in places)
    names = [text("tick", x, _BOTTOM + 16, compact(tick), "middle") for tick, x in zip(ticks, places, strict=True)]
    unit = ", ".join(filter(None, [unit, "log-like scale" if axis.kind != "linear" else ""]))
    told = text("unit", (_LEFT + _RIGHT) / 2, HEIGHT - 4, unit, "middle")
    return f'<path class="axis" d="M{_LEFT} {_BOTTOM}H{_RIGHT}{marks}"/>{"".join(names)}{told}'


def _cut_away(axis: Axis, limit: Limit, edge: float) -> str:
    """The part of the axis that a bound does not let through."""
    x = float(_x(axis, [edge])[0])
    left, right = (_LEFT, x) if limit.side in _LOWER else (x, _RIGHT)
    size = f'width="{at(right - left)}" height="{_BOTTOM - _TOP}"'
    return f'<rect class="cut-away" x="{at(left)}" y="{_TOP}" {size}/>' if right > left else ""


def _threshold(axis: Axis, limit: Limit, edge: float, line: int = 0) -> str:
    """A bound as a line, its words above it, each bound's in a line of its own; an arrow where it lies outside."""
    x, y = float(_x(axis, [edge])[0]), _TOP - 8 - 13 * (line % 2)
    words = cut_to(visible(limit.text), 40)
    words = f"← {words}" if edge < axis.low else f"{words} →" if edge > axis.high else words
    anchor, shift = ("end", -4) if x > (_LEFT + _RIGHT) / 2 else ("start", 4)
    return f'<path class="threshold" d="M{at(x)} {y - 8}V{_BOTTOM}"/>' + text("threshold", x + shift, y, words, anchor)


def _hits(axis: Axis, bins: np.ndarray, counts: np.ndarray) -> str:
    """What a pointer finds over each bar."""
    x, found = _x(axis, bins), []
    for i in np.flatnonzero(counts.sum(0)):
        told = [f"{count:,} {word}" for count, word in zip(counts[:, i], _FATES_IN_WORDS, strict=True) if count]
        size = f'width="{at(max(x[i + 1] - x[i], 0.5))}" height="{_BOTTOM - _TOP}"'
        words = f"<title>{_range(axis, bins[i], bins[i + 1])}: {', '.join(told)}</title>"
        found.append(f'<rect x="{at(x[i])}" y="{_TOP}" {size}>{words}</rect>')
    return f'<g class="hits">{"".join(found)}</g>'


_FATES_IN_WORDS: Final = ("kept", "dropped here", "dropped by other rules")


def _range(axis: Axis, low: float, high: float) -> str:
    if not axis.whole:
        return f"{number(float(low))} to {number(float(high))}"
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def _point(axis: Axis, limit: Limit, edge: float, height: float, kind: str) -> str:
    """Where a curve stands now; told where the curve is not: above on the side that goes, below on the other."""
    x, y = float(_x(axis, [edge])[0]), float(_y(height))
    right = (limit.side in _LOWER) == (kind == "passing")
    right = x < _LEFT + _ROOM or (right and x < _RIGHT - _ROOM)
    line = min(max(y + (-6 if kind == "passing" else 15), _TOP - 6), _BOTTOM - 4)
    dot = f'<circle class="point {kind}" cx="{at(x)}" cy="{at(y)}" r="3.5"/>'
    return dot + text(f"point {kind}", x + (7 if right else -7), line, share(height), "start" if right else "end")


def _bar(item: Bar, top: float, most: int) -> str:
    left, room, total = 132, 212, item.kept + item.dropped
    kept, dropped = (room * count / most for count in (item.kept, item.dropped))
    label = visible(item.label[:200]) or "(empty)"
    told = f"<title>{escape(label)}: {item.kept:,} kept, {item.dropped:,} dropped</title>"
    drawn = box("kept", left, top + 2, kept, 14) + box("dropped", left + kept, top + 2, dropped, 14)
    counted = text("tick", left + kept + dropped + 6, top + 13, f"{compact(total)} · {share(item.kept, total)}")
    return f"<g>{told}{text('label', left - 8, top + 13, cut_to(label, 18), 'end')}{drawn}{counted}</g>"


def _spread_in_words(buckets: Buckets, limits: Sequence[Limit]) -> str:
    half = 0.5 if buckets.whole else 0.0
    middle = float(buckets.quantiles([0.5])[0])
    fates = (f"{count:,} {word}" for count, word in zip(buckets.counts.sum(1), _FATES_IN_WORDS, strict=True))
    words = [
        f"{buckets.total:,} values from {number(buckets.low + half)} to {number(buckets.high - half)}",
        f"half of them below {number(round(middle) if buckets.whole else middle)}",
        *fates,
        *(f"bound: {limit.text}" for limit in limits),
    ]
    return "; ".join(words) + "."


def _path(points: Iterable[tuple[float, float]]) -> str:
    found = [f"{at(x)} {at(float(_y(height)))}" for x, height in points]
    return f"M{'L'.join(found)}" if found else ""


def _x(axis: Axis, values: np.ndarray | Sequence[float]) -> np.ndarray:
    return np.asarray(_LEFT + axis.at(values) * (_RIGHT - _LEFT))


def _y(height: np.ndarray | float) -> np.ndarray:
    return np.asarray(_BOTTOM - (_BOTTOM - _TOP) * np.asarray(height))
