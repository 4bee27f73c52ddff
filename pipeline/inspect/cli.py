"""The commands that look at a corpus: inspect, stats, diff, show, audit. None of them measures or changes anything."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from ..told import JsonOpt, given, print_json, told

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPED: Final = 120  # columns, where no terminal says how wide it is

CorpusArg = Annotated[
    str, typer.Argument(metavar="CORPUS", callback=given, help="Corpus folder, or a cut's own folder; local or s3://.")
]
CutOpt = Annotated[
    str | None,
    typer.Option(
        "--cut", metavar="NAME", callback=given, help="A cut: its folder's name or its recipe's. Default: the newest."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (inspect, stats, diff, show, audit):
        app.command()(command)


def _print(lines: Iterable[RenderableType]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    for each in lines:
        console.print(each, soft_wrap=True)


def inspect(
    corpus: CorpusArg,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")] = 0,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", callback=given, help="Parquet file that labels are written to, for `cupel audit`."
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show a corpus in the browser: rows and why they went, thresholds to move, labels to give; until Ctrl-C.

    The address that is printed holds a token; nobody else on this machine can look without it.

    Example: cupel inspect corpus --labels labels.parquet
    """
    with told():
        from .serve.app import serve

        serve(corpus, port=port, labels=labels, open_browser=open_browser)


def stats(corpus: CorpusArg, cut: CutOpt = None, as_json: JsonOpt = False) -> None:
    """Tell a cut in numbers: the funnel, every score with its bounds, names, duplicates, errors.

    Example: cupel stats corpus --cut pairs_starter
    """
    with told():
        from .opened import open_cut
        from .printed import stats_lines
        from .stats import stats as stats_of

        found = stats_of(open_cut(corpus, cut))
        print_json(found.as_dict()) if as_json else _print(stats_lines(found))


def diff(
    cut_a: Annotated[str, typer.Argument(metavar="CUT_A", callback=given, help="A cut's folder, below CORPUS/cuts/.")],
    cut_b: Annotated[str, typer.Argument(metavar="CUT_B", callback=given, help="Another cut of the same corpus.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page that opens offline, too.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Compare two cuts of one corpus: rows only in one, what the other dropped them for, how scores differ.

    Example: cupel diff corpus/cuts/mine-1a2b3c4d corpus/cuts/mine-5e6f7a8b
    """
    with told():
        from .diff import diff_cuts
        from .opened import open_cut
        from .printed import diff_lines
        from .report.diff_page import write_page

        found = diff_cuts(open_cut(cut_a), open_cut(cut_b))
        if html is not None:
            write_page(found, html)
        print_json(found.as_dict()) if as_json else _print(diff_lines(found))


def show(
    corpus: CorpusArg,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            callback=given,
            help="A row's key, or its name: 00000003:17, 1/00000003:17 for one made of a row.",
        ),
    ],
    cut: CutOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Tell one row's whole story: every column, step by step, every rule with its value, duplicates, parent, children.

    Where several rows share the key, those of the source come first, 10 at most.

    Example: cupel show corpus 00000003:17
    """
    with told():
        from .find import LIMIT, find_rows
        from .opened import open_cut
        from .printed import story_lines
        from .story import tell

        opened = open_cut(corpus, cut)
        rows, more = find_rows(opened, key)
        stories = [tell(opened, row.space, row.shard, row.row) for row in rows]
        if as_json:
            print_json({"rows": [story.as_dict() for story in stories], "more": more})
            return
        for story in stories:
            _print(story_lines(story))
        if len(stories) > 1:
            which = f"these {LIMIT} and more" if more else f"{len(stories)}"
            print(f"\n{which} rows share this key; name one to see it alone: cupel show {corpus} {stories[-1].name}")


def audit(
    corpus: CorpusArg,
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            callback=given,
            help="Parquet or CSV with `label` (keep or drop; true means keep), and `key` or `shard` and `row`.",
        ),
    ],
    cut: CutOpt = None,
    step: Annotated[
        str | None, typer.Option(metavar="STEP", callback=given, help="One rule, as the funnel calls it: 'keep words'.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Hold a cut against labels: precision and recall of every rule, and of all, with 95 % intervals.

    A rule is judged by the labelled rows that were alive when it came. Labels that `cupel inspect --labels` wrote are
    drawn by stratum, and weighted accordingly.

    Example: cupel audit corpus labels.parquet
    """
    with told():
        from .labels.audit import audit as audit_cut
        from .opened import open_cut
        from .printed import audit_lines

        found = audit_cut(open_cut(corpus, cut), labels, step)
        print_json(found.as_dict()) if as_json else _print(audit_lines(found))
