"""Curated files: packed in order, as full as their bounds allow, and so that a trainer can read them in pieces."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder, write_jsonl
from hypothesis import given
from hypothesis import strategies as st

from cupel import Recipe, run
from cupel.operators.source.images import PieceImages
from cupel.operators.source.parquet import ColumnImages
from cupel.pipeline.curate import Curator
from cupel.pipeline.read import RunError
from cupel.pipeline.row_groups import ROW_BYTES, RowGroups
from cupel.pipeline.write import Run, kept_sizes, pack
from cupel.schemas.fields import field

# Packing


@given(
    st.lists(st.lists(st.integers(0, 120), max_size=12), max_size=8),
    st.integers(1, 10),
    st.integers(1, 200),
)
def test_files_hold_all_rows_in_order_and_are_as_full_as_they_may(shards, shard_rows, shard_bytes):
    files = list(pack(iter([(i, np.array(s, np.int64)) for i, s in enumerate(shards)]), shard_rows, shard_bytes))
    rows = [[(run.shard, i) for run in runs for i in range(run.start, run.stop)] for runs in files]
    assert [row for file in rows for row in file] == [
        (s, i) for s, sizes in enumerate(shards) for i in range(len(sizes))
    ]
    assert all(run.start < run.stop for runs in files for run in runs)
    sizes = [[shards[shard][i] for shard, i in file] for file in rows]
    assert all(len(file) <= shard_rows and (sum(file) <= shard_bytes or len(file) == 1) for file in sizes)
    for file, after in itertools.pairwise(sizes):
        assert len(file) == shard_rows or sum(file) + after[0] > shard_bytes, "the next row would have fitted"


def test_a_file_may_span_shards():
    sizes = iter([(0, np.array([5, 5])), (3, np.zeros(0, np.int64)), (7, np.array([5, 5]))])
    first, second = pack(sizes, 3, 100)
    assert first == [Run(shard=0, start=0, stop=2), Run(shard=7, start=0, stop=1)]
    assert second == [Run(shard=7, start=1, stop=2)]


# Row groups

SCHEMA = pa.schema(
    [
        field("key", pa.string(), "the key"),
        field("text", pa.string(), "the caption"),
        field("image", pa.large_binary(), "encoded", unit="bytes"),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("box", pa.struct([("x", pa.float64()), ("crop", pa.binary())])),
        field("score", pa.float64(), "a score", range="0 to 1"),
    ]
)


def table(sizes: list[int | None], seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    rows = [
        {
            "key": f"k{i}",
            "text": None if i % 5 == 4 else "word " * (i % 4),
            "image": None if size is None else random.bytes(size),
            "tags": None if i % 3 == 2 else ["a", "b"][: i % 3],
            "box": {"x": i / 2, "crop": b"\0\1"} if i % 2 else None,
            "score": i / len(sizes),
        }
        for i, size in enumerate(sizes)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write(sink: Path | io.BytesIO, schema: pa.Schema, tables: list[pa.Table], limit: int) -> None:
    with RowGroups(sink, schema, limit) as groups:
        for rows in tables:
            groups.add(rows)
    assert groups.rows == sum(map(len, tables))


def written(path: Path, tables: list[pa.Table], limit: int) -> pq.ParquetFile:
    write(path, SCHEMA, tables, limit)
    return pq.ParquetFile(path, page_checksum_verification=True)


def test_what_is_written_reads_back_with_its_explanations(tmp_path):
    rows = table([100, None, 0, 70_000, 3])
    file = written(tmp_path / "a", [rows], 1 << 20)
    assert file.read() == rows
    explained = [column for column in SCHEMA if column.metadata]
    assert [file.schema_arrow.field(c.name).metadata for c in explained] == [c.metadata for c in explained]
    assert file.schema_arrow.field("image").metadata[b"unit"] == b"bytes"


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(1, 6000), st.integers(1, 60))
def test_row_groups_are_bounded_and_do_not_depend_on_how_rows_come(sizes, limit, step):
    rows = table(sizes).drop_columns(["tags", "box"])
    schema = rows.schema
    files = []
    for parts in ([rows], [rows.slice(i, step) for i in range(0, len(rows), step)]):
        sink = io.BytesIO()
        write(sink, schema, parts, limit)
        files.append(sink.getvalue())
    assert files[0] == files[1]
    file = pq.ParquetFile(io.BytesIO(files[0]))
    assert file.read() == rows
    for group in range(file.num_row_groups):
        lengths = [len(image) for image in file.read_row_group(group).column("image").to_pylist()]
        assert sum(lengths) <= limit or len(lengths) == 1


def test_a_huge_row_has_a_group_of_its_own(tmp_path):
    file = written(tmp_path / "a", [table([10, 3 << 20, 10])], 1 << 20)
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [1, 1, 1]


def test_nested_columns_count_towards_the_bound(tmp_path):
    rows = table([0] * 64)
    rows = rows.set_column(3, SCHEMA.field("tags"), pa.array([["x" * 10_000] * 10] * 64, SCHEMA.field("tags").type))
    assert written(tmp_path / "a", [rows], 1 << 20).num_row_groups == 7


def test_images_are_stored_as_they_are_and_the_rest_compressed(tmp_path):
    group = written(tmp_path / "a", [table([1000] * 40)], 1 << 20).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for path, column in columns.items():
        as_it_is = path in ("image", "box.crop")
        assert column.compression == ("UNCOMPRESSED" if as_it_is else "ZSTD"), path
        assert (column.statistics is None) == as_it_is, path
        assert column.has_dictionary_page != as_it_is, path
    assert "tags.list.element" in columns


def test_a_flipped_bit_in_an_image_is_found(tmp_path):
    file = written(tmp_path / "a", [table([1000] * 40)], 1 << 20)
    data = (tmp_path / "a").read_bytes()
    image = file.read().column("image")[20].as_py()
    at = data.index(image) + 500
    (tmp_path / "a").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert pq.ParquetFile(tmp_path / "a").read().column("image")[20].as_py() != image, "silently, without the checksums"
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(tmp_path / "a", page_checksum_verification=True).read()


# Whole runs


def as_folder(place: Path, rows: list[tuple[str, bytes]]) -> None:
    for i, (text, image) in enumerate(rows):
        (place / f"p{i:04d}.jpg").write_bytes(image)
        (place / f"p{i:04d}.txt").write_text(text)


def as_tar(place: Path, rows: list[tuple[str, bytes]]) -> None:
    with tarfile.open(place / "a.tar", "w") as tar:
        for i, (text, image) in enumerate(rows):
            for suffix, data in (("jpg", image), ("txt", text.encode())):
                member = tarfile.TarInfo(f"p{i:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def as_parquet(place: Path, rows: list[tuple[str, bytes]]) -> None:
    table = pa.table({"key": [f"p{i:04d}" for i in range(len(rows))], "text": [r[0] for r in rows]})
    pq.write_table(table.append_column("image", [[r[1] for r in rows]]), place / "a.parquet", row_group_size=100)


@pytest.fixture
def asked(monkeypatch):
    """What the engine has written with, to call its parts again in this process."""
    seen = {}
    original = Curator.files

    def spy(self, shards, kept):
        seen.update(plan=self.plan, shards=shards, store=self.store, source=self.source)
        return original(self, shards, kept)

    monkeypatch.setattr(Curator, "files", spy)
    return seen


def weights(asked) -> list[int]:
    one = (kept_sizes(asked["plan"], asked["store"], asked["source"], shard) for shard in asked["shards"])
    return np.concatenate(list(one)).tolist()


@pytest.mark.parametrize("write_input", [as_folder, as_tar, as_parquet])
@pytest.mark.parametrize("steps", [["text.length"], ["image.size"], ["test.shout", "test.invert"]])
def test_rows_weigh_what_they_take(tmp_path, ray_session, asked, write_input, steps):
    """Whether their sizes are known, measured or read; an image whose header is broken included."""
    rows = [(f"{'word ' * (i % 5)}{i}", encoded(picture(i, 60 + i, 50))) for i in range(300)]
    rows[7] = ("broken", rows[7][1][:200])
    rows[8] = ("no image", b"<html>" * 30)
    (tmp_path / "in").mkdir()
    write_input(tmp_path / "in", rows)
    result = run(Recipe(name="r", steps=steps, write={"shard_mb": 1}), tmp_path / "in", out=tmp_path / "c")
    files = [pq.read_table(path).to_pylist() for path in sorted(Path(result.cut, "curated").iterdir())]
    expected = [ROW_BYTES + len(row["text"]) + len(row["image"] or b"") for file in files for row in file]
    assert weights(asked) == expected
    ends = np.cumsum([len(file) for file in files])
    assert all(sum(part) <= 1 << 20 for part in np.split(np.array(expected), ends[:-1]))


@pytest.mark.parametrize(
    ("write_input", "steps", "images"),
    [
        (as_folder, ["text.length"], PieceImages),
        (as_tar, ["text.length"], PieceImages),
        (as_parquet, ["image.size"], ColumnImages),
    ],
)
def test_images_are_not_read_for_sizes_that_are_known(
    tmp_path, ray_session, asked, monkeypatch, write_input, steps, images
):
    rows = [(f"number {i}", encoded(picture(i, 40, 30))) for i in range(30)]
    (tmp_path / "in").mkdir()
    write_input(tmp_path / "in", rows)
    run(Recipe(name="r", steps=steps), tmp_path / "in", out=tmp_path / "c")
    monkeypatch.setattr(images, "load", None)
    assert weights(asked) == [ROW_BYTES + len(text) + len(image) for text, image in rows]


def test_an_image_that_went_after_it_was_measured_stops_the_run(tmp_path, ray_session):
    folder = write_folder(tmp_path / "photos", 5)
    made = Recipe(name="r", steps=["image.size"])
    run(made, folder, out=tmp_path / "c", write=False)
    data = (folder / "p0002.jpg").read_bytes()
    (folder / "p0002.jpg").unlink()
    with pytest.raises(RunError, match=r"p0002.jpg: it was there when image.size measured it"):
        run(made, folder, out=tmp_path / "c")
    (folder / "p0002.jpg").write_bytes(data)
    assert run(made, folder, out=tmp_path / "c").kept == 5


def test_an_image_that_was_never_there_is_null(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "t.jsonl", ["one", "two"], image=["a.jpg", "absent.jpg"])
    (tmp_path / "a.jpg").write_bytes(encoded(picture(1)))
    result = run(Recipe(name="r", steps=["image.size"]), source, out=tmp_path / "c")
    rows = pq.read_table(Path(result.cut, "curated")).to_pylist()
    assert [row["image"] for row in rows] == [(tmp_path / "a.jpg").read_bytes(), None]
    assert result.errors == {"missing_file": 1}


def test_columns_that_travel_along_survive(tmp_path, ray_session):
    rows = [{"key": f"k{i}", "text": f"t{i}", "n": i, "tags": ["a"] * i, "box": {"x": i, "y": [i]}} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    made = Recipe(name="r", steps=["text.length", {"keep": {"n": {"min": 1}}}])
    result = run(made, tmp_path / "t.parquet", out=tmp_path / "c")
    found = pq.read_table(Path(result.cut, "curated")).to_pylist()
    assert [{name: row[name] for name in rows[0]} for row in found] == rows[1:]
    assert json.loads(json.dumps(found)) == found
