"""The funnel: what went in, what each step dropped, what stayed. Prints as a table, in a terminal or a notebook."""

from __future__ import annotations

import html
import io
from collections import Counter
from dataclasses import dataclass

import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..schemas.corpus import Manifest, StepTotals
from .store import open_store

FILES_LOOKED_AT = 20  # of `dropped/`, to say why nothing was kept
_HEAD = ("step", "rows in", "documents", "dropped", "share", "made", "seconds")


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
    def documents(self) -> int | None:
        """Where the rows that stayed are nodes: the documents that they make."""
        return self.manifest.documents

    @property
    def dropped(self) -> dict[str, int]:
        """step -> rows that it dropped."""
        return self.manifest.dropped

    @property
    def made(self) -> dict[str, int]:
        """extractor -> rows that it made; its own rows in are used up."""
        return self.manifest.made

    @property
    def fitted(self) -> dict[str, dict[str, dict[str, object]]]:
        """step -> column -> where its `adaptive` drew the line, and by what."""
        lines = (line for line in self.steps if line.fitted)
        return {line.step: {column: found.model_dump() for column, found in line.fitted.items()} for line in lines}

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
            **({"documents": self.documents} if self.documents is not None else {}),
            "dropped": self.dropped,
            "made": self.made,
            **({"fitted": self.fitted} if self.fitted else {}),
            "errors": self.errors,
            "measured_rows": self.measured_rows,
            "seconds": self.seconds,
            "cut": self.cut,
            "unreadable": self.unreadable,
        }

    def _rows(self) -> list[tuple[str, ...]]:
        """The table's head and rows. Nobody sees a column for what the recipe does not make."""
        documents = f"{self.documents:,}" if self.documents is not None else ""
        rows: list[tuple[str, ...]] = [
            _HEAD,
            *(
                (
                    line.step,
                    f"{line.rows_in:,}",
                    f"{line.documents_in:,}" if line.documents_in is not None else "",
                    f"{line.dropped:,}" if line.rules or line.dropped else "",
                    f"{line.dropped / line.rows_in:.1%}" if line.dropped else "",
                    f"{line.made:,}" if line.made is not None else "",
                    f"{line.seconds:.1f}",
                )
                for line in self.steps
            ),
            ("kept", f"{self.kept:,}", documents, "", self._kept_share(), "", f"{self.seconds:.1f}"),
        ]
        unused = ["made"] * (not self.made) + ["documents"] * all(line.documents_in is None for line in self.steps)
        shown = [i for i, name in enumerate(_HEAD) if name not in unused]
        return [tuple(row[i] for i in shown) for row in rows]

    def _kept_share(self) -> str:
        """Of the rows in, or of those that the last extractor made."""
        whole = [self.rows_in, *self.made.values()][-1]
        return f"{self.kept / whole:.1%}" if whole else ""

    def _fitted(self) -> Text | None:
        """Where an `adaptive` drew its line, each on a line; None: there is none."""
        fitted = [(column, found) for line in self.steps for column, found in line.fitted.items()]
        return Text("\n".join(f"{column} adaptive: {found.text}" for column, found in fitted)) if fitted else None

    def table(self) -> Table:
        """For rich."""
        made = "".join(f"{rows:,} made by {step}, " for step, rows in self.made.items())
        of_documents = f" in {self.documents:,} documents" if self.documents is not None else ""
        title = f"{self.manifest.name}: {self.rows_in:,} rows in, {made}{self.kept:,} kept{of_documents}"
        head, *lines, last = self._rows()
        table = Table(title=title, title_justify="left", caption=self._fitted(), caption_justify="left")
        for name in head:
            table.add_column(name, justify="left" if name == "step" else "right")
        for line in lines:
            table.add_row(*map(Text, line))  # not markup: a column may be called [red]
        table.add_section()
        table.add_row(*last, style="bold")
        return table

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=110).print(self.table())
        return text.getvalue()

    def _repr_html_(self) -> str:
        head, *lines = self._rows()
        cells = "".join(f"<th>{name}</th>" for name in head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        fitted = self._fitted()
        below = f"<p>{html.escape(fitted.plain)}</p>" if fitted is not None else ""
        return f"<table><caption>{html.escape(self.manifest.name)}</caption><tr>{cells}</tr>{rows}</table>{below}"


def why_nothing(funnel: Funnel) -> list[str]:
    """Where nothing was kept: what the rows had that the last rule to drop any did not want, the commonest first."""
    last = next((line for line in reversed(funnel.steps) if line.dropped), None)
    if last is None:
        return []
    store, counts = open_store(funnel.cut), Counter[tuple[str, str, str]]()
    for path in store.files("dropped")[:FILES_LOOKED_AT]:
        table = store.table(path, ["dropped_by", "column", "rule", "value"])
        rows = table.filter(pc.equal(table.column("dropped_by"), last.step))
        values = (str(value) for value in rows.column("value").to_pylist())
        counts.update(zip(rows.column("column").to_pylist(), rows.column("rule").to_pylist(), values, strict=True))
    return [f"{column} {rule}: {value} ({count:,})" for (column, rule, value), count in counts.most_common(3)]
