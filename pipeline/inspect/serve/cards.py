"""A row as lists of rows show it: picture, words, a few values, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...plan import KeepStep, Space
from ..pictures.sensitive import Sensitivity
from ..rows import CutRows
from .cells import Cells
from .words import short

# What a row is called by: its caption or paragraph, else what is said of its image, else where it is from.
_WORDS = ("text", "caption", "alt_text", "image_url", "page_url", "key")
SHOWN_VALUES = 4
WORDS_CHARACTERS = 1000


class Cards:
    """Makes cards of the rows of one cut."""

    def __init__(self, rows: CutRows) -> None:
        self.rows, self.cells, self.sensitivity = rows, Cells(rows), Sensitivity(rows.cut)

    def at(self, places: Sequence[tuple[int, int, int]], show: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Cards of rows given as (space, shard, row in the shard); those that are not in memory are left out."""
        numbers = [(space, row) for space, *place in places if (row := self._number(space, *place)) is not None]
        cards = {
            (space, row): card
            for space in {space for space, _ in numbers}
            for row, card in self._of_space(space, [row for s, row in numbers if s == space], show)
        }
        return [cards[number] for number in numbers]

    def _of_space(self, space: int, rows: list[int], show: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        there = [name for name in show if name in self.rows.spaces[space].columns.names]
        return zip(rows, self.of(space, rows, there), strict=True)

    def _number(self, space: int, shard: int, row: int) -> int | None:
        try:
            return self.rows.spaces[space].row_of(shard, row)
        except (KeyError, IndexError):
            return None

    def of(
        self, space: int, numbers: Sequence[int], show: Sequence[str] = (), *, characters: int = WORDS_CHARACTERS
    ) -> list[dict[str, Any]]:
        """A card for each row, in their order; `show` are the columns whose values it has."""
        rows = self.rows.spaces[space]
        words = [name for name in worded(rows.space) if name in rows.columns.names]
        blamed = {i: self._read_by(i) for i in {int(rows.gone_by[row]) for row in numbers} if i >= 0}
        kind = ["kind"] if rows.document is not None else []
        read = [name for name in blamed.values() if name is not None]
        page_url = [name for name in ("page_url",) if name in rows.columns.names]
        values = self.cells.take(space, numbers, [*words, *page_url, *kind, *show, *read])
        pictures = self._pictures(space, numbers)
        return [
            {
                **self._place(space, row),
                "words": next((short(values[name][i], characters) for name in words if values[name][i]), None),
                "page_url": _bounded(values["page_url"][i]) if page_url else None,
                **({"kind": values["kind"][i]} if kind else {}),
                **self._fate(space, row, i, values, blamed),
                "values": {name: _bounded(values[name][i]) for name in show},
                "picture": pictures[i] if not kind or values["kind"][i] == "image" else None,
            }
            for i, row in enumerate(numbers)
        ]

    def _place(self, space: int, row: int) -> dict[str, Any]:
        rows = self.rows.spaces[space]
        shard, at = rows.place_of(row)
        return {"name": rows.name_of(row), "space": space, "shard": shard, "row": at}

    def _fate(
        self, space: int, row: int, i: int, values: dict[str, list[Any]], blamed: dict[int, str | None]
    ) -> dict[str, Any]:
        """Kept, used up by an extractor, or dropped: then by which rule, and for which value."""
        gone_by = int(self.rows.spaces[space].gone_by[row])
        if gone_by < 0:
            return {"fate": "kept" if space == len(self.rows.spaces) - 1 else "used", "dropped_by": None}
        rule, column = self.rows.rules[gone_by], blamed[gone_by]
        value = _bounded(values[column][i]) if column is not None else None
        about = {"rule": gone_by, "step": rule.step, "label": rule.label, "column": rule.column, "text": rule.text}
        return {"fate": "dropped", "dropped_by": {**about, "value": value}}

    def _read_by(self, rule: int) -> str | None:
        """The column that a rule reads, if it is one alone."""
        found = self.rows.rules[rule]
        step = self.rows.cut.plan.steps[found.step]
        assert isinstance(step, KeepStep)
        name = step.reads.get(found.column)
        return name if name in self.rows.spaces[found.space].columns.names else None

    def _pictures(self, space: int, numbers: Sequence[int]) -> Sequence[str | None]:
        """How each row's picture is shown: show, blur or hide; None where these rows have none."""
        version = self.rows.spaces[space].space.view.get("image")
        if version is None or (version == "image" and not self.rows.spaces[space].space.has_images):
            return [None] * len(numbers)
        return self.sensitivity.of(self.rows, space, numbers)


def _bounded(value: Any) -> Any:
    return short(value, WORDS_CHARACTERS) if isinstance(value, str) else value


def worded(space: Space) -> Iterator[str]:
    """The columns that say in words what a row is, in their newest versions."""
    return (space.view.get(name, name) for name in _WORDS)


def bounded_columns(rows: CutRows, space: int) -> list[str]:
    """The columns that rules read, numbers and words alike, in the recipe's order."""
    there = rows.spaces[space].columns.names
    steps = rows.cut.plan.steps[rows.spaces[space].space.start : rows.spaces[space].space.stop]
    names = [name for step in steps if isinstance(step, KeepStep) for name in step.reads.values()]
    return [name for name in dict.fromkeys(names) if name in there]
