"""Who may ask, and what a browser may do with the answer.

The page shows crawled data on the machine of someone who is logged in elsewhere, so a web page that they visit must not
reach it: loopback only, a token in the printed address that becomes a cookie of this port, the Host header checked
(DNS rebinding), foreign origins refused, and on every answer a policy that runs no foreign script and loads nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from .state import State

_POLICY = {
    "default-src": "'none'",
    "img-src": "'self'",
    "style-src": "'self'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "font-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{kind} {what}" for kind, what in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_OPEN_IT = "Open the address that `cupel inspect` printed"
_OPEN = ("/static/",)  # no secrets there, and the page that refuses has a style too


class RefusedError(Exception):
    """A request that is not answered: what to tell, in words, and the status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Guard:
    """Around the whole application, its error pages included."""

    def __init__(self, app: Starlette, state: State, refuse: Callable[[Request, RefusedError], Response]) -> None:
        self.app, self.state, self.refuse = app, state, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a web socket is closed unanswered

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        try:
            answer = self._answer(request)
        except RefusedError as refused:
            scope["app"] = self.app
            answer = self.refuse(request, refused)
        await (answer or self.app)(scope, receive, guarded)

    def _answer(self, request: Request) -> Response | None:
        """What to answer without the application; None where it is to answer. Raises RefusedError."""
        self._check_place(request)
        if (given := request.query_params.get("token")) is not None:
            return self._let_in(request, given)
        self._check_token(request)
        return None

    def _check_place(self, request: Request) -> None:
        """The request was made to this server by name, and not by a page of another."""
        hosts = [f"{name}:{self.state.port}" for name in ("127.0.0.1", "localhost")]
        host = request.headers.get("host", "")
        if host not in hosts:
            forward = f"If you forward a port to here, give it the same number: {self.state.port}."
            raise RefusedError(421, f"This page answers to {' and '.join(hosts)} only. {forward}")
        reads = request.method in ("GET", "HEAD")
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site")
        if not reads and origin != f"http://{host}":
            raise RefusedError(403, "Only this page's own forms may send something here.")
        visit = request.headers.get("sec-fetch-mode") == "navigate" and reads
        if site is not None and site not in ("same-origin", "none") and not visit:
            raise RefusedError(403, "Another page asked for this; only this page may.")

    def _check_token(self, request: Request) -> None:
        if request.url.path.startswith(_OPEN):
            return
        if not self._is_token(request.cookies.get(self.state.cookie, "")):
            raise RefusedError(
                403, "Open the address that `cupel inspect` printed; it holds the token that lets you in."
            )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.state.token.encode())

    def _let_in(self, request: Request, given: str) -> RedirectResponse:
        """The token becomes a cookie, and goes out of the address."""
        if not self._is_token(given):
            raise RefusedError(
                403, "This token is not (or no longer) valid. Open the address that `cupel inspect` printed."
            )
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
        path = "/" + request.url.path.lstrip("/")  # never another host's: //evil.example
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(self.state.cookie, self.state.token, httponly=True, samesite="strict", path="/")
        return answer
