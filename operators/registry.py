"""Find operators by name: this folder by path (`text.length` is `text/length.py`, class `Length`), then entry points.

A third party adds operators with an entry point in the group `cupel.operators`, named as recipes shall name them:

    [project.entry-points."cupel.operators"]
    "acme.sharpness" = "acme_cupel.sharpness:Sharpness"
"""

from __future__ import annotations

import difflib
import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from .base import Operator

GROUP = "cupel.operators"
_FOLDERS = ("crawl", "page", "text", "image", "pair", "document", "dedup", "select")


@functools.cache
def _ours() -> dict[str, str]:
    """name -> module, for every operator of this folder, without importing any."""
    here = Path(__file__).parent
    found = (path for folder in _FOLDERS for path in sorted((here / folder).glob("[!_]*.py")))
    return {f"{path.parent.name}.{path.stem}": f".{path.parent.name}.{path.stem}" for path in found}


@functools.cache
def _theirs() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def names() -> list[str]:
    """Every operator's name, ours in the order of the folders, then third parties'."""
    return [*_ours(), *sorted(set(_theirs()) - set(_ours()))]


@functools.cache
def find(name: str) -> type[Operator]:
    """The operator's class. KeyError with near names when there is none, TypeError when it is no operator."""
    if name in _ours():
        module = importlib.import_module(_ours()[name], __package__)
        found = getattr(module, "".join(part.title() for part in name.split(".")[1].split("_")))
    elif name in _theirs():
        found = _theirs()[name].load()
    else:
        raise KeyError(f"no operator {name!r}{did_you_mean(name, names())}")
    if not (isinstance(found, type) and issubclass(found, Operator)):
        raise TypeError(f"{name!r} is {found!r}, not an operator")
    return found


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
