"""dedup.near_text against a graph built by hand: rows tied where a band is equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by

from cupel.operators.dedup.near_text import NearText
from cupel.schemas.corpus import row_name

SCHEMA = {
    "shard": pl.Int32,
    "row": pl.Int32,
    "key": pl.String,
    "words": pl.Float64,
    "minhash": pl.Array(pl.UInt64, 2),
}
OUT = {"shard": pl.Int32, "row": pl.Int32, "near_text_of": pl.String, "near_text_rows": pl.Int64}
BAND = st.integers(0, 12) | st.just(2**64 - 1)
ROW = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.sampled_from([1.0, 2.0, None, float("nan")]),
    st.none() | st.tuples(BAND, BAND).map(list),
)
PARTS = st.sampled_from([(1, 1 << 27), (3, 200), (4, 1000)])


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(i // 7, i % 7, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def by_definition(rows: list[tuple], old: list[tuple[str, list[int]]]) -> list[tuple]:
    """Groups by merging sets; the keeper has the fewest words (nulls and NaN last), then key, then place."""
    nodes: list[tuple] = [("old", i) for i in range(len(old))] + [
        ("new", i) for i, row in enumerate(rows) if row[2] is not None
    ]
    bands = {node: old[node[1]][1] if node[0] == "old" else rows[node[1]][2] for node in nodes}
    group = {node: {node} for node in nodes}
    for one in nodes:
        for other in nodes:
            tied = any(a == b for a, b in zip(bands[one], bands[other], strict=True)) and {one[0], other[0]} != {"old"}
            if tied and group[one] is not group[other]:
                merged = group[one] | group[other]
                group |= dict.fromkeys(merged, merged)

    def order(node: tuple) -> tuple:
        if node[0] == "old":
            return (0, old[node[1]][0])
        key, words, _ = rows[node[1]]
        known = words is not None and words == words
        return (1, not known, words if known else 0, key is None, key or "", node[1])

    found = []
    for node in nodes:
        members = group[node]
        if node[0] == "old" or len(members) == 1:
            continue
        kind, i = min(members, key=order)
        name = old[i][0] if kind == "old" else row_name(i // 7, i % 7)
        size = sum(kind == "new" for kind, _ in members)
        found.append((node[1] // 7, node[1] % 7, None if (kind, i) == node else name, size))
    return sorted(found)


@given(st.lists(ROW, max_size=25), PARTS, st.integers(0, 99))
def test_as_defined_for_any_parts_and_order(rows: list[tuple], size: tuple[int, int], seed: int) -> None:
    table = frame(rows).sample(fraction=1, shuffle=True, seed=seed)
    found = found_by(NearText(prefer={"lowest": "words"}), table, *size)
    assert dict(found.schema) == OUT
    assert found.rows() == by_definition(rows, [])


@pytest.mark.parametrize("size", [(1, 1 << 27), (3, 300)])
@pytest.mark.parametrize("seed", range(5))
def test_rows_of_an_existing_corpus_come_first(tmp_path: Path, seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    rows = [("k", float(rng.integers(3)), rng.integers(0, 60, 2).tolist()) for _ in range(40)]
    old = [(f"old{i}", rng.integers(0, 60, 2).tolist()) for i in range(30)]
    folder = tmp_path / "cut" / "curated"
    folder.mkdir(parents=True)
    for i in range(3):
        part = old[10 * i : 10 * i + 10]
        table = {"key": [name for name, _ in part], "minhash": pl.Series([b for _, b in part], dtype=SCHEMA["minhash"])}
        pl.DataFrame(table).write_parquet(folder / f"{i:08d}.parquet")
    operator = NearText(prefer={"lowest": "words"}, against=str(tmp_path / "cut"))
    found = found_by(operator, frame(rows), *size)
    assert found.rows() == by_definition(rows, old)
    assert any(row[2] and row[2].startswith("old") for row in found.rows())


def test_one_band_equals_no_other_band() -> None:
    assert found_by(NearText(), frame([("a", 1, [5, 6]), ("b", 1, [6, 5])])).is_empty()


def test_a_group_of_equal_rows() -> None:
    count = 100_000
    table = pl.DataFrame({"row": range(count)}, schema={"row": pl.Int32}).with_columns(
        shard=pl.lit(0, pl.Int32),
        key=pl.lit(None, pl.String),
        minhash=pl.Series(np.full((count, 2), 7, np.uint64), dtype=SCHEMA["minhash"]),
    )
    found = found_by(NearText(), table, 3, 1 << 20)
    assert found["near_text_of"].null_count() == 1
    assert found["near_text_of"].drop_nulls().unique().to_list() == ["00000000:0"]
    assert found["near_text_rows"].unique().to_list() == [count]


@pytest.mark.parametrize("bands", [[[1, 2], [7], [7, 2, 5]], [[1, None], [1, 2]], [[], []]])
def test_refuses_lists_that_are_no_bands(bands: list) -> None:
    table = frame([("a", 1, [5, 6])] * len(bands)).with_columns(minhash=pl.Series(bands, dtype=pl.List(pl.UInt64)))
    with pytest.raises(ValueError, match="different lengths, or with nulls"):
        found_by(NearText(), table)


def test_refuses_other_columns() -> None:
    with pytest.raises(ValueError, match="'key' holds String, not band digests"):
        found_by(NearText(column="key"), frame([]))


@pytest.mark.parametrize(
    ("file", "message"), [(None, "no such file"), ("x.txt", "no Parquet"), ("x.parquet", "column")]
)
def test_says_what_is_wrong_with_the_existing_corpus(tmp_path: Path, file: str | None, message: str) -> None:
    if file == "x.txt":
        (tmp_path / "x.txt").write_text("x")
    elif file:
        pl.DataFrame({"key": ["a"]}).write_parquet(tmp_path / file)
    place = tmp_path if file else tmp_path / "nothing"
    with pytest.raises(ValueError, match=message):
        found_by(NearText(against=str(place)), frame([("a", 1, [5, 6])]))
