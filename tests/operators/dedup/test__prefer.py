"""Best first: the preference, then key, shard and row; nulls and NaN last."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from cupel.operators.dedup._prefer import Prefer, best_first, reads, row_names
from cupel.schemas.corpus import row_name

ROWS = pl.DataFrame(
    {
        "shard": [0, 0, 0, 1, 1, 1],
        "row": [0, 1, 2, 0, 1, 2],
        "key": ["f", "e", "d", "c", None, "a"],
        "score": [0.5, None, 0.9, float("nan"), 0.5, 0.5],
        "words": [3, 1, 2, None, 3, 3],
    }
)


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        (None, ["a", "c", "d", "e", "f", None]),
        (Prefer(highest="score"), ["d", "a", "f", None, "c", "e"]),
        (Prefer(lowest="score"), ["a", "f", None, "d", "c", "e"]),
        (Prefer(highest="words"), ["a", "f", None, "d", "e", "c"]),
        (Prefer(lowest="words"), ["e", "d", "a", "f", None, "c"]),
        (Prefer(lowest="key"), ["a", "c", "d", "e", "f", None]),
        (Prefer(highest="row"), ["a", "d", "e", None, "c", "f"]),
    ],
)
def test_order(prefer: Prefer | None, order: list[str | None]) -> None:
    for seed in range(4):
        shuffled = ROWS.sample(fraction=1, shuffle=True, seed=seed)
        assert best_first(shuffled, prefer)["key"].to_list() == order


@pytest.mark.parametrize("wrong", [{}, {"highest": "a", "lowest": "b"}, {"most": "a"}, {"highest": ""}])
def test_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Prefer.model_validate(wrong)


def test_each_column_is_read_once() -> None:
    assert reads(("a", "b"), Prefer(lowest="a")) == ("a", "b")
    assert reads(("a",), Prefer(lowest="c")) == ("a", "c")


def test_row_names_are_those_of_the_schema() -> None:
    frame = pl.DataFrame({"shard": [0, 3, 123_456_789], "row": [0, 17, 9999]}, schema_overrides={"shard": pl.Int32})
    names = frame.select(row_names(pl.col("shard"), pl.col("row"))).to_series().to_list()
    assert names == [row_name(shard, row) for shard, row in frame.rows()]
