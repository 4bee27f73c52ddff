"""Cupel curates image-text corpora: measure every sample once, cut as often as you like.

from cupel import run, write_report

funnel = run("pairs_starter", "photos/", out="corpus")
print(funnel)            # in a notebook, `funnel` alone shows a table
funnel.kept, funnel.dropped, funnel.cut
write_report(funnel.cut) # report.html, which `cupel run` writes by itself
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline.funnel import Funnel
    from .pipeline.inspect.report.report import write_report
    from .pipeline.recipe_file import RecipeError, load_recipe
    from .pipeline.run import run
    from .schemas.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Funnel", "Recipe", "RecipeError", "__version__", "load_recipe", "run", "write_report"]

_PLACES = {
    "Funnel": ".pipeline.funnel",
    "Recipe": ".schemas.recipe",
    "RecipeError": ".pipeline.recipe_file",
    "load_recipe": ".pipeline.recipe_file",
    "run": ".pipeline.run",
    "write_report": ".pipeline.inspect.report.report",
}


def __getattr__(name: str) -> object:
    """Public names are imported when first used: `import cupel` must not start by loading Ray."""
    if name not in _PLACES:
        raise AttributeError(f"module 'cupel' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name], __name__), name)
