"""Corpora to look at, the server on them, and a browser; each corpus is made once for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from browsing import Visit
    from playwright.sync_api import Browser
    from serving import Site


@pytest.fixture(scope="session")
def drawn_corpus(ray_session, tmp_path_factory) -> Path:
    """Drawn pictures, some with hostile captions, links and files."""
    from inspected import drawn_corpus

    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def pairs_corpus(shared_data, ray_session, tmp_path_factory) -> Path:
    """Real figures with captions."""
    from inspected import pairs_corpus

    return pairs_corpus(shared_data, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def documents_corpus(shared_data, ray_session, tmp_path_factory) -> Path:
    """Real pages as documents."""
    from inspected import documents_corpus

    return documents_corpus(shared_data, tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="session")
def sites() -> Iterator[Callable[[Path], Site]]:
    """The server of a corpus, started when it is first asked for."""
    from serving import serving

    running: dict[Path, Site] = {}
    with ExitStack() as stack:

        def site(corpus: Path) -> Site:
            if corpus not in running:
                running[corpus] = stack.enter_context(serving(corpus))
            return running[corpus]

        yield site


@pytest.fixture
def drawn(drawn_corpus, sites) -> Site:
    return sites(drawn_corpus)


@pytest.fixture
def pairs(pairs_corpus, sites) -> Site:
    return sites(pairs_corpus)


@pytest.fixture
def documents(documents_corpus, sites) -> Site:
    return sites(documents_corpus)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    from browsing import program

    path = program()
    if path is None:
        why = "needs Chromium (apt-get install chromium, or name one in $CUPEL_CHROMIUM)"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    return path


@pytest.fixture(scope="module")
def browser(chromium_path) -> Iterator[Browser]:
    """One for a module: while it is open an event loop counts as running, which other modules' tests cannot bear."""
    from browsing import chromium

    with chromium(chromium_path) as opened:
        yield opened


@pytest.fixture
def window(browser) -> Callable[..., AbstractContextManager[Visit]]:
    """`with window() as visit:` fails at its end if a page did what it should not."""
    from browsing import visit

    return partial(visit, browser)
