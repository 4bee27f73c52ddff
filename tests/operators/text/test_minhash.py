from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.text._shingles import shingles, simplified
from cupel.operators.text.minhash import Minhash, band_digests, minima, permutations

AHOM_RA = "\U0001171e"  # Unicode 15 made it a spacing mark; Python 3.11 has Unicode 14
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters=AHOM_RA))
PHRASES = st.lists(
    st.sampled_from(["abc", "A b", " ", "the cat, ", "é", "x", "日本", "...", "3.14", "7", "ไทย", "’"]), max_size=40
).map("".join)
BOTH = pytest.mark.parametrize("unit", ["words", "characters"])

# The definition once more, in plain Python: rules and constants are those of version 1.


def words_by_hand(text: str, unit: str, numbers: str = "zero") -> list[str]:
    text = text.translate(dict.fromkeys(map(ord, "™℠"), " "))
    seen = (c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    text = "".join(seen).lower()
    if numbers == "zero":
        text = re.sub(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?", "0", text)
    text = "".join(c if unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Mc" else " " for c in text)
    if unit == "words":
        text = regex.sub(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]", r" \g<0> ", text)
    return text.split()


def mixed_by_hand(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def shingles_by_hand(text: str, unit: str, numbers: str, n: int) -> list[int]:
    def polynomial(numbers: list[int], base: int) -> int:
        return sum(number * pow(base, power, 2**64) for power, number in enumerate(numbers)) % 2**64

    words = [list(map(ord, word)) for word in words_by_hand(text, unit, numbers)]
    if unit == "words":
        tokens = [polynomial(word, 0x9E6C63D0876A9A4B) for word in words]
    else:
        tokens = [code for word in words for code in (32, *word)][1:]
    windows = (tokens[start : start + n] for start in range(len(tokens) - n + 1))
    return [mixed_by_hand(polynomial(window[::-1], 0xD1B54A32D192ED03)) >> 32 for window in windows]


def digests_by_hand(text: str, operator: Minhash) -> list[int] | None:
    bands, rows, seed = operator.bands, operator.rows, operator.seed
    states = (mixed_by_hand(seed) + i * 0x9E3779B97F4A7C15 for i in range(1, bands * rows + rows + bands + 1))
    numbers = [mixed_by_hand(state % 2**64) for state in states]
    weights, salts = numbers[bands * rows :][:rows], numbers[bands * rows :][rows:]
    found = shingles_by_hand(text, operator.unit, operator.numbers, operator.ngram)
    least = [min((x * (k >> 32 | 1) + k) % 2**32 for x in found) for k in numbers[: bands * rows] if found]
    of_bands = [least[start : start + rows] for start in range(0, len(least), rows)]
    return (
        [
            mixed_by_hand((salt + sum(m * (w | 1) for m, w in zip(band, weights, strict=True))) % 2**64)
            for salt, band in zip(salts, of_bands, strict=True)
        ]
        if found
        else None
    )


@given(
    texts=st.lists(PHRASES | ASSIGNED, min_size=1, max_size=6),
    unit=st.sampled_from(["words", "characters"]),
    numbers=st.sampled_from(["zero", "keep"]),
    ngram=st.integers(1, 6),
    bands=st.integers(1, 3),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_text(measure, texts, **parameters):
    operator = Minhash(**parameters)
    assert measure(operator, texts)["minhash"] == [digests_by_hand(text, operator) for text in texts]


@BOTH
def test_words_of_75_languages_and_every_script(captions, odd_texts, shared_data: Path, unit):
    files = sorted((shared_data / "text/lingua-sentences").glob("*.txt"))
    texts = [line for file in files for line in file.read_text("utf-8").splitlines()[:60]] + captions[::10]
    texts += [text.replace(AHOM_RA, "") for text in odd_texts]
    found = [re.findall(r"[a-z0\x80-\U0010ffff]+", text) for text in simplified(pl.Series(texts), unit, "zero")]
    assert found == [words_by_hand(text, unit) for text in texts]


def test_words_of_ascii_texts_are_datatroves(captions):
    """simplify_text of datatrove 0.10 (utils/text.py), as far as ASCII goes; then split at spaces."""
    parts = {c: " " for c in range(128) if not chr(c).isalnum() and not chr(c).isspace()}
    texts = [text for text in captions if text.isascii()]
    theirs = [re.sub(r"[0-9]+([.,][0-9]+)?", "0", text.lower()).translate(parts).split() for text in texts]
    assert [re.findall("[a-z0]+", text) for text in simplified(pl.Series(texts), "words", "zero")] == theirs


def test_digests_stay_what_they_are(measure):
    """What was stored compares with what is measured: another value here needs another version."""
    found = measure(Minhash(), ["A Photo of 3 cats, naïve ones, on a 猫のマット"])["minhash"]
    assert Minhash.version == 1
    assert found[0][:2] == [12364485151454708866, 5193260209176697119]


# How much is found, against 1 - (1 - s^rows)^bands.


def pairs(count: int, shingles: int, shared: int) -> list[str]:
    """`count` texts, then `count` others: of the 5-grams of a text and its other, `shared` are the same."""
    chance = np.random.default_rng(shingles)
    letters = chance.integers(ord("a"), ord("z") + 1, (count, shingles * 2 + 8, 10), np.uint8)
    words = letters.view("S10")[..., 0].astype(str)
    other = np.concatenate([words[:, : shared + 4], words[:, shingles + 4 : 2 * shingles - shared + 4]], axis=1)
    return [" ".join(row) for row in (*words[:, : shingles + 4].tolist(), *other.tolist())]


FINEWEB = {0.7: 0.5645, 0.75: 0.7716, 0.8: 0.9235, 0.85: 0.9884}  # as published: 56, 77, 92 and 98.8 %
DCLM = {0.7: 0.3576, 0.75: 0.7138, 0.8: 0.9642, 0.85: 0.9998}
REFINEDWEB = {0.7: 0.3018, 0.75: 0.7605, 0.8: 0.9946}
OF_SETS = {0.7: (17, 14), 0.75: (7, 6), 0.8: (9, 8), 0.85: (37, 34)}  # shingles of a text, shared: s exactly


@pytest.mark.parametrize(
    ("preset", "s", "expected", "times", "count"),
    [
        *(("fineweb", s, expected, times, 4000) for s, expected in FINEWEB.items() for times in (1, 3)),
        *(("dclm", s, expected, 1, 2000) for s, expected in DCLM.items()),
        *(("refinedweb", s, expected, 1, 300) for s, expected in REFINEDWEB.items()),
    ],
)
def test_pairs_are_found_as_often_as_the_closed_form_says(preset, s, expected, times, count):
    texts = pairs(count, *(times * size for size in OF_SETS[s]))
    found = Minhash(preset=preset)(Batch(pa.table({"text": texts})))["minhash"]
    digests = found.values.to_numpy().reshape(2, count, -1)
    share = (digests[0] == digests[1]).any(axis=1).mean()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / count) + 0.00005)


@BOTH
def test_unrelated_texts_share_nothing(unit):
    found = Minhash(unit=unit, ngram=5)(Batch(pa.table({"text": pairs(2000, 20, 0)})))["minhash"].values.to_numpy()
    assert len(np.unique(found)) == len(found)


@pytest.mark.parametrize("s", OF_SETS)
def test_minima_agree_as_often_as_the_sets_do(s):
    """The estimate of one pair's Jaccard index by 20,000 permutations."""
    hashes, counts = shingles(pl.Series(pairs(1, *(4 * size for size in OF_SETS[s]))), "words", "zero", 5)
    starts = np.array([0, counts[0]])
    least = np.array([minima(hashes, starts, *each) for each in zip(*permutations(1, 20_000), strict=True)])
    assert (least[:, 0] == least[:, 1]).mean() == pytest.approx(s, abs=4 * np.sqrt(s * (1 - s) / 20_000))


def test_different_minima_have_different_digests(captions):
    hashes, counts = shingles(pl.Series(captions), "words", "zero", 3)
    counts = counts[counts > 0]
    digests = band_digests(hashes, counts, 4, 2, 1)
    least = np.array(
        [minima(hashes, np.cumsum(counts) - counts, *each) for each in zip(*permutations(1, 8), strict=True)]
    )
    different = [len(np.unique(least[row : row + 2], axis=1).T) for row in range(0, 8, 2)]
    assert len(np.unique(digests)) == sum(different), "no two bands have one in common, either"


# What is one text, and what is none.


@pytest.mark.parametrize(
    "variant",
    [
        "THE CAFÉ'S 12 TABLES; CROWDED ON 3.5 DAYS",
        "the cafe's 7 tables crowded on 10,000 days",
        "  the\tcafe\u0301’s\n99 tables — crowded on 0 days!!!  ",
        "«The» café‘s ١٢ tables… crowded® on ٣٫٥ days 👍",
        "Ｔｈｅ ｃａｆé＇ｓ ９ ｔａｂｌｅｓ crowded\u200b on 1 days\ufeff",
        "the™ ca\u00adfé's 5 tables, crow\u2060ded on 1 da\u200dys",
    ],
)
@BOTH
def test_variants_of_one_text(measure, variant, unit):
    one, other = measure(Minhash(unit=unit), ["The café's 12 tables, crowded on 3 days.", variant])["minhash"]
    assert one == other


def test_numbers_may_be_kept(measure):
    texts = ["Yearbook 1964, first page of 3.5", "yearbook of 1964: first page", "Yearbook 1965, first page of 3.5"]
    assert len(set(map(tuple, measure(Minhash(), texts[::2])["minhash"]))) == 1
    assert len(set(map(tuple, measure(Minhash(numbers="keep"), texts[::2])["minhash"]))) == 2
    hashes, counts = shingles(pl.Series([*texts, "yearbook 1964 first page of 3 5"]), "words", "keep", 5)
    assert counts.tolist() == [3, 1, 3, 3]
    assert hashes[:3].tolist() == hashes[-3:].tolist()


def test_words_count_and_their_order_does(measure):
    texts = ["a b c d e f", "a b c d f e", "ab c d e f", "a b c d e f a b c d e f a b c d e f"]
    one, *others = measure(Minhash(), texts)["minhash"]
    assert others[0] != one
    assert others[1] != one
    sets = [set(shingles(pl.Series([text]), "words", "zero", 5)[0].tolist()) for text in texts]
    assert [len(found) for found in sets] == [2, 2, 1, 6]
    assert sets[0] < sets[3]


@pytest.mark.parametrize(
    ("unit", "ngram", "texts", "nulls"),
    [
        ("words", 5, ["", " \n", "!!! ... 👍 ☃ ®", "one two three four", "a b c d e"], [1, 1, 1, 1, 0]),
        (
            "words",
            5,
            ["日本語の", "日本語のテ", "ไทยๆ", "ภาษาไทย", "한국어 텍스트 하나 둘", "𠮷野家だよ"],
            [1, 0, 1, 0, 1, 0],
        ),
        ("words", 1, ["", "a", "0", "的"], [1, 0, 0, 0]),
        ("characters", 5, ["", "abcd", "ab d", "  ab  cd", "é-è-ê"], [1, 1, 1, 0, 0]),
    ],
)
def test_a_text_shorter_than_an_ngram_is_null_and_no_list(unit, ngram, texts, nulls):
    found = Minhash(unit=unit, ngram=ngram)(Batch(pa.table({"text": texts})))["minhash"]
    assert found.is_null().to_pylist() == list(map(bool, nulls))


@BOTH
def test_a_row_does_not_depend_on_the_others(measure, captions, odd_texts, unit):
    operator = Minhash(unit=unit)
    texts = [*captions[:300], *odd_texts[:60], "the quick brown fox " * 9000, "x" * 70_000, "x y" * 70_000, ""]
    together = measure(operator, texts)["minhash"]
    assert together == [measure(operator, [text])["minhash"][0] for text in texts]
    assert together == measure(operator, texts[::-1])["minhash"][::-1]
    assert measure(operator, []) == {"minhash": []}


@BOTH
def test_a_million_characters_among_others(measure, unit):
    many = " ".join(f"word{number:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(120_000))
    texts = ["a photo of one cat", many, "", "x" * 1_000_000, "👍" * 250_000, "的" * 1_000_000, "1.2." * 250_000]
    found = measure(Minhash(unit=unit), [*texts, many.upper()[:-1]])["minhash"]
    assert len(many) > 1_000_000
    assert found[0] == measure(Minhash(unit=unit), texts[:1])["minhash"][0]
    assert sum(one == other for one, other in zip(found[1], found[-1], strict=True)) > 10, "one word apart"
    assert found[2] is None


def test_seeds_and_shapes_give_digests_of_their_own(measure):
    operators = [
        Minhash(seed=1),
        Minhash(seed=2),
        Minhash(bands=14, rows=7),
        Minhash(ngram=4),
        Minhash(unit="characters"),
    ]
    found = [measure(operator, ["one caption of seven words is here"])["minhash"][0] for operator in operators]
    assert all(set(one).isdisjoint(other) for one, other in pairwise([*found, found[0]]))
    assert measure(Minhash(preset="fineweb"), ["a b c d e"]) == measure(Minhash(bands=14, rows=8), ["a b c d e"])


def test_files_and_polars_keep_lists_and_nulls(tmp_path):
    operator = Minhash()
    found = operator(Batch(pa.table({"text": ["a b c d e f", "short", "g h i j k"]})))["minhash"]
    pq.write_table(pa.Table.from_arrays([found], schema=pa.schema(operator.adds)), tmp_path / "file.parquet")
    assert pq.read_table(tmp_path / "file.parquet")["minhash"].to_pylist() == found.to_pylist()
    read = pl.read_parquet(tmp_path / "file.parquet")["minhash"]
    assert read.dtype == pl.Array(pl.UInt64, 14)
    assert read.to_list() == found.to_pylist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bands": 9}, "bands and rows go together"),
        ({"rows": 9}, "bands and rows go together"),
        ({"preset": "dclm", "bands": 9, "rows": 9}, "preset dclm has its own bands and rows"),
        ({"preset": "gopher"}, "'fineweb', 'refinedweb' or 'dclm'"),
        ({"ngram": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_parameters_that_make_no_sense(parameters, message):
    with pytest.raises(ValidationError, match=message):
        Minhash(**parameters)
