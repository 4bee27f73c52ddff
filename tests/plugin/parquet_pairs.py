"""Parquet files of pictures that all differ, for tests of the trainer's reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from drawing import encoded, picture

SIDES = [(40, 40), (48, 36), (36, 50), (64, 64), (33, 47)]


def images(count: int, format: str = "JPEG") -> list[bytes]:
    return [encoded(picture(i, *SIDES[i % len(SIDES)]), format) for i in range(count)]


def write_pairs(
    folder: Path,
    count: int = 60,
    *,
    files: int = 3,
    group_rows: int = 7,
    replaced: Mapping[int, object] | None = None,
    texts: Mapping[int, object] | None = None,
) -> Path:
    """`picture i` with key `k<i>`; some images and texts replaced. Row groups of odd sizes, page checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"key": f"k{i}", "text": f"picture {i}", "image": image} for i, image in enumerate(images(count))]
    for i, image in (replaced or {}).items():
        rows[i]["image"] = image
    for i, text in (texts or {}).items():
        rows[i]["text"] = text
    for number, part in enumerate(split(rows, files)):
        write_table(folder / f"{number:08d}.parquet", pa.Table.from_pylist(part, SCHEMA), group_rows)
    return folder


SCHEMA = pa.schema([("key", pa.string()), ("text", pa.string()), ("image", pa.binary())])


def write_table(path: Path, table: pa.Table, group_rows: int = 7) -> None:
    plain = [name for name in table.column_names if name != "image"]
    options = {"compression": "none", "use_dictionary": plain, "write_page_checksum": True}
    pq.write_table(table, path, row_group_size=group_rows, **options)


def split(rows: Sequence[dict[str, object]], files: int) -> list[Sequence[dict[str, object]]]:
    size = -(-len(rows) // files)
    return [rows[start : start + size] for start in range(0, len(rows), size)]
