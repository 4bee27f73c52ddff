"""The process that parses pages: `python -m cupel.operators.page._worker`, started by `_parser`, one for each user.

Pages are hostile and the parser is native code, so they are read where a crash, an endless loop or a bomb of memory
costs one page. The kernel keeps the limits: a timer of CPU seconds whose signal nobody catches, and RLIMIT_AS. It ends
when its standard input does, which is when whoever started it has died.

A message in is a line of JSON (what to do, and each page's URL, type and length) and the pages; an answer for each
page, in order, is a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

from ._page import TASKS, Task
from ._tree import TooDeepError, TooLargeError

MEMORY_BYTES: Final = 2 << 30


def main() -> None:
    """Answer messages until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else gets among the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it will end it
    answers.write(b"ready\n")
    answers.flush()
    with contextlib.suppress(BrokenPipeError):  # there is nobody left to tell
        serve(sys.stdin.buffer, answers)


def serve(messages: BinaryIO, answers: BinaryIO) -> None:
    while line := messages.readline():
        message = json.loads(line)
        task = TASKS[message["task"]]
        pages = [(messages.read(length), url, sent_type) for length, url, sent_type in message["pages"]]
        for html, url, sent_type in pages:
            signal.setitimer(signal.ITIMER_PROF, message["max_seconds"])
            answer = json.dumps(answer_of(task, html, url, sent_type, message["opt_outs"]))
            signal.setitimer(signal.ITIMER_PROF, 0)
            answers.write(answer.encode() + b"\n")
            answers.flush()


def answer_of(task: Task, html: bytes, url: str, sent_type: str | None, opt_outs: Sequence[str]) -> dict[str, Any]:
    """`{"found": ...}`, or `{"error": [class, message]}`."""
    try:
        return {"found": task(html, url, sent_type, opt_outs)}
    except TooDeepError as error:
        return {"error": ["too_deep", str(error)]}
    except TooLargeError as error:
        return {"error": ["too_large", str(error)]}
    except MemoryError:
        return {"error": ["too_large", f"it takes more than {MEMORY_BYTES >> 20} MB to read it"]}
    except Exception as error:  # noqa: BLE001 - the border of a row: whatever it is, it is this page's
        return {"error": ["parser_crash", f"{type(error).__name__}: {error}"[:200]]}


if __name__ == "__main__":
    main()
