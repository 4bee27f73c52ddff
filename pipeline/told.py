"""What all commands share: exit codes, errors told in a line, tables or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from ..operators.models.weights import ModelError
from ..operators.source.base import ShardError, SourceError
from .catalogue import Page
from .read import CorpusError, RunError
from .recipe_file import RecipeError

FAULTY: Final = 1  # exit codes
MISTAKEN: Final = 2
INCOMPLETE: Final = 3
STOPPED: Final = 130

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]


def given(value: str | None) -> str | None:
    """An unset shell variable would otherwise mean the current folder."""
    if value == "":
        raise typer.BadParameter("is empty")
    return value


GOES_ON: Final = "what was measured is kept, and the same command goes on from there"


@contextmanager
def told(stopped: str = GOES_ON) -> Iterator[None]:
    """What a user can mend is told in a line, without a traceback; after Ctrl-C, what that means."""
    try:
        yield
    except (RecipeError, SourceError, ShardError, CorpusError, RunError, ModelError) as error:
        fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror}" if error.strerror else str(error))
    except ValidationError as error:
        fail(f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}")
    except KeyboardInterrupt:
        print(f"stopped; {stopped}", file=sys.stderr)
        raise typer.Exit(STOPPED) from None


def fail(message: str) -> NoReturn:
    """Say it and end."""
    print(f"cupel: {message}", file=sys.stderr)
    raise typer.Exit(MISTAKEN)


def print_json(value: object) -> None:
    """One line to standard output."""
    print(json.dumps(value, ensure_ascii=False))


def show_page(page: Page, as_json: bool) -> None:
    """A table, or the same as JSON."""
    print_json(page.json) if as_json else Console().print(page.renderable(), highlight=False)
