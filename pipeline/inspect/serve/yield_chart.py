"""What is kept as one bound moves, drawn below the bound's histogram on the same axis."""

from __future__ import annotations

from collections.abc import Sequence

from ..charts.axis import Axis, linear_ticks
from ..charts.svg import (
    at,
    compact,
    svg,
    text,
)
from ..thresholds.yields import Curve

WIDTH, HEIGHT = 440, 96  # as wide as a histogram
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 430, 10, 76


def yield_chart(curve: Curve, axis: Axis | None, value: float | None, *, shift: float, title: str) -> str:
    """Rows kept at each value of a bound, as SVG: a line, and pale above it, up to a dashed one, what may be kept.

    `shift` is from a value to where its bound is drawn: between two whole numbers.
    """
    axis = axis or _axis_of(curve)
    most = max([*curve.at_least, *(count for count in curve.at_most if count is not None), 1])
    xs = [float(x) for x in _LEFT + axis.at([v + shift for v in curve.values]) * (_RIGHT - _LEFT)]
    heights = [_y(count / most) for count in curve.at_least]
    highest = [None if count is None else _y(count / most) for count in curve.at_most]
    line = _line(xs, heights)
    parts = [
        *_levels(most),
        f'<path class="area kept" d="M{at(xs[0])} {_BOTTOM}L{line}L{at(xs[-1])} {_BOTTOM}Z"/>' if xs else "",
        *_perhaps(xs, heights, highest),
        f'<path class="axis" d="M{_LEFT} {_BOTTOM}H{_RIGHT}"/>',
        *_ticks(axis),
        *_now(curve, xs, heights, value),
    ]
    words = f"Kept: from {min(curve.at_least, default=0):,} to {max(curve.at_least, default=0):,} rows."
    return svg("chart yield-chart", parts, title=title, words=words, width=WIDTH, height=HEIGHT)


def _axis_of(curve: Curve) -> Axis:
    low, high = (curve.values[0], curve.values[-1]) if curve.values else (0.0, 1.0)
    return Axis(low=low, high=high if high > low else low + 1)


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def _line(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "L".join(f"{at(x)} {at(y)}" for x, y in zip(xs, ys, strict=True))


def _levels(most: int) -> list[str]:
    found = []
    for level in linear_ticks(0, most, 3, whole=True):
        y = _y(level / most)
        found.append(
            f'<path class="grid" d="M{_LEFT} {at(y)}H{_RIGHT}"/>{text("tick", _LEFT - 6, y + 4, compact(level), "end")}'
        )
    return found


def _perhaps(xs: Sequence[float], heights: Sequence[float], highest: Sequence[float | None]) -> list[str]:
    """What may be kept besides, as far as that is known."""
    found, run = [], list[int]()
    for i in range(len(xs) + 1):
        if i < len(xs) and highest[i] is not None:
            run.append(i)
            continue
        tops = [(xs[k], most) for k in run if (most := highest[k]) is not None]
        if any(most < heights[k] - 0.05 for k, (_, most) in zip(run, tops, strict=True)):
            top = _line(*zip(*tops, strict=True))
            below = _line([xs[k] for k in reversed(run)], [heights[k] for k in reversed(run)])
            found.append(f'<path class="area perhaps" d="M{top}L{below}Z"/><path class="line at-most" d="M{top}"/>')
        run = []
    return found


def _ticks(axis: Axis) -> list[str]:
    places = _LEFT + axis.at(axis.ticks()) * (_RIGHT - _LEFT)
    return [
        text("tick", float(x), _BOTTOM + 14, compact(tick), "middle")
        for tick, x in zip(axis.ticks(), places, strict=True)
    ]


def _now(curve: Curve, xs: Sequence[float], heights: Sequence[float], value: float | None) -> list[str]:
    """Where the bound stands."""
    there = [i for i, known in enumerate(curve.values) if value is not None and abs(known - value) <= abs(value) * 1e-9]
    if not there:
        return []
    x, y = xs[there[0]], heights[there[0]]
    return [
        f'<path class="threshold" d="M{at(x)} {_TOP}V{_BOTTOM}"/>',
        f'<circle class="point kept" cx="{at(x)}" cy="{at(y)}" r="3.5"/>',
    ]
