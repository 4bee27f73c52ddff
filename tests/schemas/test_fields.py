"""Every column that we write says what it is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel.pipeline.read import SOURCE
from cupel.schemas.corpus import DROPPED, ERRORS, FILES, KEPT, ROW, STATE, row_name, shard_name
from cupel.schemas.document import DOCUMENT, NODE
from cupel.schemas.fields import describe, field
from cupel.schemas.pair import PAIR


def test_notes_travel_with_the_file(tmp_path):
    made = field("words", pa.int32(), "runs without white space", unit="words", range=">= 0")
    pq.write_table(pa.table([pa.array([1], pa.int32())], pa.schema([made])), tmp_path / "t.parquet")
    read = pq.read_schema(tmp_path / "t.parquet").field("words")
    told = {"name": "words", "type": "int32", "unit": "words", "range": ">= 0", "doc": "runs without white space"}
    assert describe(read) == describe(made) == told


def test_what_is_not_given_is_left_out():
    assert field("x", pa.string(), "something").metadata == {b"doc": b"something"}
    assert describe(pa.field("x", pa.string())) == {"name": "x", "type": "string", "unit": "", "range": "", "doc": ""}


@pytest.mark.parametrize("schema", [PAIR, DOCUMENT, NODE, ERRORS, KEPT, DROPPED, FILES, SOURCE, [ROW, STATE]], ids=str)
def test_every_field_is_explained(schema):
    assert all(describe(column)["doc"] for column in schema)


def test_names_of_shards_and_rows():
    assert shard_name(7) == "00000007"
    assert row_name(3, 17) == "00000003:17"
    assert sorted(map(shard_name, (10, 9, 99_999_999))) == ["00000009", "00000010", "99999999"]
