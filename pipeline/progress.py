"""Tell how far a run has come: bars with rows/s and the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_EVERY_S = 10.0


class Reporter(Protocol):
    """What the engine tells."""

    def begin(self, stage: str, count: int, unit: str = "rows") -> None:
        """A stage over so many rows (or files) begins; 0: nobody knows how many."""

    def advance(self, count: int) -> None:
        """So many more are through."""

    def say(self, message: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nothing."""

    def begin(self, stage: str, count: int, unit: str = "rows") -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def say(self, message: str) -> None:
        pass


def _rate(of: float) -> str:
    return f"{of:,.0f}" if of >= 10 else f"{of:.2g}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{_rate(speed)} {task.fields['unit']}/s" if speed else "", style="cyan")


class Terminal:
    """Bars on a terminal; elsewhere a line at the beginning, every ten seconds and at the end."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bars: Progress | None = None
        if self._console.is_terminal:
            columns = (TextColumn("{task.description:<28}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate())
            self._bars = Progress(*columns, TimeRemainingColumn(), console=self._console)
        self._task: TaskID | None = None
        self._stage, self._unit, self._count, self._done = "", "", 0, 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def begin(self, stage: str, count: int, unit: str = "rows") -> None:
        self._stage, self._unit, self._count, self._done = stage, unit, count, 0
        self._began = self._told = time.monotonic()
        if self._bars:
            self._task = self._bars.add_task(stage, total=count or None, unit=unit)
        else:
            self._line()

    def advance(self, count: int) -> None:
        if not count:
            return
        self._done += count
        if self._bars and self._task is not None:
            self._bars.advance(self._task, count)
        elif time.monotonic() - self._told > LINE_EVERY_S or 0 < self._count <= self._done:
            self._told = time.monotonic()
            self._line()

    def say(self, message: str) -> None:
        self._console.print(message, markup=False)

    def _line(self) -> None:
        took = time.monotonic() - self._began
        line = self._stage
        if self._count or self._done:
            line += f": {self._done:,}" + (f"/{self._count:,}" if self._count else "") + f" {self._unit}"
        if self._done and took > 0:
            rate = self._done / took
            line += f", {_rate(rate)} {self._unit}/s"
            if self._done < self._count:
                line += f", {(self._count - self._done) / rate:,.0f} s left"
        self.say(line)
