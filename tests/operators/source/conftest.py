"""What the sources' tests share: drawn images, a whole read of a source."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cupel.operators.decode import RowError
from cupel.operators.source import open_source
from cupel.operators.source.base import Scan, Shard, Source, cut, unify
from cupel.schemas.recipe import Read


def draw_image(number: int, format: str = "JPEG", side: int = 8) -> bytes:
    """A small image, another one for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@dataclass
class Whole:
    """All that a source gives."""

    source: Source
    scans: list[Scan]
    shards: list[Shard]
    schema: pa.Schema
    rows: list[dict[str, object]] = field(default_factory=list)  # `image`: bytes, None, or the class of its error
    errors: list[tuple[int, str, str]] = field(default_factory=list)  # row (counted over all), column, class

    def column(self, name: str) -> list[object]:
        return [row[name] for row in self.rows]


def read_whole(shard_rows: int = 300, columns: list[str] | None = None, images: bool = True, **read: object) -> Whole:
    """Scan, cut, and read all shards as the pipeline does, checking what holds for every source."""
    source = pickle.loads(pickle.dumps(open_source(Read(**read))))
    scans = [source.scan(file) for file in source.files()]
    shards: list[Shard] = []
    for scan in scans:
        shards += cut(scan, shard_rows, len(shards))
    whole = Whole(source, scans, shards, unify({scan.file: scan.schema for scan in scans}))
    for shard in pickle.loads(pickle.dumps(shards)):
        _read_shard(whole, shard, whole.schema.names if columns is None else columns, images)
    return whole


def _read_shard(whole: Whole, shard: Shard, columns: list[str], images: bool) -> None:
    asked = [name for name in columns if name != "image"]
    begin = len(whole.rows)
    for rows in whole.source.rows(shard, whole.schema, columns):
        assert rows.first == len(whole.rows) - begin
        assert rows.table.schema.names == asked
        assert [rows.table.schema.field(name).type for name in asked] == [whole.schema.field(n).type for n in asked]
        assert len(rows.slots) == rows.table.num_rows or not asked
        assert (np.diff(rows.slots[rows.slots >= 0]) >= 0).all()
        rows.table.validate(full=True)
        for column, errors in rows.errors.items():
            whole.errors += [(len(whole.rows) + row, column, error.kind) for row, error in errors.items()]
        found = rows.table.to_pylist() if asked else [{} for _ in rows.slots]
        if images:
            slots = sorted({slot for slot in rows.slots.tolist() if slot >= 0})
            loaded = dict(zip(slots, rows.images.load(slots), strict=True))
            for row, slot in zip(found, rows.slots.tolist(), strict=True):
                image = loaded.get(slot)
                row["image"] = image.kind if isinstance(image, RowError) else image
        whole.rows += found
    assert len(whole.rows) - begin == shard.rows


@pytest.fixture(scope="session")
def draw() -> Callable[..., bytes]:
    return draw_image


@pytest.fixture(scope="session")
def read_all() -> Callable[..., Whole]:
    return read_whole
