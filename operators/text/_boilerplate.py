"""Lists of boiler-plate: reading one, and finding what is on it."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from polars.exceptions import ComputeError
from pydantic import Field

from ..base import RowOperator, operator

SHIPPED: Final = Path(__file__).parent / "boilerplate.txt"
_HEADING: Final = re.compile(r"\[([a-z][a-z0-9_]*) (crop|drop|whole)\]")


class Group(NamedTuple):
    """Patterns under one heading; `pattern` matches any of them, in place."""

    name: str
    action: str  # crop, drop or whole
    pattern: str


class Patterns:
    """The groups of a list, in its order, and what they find in texts."""

    def __init__(self, path: Path) -> None:
        self.groups = read_groups(path)
        self.crop = _any_of(self.groups, "crop")
        self._parts = _any_of(self.groups, "crop", "drop")
        self._whole = _any_of(self.groups, "whole")

    def rows_of(self, texts: pl.Series) -> pl.Series:
        """Indices of the texts that have any."""
        return (texts.str.contains(self._parts) | texts.str.contains(self._whole)).arg_true()

    def share(self, texts: pl.Series) -> pl.Series:
        """Characters that are boiler-plate over all: 1 where the whole text is."""
        parts = texts.str.extract_all(self._parts).list.eval(pl.element().str.len_chars()).list.sum()
        shares = parts / texts.str.len_chars()
        return texts.str.contains(self._whole).replace_strict({True: 1.0, False: None}).fill_null(shares)

    def names(self, texts: pl.Series) -> pl.Series:
        """The first group of the list that each text has."""
        found = pl.Series([None] * len(texts), dtype=pl.String)
        for group in reversed(self.groups):
            rows = texts.str.contains(group.pattern).arg_true()
            found = found.scatter(rows, group.name)
        return found


def read_groups(path: Path) -> list[Group]:
    """A list of boiler-plate, as `boilerplate.txt` explains it. ValueError with the line for what cannot be read."""
    groups: list[tuple[str, str, list[str]]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if heading := _HEADING.fullmatch(line.strip()):
            groups.append((heading[1], heading[2], []))
        elif not groups or line.startswith("["):
            raise ValueError(f"{path}:{number}: {line!r} is no heading, such as [stock crop]: NAME crop, drop or whole")
        else:
            groups[-1][2].append(_pattern(line.strip(), f"{path}:{number}"))
    if not any(patterns for _, _, patterns in groups):
        raise ValueError(f"{path} lists nothing")
    return [Group(name, action, _compiled(action, patterns)) for name, action, patterns in groups if patterns]


def _pattern(line: str, where: str) -> str:
    """A line as a regular expression that begins and ends where words do."""
    if not line.startswith("re: "):
        pattern = r"\s+".join(map(re.escape, line.split()))
        return rf"\b{{start-half}}{pattern}\b{{end-half}}"
    pattern = line.removeprefix("re: ").strip()
    before = r"\b{start-half}" if pattern[0].isalnum() or pattern[0] == "(" else ""
    after = "" if pattern.endswith("$") else r"\b{end-half}"
    whole = rf"{before}(?:{pattern}){after}".replace(" ", r"\s")
    try:
        (finds_nothing,) = pl.Series([""]).str.contains(f"(?i){whole}")
    except ComputeError as error:
        raise ValueError(f"{where}: {line!r} is no regular expression of Rust's") from error
    if finds_nothing:
        raise ValueError(f"{where}: {line!r} is found where nothing stands")
    return whole


def _compiled(action: str, patterns: list[str]) -> str:
    any_of = "|".join(patterns)
    return rf"(?i)\A\s*(?:{any_of})\s*\z" if action == "whole" else f"(?i){any_of}"


def _any_of(groups: list[Group], *actions: str) -> str:
    # The last first: the groups of published examples stand first, and ours have longer forms (`stock photo of`).
    found = [f"(?:{group.pattern})" for group in reversed(groups) if group.action in actions]
    return "|".join(found) if found else r"\z\A."  # matches nothing


@operator
class PatternOperator(RowOperator):
    """Looks a text over for what is on a list."""

    patterns: Path | None = Field(
        None, description="a list of your own, written like boilerplate.txt; default: that one, which Cupel ships"
    )

    reads = ("text",)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.patterns or SHIPPED,)

    @cached_property
    def found(self) -> Patterns:
        """The list, read once a worker."""
        return Patterns(*self.files)

    def setup(self) -> None:
        _ = self.found
