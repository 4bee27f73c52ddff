"""`cupel train`: from a cut to a model."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..told import STOPPED, JsonOpt, fail, given, print_json, told
from .errors import Stopped

if TYPE_CHECKING:
    from ...schemas.train import TrainRecipe
    from .log import Result


# How often OpenMP's threads look at a barrier before they sleep. libgomp's own 300,000 cost nothing on an idle machine,
# and more than half the speed on a busy one; so many cost neither (infra/LOG.md).
SPINS: Final = "5000"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def _local(folder: str) -> str:
    if not folder or "://" in folder:
        raise typer.BadParameter(f"{folder!r} is no local folder; copy the run to where it is wanted when it is done")
    return folder


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", callback=given, help="A shipped training run (see `cupel recipes`), or a YAML file."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="CUT", callback=given, help="A cut, a corpus (its newest cut) or Parquet files; local or s3://."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="RUN", callback=_local, help="Local folder of the run; the same command goes on."
        ),
    ],
    cut: Annotated[
        str | None, typer.Option(metavar="NAME", callback=given, help="Of a corpus: this recipe's cut, not the newest.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pairs seen in all, in place of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="In place of the recipe's.")] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads that decode images; default: all cores.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Train in N processes by Ray Train, a GPU each where there are any."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            callback=given,
            help="With --workers: a Ray cluster. Default: $RAY_ADDRESS, or an embedded Ray.",
        ),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Train a model on a cut's curated shards, and write it as a folder that `model:` of an operator takes.

    RUN/model is the model, RUN/log.jsonl and RUN/tensorboard tell how it went, RUN/result.json what came of it. A run
    that was killed goes on from its last checkpoint; one that was stopped by Ctrl-C, from where it was. On several
    GPUs of a machine: torchrun --nproc-per-node 8 -m cupel train ...; on a cluster: --workers N.

    Example: cupel train smoke --data corpus --out run
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before torch is there
    with told("the last checkpoint is kept, and the same command goes on from there"), _stopped():
        chosen = _chosen(recipe, samples, seed)
        if workers is None and ray_address is not None:
            fail("--ray-address goes with --workers")
        result: Result | None
        if workers is None:
            result = _fit_here(chosen, data, cut, Path(out), threads)
        else:
            from ..progress import Terminal
            from .launch import fit_on_ray

            with stopping() as stop, Terminal() as progress:
                result = fit_on_ray(
                    chosen,
                    data,
                    Path(out),
                    cut=cut,
                    workers=workers,
                    ray_address=ray_address,
                    threads=threads,
                    progress=progress,
                    stop=stop,
                )
    if result is None:
        return  # another rank tells
    print_json(asdict(result)) if as_json else _show(result)


def _chosen(recipe: str, samples: int | None, seed: int | None) -> TrainRecipe:
    from ...schemas.train import TrainRecipe
    from .recipe_file import load_train_recipe

    changes: dict[str, Any] = {} if samples is None else {"samples": samples, "epochs": None}
    changes |= {} if seed is None else {"seed": seed}
    return TrainRecipe.model_validate(load_train_recipe(recipe).model_dump() | changes)


def _fit_here(recipe: TrainRecipe, data: str, cut: str | None, out: Path, threads: int | None) -> Result | None:
    """In this process, one of torchrun's or alone."""
    from ..progress import Silent, Terminal
    from .loop import fit
    from .ranks import joined
    from .reader import open_dataset

    with joined() as ranks, stopping() as stop:
        dataset = open_dataset(data, cut=cut)
        if not ranks.first:
            fit(recipe, dataset, out, ranks=ranks, progress=Silent(), stop=stop, threads=threads)
            return None
        with Terminal() as progress:
            return fit(recipe, dataset, out, ranks=ranks, progress=progress, stop=stop, threads=threads)


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask to stop after the step; a second Ctrl-C stops at once, back to the last checkpoint."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _stopped() -> Iterator[None]:
    try:
        yield
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        raise typer.Exit(STOPPED) from None


def _show(result: Result) -> None:
    print(f"{result.name}: {result.samples_seen:,} pairs of {result.rows:,} rows ({result.epochs:.2f} epochs)")
    print(f"loss {result.loss_first:.3f} -> {result.loss_last:.3f}")
    share = f"{result.data_wait_share:.1%} of the time waiting for data"
    print(f"{result.samples_per_s:,.0f} pairs/s, {share}" + ("" if result.mfu is None else f", MFU {result.mfu:.1%}"))
    if result.skipped:
        print(f"{result.skipped:,} images could not be read and were replaced: {Path(result.model).parent}/skips.jsonl")
    print(f"model: {result.model}")
