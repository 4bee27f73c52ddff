"""The pictures in a cut's curated files: what is left to see of kept rows where the input has been moved away."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow.parquet as pq

from ....schemas.corpus import shard_name
from ..opened import OpenedCut


class WrittenPictures:
    """Finds rows by their order: the kept rows of all shards stand one after the other in the files."""

    def __init__(self, cut: OpenedCut) -> None:
        self._cut = cut
        self._there = (
            cut.manifest.wrote_images and cut.plan.spaces[-1].nodes is None and "image" in cut.plan.spaces[-1].view
        )

    def load(self, shard: int, rows: Sequence[int]) -> list[bytes | None]:
        """The encoded pictures of some rows; None of those that were not kept, or of documents' nodes."""
        found: list[bytes | None] = [None] * len(rows)
        if not self._there:
            return found
        kept = self._kept(shard)
        at = np.searchsorted(kept, rows)
        known = [i for i in range(len(rows)) if at[i] < len(kept) and kept[at[i]] == rows[i]]
        by_group = defaultdict[tuple[str, int], list[tuple[int, int]]](list)
        for i in known:
            path, group, line = self._place(self._first[shard] + int(at[i]))
            by_group[path, group].append((i, line))
        for (path, group), lines in by_group.items():
            column = self._open(path).read_row_group(group, columns=["image"], use_threads=False).column("image")
            for i, line in lines:
                found[i] = column[line].as_py()
        return found

    def _kept(self, shard: int) -> np.ndarray:
        path = f"{self._cut.folder}/kept/{shard_name(shard)}.parquet"
        return np.asarray(self._cut.store.table(path, ["row"]).column("row"))

    def _open(self, path: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._cut.store.open(path), page_checksum_verification=True)

    def _place(self, number: int) -> tuple[str, int, int]:
        """The file, row group and line of the kept row with this number."""
        at = int(np.searchsorted(self._starts, number, side="right")) - 1
        path, group = self._groups[at]
        return path, group, number - int(self._starts[at])

    @cached_property
    def _first(self) -> dict[int, int]:
        """Shard -> kept rows before it."""
        ids = [shard.id for shard in self._cut.shards]
        counts = [self._open(f"{self._cut.folder}/kept/{shard_name(shard)}.parquet").metadata.num_rows for shard in ids]
        return dict(zip(ids, itertools.accumulate(counts, initial=0), strict=False))

    @cached_property
    def _counted(self) -> list[tuple[str, int, int]]:
        """(file, row group, rows), in the order in which they were written."""
        paths = [path for path in self._cut.store.files(f"{self._cut.folder}/curated") if path.endswith(".parquet")]
        footers = [(path, self._open(path).metadata) for path in paths]
        return [
            (path, i, footer.row_group(i).num_rows) for path, footer in footers for i in range(footer.num_row_groups)
        ]

    @property
    def _groups(self) -> list[tuple[str, int]]:
        return [(path, group) for path, group, _ in self._counted]

    @cached_property
    def _starts(self) -> np.ndarray:
        """Number of the first kept row of each row group."""
        return np.cumsum([0, *(rows for _, _, rows in self._counted)])
