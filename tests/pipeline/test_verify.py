"""Every kind of damage is found and named; what a stopped run leaves is a note."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline.read import CorpusError
from cupel.pipeline.store import TEMPORARY, open_store
from cupel.pipeline.verify import verify_corpus

TEXTS = [f"{'word ' * (i // 2 % 7)}and number {i // 2}" for i in range(600)]
RECIPE = Recipe(
    name="r",
    steps=[
        *("text.length", {"keep": {"words": {"min": 3, "max": 7}, "characters": {"max": 40}}}),
        *({"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}, "test.raises"),
    ],
    write={"shard_rows": 80},
)


@pytest.fixture(scope="module")
def made(ray_session, tmp_path_factory):
    """A corpus of three shards, a cut with errors, ranks and three curated files."""
    folder = tmp_path_factory.mktemp("made")
    texts = [*TEXTS, "please do RAISE"]
    run(RECIPE, write_jsonl(folder / "t.jsonl", texts), out=folder / "c")
    return folder / "c"


@pytest.fixture
def corpus(made, tmp_path):
    shutil.copytree(made, tmp_path / "c")
    return tmp_path / "c"


def one(corpus: Path, pattern: str) -> Path:
    return sorted(corpus.glob(pattern))[0]


def edit(path: Path, change) -> None:
    """Rewrite a JSON or Parquet file."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    else:
        pq.write_table(change(pq.read_table(path)), path)


def enlist(corpus: Path, *, drop: str = "\0") -> None:
    """Make file list and manifest agree with the files, as a forger or a fault of ours would."""
    from cupel.pipeline.store import sha256

    cut = one(corpus, "cuts/r-*")
    listed = pq.read_table(cut / "files.parquet")
    rows = [row for row in listed.to_pylist() if not row["path"].startswith(drop)]
    for row in rows:
        row |= {"bytes": (cut / row["path"]).stat().st_size, "sha256": sha256(cut / row["path"])}
    pq.write_table(pa.Table.from_pylist(rows, listed.schema), cut / "files.parquet")
    edit(cut / "manifest.json", lambda manifest: manifest.update(files_sha256=sha256(cut / "files.parquet")))


def test_a_corpus_is_sound(made):
    found = verify_corpus(str(made))
    assert (found.faults, found.notes, found.cuts) == ([], [], 1)
    assert found.files == sum(path.is_file() for path in made.rglob("*"))
    assert list(found.lines())[-1].endswith(f"sound; {found.files:,} files and 1 cuts checked")
    assert found.as_dict()["ok"] is True


@pytest.mark.parametrize(
    "pattern",
    [
        *("source.parquet", "scores/text.length-*/00000001.parquet", "errors/*/*.parquet"),
        *("cuts/r-*/kept/*", "cuts/r-*/dropped/*", "cuts/r-*/curated/00000001.parquet"),
        *("cuts/r-*/ranks/*/*.parquet", "cuts/r-*/files.parquet"),
    ],
)
def test_a_flipped_bit(corpus, pattern):
    """In a page of values, past its header."""
    path = one(corpus, pattern)
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    data[begin + column.total_compressed_size - 3] ^= 4
    path.write_bytes(data)
    (fault, *_) = verify_corpus(str(corpus)).faults
    assert fault.startswith(str(path.relative_to(corpus)))


@pytest.mark.parametrize(
    "pattern",
    [
        *("source.parquet", "cuts/r-*/kept/*", "cuts/r-*/dropped/*", "cuts/r-*/curated/00000001.parquet"),
        *("cuts/r-*/files.parquet", "cuts/r.json"),
    ],
)
@pytest.mark.parametrize("size", [None, 0, 50])
def test_a_file_that_is_missing_empty_or_cut_short(corpus, pattern, size):
    path = one(corpus, pattern)
    data = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(data[: min(size, len(data) - 1)])
    found = verify_corpus(str(corpus))
    if size is None and pattern == "cuts/r.json":
        assert found.faults == [], "the next run writes the pointer again"
    else:
        assert found.faults[0].startswith(str(path.relative_to(corpus)))


@pytest.mark.parametrize("folder", ["kept", "dropped", "curated"])
def test_a_file_too_many(corpus, folder):
    path = one(corpus, f"cuts/r-*/{folder}/*")
    shutil.copy(path, path.with_name("00000099.parquet"))
    (fault,) = verify_corpus(str(corpus)).faults
    assert fault == f"{path.with_name('00000099.parquet').relative_to(corpus)}: is not in the manifest's file list"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(rows_in=m["rows_in"] + 1),
        lambda m: m.update(kept=m["kept"] - 1),
        lambda m: m["dropped"].clear(),
        lambda m: m.update(recipe_hash="0" * 64),
        lambda m: m.update(name="other"),
        lambda m: m.pop("kept"),
        lambda m: m.update(more=1),
        lambda m: m["steps"][1].update(dropped=m["steps"][1]["dropped"] + 1),
        lambda m: m["steps"][2].update(rows_in=0),
        lambda m: m["steps"][1]["rules"].popitem(),
        lambda m: m["steps"].pop(1),
    ],
)
def test_an_edited_manifest(corpus, change):
    edit(one(corpus, "cuts/r-*/manifest.json"), change)
    faults = verify_corpus(str(corpus)).faults
    assert faults
    assert all("/manifest.json: " in fault for fault in faults)


@pytest.mark.parametrize(
    ("pattern", "change", "expected"),
    [
        ("kept/00000001.parquet", lambda t: t.slice(1), "rows of the shard are lost or counted twice"),
        ("kept/00000001.parquet", lambda t: pa.concat_tables([t, t.slice(0, 1)]), "rows of the shard are lost or"),
        ("kept/00000001.parquet", lambda t: t.take([1, 0, *range(2, len(t))]), "does not hold the kept rows in order"),
        ("curated/00000001.parquet", lambda t: t.slice(1), "does not hold the kept rows in order"),
        (
            "curated/00000001.parquet",
            lambda t: t.take([1, 0, *range(2, len(t))]),
            "does not hold the kept rows in order",
        ),
        ("curated/00000002.parquet", lambda t: t.slice(0, len(t) - 1), "lacks the last of the kept rows"),
        ("curated/00000002.parquet", lambda t: pa.concat_tables([t, t]), "does not hold the kept rows in order"),
    ],
)
def test_rows_that_do_not_add_up(corpus, pattern, change, expected):
    """Also where the digests were made to fit."""
    edit(one(corpus, f"cuts/r-*/{pattern}"), change)
    assert "has changed since" in verify_corpus(str(corpus)).faults[0]
    enlist(corpus)
    faults = verify_corpus(str(corpus)).faults
    assert any(expected in fault for fault in faults), faults


@pytest.mark.parametrize("folder", ["kept/00000001", "curated/00000002"])
def test_a_file_that_is_not_even_listed(corpus, folder):
    one(corpus, f"cuts/r-*/{folder}.parquet").unlink()
    enlist(corpus, drop=folder)
    assert any(folder.split("/")[0] in fault for fault in verify_corpus(str(corpus)).faults)


def test_scores_that_fit_no_shard(corpus):
    rows = pq.read_table(corpus / "source.parquet").column("rows")[1].as_py()
    path = one(corpus, "scores/text.length-*/00000000.parquet")
    shutil.copy(path, path.with_name("00000077.parquet"))
    edit(path, lambda table: pa.concat_tables([table, table]))
    path = path.with_name("00000001.parquet")
    edit(path, lambda t: t.set_column(0, "row", pa.array([9999] * len(t), pa.int32())))
    path = path.with_name("00000002.parquet")
    edit(path, lambda t: t.rename_columns(["rov", *t.column_names[1:]]))
    told = [fault.rpartition("/")[2] for fault in verify_corpus(str(corpus)).faults]
    assert told == [
        "00000000.parquet: has rows twice",
        f"00000001.parquet: has rows beyond the shard's {rows}",
        "00000002.parquet: has the columns ['rov', 'state', 'characters', 'words']",
        "00000077.parquet: there is no shard 00000077",
    ]


def test_a_pointer_to_nowhere(corpus):
    edit(corpus / "cuts" / "r.json", lambda pointer: pointer.update(cut="r-00000000"))
    assert verify_corpus(str(corpus)).faults == ["cuts/r.json: names the cut r-00000000, which has no manifest"]


def test_what_a_stopped_run_leaves_is_a_note(corpus):
    (corpus / f"{TEMPORARY}0123").write_bytes(b"half")
    cut = one(corpus, "cuts/r-*")
    shutil.copytree(cut, corpus / "cuts" / "s-12345678")
    (corpus / "cuts" / "s-12345678" / "manifest.json").unlink()
    (cut / "work").mkdir()
    (cut / "work" / "crumb-00000000.json").write_bytes(b"{}")
    (corpus / "mine.txt").write_bytes(b"")
    next((corpus / "scores").glob("test.raises-*/00000002.parquet")).unlink()
    found = verify_corpus(str(corpus))
    assert found.faults == []
    assert sorted(note.partition(": ")[2] for note in found.notes) == [
        "its scores were not committed; the next run measures them",
        "left by a run that was stopped",
        "left by a run that was stopped; the next run removes it",
        "nobody knows this file",
        "not finished; the same command goes on with it",
    ]


def test_a_cut_stays_sound_when_its_input_grows(ray_session, tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate("ab"):
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", TEXTS[: 300 + number])
        run(Recipe(name="r", steps=["text.length"]), tmp_path / "in", out=tmp_path / "c")
    found = verify_corpus(str(tmp_path / "c"))
    assert (found.faults, found.cuts) == ([], 2)


def test_an_incomplete_cut_is_a_note_as_far_as_it_was_told(ray_session, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", TEXTS[:300])
    made = Recipe(name="r", steps=["text.length"])
    run(made, tmp_path / "in", out=tmp_path / "c")
    (tmp_path / "in" / "a.jsonl").unlink()
    run(Recipe(name="r", steps=["text.characters"]), tmp_path / "in", out=tmp_path / "c")
    found = verify_corpus(str(tmp_path / "c"))
    assert found.faults == []
    assert len(found.notes) == 1
    assert "incomplete, " in found.notes[0]


@pytest.mark.parametrize("make", [lambda folder: None, Path.mkdir])
def test_no_corpus(tmp_path, make):
    make(tmp_path / "c")
    with pytest.raises(CorpusError, match="is no corpus folder"):
        verify_corpus(str(tmp_path / "c"))


def test_memory_is_bounded(made, monkeypatch):
    """No table is ever larger than a shard or a row group: the keys of the corpus are never held together."""
    from cupel.pipeline import verify

    sizes = []
    concat = pa.concat_tables
    monkeypatch.setattr(
        verify.pa, "concat_tables", lambda parts: sizes.append(sum(len(p) for p in parts)) or concat(parts)
    )
    verify_corpus(str(made))
    assert max(sizes) <= max(pq.read_table(made / "source.parquet").column("rows").to_pylist())
    assert open_store(made).files("cuts")


# Rows that an extractor made


@pytest.fixture(scope="module")
def made_grown(ray_session, tmp_path_factory):
    """A corpus whose words are rows, extracted in two goes."""
    folder = tmp_path_factory.mktemp("grown")
    source = write_jsonl(folder / "t.jsonl", [*TEXTS, "words that FAIL"])
    for least in (6, 4):
        after = [{"text.length": {"as": "word"}}, {"keep": {"word_characters": {"max": 5}}}]
        steps = ["text.length", {"keep": {"words": {"min": least}}}, "test.words", *after]
        run(Recipe(name="rs"[least == 6], steps=steps, write={"shard_rows": 500}), source, out=folder / "c")
    return folder / "c"


@pytest.fixture
def grown(made_grown, tmp_path):
    shutil.copytree(made_grown, tmp_path / "c")
    return tmp_path / "c"


def test_a_corpus_with_children_is_sound(made_grown):
    found = verify_corpus(str(made_grown))
    assert (found.faults, found.notes, found.cuts) == ([], [], 2)
    assert found.files == sum(path.is_file() for path in made_grown.rglob("*"))
    assert len(list(made_grown.glob("rows/*/*+1.parquet"))) == 3


def with_column(name: str, change):
    def changed(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(
            place, table.schema.field(place), pa.array(change(table[name].to_pylist()), table.schema.field(place).type)
        )

    return changed


@pytest.mark.parametrize(
    ("pattern", "change", "expected"),
    [
        ("parents", lambda t: t.slice(1), "rows of the shard are lost or counted twice"),
        (
            "parents",
            with_column("children", lambda c: [c[0] + 1, *c[1:]]),
            "rows of the shard are lost or counted twice",
        ),
        (
            "parents",
            with_column("children", lambda c: [c[0] + 1, c[1] - 1, *c[2:]]),
            "children are not in the order of",
        ),
        ("parents", with_column("extracted_by", lambda c: ["other", *c[1:]]), "rows of the shard are lost or counted"),
        ("kept", with_column("parent", lambda c: [*c[1:], c[0]]), "children are not in the order of the rows that"),
        ("dropped", with_column("parent", lambda c: [*c[:-1], "00000001:0"]), "children are not in the order of the"),
        ("curated", with_column("parent", lambda c: [c[-1], *c[1:]]), "does not hold the kept rows in order"),
        ("dropped", lambda t: t.slice(1), "rows of the shard are lost or counted twice"),
    ],
)
def test_children_that_do_not_add_up(grown, pattern, change, expected):
    edit(one(grown, f"cuts/r-*/{pattern}/00000001.parquet"), change)
    enlist(grown)
    faults = verify_corpus(str(grown)).faults
    assert any(expected in fault for fault in faults), faults


@pytest.mark.parametrize("name", ["made", "childless", "rows_in"])
def test_an_extractors_line_that_was_edited(grown, name):
    edit(one(grown, "cuts/r-*/manifest.json"), lambda m: m["steps"][2].update({name: m["steps"][2][name] + 1}))
    (fault,) = verify_corpus(str(grown)).faults
    assert "/manifest.json: test.words: " in fault


@pytest.mark.parametrize(
    ("pattern", "change", "expected"),
    [
        ("rows/*/00000001.parquet", lambda t: t.slice(1), "its children do not stand in the order of their parents"),
        (
            "rows/*/00000001.parquet",
            lambda t: t.take([1, 0]),
            "its children do not stand in the order of their parents",
        ),
        ("rows/*/00000001.parquet", with_column("parent", lambda c: [*c[:-1], 9999]), "has rows beyond the shard's"),
        ("rows/*/00000001.parquet", lambda t: t.rename_columns(["p", *t.column_names[1:]]), "has the columns ['p',"),
        (
            "rows/*/00000001+1.parquet",
            with_column("parent", lambda c: [n + 1 for n in c]),
            "children are in another file",
        ),
        (
            "scores/text.length-*/00000001+1.parquet",
            with_column("row", lambda c: [*c[1:], 9999]),
            "has rows beyond the",
        ),
    ],
)
def test_what_an_extractor_made_is_checked(grown, pattern, change, expected):
    edit(one(grown, pattern), change)
    faults = verify_corpus(str(grown)).faults
    assert any(expected in fault for fault in faults), faults


def test_a_missing_file_of_an_extractor(grown):
    """The numbers of all later children would be others."""
    one(grown, "rows/*/00000001.parquet").unlink()
    assert any(
        "00000001+1.parquet: the file before it is missing" in fault for fault in verify_corpus(str(grown)).faults
    )


def test_a_cut_from_before_there_were_extractors_is_sound(corpus):
    for path in (*corpus.glob("cuts/*/kept/*"), *corpus.glob("cuts/*/dropped/*")):
        edit(path, lambda table: table.drop_columns(["parent"]))
    enlist(corpus)
    manifest = one(corpus, "cuts/r-*/manifest.json")
    edit(manifest, lambda m: [line.pop(name) for line in m["steps"] for name in ("made", "childless")])
    assert verify_corpus(str(corpus)).faults == []
