"""The file of labels: nothing is lost, nobody else's file is touched, and polars reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel.pipeline.inspect.labels.file import Label, Labels
from cupel.pipeline.read import CorpusError

FIRST = Label(
    cut="cuts/r-12345678",
    space=0,
    shard=3,
    row=17,
    path="17",
    key="k17",
    label="keep",
    frame="keep words: words min 3",
    stratum="dropped",
    stratum_rows=40,
    labelled_at=datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
)


def label(row: int, **more: object) -> Label:
    moment = FIRST.labelled_at + timedelta(seconds=row)
    return replace(FIRST, **{"row": row, "path": str(row), "key": f"k{row}", "labelled_at": moment, **more})


def test_what_was_labelled_is_there_when_the_file_is_opened_again(tmp_path):
    path = tmp_path / "labels.parquet"
    labels = Labels(path)
    assert not path.exists(), "nothing was said yet"
    added = [label(1), label(2, label="drop"), label(3, stratum="passed", stratum_rows=900, key=None)]
    for number, each in enumerate(added, 1):
        labels.append(each)
        assert list(Labels(path).all) == added[:number], "on disk after every label"
    assert pl.read_parquet(path)["label"].to_list() == ["keep", "drop", "keep"]
    assert labels.tally(FIRST.frame) == {"dropped": {"keep": 1, "drop": 1}, "passed": {"keep": 1, "drop": 0}}
    assert [each.name for each in tmp_path.iterdir()] == ["labels.parquet"], "no temporary file stays"


def test_a_row_labelled_again_in_the_same_frame_has_its_last_label(tmp_path):
    labels = Labels(tmp_path / "labels.parquet")
    for each in (label(1), label(2), label(1, label="drop"), label(1, frame="another")):
        labels.append(each)
    assert [(known.row, known.label, known.frame) for known in labels.all] == [
        (2, "keep", FIRST.frame),
        (1, "drop", FIRST.frame),
        (1, "keep", "another"),
    ]


def test_undo_goes_back_step_by_step_and_further_after_a_restart(tmp_path):
    path = tmp_path / "labels.parquet"
    labels, states = Labels(path), []
    for each in (label(1), label(2), label(1, label="drop"), label(3), label(2, label="drop")):
        states.append(list(labels.all))
        labels.append(each)
    for state in reversed(states[2:]):
        assert labels.undo() is not None
        assert list(labels.all) == state == list(Labels(path).all)
    again = Labels(path)
    assert again.undo() == label(2)
    assert again.undo() == label(1)
    assert again.undo() is None
    assert list(Labels(path).all) == []


@pytest.mark.parametrize("columns", [{"key": ["a"], "label": ["keep"]}, {"precious": [1.0]}])
def test_another_parquet_file_is_left_alone(tmp_path, columns):
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table(columns), path)
    before = path.read_bytes()
    with pytest.raises(CorpusError, match=r"labels\.parquet is no file of labels .*give another name"):
        Labels(path)
    assert path.read_bytes() == before


def test_what_is_no_parquet_file_is_left_alone(tmp_path):
    path = tmp_path / "labels.parquet"
    path.write_text("a diary")
    with pytest.raises(CorpusError, match="is no file of labels"):
        Labels(path)
    assert path.read_text() == "a diary"
    with pytest.raises(CorpusError, match=r"ends in \.parquet"):
        Labels(tmp_path / "labels.csv")
    with pytest.raises(CorpusError, match="there is no folder"):
        Labels(tmp_path / "absent" / "labels.parquet")


def test_two_who_write_one_file_do_not_overwrite_each_other(tmp_path):
    path = tmp_path / "labels.parquet"
    one, other = Labels(path), Labels(path)
    one.append(label(1))
    with pytest.raises(CorpusError, match="changed by another program"):
        other.append(label(2))
    Labels(path).append(label(3))
    with pytest.raises(CorpusError, match="changed by another program"):
        one.append(label(4))
    assert [each.row for each in Labels(path).all] == [1, 3]


def test_a_write_that_fails_leaves_the_labels_that_were(tmp_path, monkeypatch):
    path = tmp_path / "labels.parquet"
    labels = Labels(path)
    labels.append(label(1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cupel.pipeline.store.pq.write_table", full)
        with pytest.raises(OSError, match="disk is full"):
            labels.append(label(2))
    assert [each.row for each in labels.all] == [1] == [each.row for each in Labels(path).all]
    labels.append(label(3))
    assert [each.row for each in Labels(path).all] == [1, 3]
