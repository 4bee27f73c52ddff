"""Pages to what they hold, by way of a process that a page may kill."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..decode import RowError

MESSAGE_BYTES: Final = 4 << 20  # of pages sent at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """HTML and where it was found."""

    html: bytes
    url: str
    content_type: str | None = None


class Parser:
    """A worker process, started when first needed and again after it died. One thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def parse(self, pages: Sequence[Page], **what: Any) -> list[Any | RowError]:
        """What is found on each page, or why it is not, in order; `what` are the fields of a message."""
        with self._lock:
            try:
                return [answer for part in _messages(pages) for answer in self._answers(part, what)]
            except BaseException:
                self._kill()  # answers that nobody has read would be taken for the next pages'
                raise

    def start(self) -> None:
        """Start the process, which takes a moment, before there is a page."""
        with self._lock:
            self._started()

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _answers(self, pages: Sequence[Page], what: dict[str, Any]) -> Iterator[Any | RowError]:
        done, deaths = 0, 0
        while done < len(pages):
            todo = pages[done : done + 1] if deaths else pages[done:]
            self._send(todo, what)
            for _ in todo:
                answer = self._receive()
                if isinstance(answer, int):
                    deaths += 1
                    if answer != -signal.SIGPROF and deaths < 2:
                        break  # once more, by itself: something else may have killed the process
                    answer = _killed(answer, what["max_seconds"])
                done, deaths = done + 1, 0
                yield answer
                if self._process is None:
                    break

    def _send(self, pages: Sequence[Page], what: dict[str, Any]) -> None:
        process = self._started()
        about = [(len(page.html), page.url, page.content_type) for page in pages]
        head = json.dumps(what | {"pages": about}).encode()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died between two messages: there will be no answer either
            for part in (head + b"\n", *(page.html for page in pages)):
                process.stdin.write(part)
            process.stdin.flush()

    def _receive(self) -> Any | RowError | int:
        """An answer, or how the process ended."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            return self._ended()
        answer = json.loads(line)
        return RowError(*answer["error"]) if "error" in answer else answer["found"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # after a fork it is the other process's
            self._owner = os.getpid()
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}._worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            assert process.stdout is not None
            if not process.stdout.readline():  # it says that it is ready; no page is to blame
                raise RuntimeError(f"the process that parses pages does not start: exit status {self._ended()}")
        return self._process

    def _kill(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._ended()

    def _ended(self) -> int:
        """The exit status of a process that is about to end; minus the signal where one killed it."""
        process, self._process = self._process, None
        assert process is not None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return process.wait()


def _messages(pages: Sequence[Page]) -> Iterator[list[Page]]:
    message: list[Page] = []
    size = 0
    for page in pages:
        if message and size + len(page.html) > MESSAGE_BYTES:
            yield message
            message, size = [], 0
        message.append(page)
        size += len(page.html)
    if message:
        yield message


def _killed(status: int, max_seconds: float) -> RowError:
    if status == -signal.SIGPROF:
        return RowError("timed_out", f"it takes more than {max_seconds:g} CPU seconds to read it")
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return RowError("parser_crash", f"the page killed the parser: {how}")


PARSER: Final = Parser()  # one a process
atexit.register(PARSER.stop)
