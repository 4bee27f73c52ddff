"""The comparison of two cuts as one page that opens offline: no script, nothing from elsewhere, all text escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from .. import serve
from ..charts.buckets import Buckets
from ..charts.chart import histogram
from ..charts.svg import patterns
from ..diff import Compared, CutDiff
from ..serve.words import environment
from ..stats import quantiles_of

NAME: Final = "diff_report.html"
SCORES: Final = 40
RECIPE_LINES: Final = 400
_STYLES: Final = ("cupel.css", "chart.css", "report.css", "diff.css")


def write_page(found: CutDiff, file: Path) -> None:
    """Write the page, in place of an older one; whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(render_page(found), encoding="utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def render_page(found: CutDiff) -> str:
    """The page as HTML."""
    folder = files(serve) / "static"
    style = "\n".join((folder / name).read_text("utf-8") for name in _STYLES)
    return (
        environment()
        .get_template(NAME)
        .render(
            diff=found,
            sides=[
                ("A", found.a.title, found.a.manifest, found.only_a),
                ("B", found.b.title, found.b.manifest, found.only_b),
            ],
            losses=[("A", "B", found.lost_by_b), ("B", "A", found.lost_by_a)],
            scores=[score_view(score) for score in found.scores[:SCORES]],
            recipes=found.recipes[:RECIPE_LINES],
            style=Markup(style),  # noqa: S704 our own files
            patterns=Markup(patterns()),  # noqa: S704 ours, without a word from outside
        )
    )


@dataclass(frozen=True, kw_only=True)
class ScoreView:
    """A column of both cuts: for each a chart of the rows that it kept, and their quantiles."""

    column: str
    same: bool
    charts: Sequence[tuple[str, str, int, dict[str, float] | None]]  # side, SVG, rows, quantiles


def score_view(score: Compared) -> ScoreView:
    """Both sides' charts along one axis."""
    there = [kept for kept in (score.kept_a, score.kept_b) if kept is not None]
    low, high = min((kept.low for kept in there), default=0.0), max((kept.high for kept in there), default=0.0)
    charts = []
    for side, own, kept in (("A", score.a, score.kept_a), ("B", score.b, score.kept_b)):
        title = f"{score.column} of the rows that {side} kept"
        drawn = "" if kept is None else histogram(_stretched(kept, low, high), title=title, limits=own.limits)
        charts.append((side, drawn, own.kept, quantiles_of(kept)))
    return ScoreView(column=score.column, same=score.same, charts=charts)


def _stretched(buckets: Buckets, low: float, high: float) -> Buckets:
    """The same up to other ends, so that both sides have one axis."""
    edges, ends = np.array([low, *buckets.edges, buckets.high]), np.array([buckets.low, *buckets.ends, high])
    counts = np.pad(buckets.counts, ((0, 0), (1, 1)))
    return replace(buckets, edges=edges, ends=ends, counts=counts)
