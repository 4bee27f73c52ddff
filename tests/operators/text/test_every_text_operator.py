"""What holds for each of them: no row is lost, none is null, none depends on its neighbours, long texts pass."""

from __future__ import annotations

import random

import pytest

from cupel.operators.registry import find

NAMES = (
    *("text.length", "text.language", "text.characters", "text.repetition", "text.words", "text.clean", "text.pii"),
    *("text.mask_pii", "text.crop_boilerplate", "text.grammar", "text.sentences", "text.punctuation"),
    "text.web_words",
)
LONG = ("the quick brown fox, left of 3 dogs. " * 30_000)[:1_000_000]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_for_every_row(name, measure, odd_texts):
    operator = find(name)()
    columns = measure(operator, odd_texts)
    assert list(columns) == [field.name for field in operator.adds]
    for name, values in columns.items():
        assert len(values) == len(odd_texts)
        empty = [text for text, value in zip(odd_texts, values, strict=True) if value is None]
        assert not any(text.strip() for text in empty), name
        assert name.startswith("language") or not empty


@pytest.mark.parametrize("name", NAMES)
def test_no_rows(name, measure):
    assert all(values == [] for values in measure(find(name)(), []).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name, measure, captions, odd_texts):
    operator = find(name)()
    texts = [*random.Random(1).sample(captions, 300), *odd_texts[:60], LONG[:50_000]]
    together = measure(operator, texts)
    alone = [measure(operator, [text]) for text in texts]
    backwards = measure(operator, texts[::-1])
    for column, values in together.items():
        assert values == [row[column][0] for row in alone]
        assert values == backwards[column][::-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_a_megabyte_among_others(name, measure):
    columns = measure(find(name)(), ["a photo", LONG, "", "x" * 1_000_000, "👍" * 250_000])
    short = measure(find(name)(), ["a photo"])
    assert all(len(values) == 5 and values[0] == short[column][0] for column, values in columns.items())
