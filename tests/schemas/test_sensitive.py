"""Marks of columns that say which pictures are not to be seen just so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel.schemas.fields import field, marks_of
from cupel.schemas.sensitive import read_marks, sounds_unsafe


def verdicts(mark: str, values: pa.Array) -> list[str]:
    """The first mark that holds of each value; `-` where none does."""
    marks = read_marks(mark)
    holds = [found.holds(values) for found in marks]
    return [next((m.verdict for m, h in zip(marks, holds, strict=True) if h[i]), "-") for i in range(len(values))]


@pytest.mark.parametrize(
    ("mark", "values", "expected"),
    [
        ("blur: >= 0.5", pa.array([0.4, 0.5, 1.0, None, float("nan")]), "- blur blur - -"),
        ("blur: > 1", pa.array([0, 1, 2, None], pa.int8()), "- - blur -"),
        ("hide: < -1; blur: <= 0", pa.array([-2.0, -1.0, 0.0, 0.1]), "hide blur blur -"),
        ("hide: true", pa.array([True, False, None]), "hide - -"),
        ("blur: porn, Hentai", pa.array(["PORN", "hentai", "porn star", "", None]), "blur blur - - -"),
        ("blur: not neutral, drawing", pa.array(["neutral", "sexy", "", None]), "- blur blur -"),
        ("show: null; blur: >= 1", pa.array([None, 1, 0]), "show blur -"),
        ("blur: >= 1", pa.array(["2", None]), "- -"),  # no number
    ],
)
def test_which_values_a_mark_speaks_of(mark, values, expected):
    assert verdicts(mark, values) == expected.split()


@pytest.mark.parametrize("mark", ["blur", "blur:", "veil: true", "blur: >= much", ": true", "blur: true;"])
def test_what_is_no_mark_is_refused_where_the_column_is_declared(mark):
    with pytest.raises(ValueError):
        field("x", pa.float32(), "a score", sensitive=mark)


def test_a_mark_travels_with_the_file(tmp_path):
    schema = pa.schema([field("x", pa.float32(), "a score", sensitive="blur: >= 0.5"), field("y", pa.int8(), "none")])
    pq.write_table(pa.table([pa.array([1.0], pa.float32()), pa.array([1], pa.int8())], schema), tmp_path / "t.parquet")
    read = pq.read_schema(tmp_path / "t.parquet")
    assert marks_of(read.field("x")) == read_marks("blur: >= 0.5")
    assert marks_of(read.field("y")) == ()


@pytest.mark.parametrize("name", ["nsfw", "NSFW", "punsafe", "unsafe_head_score", "clip-nsfw-v2.pt", "pornographic"])
def test_names_that_say_it(name):
    assert sounds_unsafe(name)


@pytest.mark.parametrize("name", ["sfw", "non_nsfw", "not nsfw", "aesthetic", "safe", "popcorn", "insafety"])
def test_names_that_do_not(name):
    assert not sounds_unsafe(name)
