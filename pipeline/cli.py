"""The `cupel` command. Every command's help ends with an example; what prints a table prints JSON with --json."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer
from rich.console import Console

from ..operators.source.base import ShardError, SourceError
from . import models
from .catalogue import operator_page, operators_table, recipe_page, recipes_table
from .funnel import Funnel
from .inspect.cli import add_to as add_inspect_to
from .lm.cli import app as lm_app
from .progress import Terminal
from .read import CorpusError
from .recipe_file import RecipeError
from .told import FAULTY, INCOMPLETE, JsonOpt, fail, given, print_json, show_page, told
from .train.cli import add_to as add_train_to
from .train.compare.cli import add_to as add_compare_to
from .train.evaluate.cli import add_to as add_evaluate_to

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""Curate image-text corpora: measure every sample once, cut as often as you like.

    Example: cupel run pairs_starter photos/ --out corpus
    """,
)
app.add_typer(models.app, name="models")
app.add_typer(lm_app, name="lm")

RecipeArg = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", callback=given, help="A shipped recipe's name (see `cupel recipes`) or a YAML file."
    ),
]
InputArg = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        callback=given,
        help="Folder, table or tar files, local or s3://; replaces what the recipe reads.",
    ),
]
CorpusArg = Annotated[str, typer.Argument(metavar="CORPUS", callback=given, help="Corpus folder, local or s3://.")]
NameArg = Annotated[str | None, typer.Argument(metavar="NAME", callback=given, help="Show this one in full.")]
RayOpt = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="A",
        callback=given,
        help="A Ray cluster: auto or HOST:6379. Default: $RAY_ADDRESS, or an embedded Ray.",
    ),
]


@app.command()
def run(
    recipe: RecipeArg,
    input: InputArg = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="CORPUS", callback=given, help="Corpus folder, local or s3://.")
    ] = "corpus",
    ray_address: RayOpt = None,
    no_write: Annotated[bool, typer.Option("--no-write", help="Decide only; write no curated shards.")] = False,
    retry_errors: Annotated[
        list[str] | None,
        typer.Option("--retry-errors", metavar="CLASS", help="Try again the rows that failed with this class."),
    ] = None,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=1.0, help="How long one shard may take before its worker is killed.")
    ] = 1800.0,
    as_json: JsonOpt = False,
) -> None:
    """Run a recipe: measure what is missing, decide, write the curated shards and a report, print the funnel.

    Exit code 0: done; 2: the recipe, the input or the corpus folder has a fault; 3: some shards could not be read
    (the rest is done); 130: stopped by Ctrl-C, to be continued by the same command.

    Example: cupel run pairs_starter photos/ --out corpus
    """
    with told():
        from .funnel import why_nothing
        from .run import run as run_recipe

        with Terminal() as progress:
            funnel = run_recipe(
                recipe,
                input,
                out=out,
                ray_address=ray_address,
                write=not no_write,
                retry_errors=retry_errors or (),
                deadline_s=deadline,
                progress=progress,
            )
    report = _report(funnel)
    if as_json:
        print_json({**funnel.as_dict(), "report": report})
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(funnel.table())
        for kind, rows in funnel.errors.items():
            console.print(f"errors: {rows:,} rows {kind}", markup=False)
        for reason in [] if funnel.kept else why_nothing(funnel):
            console.print(f"nothing was kept; dropped by {reason}", markup=False)
        console.print(f"cut: {funnel.cut}", markup=False)
        if report is not None:
            console.print(f"report: {report}", markup=False)
    for place, why in funnel.unreadable.items():
        print(f"cupel: incomplete: {place}: {why}", file=sys.stderr)
    if funnel.unreadable:
        raise typer.Exit(INCOMPLETE)


def _report(funnel: Funnel) -> str | None:
    """Where the cut's report lies, written if it is not there. The run is done: what goes wrong here is only told."""
    from .inspect.report.report import NAME, write_report
    from .store import open_store

    try:
        if open_store(funnel.cut).exists(NAME):
            return f"{funnel.cut}/{NAME}"
        return write_report(funnel.cut)
    except (CorpusError, RecipeError, SourceError, ShardError, OSError) as error:
        print(f"cupel: the report could not be written: {error}", file=sys.stderr)
        return None


@app.command()
def check(
    recipe: RecipeArg,
    input: InputArg = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="CORPUS", callback=given, help="Say what is measured already in this corpus."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(metavar="N", min=0, help="Run on N rows spread over the shards; tell yield, time and cost.")
    ] = 0,
    ray_address: RayOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Check a recipe and show its plan: groups of steps, barriers, resources, what is measured already.

    Example: cupel check pairs_starter photos/ --sample 500
    """
    with told():
        from .check import check_recipe

        with Terminal() as progress:
            plan = check_recipe(recipe, input, out=out, sample=sample, ray_address=ray_address, progress=progress)
    print_json(plan.as_dict()) if as_json else Console(highlight=False).print(plan.table())


add_inspect_to(app)


@app.command()
def verify(corpus: CorpusArg, as_json: JsonOpt = False) -> None:
    """Check every cut of a corpus: checksums, rows in = kept + dropped, nothing orphaned.

    Exit code 0: sound; 1: something is not, and it is told what; 2: there is no corpus.

    Example: cupel verify corpus
    """
    with told():
        from .verify import verify_corpus

        found = verify_corpus(corpus)
    if as_json:
        print_json(found.as_dict())
    else:
        for line in found.lines():
            print(line)
    if found.faults:
        raise typer.Exit(FAULTY)


@app.command()
def export(
    cut: Annotated[
        str, typer.Argument(metavar="CUT", callback=given, help="A cut's folder, or a corpus with one cut.")
    ],
    to: Annotated[
        Literal["webdataset", "parquet", "uids", "obelics", "mmc4"],
        typer.Option(
            "--to",
            help="webdataset: tars that open_clip reads; parquet: the curated files; uids: DataComp's array; "
            "obelics, mmc4: documents as these have them.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="OUT", callback=given, help="A folder; for uids an .npy file."),
    ],
    as_json: JsonOpt = False,
) -> None:
    """Hand a cut to another program. uids need no images, so they can be had of a cut decided with --no-write.

    Example: cupel export corpus/cuts/pairs_starter-1a2b3c4d --to webdataset --out tars
    """
    with told():
        from .export import export_cut

        result = export_cut(cut, to, out)
    if as_json:
        return print_json(result)
    print(f"{result['rows']:,} rows in {result['files']:,} files: {out}")
    for lack in ("image", "text"):
        if result.get(f"without_{lack}"):
            print(f"{result[f'without_{lack}']:,} of them without {'an' if lack == 'image' else 'a'} {lack}")
    if result.get("unmatched"):
        print(f"{result['unmatched']:,} images left out: no sentence was matched with them")
    return None


add_train_to(app)
add_evaluate_to(app)
add_compare_to(app)


@app.command()
def operators(name: NameArg = None, as_json: JsonOpt = False) -> None:
    """List the operators, or show what one measures: parameters, columns, units, source.

    Example: cupel operators image.phash
    """
    try:
        show_page(operator_page(name) if name else operators_table(), as_json)
    except KeyError as error:
        fail(f"{error.args[0]} (`cupel operators` lists them)")


@app.command()
def recipes(name: NameArg = None, as_json: JsonOpt = False) -> None:
    """List the shipped recipes, or print one to start your own from.

    Example: cupel recipes pairs_starter > mine.yaml
    """
    try:
        if name and not as_json:
            print(recipe_page(name)["yaml"], end="")
        elif name:
            print_json(recipe_page(name))
        else:
            show_page(recipes_table(), as_json)
    except KeyError as error:
        fail(str(error.args[0]))
