"""`cupel compare`: does a cut make a better model than what it was cut from?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...told import JsonOpt, given, print_json, told

if TYPE_CHECKING:
    from .results import Line, Results


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", callback=given, help="A shipped experiment (proof, proof_smoke), or a YAML file."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where it is kept; the same command goes on with it.")
    ] = Path("experiment"),
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Training runs at a time; default: one a GPU, or one a core."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Train the same model on the raw data, on a random part of it and on its cuts, at equal compute, and compare.

    Each arm is trained with several seeds; report.html, results.json, results.csv and plot.svg in FOLDER/NAME tell
    means with 95 % intervals, paired differences and what the filters cost. An experiment that was stopped goes on; one
    with more seeds, arms or budgets on the same data trains only what is new.

    Example: cupel compare proof --out experiment
    """
    with told("what is done is kept, and the same command goes on from there"):
        from ...progress import Terminal
        from ..recipe_file import load_as
        from .experiment import compare as run_experiment
        from .recipe import CompareRecipe

        with Terminal() as progress:
            results = run_experiment(load_as(CompareRecipe, recipe), out, workers=workers, progress=progress)
    if as_json:
        return print_json(results.as_dict())
    _show(results, out)
    return None


def _show(results: Results, out: Path) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    for budget in results.budgets:
        console.print(_table(results, [line for line in results.lines if line.budget == budget]))
    for line in _verdict(results):
        print(line)
    kind = "drawn data: no claim about web data" if results.synthetic else "real data: there is no oracle"
    chosen = ", chosen on raw" if results.chosen else ""
    print(f"{kind}; learning rate {results.lr:g}{chosen}; {results.seconds:,.0f} s")
    print(f"report: {out / results.name / 'report.html'}")


def _verdict(results: Results) -> Iterator[str]:
    """A line for each budget and headline metric, what the filter cost, and whether it did harm."""
    verdict = results.verdict
    for budget, metrics in verdict["budgets"].items():
        for name, found in metrics.items():
            beside = "; ".join(f"{other}: {where}" for other, where in found.items())
            harm = f"; {verdict['harm'][budget][name]} (margin {verdict['margin']:.1%})" if "harm" in verdict else ""
            yield f"{results.judged}, {name} at {budget}x, beside {beside}{harm}"
        if cost := verdict["filter_cost"][budget]:
            yield f"{results.judged} at {budget}x: its learned score cost {cost:.0%} of its own training's operations"
    for budget, arms in verdict.get("rules", {}).items():
        for arm, found in arms.items():
            said = ", ".join(f"{name} {what}" for name, what in found.items())
            yield f"{arm.removeprefix('without ')} at {budget}x, by leaving it out: {said}"
    everywhere = "yes" if verdict["beats_both_everywhere"] else "no"
    yield f"above raw and random in every headline metric, 95 % intervals apart: {everywhere}"


def _table(results: Results, lines: list[Line]) -> Table:
    """Means with half the width of their intervals, in %."""
    table = Table(title=f"{results.name}: {lines[0].samples_seen:,.0f} samples seen", box=None, pad_edge=False)
    table.add_column("arm")
    for name in ("rows", "epochs", "filter", *results.metrics):
        table.add_column(name, justify="right")
    for line in lines:
        cost = f"{line.filter_cost:.0%}" if line.filter_flops else ""
        cells = [
            f"{100 * each.mean:.1f} ±{100 * (each.high - each.mean):.1f}"
            for each in (line.metrics[name] for name in results.metrics)
        ]
        style = "bold" if line.arm == results.judged else ""
        table.add_row(line.arm, f"{line.rows:,.0f}", f"{line.epochs:.1f}", cost, *cells, style=style)
    return table
