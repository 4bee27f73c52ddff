"""`cupel inspect`: the pages of a corpus on loopback, until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ....operators.source.base import ShardError, SourceError
from ...read import CorpusError
from ...recipe_file import RecipeError
from ..labels.file import Labels
from . import (
    browse,
    comparing,
    document,
    labelling,
    overview,
    pictured,
    row,
    samples,
    searching,
    thresholds,
)
from .page import JSON, Page, answer
from .security import Guard, RefusedError
from .state import LoadingError, State

STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# The pages of a cut, in the order of their tabs: name of the tab, last part of the address, module.
TABS = (
    ("Overview", "", overview),
    ("Samples", "samples", samples),
    ("Rows", "rows", browse),
    ("Documents", "documents", document),
    ("Thresholds", "thresholds", thresholds),
    ("Search", "search", searching),
    ("Label", "label", labelling),
    ("Compare", "compare", comparing),
)
_MORE = (row, pictured)  # pages without a tab


def serve(place: str, *, port: int = 0, labels: str | None = None, open_browser: bool = False) -> None:
    """Show a corpus, or a cut by its own folder, until Ctrl-C; prints the address, which holds a token.

    `port` 0 takes a free one; `labels` is the file that labels are written to. Raises CorpusError when there is no
    finished cut, or `labels` holds something else; OSError, in words, when the port is taken.
    """
    state = State(place, labels=labels)
    if state.labels is not None:
        Labels(state.labels)
    with socket.socket() as listener, suppress(KeyboardInterrupt):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listener, port)
        state.port = listener.getsockname()[1]
        server_of(state, open_browser=open_browser).run(sockets=[listener])
    state.close()


def _bind(listener: socket.socket, port: int) -> None:
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        why = f"port {port} of 127.0.0.1 cannot be used ({error.strerror})"
        raise OSError(f"{why}; give another with --port, or 0 for one that is free") from error


def server_of(state: State, *, open_browser: bool = False) -> uvicorn.Server:
    """The server of an application; addresses are not logged, because one holds the token."""
    state.start_loading(state.first)
    config = uvicorn.Config(
        make_app(state),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return _Announced(config, f"http://127.0.0.1:{state.port}/?token={state.token}", open_browser=open_browser)


class _Announced(uvicorn.Server):
    """Tells its address when it answers there, and Ctrl-C ends it."""

    def __init__(self, config: uvicorn.Config, address: str, *, open_browser: bool) -> None:
        super().__init__(config)
        self.address, self.open_browser = address, open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"{self.address}\nCtrl-C ends it.", flush=True)
        if self.open_browser:
            webbrowser.open(self.address)


def make_app(state: State) -> Guard:
    """The application; nothing is answered to who has no token."""
    modules = [*(module for _, _, module in TABS), *_MORE]
    routes = [route for module in modules for route in module.routes]
    app = Starlette(routes=[*routes, *_static_routes()], exception_handlers=_HANDLERS)
    app.state.served = state
    app.state.tabs = [(label, path) for label, path, _ in TABS]
    return Guard(app, state, _refusal)


def _static_routes() -> list[Route]:
    """A route for each file there is now: no path is ever made of an address."""
    files = [file for file in sorted(STATIC.iterdir()) if file.suffix in _KINDS]
    return [_static_route(file.name, file.read_bytes(), _KINDS[file.suffix]) for file in files]


def _static_route(name: str, data: bytes, kind: str) -> Route:
    def endpoint(_: Request) -> Response:
        return Response(data, media_type=kind, headers={"Cache-Control": "no-cache"})

    return Route(f"/static/{name}", endpoint)


# What went wrong, in words


def _refusal(request: Request, error: RefusedError) -> Response:
    return _told(request, error.status, error.why, bare=True)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = error.detail if error.status_code != 404 or error.detail != "Not Found" else "There is no such page."
    return _told(request, error.status_code, why, headers=error.headers)


def _corpus_error(request: Request, error: Exception) -> Response:
    return _told(request, 409, str(error))


def _unreadable(request: Request, error: Exception) -> Response:
    """A file of the corpus that is gone or damaged."""
    return _told(request, 409, f"A file of this corpus cannot be read: {error}")


def _unforeseen(_: Request, error: Exception) -> Response:
    """What Arrow cannot do with a type is no fault of a file: it goes on to be told as one of ours."""
    raise error


def _fault(request: Request, _: Exception) -> Response:
    """A fault of ours: uvicorn writes the traceback to the terminal, the page shows none."""
    return _told(request, 500, "Cupel has a fault here. The terminal in which it runs says more.")


def _loading(request: Request, error: Exception) -> Response:
    """The page asks again by itself; a program is told to. (Of a 503 a browser writes an error to its console.)"""
    assert isinstance(error, LoadingError)
    data = {"loading": True, "cut": error.cut, "seconds": error.since_s}
    status = 503 if request.url.path.endswith(JSON) else 202
    made = Page(template="loading.html", title="Reading rows", data=data, cut=error.cut, reload_s=1, status=status)
    response = answer(request, made)
    response.headers["Retry-After"] = "1"
    return response


def _told(
    request: Request, status: int, why: str, *, bare: bool = False, headers: Mapping[str, str] | None = None
) -> Response:
    data = {"status": status, "error": why}
    response = answer(request, Page(template="error.html", title=f"{status}", data=data, status=status, bare=bare))
    response.headers.update(headers or {})
    return response


_HANDLERS = {
    HTTPException: _http_error,
    CorpusError: _corpus_error,
    ShardError: _corpus_error,
    SourceError: _corpus_error,
    RecipeError: _corpus_error,
    OSError: _unreadable,
    pa.ArrowException: _unreadable,
    pa.ArrowNotImplementedError: _unforeseen,
    LoadingError: _loading,
    Exception: _fault,
}
