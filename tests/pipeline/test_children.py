"""Extractors on a real Ray: a row's children take its place, wherever, whenever and however often they are made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture, write_folder, write_jsonl

from cupel import Recipe, run
from cupel.operators.base import Batch, Extractor, operator
from cupel.operators.source import open_source
from cupel.pipeline import children
from cupel.pipeline.call import ContractError, called
from cupel.pipeline.check import check_recipe
from cupel.pipeline.export import export_cut
from cupel.pipeline.measure import Report, measure
from cupel.pipeline.plan import ExtractStep
from cupel.pipeline.planner import make_plan
from cupel.pipeline.read import CorpusError, grow
from cupel.pipeline.recipe_file import RecipeError, RecipeFile
from cupel.pipeline.run import Engine
from cupel.pipeline.shard import Job, ShardView, walk
from cupel.pipeline.store import open_store
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.fields import field
from cupel.schemas.pair import PAIR
from cupel.schemas.recipe import Read

TEXTS = [" ".join(f"{'long' * (i % 3)}word{j}" for j in range(i % 7)) for i in range(700)]
WORDS = {"test.words": {}}
SECOND = {"text.length": {"as": "word"}}


def recipe(*steps, **rest):
    return Recipe.model_validate({"name": "r", "steps": list(steps), **rest})


def table(folder: str | Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(Path(folder).glob("*.parquet"))])


def files(folder: str | Path) -> dict[str, bytes]:
    below = (path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in below}


def sound(funnel) -> None:
    """Rows in + made = kept + dropped + used up; and verify says so."""
    used_up = sum(line.rows_in for line in funnel.steps if line.made is not None)
    assert funnel.rows_in + sum(funnel.made.values()) == funnel.kept + sum(funnel.dropped.values()) + used_up
    assert verify_corpus(funnel.corpus).faults == []


def words(texts=TEXTS, least: int = 0) -> list[tuple[str, int, str]]:
    """(parent's key, place, word), as a plain loop finds them."""
    found = ((f"k{i}", text.split()) for i, text in enumerate(texts) if text is not None)
    return [(key, j, word) for key, parts in found if len(parts) >= least for j, word in enumerate(parts)]


@pytest.fixture
def texts(tmp_path):
    return write_jsonl(tmp_path / "texts.jsonl", [*TEXTS, None])


@pytest.mark.usefixtures("ray_session")
def test_children_take_the_place_of_their_parents(texts, tmp_path):
    steps = ["text.length", {"keep": {"words": {"min": 2}}}, WORDS, SECOND, {"keep": {"word_characters": {"max": 9}}}]
    result = run(recipe(*steps), texts, out=tmp_path / "c")
    born = words(least=2)
    kept = [word for word in born if len(word[2]) <= 9]
    rows = table(f"{result.cut}/curated").to_pylist()
    assert [(row["key"], row["nth"], row["text"]) for row in rows] == kept
    assert all(row["words"] == len(TEXTS[int(row["key"][1:])].split()) for row in rows), "a parent's score is inherited"
    assert [row["word_characters"] for row in rows] == [len(word) for _, _, word in kept]
    shards = pq.read_table(tmp_path / "c" / "source.parquet").to_pylist()
    first = {shard["id"]: sum(before["rows"] for before in shards[: shard["id"]]) for shard in shards}
    places = ([int(number) for number in row["parent"].split(":")] for row in rows)
    assert [f"k{first[shard] + row}" for shard, row in places] == [row["key"] for row in rows]

    few = sum(len(text.split()) < 2 for text in TEXTS)
    assert (result.rows_in, result.made, result.kept) == (701, {"test.words": len(born)}, len(kept))
    assert result.dropped == {"keep words": few + 1, "keep word_characters": len(born) - len(kept)}
    extractor = result.steps[2]
    assert (extractor.rows_in, extractor.childless, extractor.measured) == (700 - few, 0, 700 - few)
    dropped = table(f"{result.cut}/dropped").to_pylist()
    assert Counter(row["parent"] is None for row in dropped) == {True: few + 1, False: len(born) - len(kept)}
    parents = table(f"{result.cut}/parents").to_pylist()
    assert [row["key"] for row in parents] == list(dict.fromkeys(word[0] for word in born))
    assert sum(row["children"] for row in parents) == len(born)
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_a_parent_without_children_is_counted_and_not_asked_again(tmp_path):
    texts = ["one two", "", None, "this will FAIL", "and RAISE", "three"]
    source = write_jsonl(tmp_path / "t.jsonl", texts)
    result = run(recipe(WORDS), source, out=tmp_path / "c")
    assert [row["text"] for row in table(f"{result.cut}/curated").to_pylist()] == ["one", "two", "three"]
    assert result.errors == {"no_words": 1, "ZeroDivisionError": 1}
    line = result.steps[0]
    assert (line.rows_in, line.made, line.childless, line.failed, line.measured) == (6, 3, 4, 2, 5)
    states = [(row["children"], row["state"]) for row in table(f"{result.cut}/parents").to_pylist()]
    assert states == [
        *((2, "measured"), (0, "measured"), (0, "not_applicable"), (0, "failed"), (0, "failed"), (1, "measured")),
    ]
    sound(result)
    again = run(recipe(WORDS, "text.length"), source, out=tmp_path / "c")
    assert again.measured_rows == {"test.words": 0, "text.length": 3}
    tried = run(recipe(WORDS), source, out=tmp_path / "c", retry_errors=["no_words"])
    assert tried.measured_rows == {"test.words": 1}
    assert (tried.kept, tried.errors, tried.cut != result.cut) == (3, result.errors, True)
    sound(tried)


@pytest.mark.usefixtures("ray_session")
def test_errors_are_tried_again_before_and_after(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", ["and RAISE", "one xRAISEx two"])
    made = recipe(WORDS, "test.raises")
    result = run(made, source, out=tmp_path / "c")
    assert (result.measured_rows, result.errors) == ({"test.words": 2, "test.raises": 3}, {"ZeroDivisionError": 2})
    tried = run(made, source, out=tmp_path / "c", retry_errors=["ZeroDivisionError"])
    assert (tried.measured_rows, tried.errors) == ({"test.words": 1, "test.raises": 1}, result.errors)
    sound(tried)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("barrier", [False, True])
def test_a_looser_keep_makes_the_missing_children_and_leaves_no_trace(texts, tmp_path, barrier):
    """In another order than a fresh run does; duplicates go by place, so this decides who stays."""
    after = [SECOND, {"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}] if barrier else [SECOND]
    cuts = {}
    for least in (4, 6, 1):
        steps = ["text.length", {"keep": {"words": {"min": least}}}, WORDS, *after]
        cuts[least] = run(recipe(*steps), texts, out=tmp_path / "c")
    newly = sum(1 <= len(text.split()) < 4 for text in TEXTS)
    assert cuts[6].measured_rows == {"text.length": 0, "test.words": 0, "text.length (2)": 0}
    children = len(words(least=1)) - len(words(least=4))
    assert cuts[1].measured_rows == {"text.length": 0, "test.words": newly, "text.length (2)": children}
    fresh = run(recipe(*steps), texts, out=tmp_path / "fresh")
    assert files(cuts[1].cut) == files(fresh.cut)
    for cut in (*cuts.values(), fresh):
        sound(cut)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("slots", [1, 5])
def test_any_number_of_workers_gives_the_same_bytes(texts, tmp_path, slots, monkeypatch):
    steps = [
        *("text.length", {"keep": {"words": {"top": 0.6}}}, WORDS, {"select.frequency": {"column": "text"}}),
        *({"keep": {"frequency": {"min": 3}}}, "test.pid", {"keep": {"mean_code": {"bottom": 0.9}}}),
    ]
    reference = run(recipe(*steps, write={"shard_rows": 100}), texts, out=tmp_path / "reference")
    born = Counter(text for _, _, text in words())
    assert 0 < reference.kept < sum(born.values())
    sweep = Engine._sweep

    def backwards(self, plan, shards, stretch, barrier):
        self.slots = slots
        return sorted(sweep(self, plan, list(reversed(shards)), stretch, barrier), key=lambda shard: shard.id)

    monkeypatch.setattr(Engine, "_sweep", backwards)
    other = run(recipe(*steps, write={"shard_rows": 100}), texts, out=tmp_path / "other")
    names = ("kept", "dropped", "parents", "ranks")
    for name in names:
        assert files(f"{other.cut}/{name}") == files(f"{reference.cut}/{name}")
    drop = ["pid"]
    assert table(f"{other.cut}/curated").drop_columns(drop) == table(f"{reference.cut}/curated").drop_columns(drop)
    sound(other)


@pytest.mark.usefixtures("ray_session")
def test_a_row_that_kills_its_worker_makes_no_child(tmp_path):
    texts = [*TEXTS]
    texts[100] = "this will KILL"
    source = write_jsonl(tmp_path / "t.jsonl", texts)
    result = run(recipe(WORDS, "text.length"), source, out=tmp_path / "c")
    assert result.errors == {"worker_died": 1}
    assert result.made == {"test.words": len(words()) - len(TEXTS[100].split())}
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_a_child_that_kills_its_worker_is_isolated(tmp_path):
    source = write_jsonl(tmp_path / "t.jsonl", ["one two KILLED three", "four KILLED"])
    result = run(recipe(WORDS, "test.kills", {"keep": {"survived": {"min": 4}}}), source, out=tmp_path / "c")
    assert result.errors == {"worker_died": 2}
    assert [row["text"] for row in table(f"{result.cut}/curated").to_pylist()] == ["three", "four"]
    sound(result)


@pytest.fixture
def photos(tmp_path):
    """Pictures, one of them damaged, one without a caption, one a GIF."""
    folder = write_folder(tmp_path / "photos", 8)
    (folder / "p0003.jpg").write_bytes((folder / "p0003.jpg").read_bytes()[:300])
    (folder / "p0004.txt").unlink()
    (folder / "p0005.jpg").write_bytes(encoded(picture(5), "GIF"))
    return folder


@pytest.mark.usefixtures("ray_session")
def test_images_are_the_childs_own(photos, tmp_path):
    steps = ["image.size", {"test.crops": {}}, {"image.size": {"as": "half"}}, {"image.quality": {}}]
    result = run(recipe(*steps, write={"shard_mb": 1, "row_group_mb": 1}), photos, out=tmp_path / "c")
    rows = table(f"{result.cut}/curated").to_pylist()
    wanted = [(f"p{i:04d}", side) for i in (0, 1, 2, 5, 6, 7) for side in ("left", "right")[: 2 - (i == 5)]]
    assert [(row["key"].split(".")[0], row["side"]) for row in rows] == wanted
    assert "text" not in rows[0], "it is used up"
    for row in rows:
        assert row["width_px"] == 240
        if row["key"].startswith("p0005"):
            assert (row["image"], row["half_width_px"], row["sharpness"]) == (None, None, None)
        else:
            assert (row["half_width_px"], row["half_image_bytes"]) == (120, len(row["image"]))
    assert result.errors == {"truncated": 1}
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_rows_without_images_may_have_children_with_images(texts, tmp_path):
    steps = [{"test.draws": {"as": {"image": "drawn"}}}, "test.draws", "image.size", {"keep": {"width_px": {"min": 9}}}]
    result = run(recipe(*steps), texts, out=tmp_path / "c")
    rows = table(f"{result.cut}/curated").to_pylist()
    assert [row["text"] for row in rows] == [text for text in TEXTS if len(text) >= 8]
    assert all(row["width_px"] == len(row["text"]) + 1 and row["drawn"] == row["image"] for row in rows)
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_images_and_texts_are_inherited_in_their_newest_version(tmp_path):
    folder = write_folder(tmp_path / "photos", 5, "picture {i} of few")
    steps = ["test.invert", "test.shout", WORDS, "image.digest", {"test.shout": {"as": {"loud_text": "louder"}}}]
    result = run(recipe(*steps), folder, out=tmp_path / "c")
    rows = table(f"{result.cut}/curated").to_pylist()
    assert [row["text"] for row in rows[:4]] == ["PICTURE", "0", "OF", "FEW"]
    assert {row["image"][:4] for row in rows} == {b"\x89PNG"}
    assert len({row["sha256"] for row in rows}) == 5
    assert not {"loud_text", "negative", "louder"} & set(rows[0])
    plain = run(recipe(WORDS, "image.digest"), folder, out=tmp_path / "plain")
    images = [(folder / f"p{i:04d}.jpg").read_bytes() for i in range(5) for _ in range(4)]
    assert [row["image"] for row in table(f"{plain.cut}/curated").to_pylist()] == images
    sound(result)
    sound(plain)


@pytest.mark.usefixtures("ray_session")
def test_children_of_children(tmp_path):
    """And twice in another order than a fresh run."""
    folder = write_folder(tmp_path / "photos", 6, "picture {i} of few")
    for least in (6, 1):
        steps = [
            *({"select.frequency": {"column": "key"}}, {"keep": {"frequency": {"min": 1}, "key": {"not_in": ["no"]}}}),
            *(WORDS, SECOND, {"keep": {"word_characters": {"min": least}}}, {"test.crops": {}}, "image.phash"),
            *({"dedup.exact": {"columns": ["phash"]}}, {"keep": {"exact_of": None}}),
        ]
        result = run(recipe(*steps), folder, out=tmp_path / "c")
    fresh = run(recipe(*steps), folder, out=tmp_path / "fresh")
    assert files(result.cut) == files(fresh.cut)
    assert result.made == {"test.words": 24, "test.crops": 48}
    assert result.kept == 12, "of four words by two halves one each stays"
    rows = table(f"{result.cut}/curated").to_pylist()
    assert [row["parent"] for row in rows] == [f"00000000:{4 * i}" for i in range(6) for _ in range(2)]
    sound(result)


@pytest.mark.usefixtures("ray_session")
def test_what_is_broken_in_a_parent_is_broken_in_its_children(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(
        b'{"key": "a", "text": "one two", "note": "fine"}\n{"key": "b", "text": "three", "note": "\xe9"}\n'
    )
    result = run(recipe(WORDS, {"keep": {"note": {"in": ["fine"]}}}), path, out=tmp_path / "c")
    assert (result.kept, result.dropped) == (2, {"keep note": 1})


def test_a_batch_of_children_is_bounded(tmp_path, monkeypatch):
    """However large what they inherit is, in whatever row groups and files they lie."""
    source = open_source(Read(table=str(write_jsonl(tmp_path / "t.jsonl", TEXTS, page=["x" * i for i in range(700)]))))
    shards = grow(None, {file: source.scan(file) for file in source.files()})
    monkeypatch.setattr(children, "GROUP_BYTES", 2_000)
    for least in (3, 0):
        made = plan("text.length", {"keep": {"words": {"min": least}}}, WORDS, schema=shards.schema)
        view = ShardView(made, open_store(tmp_path / "c"), source, Job(shard=shards.shards[1], until=3))
        measure(view, 3, Report())
    assert len(list((tmp_path / "c" / "rows").rglob("*.parquet"))) == 2
    view = children.ChildView(view, walk(view, 3))
    assert len(view.made._groups) > 10
    columns = ["page", "text", "nth", "words"]
    whole = pa.concat_tables([rows.table for rows in view.rows(columns)])
    first = shards.shards[0].rows
    expected = [word for word in words() if first <= int(word[0][1:]) < first + shards.shards[1].rows]
    assert list(zip(*(whole.column(name).to_pylist() for name in ("nth", "text")), strict=True)) == [
        word[1:] for word in expected
    ]
    assert [len(page) for page in whole.column("page").to_pylist()] == [int(word[0][1:]) for word in expected]
    monkeypatch.setattr(children, "BATCH_BYTES", 5_000)
    batches = list(view.rows(columns))
    assert pa.concat_tables([rows.table for rows in batches]) == whole
    assert [rows.first for rows in batches][1:] == [rows.first + len(rows.slots) for rows in batches][:-1]
    assert len(batches) > 20
    assert max(sum(map(len, rows.table.column("page").to_pylist())) for rows in batches) <= 5_000


@pytest.mark.usefixtures("ray_session")
def test_a_sample_counts_what_is_made(texts, tmp_path):
    checked = check_recipe(recipe("text.length", WORDS, SECOND), str(texts), sample=70)
    assert [(line.step, line.group, line.extracts) for line in checked.steps] == [
        *(("text.length", 1, False), ("test.words", 1, True), ("text.length (2)", 2, False)),
    ]
    assert checked.steps[1].rows_in == checked.sample.rows == 70
    assert checked.steps[1].made == checked.steps[2].rows_in == checked.sample.kept
    assert not (tmp_path / "c").exists()
    run(recipe("text.length", WORDS), texts, out=tmp_path / "c")
    known = check_recipe(recipe("text.length", WORDS, SECOND), str(texts), out=str(tmp_path / "c"))
    assert [line.measured_shards for line in known.steps] == [known.shards, known.shards, 0]


@pytest.mark.usefixtures("ray_session")
def test_a_corpus_of_children_alone_is_owned_too(texts, tmp_path):
    result = run(recipe(WORDS), texts, out=tmp_path / "c", write=False)
    assert not (tmp_path / "c" / "scores").exists()
    with pytest.raises(CorpusError, match="belongs to another corpus"):
        run(recipe(WORDS), write_jsonl(tmp_path / "other.jsonl", ["a"]), out=tmp_path / "c")
    with pytest.raises(CorpusError, match=r"holds rows that test.words made; uids name those of the source"):
        export_cut(result.cut, "uids", str(tmp_path / "uids.npy"))


def plan(*steps, schema=PAIR):
    return make_plan(RecipeFile(recipe=recipe(*steps)), schema)


def test_fingerprints_after_an_extractor_hold_its_own():
    one, two = plan(WORDS, "image.size"), plan({"test.crops": {}}, "image.size")
    alone = plan("image.size", WORDS)
    prints = {made.steps[1].fingerprint for made in (one, two)} | {alone.steps[0].fingerprint}
    assert len(prints) == 3
    tight = plan("text.length", {"keep": {"words": {"min": 3}}}, WORDS, SECOND)
    loose = plan("text.length", WORDS, SECOND)
    assert tight.steps[-1].fingerprint == loose.steps[-1].fingerprint


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [WORDS, {"keep": {"side": {"in": ["left"]}}}],
            "keep reads 'side', which no earlier step adds; test.crops adds",
        ),
        ([{"test.crops": {}}, "text.length"], "text.length reads 'text', which test.crops uses up: the rows that it"),
        (["text.length", WORDS, "text.length"], "text.length adds 'characters', but an earlier step has a column"),
        ([{"test.words": {"as": {"nth": "parent"}}}], "test.words makes rows, which get a column 'parent'"),
    ],
)
def test_mistakes_are_told(steps, message):
    with pytest.raises(RecipeError, match=message):
        plan(*steps)


def test_a_source_with_parents_of_its_own_is_told():
    schema = pa.schema([*PAIR, pa.field("parent", pa.string())])
    with pytest.raises(RecipeError, match=r"leave it out with `read: \{drop: \[parent\]\}`"):
        plan(WORDS, schema=schema)
    assert len(plan(WORDS, {"test.crops": {}}).spaces) == 3, "a later extractor's takes the place of the first's"


@operator
class Broken(Extractor):
    """Returns what it is told to."""

    parents: tuple[int, ...]
    values: tuple[int, ...]
    reads = ("text",)
    adds = (field("n", pa.int32(), "a number", range="any"),)

    def __call__(self, batch):
        return np.array(self.parents), {"n": list(self.values)}


@pytest.mark.parametrize(
    ("parents", "values", "message"),
    [
        ((0, 2, 1), (1, 2, 3), r"parents do not ascend from 0 to 2: \[0, 2, 1\]"),
        ((-1, 0), (1, 2), "parents do not ascend"),
        ((1, 3), (1, 2), "parents do not ascend"),
        ((1, 2), (1, 2, 3), "column 'n' has 3 values for 2 rows"),
    ],
)
def test_an_extractor_that_breaks_its_contract_is_told(parents, values, message):
    step = ExtractStep(
        index=0, label="x", fingerprint=f"{parents}{values}", reads={}, names={}, folder="x",
        operator=Broken(parents=parents, values=values),
    )  # fmt: skip
    with pytest.raises(ContractError, match=message):
        called(step, Batch(pa.table({"text": ["a", "b", "c"]})))
