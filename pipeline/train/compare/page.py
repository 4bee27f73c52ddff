"""report.html of an experiment: one file that opens offline and prints; no script, nothing from elsewhere."""

from __future__ import annotations

import math
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ...recipe_file import as_yaml
from .judge import HEADLINES
from .plot import TITLES, plot
from .recipe import RANDOM, RAW_LONGER, CompareRecipe
from .results import Results
from .statistics import Interval

TONES: Final = {"above": "yes", "no harm": "yes", "below": "no", "harm": "no", "helps": "yes", "hurts": "no"}


def render(results: Results, recipe: CompareRecipe) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((files(__package__) / "templates" / "report.html").read_text("utf-8"))
    return template.render(
        results=results,
        recipe=recipe,
        yaml=_written(recipe),
        drawing=Markup(plot(results)),  # noqa: S704 ours; names in it are escaped
        titles=TITLES,
        longer=RAW_LONGER,
        tones=TONES,
        sizes_differ=_sizes_differ(results),
        headlines=[name for name in HEADLINES if name in results.metrics],
        faults=_faults(results),
        audit=_audit(results),
        percent=percent,
        points=_points,
        span=span,
    )


def _written(recipe: CompareRecipe) -> str:
    """The recipe with all its defaults but those that are empty."""
    given: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return as_yaml(given)


def percent(share: float) -> str:
    """In %, to a tenth."""
    return f"{share:.1%}".removesuffix("%").replace("-0.0", "0.0")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "−")


def span(found: Interval, signed: bool = False) -> str:
    """An interval's ends; nothing where one seed alone has none."""
    if math.isnan(found.low):
        return ""
    show = _points if signed else percent
    return f"{show(found.low)} to {show(found.high)}"


def _sizes_differ(results: Results) -> bool:
    """Has any arm another number of rows than the random one that it is held against?"""
    sizes = {line.budget: line.rows for line in results.lines if line.arm == RANDOM}
    return any(abs(line.rows - sizes.get(line.budget, line.rows)) >= 1 for line in results.lines)


def _faults(results: Results) -> dict[str, int]:
    """fault -> its rows, clean first."""
    found = {line["fault"]: line["rows"] for line in results.audit}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "clean", name))}


def _audit(results: Results) -> dict[str, dict[str, float]]:
    """arm -> fault -> rows kept."""
    found: dict[str, dict[str, float]] = {}
    for line in results.audit:
        found.setdefault(line["arm"], {})[line["fault"]] = line["kept"]
    return found
