from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupel.operators.text._words import words
from cupel.operators.text.words import Words

LISTS = [path.read_text("utf-8").splitlines() for path in Words().files]
STOP, FLAGGED, SPATIAL = ({line for line in lines if not line.startswith("#")} for lines in LISTS)
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
SENTENCES = st.lists(st.sampled_from([*sorted(STOP | FLAGGED | SPATIAL), "cat", "(The", "7", "porn!", "«LEFT»"])).map(
    " ".join
)


def words_by_hand(text: str) -> list[str]:
    """Lower case, split, special characters (neither letter nor mark) off both ends, empty ones out."""

    def strip(word: str) -> str:
        inner = [i for i, character in enumerate(word) if unicodedata.category(character)[0] in "LM"]
        return word[inner[0] : inner[-1] + 1] if inner else ""

    return [stripped for word in text.split() if (stripped := strip(word.lower()))]


def by_hand(texts: list[str]) -> dict[str, list[float]]:
    lists = [words_by_hand(text) for text in texts]
    return {
        "stop_word_ratio": [sum(word in STOP for word in found) / (len(found) or 1) for found in lists],
        "flagged_word_ratio": [sum(word in FLAGGED for word in found) / (len(found) or 1) for found in lists],
        "spatial_words": [sum(word in SPATIAL for word in found) for found in lists],
    }


def test_words_of_every_assigned_code_point():
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    texts = [text for character in every for text in (f"{character}A", f"B{character}C", f"x {character}")]
    assert words(pa.array(texts)).to_list() == [words_by_hand(text) for text in texts]


@settings(deadline=None)
@given(texts=st.lists(SENTENCES | ASSIGNED, min_size=1))
def test_any_text(measure, texts):
    assert measure(Words(), texts) == by_hand(texts)


def test_real_captions_and_every_script(measure, captions, odd_texts):
    texts = [*captions, *odd_texts]
    assert measure(Words(), texts) == by_hand(texts)


@pytest.mark.parametrize(
    ("text", "stop", "flagged", "spatial"),
    [
        ("", 0.0, 0.0, 0),
        ("42 & 7 😀", 0.0, 0.0, 0),
        ("The dog is LEFT of the cat.", 4 / 7, 0.0, 1),
        ("don’t, don't", 1.0, 0.0, 0),
        ("XXX porn video", 0.0, 2 / 3, 0),
        ("Middlesex, Scunthorpe", 0.0, 0.0, 0),
    ],
)
def test_by_example(measure, text, stop, flagged, spatial):
    found = measure(Words(), [text])
    assert [values[0] for values in found.values()] == [stop, flagged, spatial]


def test_the_lists_are_sane():
    assert 150 <= len(STOP) <= 350
    assert not STOP & FLAGGED
    assert all(len(lines) == len(set(lines)) for lines in LISTS)


def test_a_list_of_ones_own(measure, tmp_path: Path):
    own = tmp_path / "stop.txt"
    own.write_text("# deutsch\nder\n\nund\n", "utf-8")
    operator = Words(stop_words=own)
    assert operator.files[0] == own
    assert measure(operator, ["Der Hund und the cat"])["stop_word_ratio"] == [2 / 5]


@pytest.mark.parametrize(
    ("line", "hint"), [("vs.", "write 'vs'"), ("New", "write 'new'"), ("new york", "one by one"), ("42", "never")]
)
def test_a_line_that_cannot_match_is_refused(tmp_path: Path, line, hint):
    own = tmp_path / "stop.txt"
    own.write_text(f"und\n{line}\n", "utf-8")
    with pytest.raises(ValueError, match=r"stop\.txt:2: ") as error:
        Words(stop_words=own).setup()
    assert hint in str(error.value)
