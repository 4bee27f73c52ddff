"""`cupel lm`: train n-gram models for text.perplexity."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..told import STOPPED, JsonOpt, fail, given, print_json, told

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Train n-gram models for text.perplexity.

    Example: cupel lm train books/*.txt -o en.arpa
    """,
)


@app.callback()
def lm() -> None:
    """Keeps `train` a command of its own while it is the only one."""


def _thresholds(prune: str) -> list[int]:
    try:
        return [int(number) for number in prune.split(",")] if prune else []
    except ValueError:
        fail(f"--prune is {prune!r}; give counts with commas between them, as in 0,0,1")


@app.command()
def train(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="TEXTS...", help="Text files (a line is a sentence; also .gz), or Parquet files."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="ARPA", help="File to write; packed where it ends in .gz.")
    ],
    order: Annotated[int, typer.Option(metavar="N", help="Words in the longest n-grams, 2 to 6.")] = 3,
    prune: Annotated[
        str, typer.Option(metavar="K,K,...", help="Leave out n-grams seen at most K times; a K for each order.")
    ] = "",
    normaliser: Annotated[
        str, typer.Option(metavar="NAME", help="plain, words or cc_net; stated in the file for text.perplexity.")
    ] = "plain",
    vocab_size: Annotated[int, typer.Option(metavar="N", help="The N most frequent words; 0: all.")] = 0,
    min_count: Annotated[int, typer.Option(metavar="K", help="Words seen at least K times.")] = 1,
    column: Annotated[str, typer.Option(metavar="NAME", help="Parquet files: the column with the text.")] = "text",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="A", callback=given, help="A Ray cluster. Default: $RAY_ADDRESS, or an embedded Ray."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Train an interpolated modified Kneser-Ney model and write it as ARPA, as KenLM's lmplz would.

    Memory does not grow with the texts, but for their distinct words; counts go to a folder beside ARPA meanwhile.
    For untokenised text take --normaliser words: it parts words from punctuation.

    Example: cupel lm train books/*.txt -o en.arpa --normaliser words --prune 0,0,1
    """
    thresholds = _thresholds(prune)
    with told():
        from ..progress import Terminal
        from .trainer import train as train_model

        try:
            with Terminal() as progress:
                made = train_model(
                    paths,
                    out,
                    order=order,
                    prune=thresholds,
                    normaliser=normaliser,
                    vocab_size=vocab_size,
                    min_count=min_count,
                    column=column,
                    ray_address=ray_address,
                    progress=progress,
                )
        except KeyboardInterrupt:
            print("stopped; nothing was written", file=sys.stderr)
            raise typer.Exit(STOPPED) from None
    if as_json:
        return print_json(made.as_dict())
    print(f"{made.out}: {made.words:,} words in {made.sentences:,} sentences, {made.seconds:,.0f} s")
    for n, (count, discounts) in enumerate(zip(made.ngrams, made.discounts, strict=True), 1):
        print(f"{n}-grams: {count:,}, discounts {', '.join(f'{discount:.3f}' for discount in discounts)}")
    return None
