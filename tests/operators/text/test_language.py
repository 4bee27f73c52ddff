from __future__ import annotations

import shutil
from pathlib import Path

import fasttext
import pytest

from cupel.operators.text.language import Language

# By speakers, first and second language together (Ethnologue 2024), of those that lingua's sentences hold.
LARGEST = (
    "en",
    "zh",
    "hi",
    "es",
    "fr",
    "ar",
    "bn",
    "pt",
    "ru",
    "ur",
    "id",
    "de",
    "ja",
    "mr",
    "te",
    "tr",
    "ta",
    "vi",
    "tl",
    "ko",
)


@pytest.fixture(scope="module")
def bare() -> object:
    """The library itself, without us."""
    return fasttext.load_model(str(Language().files[0]))


def test_datacomp_english_row_for_row(measure, captions, bare):
    """arXiv:2304.14108, appendix N: the first label of `text.replace("\\n", " ")`."""
    texts = [text for text in captions if text.strip()]
    found = measure(Language(), texts)
    labels, confidences = zip(*(bare.predict(text.replace("\n", " ")) for text in texts), strict=True)
    assert [language == "en" for language in found["language"]] == [label[0] == "__label__en" for label in labels]
    assert [f"__label__{language}" for language in found["language"]] == [label[0] for label in labels]
    assert found["language_confidence"] == [min(one[0], 1.0) for one in confidences]


def test_long_sentences_of_the_largest_languages(measure, shared_data: Path):
    right = total = 0
    for language in LARGEST:
        lines = (shared_data / f"text/lingua-sentences/{language}.txt").read_text("utf-8").splitlines()
        found = measure(Language(), [line for line in lines if len(line) >= 50])["language"]
        assert found.count(language) >= 0.94 * len(found), language  # lowest: Indonesian, 0.942, taken for Malay
        right, total = right + found.count(language), total + len(found)
    assert right >= 0.99 * total


@pytest.mark.parametrize("text", ["", " ", "\n", "\t \r\n", "\u3000\xa0"])
def test_no_text_no_language(measure, text):
    found = measure(Language(), [text, "a photo of a dog"])
    assert found["language"] == [None, "en"]
    assert found["language_confidence"][0] is None


@pytest.mark.parametrize("text", ["12345", "?!", "\x00", "😀"])
def test_a_text_that_the_model_does_not_know_gets_its_prior(measure, text):
    found = measure(Language(), [text])
    assert found["language"] == ["en"]
    assert found["language_confidence"][0] < 0.2


def test_line_ends_and_nul_separate_words(measure):
    one, *others = measure(Language(), [f"le chat{end}est noir" for end in (" ", "\n", "\r\n", "\r", "\x00")])[
        "language"
    ]
    assert one == "fr"
    assert set(others) == {"fr"}


def test_confidence_ends_at_one(measure):
    found = measure(Language(), ["This is clearly an English sentence about the weather in London. " * 20])
    assert found["language_confidence"][0] <= 1.0


def test_a_model_of_ones_own(measure, tmp_path: Path):
    own = tmp_path / "lid.176.bin"
    shutil.copy(Language().files[0], own)
    operator = Language(model=str(own))
    operator.setup()
    assert operator.files == (own,)
    assert measure(operator, ["der Hund und die Katze"])["language"] == ["de"]


def test_a_model_that_is_not_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no model '.*absent\.bin'; give 'lid\.176\.ftz'"):
        Language(model=str(tmp_path / "absent.bin")).setup()
