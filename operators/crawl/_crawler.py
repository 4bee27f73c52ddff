"""What the operators that fetch share: their parameters, and what a worker keeps from shard to shard."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ..base import Batch, ByRow, Resources, operator
from ._budgets import local_budgets
from ._fetch import FetchSettings, Memory
from ._outcome import Outcome
from ._threaded import fetch_all


@operator
class Crawler(ByRow):
    """Parameters of fetching. Limits that keep a fetch from harming us or the host hold whatever they say."""

    user_agent: str = Field(
        "cupel/0.1 (+https://github.com/cupel-data/cupel)",
        pattern=r"^[A-Za-z][A-Za-z_.-]*(/\S+)? .*(https?://|@)[ -~]+$",
        max_length=300,
        description="NAME/VERSION and how to reach you: a URL or a mail address. robots.txt knows you by NAME",
    )
    connections: int = Field(256, ge=1, le=4096, description="at once, of one task")
    per_domain: int = Field(8, ge=1, le=1024, description="at once to one registered domain, of all tasks together")
    delay_s: float = Field(0.0, ge=0, le=60, description="least time from request to request to a domain")
    timeout_s: float = Field(30.0, gt=0, le=600, description="of a request with its redirects")
    connect_timeout_s: float = Field(10.0, gt=0, le=600, description="until there is a connection, with TLS")
    read_timeout_s: float = Field(10.0, gt=0, le=600, description="until the next byte, the first one included")
    shard_timeout_s: float = Field(3600.0, gt=0, description="what was not begun after so long is not_reached")
    retries: int = Field(2, ge=0, le=10, description="after time-outs, resets, 429 and 5xx")
    robots: bool = Field(True, description="respect robots.txt (RFC 9309)")
    tdm_reservation: bool = Field(True, description="respect TDMRep: the header, and /.well-known/tdmrep.json")
    opt_out: tuple[Annotated[str, Field(pattern="^[a-z:_-]+$")], ...] = Field(
        ("noai", "noimageai", "noindex", "noimageindex"),
        description="directives of X-Robots-Tag and of meta robots that are respected",
    )
    blocked_domains: str | None = Field(None, description="file of domains that are not asked, one a line")
    allow_hosts: tuple[str, ...] = Field(
        (), description="HOST or HOST:PORT that may be asked though its address is not public: for tests"
    )

    pace: ClassVar[frozenset[str]] = frozenset({
        *("connections", "per_domain", "delay_s", "timeout_s", "connect_timeout_s", "read_timeout_s"),
        *("shard_timeout_s", "retries"),
    })  # fmt: skip
    asks_hosts: ClassVar[bool] = True
    needs: ClassVar[Resources] = Resources(cpus=0.5)
    accept: ClassVar[str] = "*/*"
    codings: ClassVar[str] = "identity"

    @property
    def files(self) -> tuple[Path, ...]:
        return () if self.blocked_domains is None else (Path(self.blocked_domains),)

    def setup(self) -> None:
        _ = self.settings, self.memory

    @cached_property
    def memory(self) -> Memory:
        """Names and robots.txt stay known from shard to shard."""
        return Memory()

    @property
    @abstractmethod
    def most_bytes(self) -> int:
        """Of one body."""

    @cached_property
    def settings(self) -> FetchSettings:
        """The parameters as the fetcher has them."""
        return FetchSettings(
            user_agent=self.user_agent,
            accept=self.accept,
            codings=self.codings,
            max_bytes=self.most_bytes,
            timeout_s=self.timeout_s,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
            shard_timeout_s=self.shard_timeout_s,
            retries=self.retries,
            connections=self.connections,
            per_domain=self.per_domain,
            delay_s=self.delay_s,
            robots=self.robots,
            tdmrep=self.tdm_reservation,
            refused_directives=frozenset(self.opt_out),
            blocked_domains=read_domains(self.blocked_domains),
            allow_hosts=frozenset(host.lower() for host in self.allow_hosts),
        )

    def fetch(
        self, urls: Sequence[str], batch: Batch, end: float | None = None
    ) -> Generator[list[tuple[list[int], Outcome]], None, None]:
        """(places, outcome) of the URLs, each distinct one fetched once, in chunks as they arrive.

        `end`: by time.monotonic(), where this is one of several fetches that share `shard_timeout_s`.
        """
        settings = self.settings
        if end is not None:
            settings = replace(settings, shard_timeout_s=end - time.monotonic())
        places: dict[str, list[int]] = {}
        for place, url in enumerate(urls):
            places.setdefault(url, []).append(place)
        budgets = batch.budgets or local_budgets()
        of = list(places.values())
        for chunk in fetch_all(list(places), settings, budgets, self.memory):
            yield [(of[outcome.index], outcome) for outcome in chunk]


def read_domains(path: str | None) -> frozenset[str]:
    """Domains of a blocklist: one a line, `#` before remarks, `*.` before a domain says nothing more."""
    if path is None:
        return frozenset()
    lines = (line.partition("#")[0].strip().lower() for line in Path(path).read_text("utf-8").splitlines())
    return frozenset(re.sub(r"^\*?\.", "", line).encode("idna").decode() for line in lines if line)
