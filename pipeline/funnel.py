"""The funnel: what went in, what each step dropped, what stayed. Prints as a table, in a terminal or a notebook."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..schemas.corpus import Manifest, StepTotals

_HEAD = ("step", "rows in", "dropped", "share", "seconds")


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """The result of a run."""

    manifest: Manifest
    measured_rows: dict[str, int]  # rows on which a step ran in this very run; 0 for what was measured before
    seconds: float
    corpus: str
    cut: str  # the cut's folder

    @property
    def rows_in(self) -> int:
        """Rows of the corpus that could be read."""
        return self.manifest.rows_in

    @property
    def kept(self) -> int:
        """Rows that stayed."""
        return self.manifest.kept

    @property
    def dropped(self) -> dict[str, int]:
        """step -> rows that it dropped."""
        return self.manifest.dropped

    @property
    def errors(self) -> dict[str, int]:
        """class -> rows that could not be measured by some step."""
        return self.manifest.errors

    @property
    def unreadable(self) -> dict[str, str]:
        """Shards or files that could not be read, and why; their rows are in no number."""
        return self.manifest.unreadable

    @property
    def steps(self) -> list[StepTotals]:
        """The funnel's lines."""
        return self.manifest.steps

    def as_dict(self) -> dict[str, object]:
        """What `cupel run --json` prints."""
        return {
            "recipe": self.manifest.name,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "dropped": self.dropped,
            "errors": self.errors,
            "measured_rows": self.measured_rows,
            "seconds": self.seconds,
            "cut": self.cut,
            "unreadable": self.unreadable,
        }

    def _lines(self) -> list[tuple[str, ...]]:
        return [
            (
                line.step,
                f"{line.rows_in:,}",
                f"{line.dropped:,}" if line.rules or line.dropped else "",
                f"{line.dropped / line.rows_in:.1%}" if line.dropped else "",
                f"{line.seconds:.1f}",
            )
            for line in self.steps
        ]

    def _last_line(self) -> tuple[str, ...]:
        share = f"{self.kept / self.rows_in:.1%}" if self.rows_in else ""
        return ("kept", f"{self.kept:,}", "", share, f"{self.seconds:.1f}")

    def table(self) -> Table:
        """For rich."""
        table = Table(title=f"{self.manifest.name}: {self.rows_in:,} rows in, {self.kept:,} kept", title_justify="left")
        for name in _HEAD:
            table.add_column(name, justify="left" if name == "step" else "right")
        for line in self._lines():
            table.add_row(*map(Text, line))  # not markup: a column may be called [red]
        table.add_section()
        table.add_row(*self._last_line(), style="bold")
        return table

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=110).print(self.table())
        return text.getvalue()

    def _repr_html_(self) -> str:
        cells = "".join(f"<th>{name}</th>" for name in _HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
            for line in (*self._lines(), self._last_line())
        )
        return f"<table><caption>{html.escape(self.manifest.name)}</caption><tr>{cells}</tr>{rows}</table>"
