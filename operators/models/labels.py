"""Lists of labels: shipped ones by name, a text file, or the recipe's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..registry import did_you_mean

FOLDER: Final = Path(__file__).parent / "labels"


def shipped_lists() -> dict[str, Path]:
    """The lists that come with Cupel, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.txt"))}


def list_file(labels: str) -> Path:
    """The file that a name or a path stands for. ValueError with near names."""
    found = shipped_lists().get(labels, Path(labels))
    if not found.is_file():
        near = did_you_mean(labels, list(shipped_lists()))
        raise ValueError(f"no list of labels {labels!r}{near} (shipped: {', '.join(shipped_lists())}; or a text file)")
    return found


def read_labels(labels: str | tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels, and those of them that are watched for. ValueError where there are fewer than two, or one twice.

    A file has a label a line; `!` before it says that it is watched, `#` begins a comment.
    """
    if isinstance(labels, str):
        lines = [line.strip() for line in list_file(labels).read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
    else:
        lines = [label.strip() for label in labels]
    names = tuple(line.removeprefix("!").strip() for line in lines)
    if len(names) < 2 or not all(names):
        raise ValueError(
            f"labels holds {list(names)}: a label is chosen among others, so give at least two, none empty"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"labels holds {twice!r} twice")
    return names, tuple(name for name, line in zip(names, lines, strict=True) if line.startswith("!"))
