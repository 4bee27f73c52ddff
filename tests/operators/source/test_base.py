"""Cutting files into shards, and one schema for many files."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.source.base import MEMBERS, Mark, Scan, SourceError, cut, unify
from cupel.schemas.pair import PAIR


def scan(counts, members=None):
    """A file with a mark after every so many (source rows, rows)."""
    marks = [Mark(source_row=0, row=0, offset=0)]
    for source_rows, rows in counts:
        last = marks[-1]
        marks.append(
            Mark(source_row=last.source_row + source_rows, row=last.row + rows, offset=last.offset + 10 * source_rows)
        )
    return Scan(file="f", bytes=marks[-1].offset, digest="d", schema=pa.schema([]), marks=marks, members=members)


@given(
    st.lists(st.tuples(st.integers(1, 256), st.integers(0, 600)), max_size=30), st.integers(1, 3000), st.integers(0, 99)
)
def test_shards_hold_every_row_once(counts, shard_rows, first_id):
    found = scan([(source, max(source, rows)) for source, rows in counts])
    shards = cut(found, shard_rows, first_id)
    assert [shard.id for shard in shards] == list(range(first_id, first_id + len(shards)))
    assert sum(shard.rows for shard in shards) == found.marks[-1].row
    edges = [(0, 0), *((shard.stop, shard.end) for shard in shards)]
    assert edges[:-1] == [(shard.start, shard.offset) for shard in shards]
    assert edges[-1] == (found.marks[-1].source_row, found.bytes)
    for shard in shards[:-1]:
        assert shard.rows >= shard_rows
        before = [mark for mark in found.marks if shard.start < mark.source_row < shard.stop]
        begin = next(mark.row for mark in found.marks if mark.source_row == shard.start)
        assert all(mark.row - begin < shard_rows for mark in before)


def test_a_shard_carries_its_own_members_only():
    members = pa.array([[{"name": f"{i}.jpg", "offset": i, "size": 1}] for i in range(5000)], MEMBERS)
    shards = cut(scan([(250, 250)] * 20, members), 500, 0)
    assert [len(shard.members) for shard in shards] == [500] * 10
    assert shards[3].members.to_pylist() == members.to_pylist()[1500:2000]
    assert len(pickle.dumps(shards[3])) < len(pickle.dumps(members)) / 5


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.int16(), pa.int64(), pa.null()], pa.int64()),
        ([pa.null(), pa.null()], pa.string()),
        ([pa.null(), pa.list_(pa.int64())], pa.list_(pa.int64())),
        ([pa.int64(), pa.string(), pa.bool_()], pa.string()),
        ([pa.string(), pa.large_string()], pa.large_string()),
    ],
)
def test_types_of_several_files(types, expected):
    for some in (types, types[::-1]):
        schemas = {f"{i}.x": pa.schema([("c", type)]) for i, type in enumerate(some)}
        assert unify(schemas).field("c").type == expected


@pytest.mark.parametrize(
    "types", [[pa.int64(), pa.bool_()], [pa.string(), pa.list_(pa.string())], [pa.date32(), pa.int32()]]
)
def test_types_that_cannot_be_reconciled(types):
    schemas = {f"{i}.parquet": pa.schema([("c", type)]) for i, type in enumerate(types)}
    with pytest.raises(SourceError, match=r"1.parquet: column 'c' is .* in 0.parquet; .*drop: \[c\]"):
        unify(schemas)


def test_pair_columns_come_first():
    one = pa.schema([("z", pa.string()), PAIR.field("image"), PAIR.field("key")])
    two = pa.schema([("a", pa.string()), PAIR.field("text")])
    assert unify({"1": one, "2": two}).names == ["key", "text", "image", "z", "a"]
    assert unify({"1": one}).field("image").metadata == PAIR.field("image").metadata
