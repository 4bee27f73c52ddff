"""select.balance against MetaCLIP's rule written as a loop over all entries."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import found_by
from pydantic import ValidationError

from cupel.operators.select import _entries
from cupel.operators.select._entries import listed, read_entries, tree_of
from cupel.operators.select.balance import Balance

SCHEMA = {"shard": pl.Int32, "row": pl.Int32, "key": pl.String, "text": pl.String}
WORDS = st.lists(st.sampled_from(["a", "b", "A", "ü", "a,", ".", "?b", "", "\t", "a\nb", "\u00a0", "<br>"]), max_size=8)
TEXTS = st.lists(st.none() | WORDS.map(" ".join), max_size=12)
ENTRIES = st.lists(WORDS.map(lambda words: " ".join(words).strip().replace("\n", " ")).filter(bool), max_size=12)


def frame(texts: list[str | None]) -> pl.DataFrame:
    rows = [(i // 7, i % 7, None if i % 3 else f"k{i}", text) for i, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def matches(text: str, entries: list[str]) -> list[int]:
    """The published rule: spaces around the text and its marks, then a substring search for each entry."""
    text = f" {text} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    for white in "\t\n\r":
        text = text.replace(white, " ")
    return [i for i, entry in enumerate(entries) if f" {entry} " in text]


@given(TEXTS, ENTRIES, st.sampled_from([1, 5, 1000]))
def test_matches_as_a_loop_over_substrings_does(texts: list[str | None], entries: list[str], size: int) -> None:
    entries = list(dict.fromkeys(entries))
    there = pl.Series([text for text in texts if text is not None], dtype=pl.String)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_entries, "_SLICE_BYTES", size)
        found = tree_of(entries).match(there)
    assert found.to_list() == [matches(text, entries) for text in there]
    assert found.dtype == pl.List(pl.UInt32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New York City", ["New York", "York", "New York City"]),
        ("new york", []),
        ("A photo of New York, at night", ["New York", "York"]),
        ("York", ["York"]),
        ("Yorkshire", []),
        ("New\tYork", ["New York", "York"]),
        ("New  York", ["York"]),
        ("St. Louis", []),  # "St .  Louis" is searched
        ("York? York!", ["York"]),
        ("(York)", []),  # brackets and quotes are not wrapped
    ],
)
def test_examples(text: str, expected: list[str]) -> None:
    entries = ["New York", "York", "New York City", "St. Louis"]
    assert [entries[i] for i in tree_of(entries).match(pl.Series([text]))[0]] == expected


def written(folder: Path, *entries: str) -> str:
    (folder / "metadata.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
    return str(folder / "metadata.txt")


@given(st.lists(st.sampled_from(["cat", "cat dog", "a dog, cat", "bird", "", None]), max_size=60), st.integers(1, 9))
def test_probability_as_defined_in_any_order_and_parts(tmp_path_factory, texts: list[str | None], t: int) -> None:
    entries = ["cat", "dog", "cat dog", "no such thing"]
    table = frame(texts)
    found_entries = {row[:2]: matches(row[3], entries) for row in table.rows() if row[3] is not None}
    counts = Counter(entry for some in found_entries.values() for entry in some)
    operator = Balance(metadata=written(tmp_path_factory.mktemp("balance"), *entries), t=t)
    found = found_by(operator, table.sample(fraction=1, shuffle=True, seed=t), parts=3, part_bytes=99)
    assert found.select("shard", "row").rows() == sorted(found_entries)
    for row, count, probability, drawn in zip(
        sorted(found_entries), *found[:, 2:].to_dict(as_series=False).values(), strict=True
    ):
        chances = [min(1, t / counts[entry]) for entry in found_entries[row]]
        assert count == len(chances)
        assert probability == pytest.approx(1 - math.prod(1 - chance for chance in chances), abs=1e-12)
        assert drawn or probability < 1
        assert not drawn or probability > 0
    assert found.equals(found_by(operator, table))


def test_an_entry_keeps_about_t_texts(tmp_path: Path) -> None:
    """Of 20,000 texts on cats and 300 on owls each keeps some 500, or all; a second seed draws others."""
    texts = [f"a cat {i}" for i in range(20_000)] + [f"an owl {i}" for i in range(300)] + ["a dog"] * 50
    path = written(tmp_path, "cat", "owl")
    found = [found_by(Balance(metadata=path, t=500, seed=seed), frame(texts)) for seed in (0, 1)]
    for drawn in (rows["balance_drawn"] for rows in found):
        assert abs(int(drawn[:20_000].sum()) - 500) < 5 * math.sqrt(500)
        assert drawn[20_000:20_300].all()
        assert not drawn[20_300:].any()
    assert not found[0].equals(found[1])
    assert found[0]["balance_probability"][0] == pytest.approx(500 / 20_000)


def test_captions_of_one_image_are_drawn_apart(tmp_path: Path) -> None:
    rows = frame([f"cat {i}" for i in range(1000)]).with_columns(key=pl.lit("one image"))
    drawn = found_by(Balance(metadata=written(tmp_path, "cat"), t=500), rows)["balance_drawn"].sum()
    assert 400 < drawn < 600


@pytest.mark.parametrize(("share", "t"), [(0.01, 1), (0.1, 1), (0.11, 3), (0.4, 3), (0.41, 6), (1, 6)])
def test_t_by_the_share_of_matches_in_the_tail(tmp_path: Path, share: float, t: int) -> None:
    """Ten matches: 6 of cat, 3 of dog, 1 of owl; `elk` has none."""
    path = written(tmp_path, "elk", "cat", "dog", "owl")
    rows = frame(["cat"] * 6 + ["dog"] * 3 + ["owl"])
    found = found_by(Balance(metadata=path, tail_share=share), rows)
    expected = [min(1, t / 6)] * 6 + [min(1, t / 3)] * 3 + [1]
    assert found["balance_probability"].to_list() == pytest.approx(expected)


def test_a_caption_of_a_million_characters(tmp_path: Path) -> None:
    rows = frame(["a " * 500_000, "b" * 1_000_000, "," * 1_000_000, None])
    found = found_by(Balance(metadata=written(tmp_path, "a", "a a", "a a a", "b", ",")), rows)
    assert found["balance_matches"].to_list() == [3, 0, 1]


def test_white_space_empty_lines_and_repeats_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffcat \r\n\r\n\t owl\ncat\n\n#1\nü\u2028b".encode())
    assert listed(path) == ["cat", "owl", "#1", "ü\u2028b"]
    assert read_entries(path) is read_entries(path), "kept"
    path.write_text("another\n")
    assert read_entries(path).words["word"].to_list() == ["another"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "holds no entry"), (b" \n\n", "holds no entry"), (b"\xff\xfe\n", "is no UTF-8 text")]
)
def test_lists_that_will_not_do(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        found_by(Balance(metadata=str(path)), frame(["a"]))


def test_parameters(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no list of entries 'nowhere'"):
        _ = Balance(metadata="nowhere").files
    with pytest.raises(ValidationError, match="give one of them"):
        Balance(metadata="list.txt", t=3, tail_share=0.1)
    assert Balance(metadata=written(tmp_path, "a"), column="alt").reads == ("alt",)
