"""The fetcher in a thread of its own: connections go on while the caller measures and writes."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from ._budgets import Budgets
from ._fetch import Fetcher, FetchSettings, Memory
from ._outcome import Outcome


def fetch_all(
    urls: Sequence[str], settings: FetchSettings, budgets: Budgets, memory: Memory
) -> Iterator[list[Outcome]]:
    """Every URL's outcome, once, in chunks of a few MB as they arrive. The caller asks for no URL twice."""
    thread = _Thread(urls, settings, budgets, memory)
    try:
        yield from thread.chunks()
    finally:
        thread.stop()


class _Thread:
    """An event loop that runs one fetcher."""

    def __init__(self, urls: Sequence[str], settings: FetchSettings, budgets: Budgets, memory: Memory) -> None:
        self._chunks: queue.SimpleQueue[list[Outcome] | BaseException | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._fetcher = Fetcher(urls, settings, budgets, memory, self._chunks.put)
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._task: asyncio.Task[None] | None = None
        self._thread.start()

    def chunks(self) -> Iterator[list[Outcome]]:
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            self._tell(self._fetcher.taken)

    def stop(self) -> None:
        """At the end, or when the caller wants no more."""
        self._tell(self._fetcher.stop)
        self._thread.join()

    def _tell(self, what: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(what)
            except RuntimeError:
                return  # closed in between: there is nobody left to tell

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._fetcher.run())
        except BaseException as error:  # noqa: BLE001  raised in the caller's thread
            end = error
            while isinstance(end, BaseExceptionGroup):
                end = end.exceptions[0]
        self._chunks.put(end)
