"""select.concept_quota against sorting in plain Python."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by

from cupel.operators.select.concept_quota import ConceptQuota
from cupel.operators.select.sample import Sample

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "label": pl.String, "rank": pl.Float64}
SCORES = st.sampled_from([0.1, 0.2, -1.0, math.nan, math.inf, None])
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["cat", "dog", "", None]), SCORES), max_size=40
)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(i // 7, i % 7, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def ranks(rows: list[tuple], sign: int) -> list[tuple[int, int, int]]:
    """Best first; no score last; then by key, null keys last, shard and row."""

    def place(row: tuple) -> tuple:
        none = row[4] is None or math.isnan(row[4])
        return (none, 0 if none else sign * row[4], row[2] is None, row[2] or "", row[0], row[1])

    found = []
    for label in {row[3] for row in rows if row[3] is not None}:
        group = sorted((row for row in rows if row[3] == label), key=place)
        found += [(*row[:2], rank) for rank, row in enumerate(group, 1)]
    return sorted(found)


@given(ROWS, st.sampled_from(["highest", "lowest"]), st.integers(1, 4), st.integers(0, 99))
def test_as_defined_in_any_order_and_parts(rows: list[tuple], which: str, parts: int, seed: int) -> None:
    """The column preferred is called `rank`, as one of ours is on the way."""
    table = frame(rows)
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
    found = found_by(ConceptQuota(column="label", prefer={which: "rank"}), shuffled, parts=parts, part_bytes=100)
    assert found.rows() == ranks(table.rows(), -1 if which == "highest" else 1)
    assert dict(found.schema) == {"shard": pl.Int32, "row": pl.Int32, "concept_rank": pl.Int64}


@pytest.mark.parametrize("seed", [0, 5])
def test_at_random_it_is_the_order_of_a_stratified_sample(seed: int) -> None:
    rows = frame([(f"k{i}", "cat" if i % 3 else "dog", None) for i in range(300)])
    found = found_by(ConceptQuota(column="label", seed=seed), rows, parts=5, part_bytes=999)
    assert found["concept_rank"].to_list() == found_by(Sample(by="label", seed=seed), rows)["sample_rank"].to_list()


@pytest.mark.parametrize("quota", [1, 7, 100, 1000])
def test_a_quota_is_cut_from_the_ranks(quota: int) -> None:
    rows = frame([(f"k{i}", f"c{i % 11 % 4}", None) for i in range(1500)])
    found = rows.join(found_by(ConceptQuota(column="label"), rows), on=["shard", "row"])
    sizes = rows["label"].value_counts(name="size")
    kept = found.filter(pl.col("concept_rank") <= quota)["label"].value_counts(name="kept").join(sizes, on="label")
    assert kept.height == 4
    assert kept.filter(pl.col("kept") != pl.min_horizontal("size", pl.lit(quota))).is_empty()


def test_numbers_are_concepts_lists_are_not() -> None:
    rows = frame([("a", None, None)] * 3).with_columns(label=pl.Series([7, None, 7], dtype=pl.Int32))
    assert found_by(ConceptQuota(column="label"), rows).rows() == [(0, 0, 1), (0, 2, 2)]
    with pytest.raises(ValueError, match="'label' holds List.*one value each"):
        found_by(ConceptQuota(column="label"), rows.with_columns(pl.concat_list("label")))


def test_reads_what_it_prefers() -> None:
    assert ConceptQuota(column="zero_shot_label").reads == ("zero_shot_label",)
    assert ConceptQuota(column="label", prefer={"lowest": "perplexity"}).reads == ("label", "perplexity")
