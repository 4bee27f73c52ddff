"""What the demo prints of a comparison: a table of flaws, the odd ones that must stay, and the mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from demo_score import Comparison
from rich import box
from rich.table import Table

SHOWN: Final = 4  # mistakes shown in full, of each kind


def flaw_table(title: str, found: Comparison) -> Table:
    """A line for each flaw: how many were planted, the share found, by which rule, and how often that rule is right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("flaw", no_wrap=True)
    for name in ("planted", "recall", "precision"):
        table.add_column(name, justify="right")
    table.add_column("mostly by", no_wrap=True)
    for line in sorted(found.lines, key=lambda line: line.mostly):  # what one rule takes stands together
        table.add_row(
            line.flaw.replace("_", " "),
            str(line.planted),
            _share(line.found / line.planted),
            _share(found.precision[line.mostly]) if line.mostly else "",
            line.mostly.replace("[", r"\["),
        )
    return table


def _share(share: float) -> str:
    return f"{share:.2f}" if share == 1 else f"[red]{share:.2f}[/red]"


def mistakes(found: Comparison) -> Iterator[str]:
    """What was missed, what went by mistake, and the odd ones that did not stay."""
    missed = [(item, line.flaw) for line in found.lines for item in line.missed]
    kept = found.sound - len(found.mistakes)
    yield f"Sound: {kept:,} of {found.sound:,} kept. Flawed: {100 * found.recall:.1f} % gone."
    if found.controls:
        planted, stayed = (sum(counts[i] for counts in found.controls.values()) for i in (0, 1))
        lost = [f"{kind} {kept} of {n}" for kind, (n, kept) in found.controls.items() if kept < n]
        note = f": {', '.join(lost)}" if lost else ""
        yield f"Odd, but sound ({', '.join(found.controls)}): {stayed} of {planted} kept{note}."
    for item, why in found.mistakes[:SHOWN]:
        yield f"  gone by mistake: {_named(item.name)} ({why})"
    for item, flaw in missed[:SHOWN]:
        yield f"  missed: {_named(item.name)} ({flaw})"


def _named(name: object) -> str:
    return " | ".join(str(part)[:90] for part in name) if isinstance(name, tuple) else str(name)
