"""Held-out data are known by what they hold, not by where they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder

from cupel.operators.decode import RowError
from cupel.pipeline.train.compare.held_out import content_digest, write_hashes
from cupel.pipeline.train.compare.judge import Judge
from cupel.pipeline.train.compare.recipe import Evaluation
from cupel.pipeline.train.errors import TrainError


@pytest.fixture
def places(tmp_path) -> Path:
    write_folder(tmp_path / "here" / "pairs", 6)
    for name in ("red", "blue"):
        for i in range(2):
            (tmp_path / "here" / "classes" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "here" / "classes" / name / f"{i}.jpg").write_bytes(encoded(picture(i + 10 * len(name))))
    return tmp_path / "here"


def evaluation(at: Path, **changes: object) -> Evaluation:
    return Evaluation.model_validate({"pairs": str(at / "pairs"), "classes": str(at / "classes"), **changes})


def test_a_copy_elsewhere_is_the_same(places, tmp_path):
    shutil.copytree(places, tmp_path / "there" / "deep")
    there = tmp_path / "there" / "deep"
    assert content_digest(evaluation(places)) == content_digest(evaluation(there))
    for number, at in enumerate((places, there)):
        assert write_hashes(evaluation(at), tmp_path / f"{number}.parquet") == 10
    assert pq.read_table(tmp_path / "0.parquet").equals(pq.read_table(tmp_path / "1.parquet"))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("change", ["caption", "image", "class", "prompts", "fewer"])
def test_what_changes_a_figure_changes_the_digest(places, change):
    before = content_digest(evaluation(places))
    changed = evaluation(places)
    match change:
        case "caption":
            (places / "pairs" / "p0002.txt").write_text("something else")
        case "image":
            (places / "classes" / "red" / "0.jpg").write_bytes(encoded(picture(77)))
        case "class":
            (places / "classes" / "red").rename(places / "classes" / "crimson")
        case "prompts":
            changed = evaluation(places, prompts=["a {}"])
        case "fewer":
            (places / "pairs" / "p0002.jpg").unlink()
    assert content_digest(changed) != before


def test_what_is_no_held_out_data_is_told(places):
    with pytest.raises(TrainError, match="looks like classes"):
        content_digest(Evaluation(pairs=str(places / "classes")))
    with pytest.raises(TrainError, match="folder a class"):
        content_digest(Evaluation(pairs=str(places / "pairs"), classes=str(places / "pairs")))
    (places / "pairs" / "p0002.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(TrainError, match="evaluation image 2 .* take it out"):
        write_hashes(evaluation(places), places / "phash.parquet")


class Thin:
    """An encoder that can prepare nothing."""

    def prepared(self, image: bytes) -> None:
        raise RowError("too_large", "1 x 9,000 pixels, too thin to be resized")


def test_a_picture_that_cannot_be_prepared_is_told_in_words(places):
    judge = Judge(evaluation(places))
    with pytest.raises(TrainError, match="evaluation image 0 of .*too thin to be resized.*; take it out"):
        judge._prepared(Thin(), judge._pairs)
