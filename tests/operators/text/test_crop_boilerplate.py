from __future__ import annotations

from pathlib import Path

import pytest

from cupel.operators.text.boilerplate import Boilerplate
from cupel.operators.text.crop_boilerplate import CropBoilerplate


@pytest.mark.parametrize(
    ("text", "cropped"),
    [
        ("A cat  on a mat. ", "A cat  on a mat. "),
        ("Pancake — Stock Photo #39050545", "Pancake"),
        ("Beef steak. - Stock Photo", "Beef steak."),
        ("A cat [Click to enlarge picture]", "A cat"),
        ("Stock photo of two   cats | Shutterstock", "two cats"),
        ("Flight over sea image 1 Thumbnail - stock photo", "Flight over sea"),
        ("Sunset in Oslo.jpg", "Sunset in Oslo"),
        ("Stock Photo", ""),
        ("Jo's profile photo", "Jo's profile photo"),
        ("", ""),
    ],
)
def test_by_example(measure, text, cropped):
    found = measure(CropBoilerplate(), [text])
    assert found == {"cropped_text": [cropped], "cropped_characters": [len(text) - len(cropped)]}


def test_nothing_to_crop_is_left_in_real_captions(measure, captions):
    texts = captions[:8000]
    (cropped, fewer) = measure(CropBoilerplate(), texts).values()
    names = measure(Boilerplate(), texts)["boilerplate_pattern"]
    crops = ("cc3m_cropped", "click", "stock", "shop", "site")
    left = measure(Boilerplate(), cropped)["boilerplate_pattern"]
    assert sum(name in crops for name in names) > 400
    assert not [text for text, name in zip(cropped, left, strict=True) if name in crops]
    for text, now, less, name in zip(texts, cropped, fewer, names, strict=True):
        assert less == len(text) - len(now)
        assert text == now or name is not None
        assert set(now.split()) <= set(text.split()) or less, "nothing is added"


def test_a_list_of_ones_own(measure, tmp_path: Path):
    own = tmp_path / "own.txt"
    own.write_text("[gross crop]\nzum Vergrößern klicken\n[weg drop]\nWerbung\n", "utf-8")
    texts = ["Katze: zum Vergrößern klicken", "Werbung", "stock photo"]
    assert measure(CropBoilerplate(patterns=own), texts)["cropped_text"] == ["Katze", "Werbung", "stock photo"]


@pytest.mark.parametrize("text", ["image 1 ", "stock photo ", "click to view ", "- ", "()"])
def test_a_megabyte(measure, text):
    (cropped, _) = measure(CropBoilerplate(), [text * (1_000_000 // len(text))]).values()
    assert len(cropped[0]) <= 1_000_000
