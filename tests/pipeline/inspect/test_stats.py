"""A cut in numbers: quantiles as numpy has them, counts as the ledger has them, charts of block letters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import two_cuts
from rich.cells import cell_len
from two_cuts import SCORES, TEXTS

from cupel.pipeline.inspect.charts.buckets import Buckets
from cupel.pipeline.inspect.charts.chart import Limit
from cupel.pipeline.inspect.opened import OpenedCut, open_cut
from cupel.pipeline.inspect.stats import SHARES, Stats, kept_part, stats, summary_of
from cupel.pipeline.inspect.terminal import beside, figure, histogram, line
from cupel.schemas.summary import Numbers


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("texts", tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def found(texts) -> Stats:
    return stats(open_cut(str(texts), "a"))


def score(found: Stats, column: str):
    return next(score for score in found.scores if score.numbers.column == column)


def test_quantiles_are_those_of_the_values(found):
    words = score(found, "words")
    values = np.array([len(text.split()) for text in TEXTS if text is not None])
    expected = np.quantile(values, SHARES, method="inverted_cdf")
    assert list(words.quantiles.values()) == expected.tolist()
    assert list(words.quantiles) == ["5%", "25%", "50%", "75%", "95%"]
    assert (words.numbers.least, words.numbers.most, words.numbers.nulls) == (0, 10, 1)
    numbers = score(found, "score")
    assert list(numbers.quantiles.values()) == pytest.approx(np.quantile(SCORES, SHARES), abs=0.01)


def test_counts_are_those_of_the_ledger(found, texts):
    cut = open_cut(str(texts), "a")
    dropped = pl.read_parquet(f"{cut.uri}/dropped/*.parquet")
    words = score(found, "words")
    assert words.kept == cut.manifest.kept
    assert words.dropped_here == dropped.filter((pl.col("column") == "words") & pl.col("value").is_not_null()).height
    assert words.count == words.kept + words.dropped_here + words.dropped == 699


def test_bounds_stand_where_they_cut(found):
    assert [limit.text for limit in score(found, "words").limits] == ["min 2", "max 9"]
    (either,) = score(found, "characters").limits
    assert either.text == "min 6 (an alternative)"
    (rank,) = score(found, "score").limits
    kept = pl.read_parquet(f"{found.cut.uri}/curated/*.parquet")["score"]
    assert (rank.side, rank.value) == ("top", pytest.approx(kept.min()))
    assert found.scores[0].limits, "those with bounds come first"


def test_groups_names_and_errors_are_told(found):
    column, largest = found.groups[0]
    assert (column, largest.rows) == ("exact_of", max(group.rows for _, group in found.groups))
    assert {f.step: f.errors for f in found.failures} == {"test.raises": {"ZeroDivisionError": 1}}
    (site,) = [values for values in found.values if values.column == "site"]
    assert {value.value: value.rows for value in site.values} == {"a.example": 466, "b.example": 234}


def test_without_a_summary_the_rows_say_the_same(texts):
    cut = open_cut(str(texts), "a")
    assert cut.summary is not None

    class Older(OpenedCut):
        summary = None

    older = Older.__new__(Older)
    vars(older).update({name: value for name, value in vars(cut).items() if name != "summary"})
    assert summary_of(older) == cut.summary


def test_what_is_told_is_json(found):
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["manifest"]["kept"] == found.cut.manifest.kept
    assert [cut["newest"] for cut in told["cuts"]] == [True, True]
    assert told["scores"][0]["bounds"][0].keys() == {"value", "side", "text"}


# Charts of block letters


def numbers(edges: list[float], kept: list[int], here: list[int], whole: bool = True) -> Buckets:
    ends = [edge + 1 for edge in edges]
    none = [0] * len(edges)
    found = Buckets.of(
        Numbers(
            column="x", space=0, step=None, whole=whole, edges=edges, ends=ends, kept=kept, dropped_here=here,
            dropped=none, nulls=0, least=edges[0], most=edges[-1],
        )
    )  # fmt: skip
    assert found is not None
    return found


@pytest.mark.parametrize(("side", "value"), [("min", 4.0), ("min", 3.5), ("max", 6.0), ("max", 6.9), ("min", 0.0)])
def test_the_arrow_stands_under_the_last_value_that_passes(side, value):
    edges = [float(x) for x in range(11)]
    passes = [x >= value if side == "min" else x <= value for x in edges]
    buckets = numbers(edges, [5 * p for p in passes], [3 * (not p) for p in passes])
    kept, dropped, mark = (row.plain for row in histogram(buckets, [Limit(value=value, side=side, text=f"{side} it")]))
    assert kept.endswith(f" {5 * sum(passes)}") and f" {3 * (11 - sum(passes))}" in dropped
    shown = [letter != " " for letter in kept[10 : 10 + 55]]
    at = mark.index("▲") - 10
    assert shown[at] and (at == 0 or not shown[at - 1] if side == "min" else not any(shown[at + 1 :]))
    assert f"{side} it" in mark


def test_what_is_there_is_seen_beside_a_million():
    rows = histogram(numbers([0.0, 1.0, 2.0], [1_000_000, 1, 0], [0, 0, 1]), [])
    assert len(set(rows[0].plain[10:].split(" ")[0])) == 2
    assert "▁" in rows[1].plain


def test_a_spread_of_one_value_is_drawn():
    assert "█" in histogram(numbers([3.0], [7], [0]), [])[0].plain
    assert "█" in beside(numbers([3.0], [7], [0]), numbers([9.0], [2], [0], whole=False))[1].plain


def test_only_the_kept_rows_are_in_their_part(found):
    words = score(found, "words")
    part = kept_part(words.numbers)
    assert part is not None and part.total == words.kept
    none = words.numbers.model_copy(update={"kept": [0] * len(words.numbers.kept)})
    assert kept_part(none) is None


# Text of strangers


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "\x9b2J", "\u202eabc", "\x07", "\u2066x", "a\0b", "\ud800"])
def test_no_control_character_reaches_the_terminal(text):
    shown = line(f"before {text} after")
    assert shown.isprintable() and "before" in shown and "after" in shown
    assert "U+" in shown


def test_a_value_takes_one_line():
    assert line("one\ntwo\tthree") == "one↵two⇥three"
    assert cell_len(line("x" * 500, 20)) == 21 and line("x" * 20, 20) == "x" * 20
    assert (figure(None), figure(1234567), figure(0.25), figure(True), figure("a\nb")) == (
        "–",
        "1,234,567",
        "0.25",
        "yes",
        "a↵b",
    )
