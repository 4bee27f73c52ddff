"""The experiment as a drawing: each arm's mean and interval in the headline metrics, and over budgets where there are
several. Colours are CSS variables with a fallback, so that the file stands alone and follows the page that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Final

from .judge import HEADLINES
from .recipe import ORACLE
from .results import Line, Results
from .statistics import Interval

TITLES: Final = {"zs_top1": "zero-shot top-1", "i2t_R@1": "image to text R@1", "t2i_R@1": "text to image R@1"}
LABELS, PANEL, GAP, ROW, TOP, FOOT = 190, 200, 26, 26, 30, 34
CURVES: Final = 190  # height of a panel over budgets
HUES: Final = ("#3b6ea8", "#b4562c", "#3f8f5b", "#8a5aa8", "#a8863b", "#c14f7a", "#4aa0a8", "#777777")


def plot(results: Results) -> str:
    """An SVG document."""
    metrics: list[str] = [name for name in HEADLINES if name in results.metrics]
    base = [line for line in results.lines if line.budget == results.base_budget]
    width = LABELS + len(metrics) * (PANEL + GAP)
    height = TOP + ROW * len(base) + FOOT
    parts = list(_intervals(results, base, metrics))
    if len(results.budgets) > 1:
        parts += _curves(results, metrics, height)
        height += TOP + CURVES + FOOT + 18 * -(-len(results.arms) // 3)
    words = "; ".join(
        f"{line.arm}: " + ", ".join(f"{TITLES[name]} {line.metrics[name].mean:.1%}" for name in metrics)
        for line in base
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12"><title>{escape(results.name)}: arms compared</title>'
        f"<desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )


def _intervals(results: Results, lines: list[Line], metrics: list[str]) -> Iterable[str]:
    """A row an arm, a panel a metric: a dot for the mean, a bar for the 95 % interval."""
    bottom = TOP + ROW * len(lines)
    for row, line in enumerate(lines):
        weight = ' font-weight="bold"' if line.arm == results.judged else ""
        yield _text(LABELS - 10, TOP + ROW * (row + 0.5) + 4, line.arm, "end", weight)
    for i, name in enumerate(metrics):
        left = LABELS + i * (PANEL + GAP)
        found = [line.metrics[name] for line in lines]
        most = _round_up(max(_high(each) for each in found))
        yield _text(left, TOP - 12, TITLES[name], "start", ' font-weight="bold"')
        yield from _axis(left, bottom, most)
        for row, (line, each) in enumerate(zip(lines, found, strict=True)):
            y, hue = TOP + ROW * (row + 0.5), _ink(line.arm, results.judged)
            x, low, high = (left + PANEL * min(max(v, 0), most) / most for v in (each.mean, _low(each), _high(each)))
            if line.arm == ORACLE:
                yield _line(x, TOP, x, bottom, ' stroke-dasharray="3 3" stroke="var(--faint, #888)"')
            yield _line(low, y, high, y, f' stroke="{hue}" stroke-width="3" stroke-opacity="0.45"')
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{hue}"/>'


def _curves(results: Results, metrics: list[str], top: float) -> list[str]:
    """A panel a metric: the mean over all operations spent, those of the learned score counted, with its interval."""
    lines = results.lines
    spent = [_spent(line) for line in lines]
    first, last = math.log10(min(spent)), math.log10(max(spent))
    base = top + TOP + CURVES
    parts = []
    for i, name in enumerate(metrics):
        left = LABELS + i * (PANEL + GAP)
        most = _round_up(max(_high(line.metrics[name]) for line in lines))
        parts.append(_text(left, top + TOP - 12, f"{TITLES[name]} by operations", "start", ' font-weight="bold"'))
        parts += _axis_upright(left, base, most)
        for number, arm in enumerate(results.arms):
            mine = sorted((line for line in lines if line.arm == arm), key=lambda line: line.train_flops)
            xs = [left + PANEL * (math.log10(_spent(line)) - first) / (last - first or 1) for line in mine]
            parts += _curve(arm, HUES[number % len(HUES)], xs, [line.metrics[name] for line in mine], base, most)
        parts.append(_text(left, base + 16, f"{10**first:.1e}", "start"))
        parts.append(_text(left + PANEL, base + 16, f"{10**last:.1e} FLOPs", "end"))
    for number, arm in enumerate(results.arms):
        x, y = LABELS + (number % 3) * (PANEL + GAP), base + FOOT + 8 + 18 * (number // 3)
        parts.append(_line(x, y - 4, x + 18, y - 4, f' stroke="{HUES[number % len(HUES)]}" stroke-width="3"'))
        parts.append(_text(x + 24, y, arm, "start"))
    return parts


def _curve(arm: str, hue: str, xs: list[float], found: list[Interval], base: float, most: float) -> Iterable[str]:
    """An arm's mean with its interval as a band; the oracle's is dashed."""
    means, lows, highs = (
        [base - CURVES * min(max(end(each), 0), most) / most for each in found] for end in (_mean, _low, _high)
    )
    band = [*zip(xs, highs, strict=True), *reversed(list(zip(xs, lows, strict=True)))]
    yield f'<polygon points="{_points(band)}" fill="{hue}" fill-opacity="0.13"/>'
    dashes = ' stroke-dasharray="5 4"' if arm == ORACLE else ""
    path = list(zip(xs, means, strict=True))
    yield f'<polyline points="{_points(path)}" fill="none" stroke="{hue}" stroke-width="2"{dashes}/>'
    for x, y in path:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{hue}"/>'


def _spent(line: Line) -> float:
    """Operations of training, and of the learned score before it."""
    return line.train_flops + line.filter_flops


def _axis(left: float, bottom: float, most: float) -> Iterable[str]:
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        x = left + PANEL * share
        yield _line(x, TOP - 4, x, bottom, ' stroke="var(--rule, #ddd)"')
        yield _text(x, bottom + 15, f"{most * share:.0%}", anchor)


def _axis_upright(left: float, base: float, most: float) -> Iterable[str]:
    for share in (0, 0.5, 1):
        y = base - CURVES * share
        yield _line(left, y, left + PANEL, y, ' stroke="var(--rule, #ddd)"')
        yield _text(left - 5, y + 4, f"{most * share:.0%}", "end")


def _round_up(value: float) -> float:
    """A share at which an axis may end."""
    return next(end for end in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0) if value <= end or end == 1.0)


def _mean(found: Interval) -> float:
    return found.mean


def _low(found: Interval) -> float:
    return found.mean if math.isnan(found.low) else found.low


def _high(found: Interval) -> float:
    return found.mean if math.isnan(found.high) else found.high


def _ink(arm: str, judged: str) -> str:
    return "var(--accent, #b4562c)" if arm == judged else "var(--ink-2, #3b6ea8)"


def _points(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(x: float, y: float, to_x: float, to_y: float, style: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"{style}/>'


def _text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--ink, #333)"{style}>{escape(words)}</text>'
