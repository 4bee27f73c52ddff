"""Whole runs on a real Ray: what is kept, what is measured again, and what happens when things go wrong."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from drawing import encoded, picture, write_folder, write_jsonl

from cupel import Recipe, RecipeError, run
from cupel.operators.source.base import SourceError
from cupel.pipeline.crew import WorkerDiedError, result_of
from cupel.pipeline.read import CorpusError, RunError
from cupel.pipeline.run import Engine
from cupel.pipeline.verify import verify_corpus

pytestmark = pytest.mark.usefixtures("ray_session")

TEXTS = [f"{'word ' * (i % 9)}number {i}" for i in range(700)]


def recipe(*steps, name="r", **rest):
    return Recipe(name=name, steps=list(steps), **rest)


def files(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*"))}


def table(folder: str | Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(Path(folder).glob("*.parquet"))])


@pytest.fixture
def texts(tmp_path):
    return write_jsonl(tmp_path / "texts.jsonl", [*TEXTS, None, ""])


def test_the_funnel_is_that_of_a_plain_loop(texts, tmp_path):
    made = recipe("text.length", {"keep": {"words": {"min": 4, "max": 8}, "characters": {"max": 40}}})
    result = run(made, texts, out=tmp_path / "c")
    expected = [t for t in [*TEXTS, ""] if 4 <= len(t.split()) <= 8 and len(t) <= 40]
    kept = table(f"{result.cut}/curated")
    assert kept.column("text").to_pylist() == expected
    assert kept.column("words").to_pylist() == [len(t.split()) for t in expected]
    assert result.rows_in == 702 == result.kept + sum(result.dropped.values())
    dropped = table(f"{result.cut}/dropped").to_pylist()
    assert {row["key"] for row in dropped} | set(kept.column("key").to_pylist()) == {f"k{i}" for i in range(702)}
    long = next(row for row in dropped if row["key"] == "k8")
    assert (long["dropped_by"], long["column"], long["rule"], long["value"]) == (
        *("keep words, characters", "words", "max 8", "10"),
    )
    nothing = next(row for row in dropped if row["key"] == "k700")
    assert (nothing["column"], nothing["value"]) == ("words", None)
    assert verify_corpus(str(tmp_path / "c")).faults == []


def test_what_was_measured_is_not_measured_again(texts, tmp_path):
    steps = [
        "text.length",
        {"keep": {"words": {"min": 5}}},
        "text.characters",
        {"keep": {"letter_ratio": {"min": 0.5}}},
    ]
    first = run(recipe(*steps), texts, out=tmp_path / "c")
    again = run(recipe(*steps), texts, out=tmp_path / "c")
    assert first.measured_rows["text.length"] == 701
    assert set(again.measured_rows.values()) == {0}
    assert again.manifest == first.manifest
    steps[1] = {"keep": {"words": {"min": 3}}}
    looser = run(recipe(*steps), texts, out=tmp_path / "c")
    newly = sum(3 <= len(text.split()) < 5 for text in TEXTS)
    assert looser.measured_rows == {"text.length": 0, "text.characters": newly}
    fresh = run(recipe(*steps), texts, out=tmp_path / "fresh")
    assert files(f"{looser.cut}/curated") == files(f"{fresh.cut}/curated"), "the order of measuring leaves no trace"
    steps[1] = {"keep": {"words": {"min": 7}}}
    assert set(run(recipe(*steps), texts, out=tmp_path / "c").measured_rows.values()) == {0}


def test_a_row_without_a_text_has_a_state_of_its_own(texts, tmp_path):
    result = run(recipe("text.length"), texts, out=tmp_path / "c")
    scores = table(next((tmp_path / "c" / "scores").iterdir())).to_pylist()
    assert [row["state"] for row in scores[-2:]] == ["not_applicable", "measured"]
    assert result.kept == 702


def test_ranks_duplicates_and_frequencies_see_only_the_rows_alive(tmp_path):
    texts = [f"{'x' * (i % 40 + 1)} {'common' if i % 3 else 'other'}" for i in range(900)]
    source = write_jsonl(tmp_path / "t.jsonl", texts, lang=["en" if i % 2 else "de" for i in range(900)])
    made = recipe(
        "text.length",
        {"keep": {"characters": {"min": 12}}},
        {"dedup.exact": {"columns": ["text"]}},
        {"keep": {"exact_of": None}},
        {"select.frequency": {"column": "characters"}},
        {"keep": {"characters": {"top": {"share": 0.25, "by": "lang"}}, "frequency": {"min": 1}}},
    )
    result = run(made, source, out=tmp_path / "c")
    alive, seen = [], set()
    for i in sorted(range(900), key=lambda i: f"k{i}"):
        if len(texts[i]) >= 12 and texts[i] not in seen:
            seen.add(texts[i])
            alive.append(i)
    expected = set()
    for parity in (0, 1):
        group = sorted((i for i in alive if i % 2 == parity), key=lambda i: (-len(texts[i]), f"k{i}"))
        expected |= set(group[: -(-len(group) // 4)])
    kept = table(f"{result.cut}/curated").to_pylist()
    assert {row["key"] for row in kept} == {f"k{i}" for i in expected}
    lengths = [len(texts[i]) for i in alive]
    assert all(row["frequency"] == lengths.count(row["characters"]) for row in kept)
    assert result.rows_in == result.kept + sum(result.dropped.values())


def test_a_row_that_kills_its_worker_is_isolated(tmp_path):
    texts = [*TEXTS]
    texts[100] = texts[611] = "this will KILL"
    source = write_jsonl(tmp_path / "t.jsonl", texts)
    result = run(recipe("text.length", "test.kills", {"keep": {"survived": {"min": 0}}}), source, out=tmp_path / "c")
    assert result.errors == {"worker_died": 2}
    dropped = table(f"{result.cut}/dropped").to_pylist()
    assert [row["key"] for row in dropped] == ["k100", "k611"]
    assert table(f"{result.cut}/curated").num_rows == 698
    errors = table(next((tmp_path / "c" / "errors").iterdir())).to_pylist()
    assert {error["class"] for error in errors} == {"worker_died"}
    assert verify_corpus(str(tmp_path / "c")).faults == []


def test_a_row_that_hangs_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("cupel.pipeline.crew.STALL_S", 3.0)
    source = write_jsonl(tmp_path / "t.jsonl", ["fine", "this will HANG", "fine too"])
    result = run(recipe("test.hangs"), source, out=tmp_path / "c", deadline_s=4.0)
    assert result.errors == {"timed_out": 1}
    assert table(f"{result.cut}/curated").column("woke").to_pylist() == [True, None, True]


def test_an_exception_costs_one_row_and_can_be_tried_again(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", [*TEXTS[:50], "please RAISE"])
    made = recipe("test.raises", {"keep": {"calm": {"in": [True]}}})
    result = run(made, source, out=tmp_path / "c")
    assert (result.kept, result.errors) == (50, {"ZeroDivisionError": 1})
    assert run(made, source, out=tmp_path / "c").measured_rows == {"test.raises": 0}
    again = run(made, source, out=tmp_path / "c", retry_errors=["ZeroDivisionError"])
    assert again.measured_rows == {"test.raises": 1}
    assert again.errors == {"ZeroDivisionError": 1}
    assert again.cut != result.cut, "a cut never changes"
    with pytest.raises(CorpusError, match="no row failed with 'ZeroDivision'; did you mean 'ZeroDivisionError'"):
        run(made, source, out=tmp_path / "c", retry_errors=["ZeroDivision"])


def test_a_task_that_loses_its_worker_each_time_is_told():
    @ray.remote(max_retries=0)
    def dies() -> None:
        os._exit(1)

    with pytest.raises(WorkerDiedError, match="a worker died again and again"):
        result_of(dies.remote())


def test_a_broken_operator_stops_the_run_with_its_name(texts, tmp_path):
    with pytest.raises(RunError, match=r"test.wrong_length: column 'odd' has \d+ values for \d+ rows"):
        run(recipe("test.wrong_length"), texts, out=tmp_path / "c")


def test_transforms_are_read_by_later_steps_and_written(tmp_path):
    folder = write_folder(tmp_path / "photos", 3)
    made = recipe("image.digest", "test.shout", "test.invert", {"image.digest": {"as": {"sha256": "s2", "md5": "m2"}}})
    result = run(made, folder, out=tmp_path / "c")
    rows = table(f"{result.cut}/curated").to_pylist()
    assert rows[0]["text"] == "A PICTURE OF NUMBER 0 AND ITS COLOURS"
    assert rows[0]["image"].startswith(b"\x89PNG")
    assert rows[0]["sha256"] != rows[0]["s2"]
    assert "negative" not in rows[0]


def test_a_keep_reads_the_version_that_stands_there(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", ["one", "two", "three"])
    steps = [{"keep": {"text": {"in": ["one", "two"]}}}, "test.shout", {"keep": {"text": {"in": ["TWO", "THREE"]}}}]
    result = run(recipe(*steps), source, out=tmp_path / "c")
    assert [row["text"] for row in table(f"{result.cut}/curated").to_pylist()] == ["TWO"]
    assert [row["value"] for row in table(f"{result.cut}/dropped").to_pylist()] == ["ONE", "three"]


def test_gpu_steps_run_in_an_actor_that_cpu_tasks_feed(texts, tmp_path):
    result = run(recipe("text.length", "test.pid"), texts, out=tmp_path / "c")
    rows = table(f"{result.cut}/curated").to_pylist()
    assert len({row["pid"] for row in rows if row["pid"]}) == 1, "one GPU, one process"
    texts_seen = [row for row in rows if row["text"]]
    assert all(np.isclose(row["mean_code"], np.mean([ord(c) for c in row["text"]])) for row in texts_seen)


def test_broken_images_are_errors_with_a_class(tmp_path):
    folder = write_folder(tmp_path / "photos", 4)
    whole = encoded(picture(9))
    (folder / "p0000.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "p0001.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    (folder / "p0002.jpg").write_bytes(b"")
    result = run(recipe("image.size", "image.phash", {"keep": {"phash": {"min": 0}}}), folder, out=tmp_path / "c")
    assert result.errors == {"truncated": 1, "html": 1, "empty": 1}
    assert (result.kept, result.dropped) == (1, {"keep phash": 3})


def test_an_unreadable_file_is_reported_and_the_rest_goes_on(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        pq.write_table(
            pa.table({"key": [f"{name}{i}" for i in range(300)], "text": TEXTS[:300]}), folder / f"{name}.parquet"
        )
    data = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(data[: len(data) // 2])
    result = run(recipe("text.length"), folder, out=tmp_path / "c")
    assert (result.rows_in, result.kept) == (600, 600)
    assert [Path(place).name for place in result.unreadable] == ["b.parquet"]
    (folder / "b.parquet").write_bytes(data)
    mended = run(recipe("text.length"), folder, out=tmp_path / "c")
    assert (mended.rows_in, mended.unreadable) == (900, {})
    assert mended.measured_rows == {"text.length": 300}


def test_a_changed_file_is_told_and_not_mixed_in(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", TEXTS[:20])
    run(recipe("text.length"), source, out=tmp_path / "c")
    write_jsonl(source, TEXTS[20:60])
    result = run(recipe("text.characters"), source, out=tmp_path / "c")
    assert result.unreadable
    assert "changed" in next(iter(result.unreadable.values()))
    assert result.rows_in == 0


def test_new_files_are_appended_and_only_they_are_measured(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_jsonl(folder / "b.jsonl", TEXTS[:30])
    run(recipe("text.length"), folder, out=tmp_path / "c")
    write_jsonl(folder / "a.jsonl", TEXTS[:12])
    result = run(recipe("text.length"), folder, out=tmp_path / "c")
    assert (result.rows_in, result.measured_rows) == (42, {"text.length": 12})


def test_a_corpus_folder_belongs_to_one_input(texts, tmp_path):
    run(recipe("text.length"), texts, out=tmp_path / "c")
    other = write_jsonl(tmp_path / "other.jsonl", ["a"])
    with pytest.raises(CorpusError, match="belongs to another corpus"):
        run(recipe("text.length"), other, out=tmp_path / "c")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "no such"),
        (lambda folder: folder, "empty|nothing|no "),
    ],
)
def test_missing_and_empty_inputs(tmp_path, make, message):
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=message):
        run(recipe("text.length"), make(tmp_path / "in"), out=tmp_path / "c")
    assert not (tmp_path / "c").exists(), "nothing is made for a run that cannot begin"


def test_a_source_column_with_an_operators_name_is_refused(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", ["a b c"], words=[3])
    with pytest.raises(RecipeError, match="the source has a column of that name; rename with `as: {words: my_words}`"):
        run(recipe("text.length"), source, out=tmp_path / "c")
    renamed = recipe(
        {"text.length": {"as": {"words": "my_words"}}}, {"keep": {"words": {"min": 1}, "my_words": {"min": 1}}}
    )
    assert run(renamed, source, out=tmp_path / "c").kept == 1


def test_hostile_texts_lose_no_row(tmp_path):
    path = tmp_path / "t.jsonl"
    lines = [
        json.dumps({"key": "a", "text": "x" * (1 << 20)}).encode(),
        b'{"key": "b", "text": "caf\xe9"}',
        b'{"key": "c", "text": ""}',
        b'{"key": "c", "text": null}',
        b"not json",
        b'{"key": "e", "text": "zero\\u0000 and \\ud800"}',
        '{"key": "f", "text": "\u202edetrevni \U0001f600"}'.encode(),
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    made = recipe("text.length", "text.characters", "text.repetition", "text.words", "text.language")
    result = run(made, path, out=tmp_path / "c")
    assert (result.rows_in, result.kept) == (7, 7)
    assert result.errors["invalid_utf8"] >= 1
    rows = {row["key"]: row for row in table(f"{result.cut}/curated").to_pylist()}
    assert rows["a"]["characters"] == 1 << 20


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, slots, monkeypatch):
    folder = write_folder(tmp_path / "photos", 600)
    made = recipe(
        *("image.size", "image.phash", {"dedup.near_images": {"max_distance": 10}}, {"keep": {"near_image_of": None}}),
        *("text.length", {"keep": {"characters": {"top": 0.8}}}),
        write={"shard_rows": 100, "row_group_mb": 1},
    )
    reference = run(made, folder, out=tmp_path / "reference")
    fill = Engine._sweep

    def backwards(self, plan, shards, stretch, barrier):
        self.slots = slots
        done = fill(self, plan, list(reversed(shards)), stretch, barrier)
        return sorted(done, key=lambda shard: shard.id)

    monkeypatch.setattr(Engine, "_sweep", backwards)
    other = run(made, folder, out=tmp_path / "other")
    assert files(f"{other.cut}/curated") == files(f"{reference.cut}/curated")
    assert len(files(f"{other.cut}/curated")) == -(-reference.kept // 100)
    assert Path(other.cut, "summary.json").read_bytes() == Path(reference.cut, "summary.json").read_bytes()


def test_no_write_decides_and_a_later_run_writes(tmp_path):
    folder = write_folder(tmp_path / "photos", 5)
    made = recipe("image.size", {"keep": {"min_side_px": {"min": 10}}})
    decided = run(made, folder, out=tmp_path / "c", write=False)
    assert not Path(f"{decided.cut}/curated").exists()
    written = run(made, folder, out=tmp_path / "c")
    assert written.cut == decided.cut
    assert set(written.measured_rows.values()) == {0}
    rows = table(f"{written.cut}/curated").to_pylist()
    assert [row["image"] for row in rows] == [(folder / f"p{i:04d}.jpg").read_bytes() for i in range(5)]
    assert pq.read_schema(f"{written.cut}/curated/00000000.parquet").field("min_side_px").metadata[b"unit"] == b"px"


def test_curated_files_keep_their_bounds(tmp_path):
    folder = write_folder(tmp_path / "photos", 120)
    sizes = [(folder / f"p{i:04d}.jpg").stat().st_size for i in range(120)]
    made = recipe("image.size", write={"shard_rows": 50, "shard_mb": 1, "row_group_mb": 1})
    result = run(made, folder, out=tmp_path / "c")
    rows = [pq.ParquetFile(path).metadata.num_rows for path in sorted(Path(f"{result.cut}/curated").iterdir())]
    assert sum(rows) == 120
    assert max(rows) <= 50
    starts = np.cumsum([0, *rows])
    assert all(sum(sizes[a:b]) <= 1 << 20 for a, b in itertools.pairwise(starts))


def test_a_folder_where_nothing_was_measured_is_free_again(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", ["a b c"], words=[3])
    with pytest.raises(RecipeError, match="the source has a column"):
        run(recipe("text.length"), source, out=tmp_path / "c")
    mended = recipe("text.length", read={"table": str(source), "drop": ["words"]})
    assert run(mended, out=tmp_path / "c").kept == 1


def test_a_wrong_operator_is_told_before_the_input_is_scanned(tmp_path):
    with pytest.raises(RecipeError, match="no operator 'text.lenght'"):
        run(recipe("text.lenght"), tmp_path / "absent", out=tmp_path / "c")


def test_findings_that_a_dead_machine_cut_short_are_made_again(texts, tmp_path):
    made = recipe("text.length", {"keep": {"words": {"top": 0.5}}})
    whole = run(made, texts, out=tmp_path / "c")
    for path in (Path(whole.cut) / "ranks").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    (Path(whole.cut) / "manifest.json").unlink()
    again = run(made, texts, out=tmp_path / "c")
    assert (again.kept, again.dropped) == (whole.kept, whole.dropped)
    assert verify_corpus(str(tmp_path / "c")).faults == []
