"""Rows that could not be trained on, of all ranks and starts of a run: `skips.jsonl` in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .ranks import Ranks
from .reader.making import Skip


class Skips:
    """Each rank notes its own in a file; they are brought together at the end."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder = folder
        self._mine = folder / f"skips.{ranks.rank}.jsonl"
        self._before = _lines(self._mine)  # of earlier starts

    def keep(self, skips: Sequence[Skip]) -> None:
        """Write down what this rank has met since it was started, and before."""
        found = {line["row"]: line for line in [*self._before, *map(asdict, skips)]}
        if found:
            _write(self._mine, list(found.values()))

    def all(self) -> list[dict[str, Any]]:
        """Of all ranks, each row once, in the order of rows."""
        found = {line["row"]: line for path in self.folder.glob("skips.*.jsonl") for line in _lines(path)}
        return [found[row] for row in sorted(found)]

    def gather(self) -> None:
        """One file in place of the ranks' own."""
        _write(self.folder / "skips.jsonl", self.all())
        for path in self.folder.glob("skips.*.jsonl"):
            path.unlink()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draft.replace(path)
