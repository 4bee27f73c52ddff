"""A real Chromium for tests: what its pages ask for, write to the console and try to open is written down.

Nothing leaves the machine: the browser's own traffic goes to a proxy that is not there, and that of its pages, as far
as it is not for loopback, to one that writes the request down and hangs up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Response, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-background-networking"),
    *("--disable-component-update", "--disable-default-apps", "--autofill-server-url=http://127.0.0.1:9/"),
)
NOWHERE = "http://127.0.0.1:9"  # the port of `discard`, which nobody serves
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
CONTRAST = "color-contrast"
PHONE = 390
FEW = """() => {
  for (const all of document.querySelectorAll("main, main *, body")) {
    const counts = {};
    for (const e of [...all.children]) {
      const kind = `${e.tagName} ${e.getAttribute("class")}`;
      counts[kind] = (counts[kind] ?? 0) + 1;
      if (counts[kind] > 3 && !["SECTION", "FORM", "FIELDSET"].includes(e.tagName)) e.remove();
    }
  }
}"""


def program() -> str | None:
    """Path of a Chromium: $CUPEL_CHROMIUM, one on PATH, or playwright's own; None where there is none."""
    named = os.environ.get("CUPEL_CHROMIUM")
    found = (shutil.which(name) for name in ((named,) if named else PROGRAMS))
    path = next(filter(None, found), None)
    if path is None and not named:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    return path if path and os.access(path, os.X_OK) else None


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A browser with a new empty profile."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*QUIET, *sandbox], proxy={"server": NOWHERE}, chromium_sandbox=not sandbox
        )
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that somebody looks at, and what it did meanwhile."""

    page: Page
    asked: list[str] = field(default_factory=list)  # addresses
    faults: list[str] = field(default_factory=list)  # console errors, uncaught exceptions, dialogs, failed requests
    downloads: list[str] = field(default_factory=list)  # that no test asked for
    left: list[str] = field(default_factory=list)  # what was asked of others than loopback

    def barriers(self) -> list[str]:
        """What bars some people from using the page: what axe finds in light and dark, too wide for a phone.

        Contrast is looked at in the first few of what is repeated, as it takes axe seconds; the others are removed, so
        call it last.
        """
        wide = [
            f"{width} px: wider by {self.overflow_px(width)} px" for width in (PHONE, 1400) if self.overflow_px(width)
        ]
        self.page.evaluate(AXE_SCRIPT)
        found = self._axe({"type": "tag", "values": RULES}, {CONTRAST: {"enabled": False}})
        self.page.evaluate(FEW)
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme)
            found += [f"{scheme}: {each}" for each in self._axe({"type": "rule", "values": [CONTRAST]}, {})]
        return wide + found

    def _axe(self, only: dict[str, Any], rules: dict[str, Any]) -> list[str]:
        options = {"runOnly": only, "rules": rules, "resultTypes": ["violations"]}
        found = self.page.evaluate("options => axe.run(document, options)", options)["violations"]
        return [f"{each['id']}: {node['html'][:300]}" for each in found for node in each["nodes"]]

    def overflow_px(self, width: int) -> int:
        """By how much the page is wider than a window of this width."""
        self.page.set_viewport_size({"width": width, "height": 900})
        found: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return found


@contextmanager
def visit(browser: Browser, *, scripts: bool = True) -> Iterator[Visit]:
    """A window of its own, without cookies; fails at the end if a page did what it should not."""
    with _listener() as (port, heard):
        context = browser.new_context(
            viewport={"width": 1400, "height": 900},
            java_script_enabled=scripts,
            proxy={"server": f"http://127.0.0.1:{port}", "bypass": "127.0.0.1,localhost"},
        )
        context.set_default_timeout(15_000)
        watched = Visit(context.new_page(), left=heard)
        _watch(watched)
        yield watched
        context.close()
    away = [address for address in watched.asked if not _stays(address)]
    faults = [*watched.left, *away, *watched.faults, *watched.downloads]
    assert not faults, faults


def _watch(watched: Visit) -> None:
    page, faults = watched.page, watched.faults

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"console: {message.text}")

    def dialog(opened: Dialog) -> None:
        faults.append(f"{opened.type}: {opened.message}")
        opened.dismiss()

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a page was left while it loaded
            faults.append(f"failed: {request.url}: {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400 and response.status != 503:  # 503: rows are being read, the page asks again
            faults.append(f"{response.status}: {response.url}")

    page.on("console", console)
    page.on("dialog", dialog)
    page.on("requestfailed", failed)
    page.on("response", answered)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("popup", lambda opened: faults.append(f"opened: {opened.url}"))
    page.on("download", lambda download: watched.downloads.append(f"download: {download.url}"))
    page.on("request", lambda request: watched.asked.append(request.url))


def _stays(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("data", "blob", "file", "about") or parts.hostname in ("127.0.0.1", "localhost")


def _first_line(connection: socket.socket) -> str:
    connection.settimeout(0.5)
    try:
        return connection.recv(4096).partition(b"\r\n")[0].decode("latin-1") or "a connection"
    except OSError:
        return "a connection"


@contextmanager
def _listener() -> Iterator[tuple[int, list[str]]]:
    """A proxy that hangs up: its port, and the first line of each request."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    with server.accept()[0] as connection:
                        heard.append(_first_line(connection))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
    thread.join()
