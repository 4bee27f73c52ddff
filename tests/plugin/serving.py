"""`cupel inspect` as a process of its own, and requests to it that a browser would not make."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

START_S = 60
COMMAND = (sys.executable, "-m", "cupel", "inspect")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A running server."""

    corpus: Path
    address: str  # as printed, with the token
    pid: int

    @property
    def origin(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def cut(self) -> str:
        """The path of the newest cut's pages."""
        return f"/cut/{self.newest.name}"

    @property
    def newest(self) -> Path:
        """The folder of the cut that was made last."""
        manifests = (self.corpus / "cuts").glob("*/manifest.json")
        return max(manifests, key=lambda path: json.loads(path.read_text())["finished_at"]).parent

    @property
    def manifest(self) -> Any:
        """What that cut says of itself."""
        return json.loads((self.newest / "manifest.json").read_text())

    def row(self, column: str, value: str) -> str:
        """The end of the address of the one row whose column holds this text: `0/0/17`."""
        asked = urlencode({"fate": "all", "column": column, "op": "contains", "value": value})
        (card,) = self.ready(f"{self.cut}/rows.json?{asked}").json["cards"]
        return "{space}/{shard}/{row}".format(**card)

    def ask(self, path: str, method: str = "GET", *, body: bytes | None = None, **headers: str) -> Answer:
        """One request with the cookie that the token gives; `_` in a header's name is `-`. The path goes as it is."""
        given = {"Cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._send(path, method, body, given)

    def ready(self, path: str) -> Answer:
        """A page's answer, asked again while rows are being read."""
        began = time.monotonic()
        while time.monotonic() - began < START_S:
            answer = self.ask(path)
            if answer.status != 503 and "refresh" not in answer.headers:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"{path} is not answered")

    def kinds(self, *, queries: bool = False) -> dict[str, str]:
        """An address of each kind of page that links lead to, by its path without names and numbers.

        With `queries` pages that are asked for other things are kinds of their own.
        """
        found: dict[str, str] = {}
        waiting = ["/"]
        while waiting:
            path = waiting.pop(0)
            if (kind := _kind(path, queries)) in found:
                continue
            answer = self.ready(path)
            if answer.headers["content-type"].startswith("text/html"):
                found[kind] = path
                links = (urlsplit(urljoin(path, link)) for link in hrefs(answer.body.decode()))
                waiting += [f"{to.path}?{to.query}".rstrip("?") for to in links if not to.netloc and not to.scheme]
        return found

    def pages(self) -> list[str]:
        """An address of each kind of page, and of those that have something only when asked for it."""
        cuts = (path.parent.name for path in (self.corpus / "cuts").glob("*/manifest.json"))
        others = [f"{self.cut}/compare?with={name}" for name in cuts if name != self.newest.name]
        return [*self.kinds().values(), f"{self.cut}/search?q=a", *others]

    @property
    def cookie(self) -> str:
        parts = urlsplit(self.address)
        found = self._send(f"{parts.path}?{parts.query}", "GET", None, {}).headers["set-cookie"]
        return found.partition(";")[0]

    def _send(self, path: str, method: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=START_S)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()


def _kind(path: str, queries: bool) -> str:
    parts = urlsplit(path)
    kind = re.sub(r"(?<=/)\d+", "N", re.sub("^/cut/[^/]+", "/cut", parts.path))
    return " ".join([kind, *sorted(parse_qs(parts.query) if queries else ())])


def hrefs(html: str) -> list[str]:
    """Where a page's links lead."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, given: found.extend(  # type: ignore[method-assign]
        value for name, value in given if tag == "a" and name == "href" and value
    )
    parser.feed(html)
    return found


@contextmanager
def serving(corpus: Path, *options: str) -> Iterator[Site]:
    """Start it on a free port, and stop it at the end."""
    command = [*COMMAND, str(corpus), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            lines = iter(process.stdout.readline, "")
            found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/\S+", line) for line in lines)), None)
            assert found, "the server did not start"
            yield Site(corpus, found.group(), process.pid)
        finally:
            process.terminate()
            process.wait(START_S)
