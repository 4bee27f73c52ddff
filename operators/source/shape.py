"""From a run of source rows, as a file has them, to rows: captions spread, keys given, text checked, types as asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ..decode import RowError
from .base import BATCH_BYTES, BATCH_ROWS, Images, Rows
from .names import is_list_of_strings


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive source rows under Cupel's names; `text` may still be a list of captions per row."""

    first: int  # source row of the file
    columns: Mapping[str, pa.Array]
    images: Images
    slots: np.ndarray  # int64, one per source row, -1 where it has no image
    paths: pa.Array | None = None  # of images, as the source writes them: they serve as keys
    errors: Mapping[str, Mapping[int, RowError]] = field(default_factory=dict)  # column -> source row of run -> error
    broken: Mapping[int, RowError] = field(default_factory=dict)  # source row of the run that could not be read


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the rows of a shard shall look like."""

    schema: pa.Schema
    columns: Sequence[str]
    stem: str  # of the file: the key of a row without a better one is STEM:SOURCE_ROW

    def rows(self, runs: Iterator[Run]) -> Iterator[Rows]:
        """Batches of rows, numbered from 0 at the shard's first."""
        first = 0
        for run in runs:
            for start, stop in _batches(run):
                rows = self._batch(run, start, stop, first)
                first += len(rows.slots)
                yield rows

    def _batch(self, run: Run, start: int, stop: int, first: int) -> Rows:
        """The source rows [start, stop) of a run as one batch."""
        text = run.columns.get("text")
        parents = np.arange(start, stop)
        if text is not None and is_list_of_strings(text.type):
            text, counts = spread(text.slice(start, stop - start))
            parents = np.repeat(parents, counts)
        elif text is not None:
            text = text.slice(start, stop - start)
        arrays, errors = self._columns(run, text, parents)
        if "key" in self.columns:
            arrays["key"] = self._keys(run, arrays, parents)
        asked = [name for name in self.columns if name != "image"]
        table = pa.table([arrays[name] for name in asked], names=asked)
        return Rows(first=first, table=table, images=run.images, slots=run.slots[parents], errors=errors)

    def _columns(
        self, run: Run, text: pa.Array | None, parents: np.ndarray
    ) -> tuple[dict[str, pa.Array], dict[str, dict[int, RowError]]]:
        arrays: dict[str, pa.Array] = {}
        errors: dict[str, dict[int, RowError]] = {}
        take = pa.array(parents)
        for name in dict.fromkeys((*self.columns, *self._for_keys(run))):
            if name == "image":
                continue
            wanted = self.schema.field(name).type if name in self.schema.names else pa.string()
            array = text if name == "text" else run.columns.get(name)
            if array is None:
                arrays[name] = pa.nulls(len(parents), wanted)
                continue
            array, bad = without_bad_utf8(array if name == "text" else array.take(take))
            arrays[name] = array if array.type == wanted else array.cast(wanted, safe=False)
            if bad:
                errors[name] = bad
        return arrays, _with_errors_of(run, self.columns, parents, errors)

    def _for_keys(self, run: Run) -> tuple[str, ...]:
        """Columns that make up keys where the file names none."""
        needs = "key" in self.columns and "key" not in run.columns and "image_url" in run.columns
        return ("image_url", "text") if needs else ()

    def _keys(self, run: Run, arrays: Mapping[str, pa.Array], parents: np.ndarray) -> pa.Array:
        """The key column, else the image's path, else (without a key column) a hash of URL and text, else STEM:ROW."""
        keys: list[str | None] = [None] * len(parents)
        if "key" in run.columns:
            keys = arrays["key"].to_pylist()
        if run.paths is not None and None in keys:
            paths = without_bad_utf8(run.paths.take(pa.array(parents)))[0].to_pylist()
            keys = [path if key is None else key for key, path in zip(keys, paths, strict=True)]
        if "key" not in run.columns and "image_url" in run.columns:
            pairs = zip(keys, arrays["image_url"].to_pylist(), arrays["text"].to_pylist(), strict=True)
            keys = [hash_key(url, text) if key is None and url is not None else key for key, url, text in pairs]
        filled = (
            f"{self.stem}:{run.first + int(parent)}" if key is None else key
            for key, parent in zip(keys, parents, strict=True)
        )
        return pa.array(filled, pa.string(), size=len(parents))


def _with_errors_of(
    run: Run, columns: Sequence[str], parents: np.ndarray, errors: Mapping[str, dict[int, RowError]]
) -> dict[str, dict[int, RowError]]:
    """The errors found in this batch and those that came with the run, under the columns asked for."""
    merged: dict[str, dict[int, RowError]] = {}
    for name in dict.fromkeys((*columns, "image")):
        told = {**run.errors.get(name, {}), **(run.broken if name != "key" else {})}
        found = {row: told[parent] for row, parent in enumerate(parents.tolist()) if parent in told} if told else {}
        if found or errors.get(name):
            merged[name] = {**errors.get(name, {}), **found}
    return merged


def hash_key(url: str, text: str | None) -> str:
    """blake2b (128 bits, hex) of URL, line feed and text: the key of a row that has none."""
    return hashlib.blake2b(f"{url}\n{text or ''}".encode(), digest_size=16).hexdigest()


def count_captions(text: pa.Array) -> np.ndarray:
    """Rows that each source row gives: as many as it has captions, one where it has none. int64"""
    lengths = text.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    counts: np.ndarray = np.maximum(lengths, 1)
    return counts


def spread(text: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """A list of captions per source row -> a caption per row (null for an empty list), and rows per source row."""
    counts = count_captions(text)
    lengths = text.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.repeat(np.cumsum(lengths) - lengths, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    empty = np.repeat(lengths == 0, counts)
    return text.flatten().take(pa.array(np.where(empty, 0, starts + within), mask=empty)), counts


def without_bad_utf8(array: pa.Array) -> tuple[pa.Array, dict[int, RowError]]:
    """Rows whose text is not UTF-8 become null and an error; files may hold such, and Arrow does not look by itself."""
    bad = list(_bad_rows(array, 0))
    if not bad:
        return array, {}
    keep = np.ones(len(array), bool)
    keep[bad] = False
    cleaned = array.take(pa.array(np.arange(len(array)), mask=~keep))
    return cleaned, {row: RowError("invalid_utf8", "the text is not valid UTF-8") for row in bad}


def _bad_rows(array: pa.Array, first: int) -> Iterator[int]:
    """By halves: each half is cheap to check when it is clean, and most are."""
    if not len(array) or _is_valid(array):
        return
    if len(array) == 1:
        yield first
        return
    half = len(array) // 2
    yield from _bad_rows(array.slice(0, half), first)
    yield from _bad_rows(array.slice(half), first + half)


def _is_valid(array: pa.Array) -> bool:
    if types.is_nested(array.type):
        array = pa.concat_arrays([array])  # a slice of a nested array would be judged by its neighbours' children
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _batches(run: Run) -> Iterator[tuple[int, int]]:
    """[start, stop) of source rows that together give at most so many rows and so many bytes (at least one row)."""
    length = len(run.slots)
    weight = max(1, sum(array.nbytes for array in run.columns.values()))
    limit = max(1, length * BATCH_BYTES // weight)
    text = run.columns.get("text")
    counts = np.ones(length, np.int64)
    if text is not None and is_list_of_strings(text.type):
        counts = count_captions(text)
    ends = np.cumsum(counts)
    start = 0
    while start < length:
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + BATCH_ROWS, side="right"))
        stop = max(start + 1, min(stop, start + limit))
        yield start, stop
        start = stop
