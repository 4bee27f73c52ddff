"""Which tests run in one process, where `make test` has two."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling

INSPECT: Final = "tests/pipeline/inspect/"


class ByFile(LoadFileScheduling):
    """A file's tests stay together, and so do all of `inspect`, whose corpora and browser take long to make.

    (By marks, `--dist loadgroup`, pytest-xdist 3.8 groups nothing under pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return INSPECT if nodeid.startswith(INSPECT) else super()._split_scope(nodeid)
