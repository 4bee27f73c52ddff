"""select.sample: exact counts and shares, in an order that only seed and key decide."""

from __future__ import annotations

import hashlib
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by
from pydantic import ValidationError
from scipy.stats import kstest

from cupel.operators.draws import draws, uniform
from cupel.operators.select.sample import Sample

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "language": pl.String}
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "ü", "", None]), st.sampled_from(["en", "de", "", None])))


def frame(rows: list[tuple[str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame([(i // 7, i % 7, *row) for i, row in enumerate(rows)], schema=SCHEMA, orient="row")


def many(count: int) -> pl.DataFrame:
    return frame([(f"key{i}", ("en", "de", "fr")[i % 100 % 3]) for i in range(count)])


def number(seed: int, shard: int, row: int, key: str | None) -> int:
    name = f"\0{shard}:{row}" if key is None else key
    digest = hashlib.blake2b(name.encode(), digest_size=8, salt=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")


@given(ROWS, st.integers(0, 2**63 - 1), st.booleans(), st.integers(1, 4), st.integers(0, 99))
def test_as_defined_in_any_order_and_parts(rows, seed: int, stratified: bool, parts: int, shuffled: int) -> None:
    table = frame(rows)
    expected = {}
    for language in {row[3] for row in table.rows()} if stratified else {"all"}:
        group = [row for row in table.rows() if not stratified or (row[3] == language and language is not None)]
        group.sort(key=lambda row: (number(seed, *row[:3]), *row[:2]))
        expected |= {row[:2]: (rank, rank / len(group)) for rank, row in enumerate(group, 1)}
    operator = Sample(by="language" if stratified else None, seed=seed)
    found = found_by(operator, table.sample(fraction=1, shuffle=True, seed=shuffled), parts=parts, part_bytes=100)
    assert found.rows() == [(*row, *expected[row]) for row in sorted(expected)]


@pytest.mark.parametrize("share", [0.001, 0.1, 0.35, 0.7, 1.0])
@pytest.mark.parametrize("by", [None, "language"])
def test_counts_and_shares_are_exact(share: float, by: str | None) -> None:
    rows = many(1000)
    found = rows.join(found_by(Sample(by=by), rows, parts=7, part_bytes=3000), on=["shard", "row"])
    groups = found.partition_by("language") if by else [found]
    for group in groups:
        assert group.filter(pl.col("sample_share") <= share).height == math.floor(group.height * share + 1e-9)
        assert group.filter(pl.col("sample_rank") <= 50).height == 50
        assert group["sample_rank"].sort().to_list() == list(range(1, group.height + 1))


def test_a_sample_of_more_rows_holds_the_same_ones() -> None:
    """A row that comes before another in a corpus does so in any larger one, cut into shards in another way."""
    few, whole = many(500), many(900)
    ranks = found_by(Sample(), whole.with_columns(shard=pl.lit(0, pl.Int32), row=pl.int_range(900, dtype=pl.Int32)))
    keys = [
        table.join(found, on=["shard", "row"]).sort("sample_rank")["key"].to_list()
        for table, found in ((few, found_by(Sample(), few)), (whole.with_columns(ranks["shard"], ranks["row"]), ranks))
    ]
    assert keys[0] == [key for key in keys[1] if key in set(keys[0])]


def test_seeds_differ_and_captions_of_one_image_stand_together() -> None:
    rows = frame([(f"image{i // 5}", "en") for i in range(100)])
    orders = []
    for seed in (0, 1):
        found = rows.join(found_by(Sample(seed=seed), rows), on=["shard", "row"]).sort("sample_rank")
        orders.append(found["key"].to_list())
        assert all(len(set(orders[-1][i : i + 5])) == 1 for i in range(0, 100, 5))
    assert orders[0] != orders[1]


def test_draws_are_uniform_and_of_one_machine_as_of_another() -> None:
    values = uniform(draws(many(20_000), 0))
    assert 0 <= values.min() <= values.max() < 1
    assert kstest(values, "uniform").pvalue > 0.01
    assert uniform(pl.Series([0, 2**64 - 1], dtype=pl.UInt64)).tolist() == [0, 1 - 2**-53]


def test_refuses_lists_and_odd_seeds() -> None:
    with pytest.raises(ValueError, match="'language' holds List"):
        found_by(Sample(by="language"), many(3).with_columns(pl.concat_list("language")))
    with pytest.raises(ValidationError):
        Sample(seed=-1)


@pytest.mark.parametrize("size", [(1, 1 << 27), (3, 40)])
def test_rows_without_a_number_are_in_no_sample(size: tuple[int, int]) -> None:
    """NaN equals nothing, so it is no group; the parts of a table must not decide that."""
    rows = pl.DataFrame(
        {"shard": [0] * 5, "row": range(5), "key": list("abcde"), "c": [float("nan"), 1.0, float("nan"), None, 1.0]},
        schema_overrides={"shard": pl.Int32, "row": pl.Int32},
    )
    found = found_by(Sample(by="c"), rows, *size)
    assert sorted(found["row"].to_list()) == [1, 4]
    assert sorted(found["sample_rank"].to_list()) == [1, 2]
