"""`cupel evaluate`: what a model is worth, on data that lies here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...told import JsonOpt, fail, given, print_json, told

PIPED = 120  # columns, where no terminal says how wide it is


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", callback=given, help="A run's folder, an open_clip folder, cupel-tiny, or open_clip's name."
        ),
    ],
    on: Annotated[
        list[str],
        typer.Option(
            "--on", metavar="DATA", help="A folder with a folder a class, a cut, or images with captions; repeatable."
        ),
    ],
    pretrained: Annotated[
        str, typer.Option(metavar="TAG", help="With a name of open_clip's: its weights' tag, or a file.")
    ] = "",
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", callback=given, help="Model for CLIPScore: never the one that filtered the data."
        ),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML, `folder: name`: what prompts call the classes.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="TEXT", help="Prompt with {} for the class; repeatable. Default: eight."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of splits and negatives.")] = 0,
    as_json: JsonOpt = False,
) -> None:
    """Evaluate a model: zero-shot classes, probes, retrieval, CLIPScore, and captions told from wrong ones.

    A folder of classes: zero-shot by prompts, a linear probe, 1 to 16 shots. Images with captions: R@k both ways (any
    of an image's captions is right), CLIPScore, and pairwise accuracy against captions with attributes or relations
    swapped, another order, negation or number; beside it what text-only models get right. Kept in RUN/evaluation.json.

    Example: cupel evaluate run --on photos_by_class/ --on held_out/captions.jsonl
    """
    for text in template or []:
        if text.count("{}") != 1:
            fail(f"--template {text!r} needs {{}} once, for the class, as in 'a photo of a {{}}.'")
    with told("nothing is kept of this evaluation"):
        from ....operators.models.weights import CONFIG
        from ...progress import Terminal
        from .evaluate import evaluate as run_tasks
        from .evaluate import save
        from .zero_shot import TEMPLATES

        with Terminal() as progress:
            result = run_tasks(
                run,
                on,
                pretrained=pretrained,
                scorer=scorer,
                classes=classes,
                templates=template or TEMPLATES,
                seed=seed,
                progress=progress,
            )
        saved = save(result, Path(run)) if (Path(run) / "model" / CONFIG).is_file() else None
    if as_json:
        return print_json(result)
    _show(result, saved)
    return None


def _show(result: dict[str, object], saved: Path | None) -> None:
    from rich.console import Console

    from .table import tables

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    for each in tables(result):
        console.print(each)
    if saved is not None:
        console.print(f"\nkept in {saved}", markup=False)
