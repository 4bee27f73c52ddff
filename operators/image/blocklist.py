"""image.blocklist: images, or links, that a list of digests forbids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._digest_lists import check_digests, contains, read_digests


@operator
class Blocklist(RowOperator):
    """Whether a list holds the digest of the image's encoded bytes, or of its link, and which list does.

    A list is a text file with one MD5, SHA-1, SHA-256 or SHA-512 a line, in hex, told apart by their length; what
    follows after white space, a comma or a semicolon is a note (`sha256sum` writes the file's name there), and a line
    that begins with # is a comment. With `column: image_url` the digests are of the link, its UTF-8 bytes as they
    are, so that nobody has to open or even hold it. Re-LAION-5B was made this way, of lists by IWF and C3P
    (laion.ai/blog/relaion-5b, 2024). A digest sees exact copies only: `select.decontaminate` finds near ones.

    `keep: {blocked: {in: [false]}}` also drops a row that could not be checked; `keep: {blocked_by: null}` keeps it.
    A list takes the size of its digests in every worker: 32 bytes for each SHA-256.
    """

    lists: tuple[str, ...] = Field(
        min_length=1, description="text files of digests, one a line; the first that holds it is named"
    )
    column: str = Field(
        "image", description="what the digests are of: `image`, its bytes, or a column of texts such as `image_url`"
    )

    adds = (
        field("blocked", pa.bool_(), "whether one of the lists holds the digest", sensitive="hide: true"),
        field("blocked_by", pa.string(), "name of the list and kind of digest: `iwf.txt (md5)`; null: none holds it"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def files(self) -> tuple[Path, ...]:
        for name in self.lists:
            check_digests(Path(name))
        return tuple(map(Path, self.lists))

    def setup(self) -> None:
        _ = self._lists

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        rows: list[int] = []
        digests: dict[str, list[bytes]] = {algorithm: [] for _, algorithm, _ in self._lists}
        for row, data in self._data(batch):
            rows.append(row)
            for algorithm, some in digests.items():
                some.append(hashlib.new(algorithm, data, usedforsecurity=False).digest())
        checked, by = np.zeros(len(batch), bool), np.full(len(batch), None, object)
        checked[rows] = True
        for name, algorithm, known in reversed(self._lists):
            hits = contains(known, np.array(digests[algorithm], known.dtype))
            by[np.array(rows, np.int64)[hits]] = f"{name} ({algorithm})"
        return {"blocked": pa.array(by != None, mask=~checked), "blocked_by": pa.array(by, pa.string())}  # noqa: E711

    def _data(self, batch: Batch) -> Iterator[tuple[int, bytes]]:
        if self.column == "image":
            return batch.image_bytes()
        return enumerate(batch.column(self.column).cast(pa.large_binary()).to_pylist())

    @cached_property
    def _lists(self) -> list[tuple[str, str, np.ndarray]]:
        """(file name, algorithm, sorted digests), in the order of the recipe."""
        found = [(Path(name).name, read_digests(Path(name))) for name in self.lists]
        return [(name, algorithm, digests) for name, lists in found for algorithm, digests in lists.items()]
