"""crawl.site: the pages of a site, from its first one on."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from yarl import URL

from ...schemas.fields import field as column
from ..base import Batch, Extractor, operator
from ._addresses import join_url, vet_url
from ._budgets import domain_of
from ._columns import COMMON
from ._opt_out import directives, metas
from ._outcome import Outcome
from ._page_crawler import CONTENT_TYPE, HTML, PageCrawler, page_columns
from ._reasons import FetchError, Reason
from ._sitemaps import sitemap_urls
from ._tags import tags

MAX_SITEMAPS = 20
HELD_BYTES = 256 << 20  # of pages, in a call
_LINKS = frozenset(("a", "area", "base"))
# What a link says it leads to, where that is no page.
_NO_PAGE = frozenset((
    *("7z", "apk", "avi", "avif", "bin", "bmp", "bz2", "css", "csv", "deb", "dmg", "doc", "docx", "eot", "epub", "exe"),
    *("flac", "gif", "gz", "ico", "iso", "jar", "jpeg", "jpg", "js", "json", "m4a", "m4v", "mkv", "mov", "mp3", "mp4"),
    *("mpeg", "mpg", "msi", "odt", "ogg", "ogv", "otf", "pdf", "png", "ppt", "pptx", "ps", "rar", "rpm", "rss", "svg"),
    *("tar", "tgz", "tif", "tiff", "ttf", "txt", "wav", "webm", "webp", "wmv", "woff", "woff2", "xls", "xlsx", "xml"),
    *("xz", "zip"),
))  # fmt: skip


@dataclass(kw_only=True, eq=False)
class _Site:
    """One row's site: what was seen of it."""

    home: URL | None
    seen: set[str] = field(default_factory=set)
    frontier: list[str] = field(default_factory=list)  # of this depth, in the order they were found
    pages: list[tuple[str, int, Outcome]] = field(default_factory=list)


@operator
class Site(PageCrawler, Extractor):
    """The pages of the site that `page_url` leads to, breadth first over its links, `page_url` itself the first.

    Each depth is fetched as a whole before the next, and links count in the order they stand in the pages, so which
    pages these are, and in which order, does not depend on who answers first. Links lead to pages of the same host
    (`scope: domain`: of the same registered domain); fragments are dropped, each URL is fetched once; `nofollow` is
    respected, and so is all that `crawl.pages` respects. Children are the pages asked for, those that failed too, with
    their reason in `crawl_status`. The pages of the sites of a call are held in memory until all are there: what comes
    when they have 256 MiB together is `not_reached`.
    """

    per_domain: int = Field(2, ge=1, le=64, description="at once to one registered domain, of all tasks together")
    delay_s: float = Field(0.5, ge=0, le=60, description="least time from request to request to a domain")
    max_pages: int = Field(100, ge=1, le=100_000, description="of a site, failed ones too")
    max_depth: int = Field(5, ge=0, le=100, description="links from the first page")
    scope: Literal["host", "domain"] = Field("host", description="where links may lead")
    sitemaps: bool = Field(False, description="follow sitemaps, too: those of robots.txt, or /sitemap.xml")

    reads = ("page_url",)
    adds = (
        column("page_url", pa.string(), "the page's address as linked", unit="URL"),
        HTML,
        CONTENT_TYPE,
        *COMMON,
        column("depth", pa.int32(), "links from the first page", unit="links", range=">= 0"),
    )
    asks_hosts: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Mapping[str, pa.Array]]:
        sites = [self._start(url) for url in batch.column("page_url").to_pylist()]
        end = time.monotonic() + self.shard_timeout_s
        for depth in range(self.max_depth + 1):
            if not any(site.frontier for site in sites):
                break
            self._level(sites, depth, batch, end)
        pages = [(row, *page) for row, site in enumerate(sites) for page in site.pages]
        return np.array([row for row, *_ in pages], np.int64), {
            "page_url": pa.array([url for _, url, _, _ in pages], pa.string()),
            "depth": pa.array([depth for _, _, depth, _ in pages], pa.int32()),
            **page_columns([outcome for *_, outcome in pages]),
        }

    def _start(self, text: str) -> _Site:
        try:
            home = vet_url(text, self.settings.allow_hosts)
        except FetchError:  # told by the fetcher, as of every page
            return _Site(home=None, frontier=[text])
        return _Site(home=home, seen={str(home)}, frontier=[str(home)])

    def _level(self, sites: Sequence[_Site], depth: int, batch: Batch, end: float) -> None:
        """Fetch what is in front of all sites, and put what it links to in front of them."""
        asked = [(site, url) for site in sites for url in site.frontier]
        room = HELD_BYTES - sum(len(outcome.body) for site in sites for *_, outcome in site.pages)
        found = self._fetched([url for _, url in asked], batch, end, room)
        for site in sites:
            site.frontier = []
        for place, (site, url) in enumerate(asked):
            site.pages.append((url, depth, found[place]))
            self._follow(site, found[place])
        if depth == 0 and self.sitemaps:
            self._read_sitemaps(sites, batch, end)
        for site in sites:
            del site.frontier[self.max_pages - len(site.pages) :]

    def _fetched(self, urls: Sequence[str], batch: Batch, end: float, room: int) -> dict[int, Outcome]:
        """How each ended; no more is asked for once there is no room."""
        full = Outcome(index=0, reason=Reason.NOT_REACHED, message="no room for more pages", transient=True)
        found = dict.fromkeys(range(len(urls)), full)
        with contextlib.closing(self.fetch(urls, batch, end)) as chunks:
            for places, outcome in itertools.chain.from_iterable(chunks if room > 0 else ()):
                room -= len(outcome.body)
                if room < 0:
                    break
                found |= dict.fromkeys(places, self.looked_at(outcome))
        return found

    def _follow(self, site: _Site, outcome: Outcome) -> None:
        if outcome.reason is not Reason.OK or site.home is None:
            return
        final = URL(outcome.final_url or "", encoded=True)
        if len(site.pages) == 1 and domain_of(final.raw_host or "") == domain_of(site.home.raw_host or ""):
            site.home = final  # example.org that leads to www.example.org
        site.seen.add(str(final))
        for link in links(outcome.body, final, self.settings.allow_hosts):
            self._add(site, link)

    def _add(self, site: _Site, link: URL) -> None:
        assert site.home is not None
        inside = link.raw_host == site.home.raw_host and link.port == site.home.port
        if self.scope == "domain":
            inside = domain_of(link.raw_host or "") == domain_of(site.home.raw_host or "")
        url = str(link)
        if inside and url not in site.seen and link.suffix.lower()[1:] not in _NO_PAGE:
            site.seen.add(url)
            site.frontier.append(url)

    def _read_sitemaps(self, sites: Sequence[_Site], batch: Batch, end: float) -> None:
        asked = [(site, url) for site in sites if site.home is not None for url in self._sitemaps_of(site.home)]
        for again in (True, False):  # an index leads to more of them, but no deeper
            inner: list[tuple[_Site, str]] = []
            bodies: dict[str, bytes] = {}
            for chunk in self.fetch([url for _, url in asked], batch, end):
                bodies |= {asked[places[0]][1]: outcome.body for places, outcome in chunk}
            for site, url in asked:
                urls, is_index = sitemap_urls(bodies[url], self.max_bytes)
                if is_index and again:
                    inner += [(site, each) for each in urls[:MAX_SITEMAPS]]
                elif not is_index:
                    for link in _vetted(urls, self.settings.allow_hosts):
                        self._add(site, link)
            asked = inner

    def _sitemaps_of(self, home: URL) -> list[str]:
        _, rules = self.memory.rules.known.get(str(home.origin()), (0.0, None))
        named = list(rules.sitemaps[:MAX_SITEMAPS]) if rules is not None else []
        return named or [str(home.origin() / "sitemap.xml")]


def links(page: bytes, base: URL, allow_hosts: frozenset[str]) -> Iterator[URL]:
    """Where a page's links lead, in their order; nothing for a page that says `nofollow`."""
    if any(name == "robots" and "nofollow" in directives(content) for name, content in metas(page)):
        return
    for name, attributes in tags(page, _LINKS):
        href = attributes.get("href")
        if href is None or "nofollow" in attributes.get("rel", "").lower().split():
            continue
        try:
            link = join_url(base, href, allow_hosts)
        except FetchError:
            continue
        if name == "base":
            base = link
        else:
            yield link


def _vetted(urls: Sequence[str], allow_hosts: frozenset[str]) -> Iterator[URL]:
    for url in urls:
        try:
            yield vet_url(url, allow_hosts)
        except FetchError:
            continue
