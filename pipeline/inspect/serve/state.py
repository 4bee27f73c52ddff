"""What the server holds: the corpus, its cuts, and the rows of those that were looked at last."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from starlette.exceptions import HTTPException

from ...cuts import CutEntry, list_cuts
from ..opened import OpenedCut, open_cut
from ..pictures.thumbnails import Pictures
from ..rows import CutRows, load_rows

CUTS_IN_MEMORY = 2
LIST_AGE_S = 2.0  # a run may add a cut while the page is open
PATIENCE_S = 3.0  # how long a page waits for rows that are being loaded, before it shows that they are

T = TypeVar("T")


class LoadingError(Exception):
    """The rows of a cut are being read; ask again in a moment."""

    def __init__(self, cut: str, since_s: float) -> None:
        super().__init__(f"the rows of {cut} are being read")
        self.cut, self.since_s = cut, since_s


class State:
    """Shared by all requests; every method may be called from any thread."""

    def __init__(self, place: str, *, labels: str | None = None, port: int = 0, token: str | None = None) -> None:
        """`place` is a corpus, or a cut's own folder. Raises CorpusError when there is no finished cut."""
        first = open_cut(place)
        self.store, self.first = first.store, first.title
        self.name = self.store.uri.rstrip("/").rpartition("/")[2]
        self.labels = Path(labels) if labels is not None else None
        self.port, self.token = port, token or secrets.token_urlsafe(32)
        self._lock, self._listing = threading.Lock(), threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cupel-rows")
        self._listed: tuple[float, list[CutEntry]] = (float("-inf"), [])
        self._opened: dict[str, OpenedCut] = {first.title: first}
        self._held: OrderedDict[str, _Held] = OrderedDict()

    @property
    def cookie(self) -> str:
        """The cookie's name: cookies are not told apart by port, and two servers may run."""
        return f"cupel-{self.port}"

    def cuts(self) -> list[CutEntry]:
        """The finished cuts, newest first; while one thread lists them anew, others take the list there was."""
        at, found = self._listed
        if time.monotonic() - at > LIST_AGE_S and self._listing.acquire(blocking=not found):
            try:
                if self._listed[0] == at:  # nobody has while this one waited
                    self._listed = (time.monotonic(), list_cuts(self.store))
            finally:
                self._listing.release()
        return self._listed[1]

    def cut(self, title: str) -> OpenedCut:
        """A cut by its folder's name, looked up among the cuts there are. HTTPException 404 when none is it.

        A run may make a cut again in the same folder (an incomplete one, or to write it): then it is opened again.
        """
        entry = next((entry for entry in self.cuts() if entry.title == title), None)
        if entry is None:
            raise HTTPException(404, f"There is no cut {title[:100]!r} in this corpus.")
        opened = self._opened.get(title)
        if opened is not None and opened.manifest == entry.manifest:
            return opened
        made = OpenedCut(self.store, entry)
        with self._lock:
            opened = self._opened.get(title)
            if opened is None or opened.manifest != entry.manifest:  # another thread may have been as quick
                opened = self._opened[title] = made
            return opened

    def start_loading(self, title: str) -> None:
        """Read a cut's rows in the background, unless they are there or on their way."""
        self._loading(self._hold(title))

    def rows(self, title: str, patience_s: float = PATIENCE_S) -> CutRows:
        """The rows of a cut. Raises LoadingError where they are not there yet, and what went wrong reading them."""
        held = self._hold(title)
        since, future = self._loading(held)
        try:
            return future.result(patience_s)
        except TimeoutError as error:
            if future.done():
                raise
            raise LoadingError(title, time.monotonic() - since) from error
        except CancelledError as error:  # the cut gave way to others, or to itself made again
            raise LoadingError(title, time.monotonic() - since) from error
        except BaseException:
            with self._lock:  # what failed may be tried again
                held.loading = None
            raise

    def once(self, title: str, name: str, make: Callable[[CutRows], T]) -> T:
        """Something made of a cut's rows (a what-if, an index), made once and forgotten with the rows.

        Raises LoadingError where the rows are not there yet.
        """
        rows = self.rows(title)
        return cast(T, self._made(title, rows.cut, f"rows {name}")(lambda: make(rows)))

    def of_cut(self, title: str, name: str, make: Callable[[OpenedCut], T]) -> T:
        """Something made of a cut without its rows, made once and forgotten when other cuts are looked at."""
        cut = self.cut(title)
        return cast(T, self._made(title, cut, f"cut {name}")(lambda: make(cut)))

    def _hold(self, title: str) -> _Held:
        """What is in memory of a cut; what was looked at least lately gives way, and what is of an earlier run."""
        cut = self.cut(title)
        with self._lock:
            found = self._held.pop(title, None)
            gone = [found] if found is not None and found.cut is not cut else []
            if found is None or gone:
                found = _Held(cut=cut)
            self._held[title] = found
            gone += [self._held.popitem(last=False)[1] for _ in range(len(self._held) - CUTS_IN_MEMORY)]
        for held in gone:
            held.close()
        return found

    def _loading(self, held: _Held) -> tuple[float, Future[CutRows]]:
        with self._lock:
            if held.loading is None:
                held.loading = (time.monotonic(), self._pool.submit(load_rows, held.cut, wanted=held.is_wanted))
            return held.loading

    def _made(self, title: str, cut: OpenedCut, name: str) -> _Once:
        """Where something made of this cut is kept: nowhere if the cut was made again in this moment."""
        held = self._hold(title)
        if held.cut is not cut:
            return _Once()
        with self._lock:
            return held.made.setdefault(name, _Once())

    def close(self) -> None:
        """Wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for held in self._held.values():
            held.close()


@dataclass(kw_only=True)
class _Held:
    """A cut with its rows, and what was made of them."""

    cut: OpenedCut
    loading: tuple[float, Future[CutRows]] | None = None  # since when, and what will come
    made: dict[str, _Once] = field(default_factory=dict)
    closed: bool = False

    def is_wanted(self) -> bool:
        """Is anybody still to look at it?"""
        return not self.closed

    def close(self) -> None:
        """Nobody waits for what is not begun, and what is begun ends soon."""
        self.closed = True
        if self.loading is not None:
            self.loading[1].cancel()
        for once in self.made.values():
            once.close()


class _Once:
    """A value that the first who asks makes, while the others wait."""

    def __init__(self) -> None:
        self._lock, self._found = threading.Lock(), list[Any]()

    def __call__(self, make: Callable[[], Any]) -> Any:
        with self._lock:
            if not self._found:
                self._found.append(make())
            return self._found[0]

    def close(self) -> None:
        for found in self._found:
            if isinstance(found, Pictures):
                found.close()
