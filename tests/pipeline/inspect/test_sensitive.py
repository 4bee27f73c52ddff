"""What is blurred and what is hidden: read off columns, whatever the recipe calls them, and never too little."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from drawing import encoded, picture, write_folder
from small_clip import make_head

from cupel import Recipe, run
from cupel.operators.image.zero_shot import ZeroShot
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.pictures.sensitive import VERDICTS, Sensitivity
from cupel.pipeline.inspect.rows import load_rows
from cupel.schemas.fields import marks_of


@pytest.mark.parametrize(
    ("parameters", "marked"),
    [
        ({"labels": "laion_nsfw"}, True),
        ({"labels": "laion_underage"}, True),
        ({"labels": "laion_animals"}, False),
        ({}, False),
        ({"labels": ("a dog", "a nude person"), "watch": ("a nude person",)}, True),
        ({"labels": ("a dog", "a nude person"), "watch": ("a dog",)}, False),
    ],
)
def test_zero_shot_is_marked_by_what_it_watches_for(parameters, marked):
    found = {column.name for column in ZeroShot(model="cupel-tiny", **parameters).adds if marks_of(column)}
    assert found == ({"zero_shot_watched"} if marked else set())


# Rows

BLOCKED, FLAGGED, TAGGED, PROBABLE, UNKNOWN, BROKEN, SHORT = range(7)  # SHORT is dropped before the blocklist is asked


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    """Pairs of which each of the first is unsafe in a way of its own."""
    folder = tmp_path_factory.mktemp("sensitive")
    texts = {FLAGGED: "hush a picture of colours", SHORT: "short"}
    rows = []
    for i in range(30):
        data = encoded(picture(i))[: 200 if i == BROKEN else None]
        (folder / f"{i}.jpg").write_bytes(data)
        rows.append({"key": f"k{i}", "image": f"{i}.jpg", "text": texts.get(i, f"a picture {i}"), "punsafe": i / 400})
        rows[-1] |= {"NSFW": "UNSURE" if i == TAGGED else "UNLIKELY"}
    rows[PROBABLE]["punsafe"], rows[UNKNOWN]["punsafe"] = 0.7, None
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "list.txt").write_text(hashlib.md5(encoded(picture(BLOCKED))).hexdigest())
    (folder / "words.txt").write_text("hush\n")
    steps = [
        *("text.length", {"keep": {"words": {"min": 2}}}),
        {"text.words": {"flagged_words": str(folder / "words.txt"), "as": "caption"}},
        {"image.blocklist": {"lists": [str(folder / "list.txt")], "as": {"blocked": "forbidden"}}},
        {"image.zero_shot": {"model": "cupel-tiny", "labels": "laion_nsfw", "as": "nsfw"}},
    ]
    run(Recipe(name="r", steps=steps), folder / "rows.jsonl", out=folder / "c")
    return folder / "c"


def expected(cut) -> list[str]:
    """By a loop over the rows as they were measured, with the rules written out."""
    found = ["show"] * 30
    view = cut.view(0, 0)
    watched = view.column("nsfw_zero_shot_watched").to_pylist()
    for row in range(30):
        unsafe = (watched[row] or 0) >= 1 or watched[row] is None
        if unsafe or row in (FLAGGED, TAGGED, PROBABLE, UNKNOWN, BROKEN):
            found[row] = "blur"
    found[BLOCKED] = "hide"
    return found


def test_rows_are_judged_by_the_strictest_column(corpus):
    cut = open_cut(str(corpus))
    rows = load_rows(cut)
    found = Sensitivity(cut).of(rows, 0, range(30))
    assert found == expected(cut)
    assert set(found) == {"show", "blur", "hide"} and found[SHORT] == "blur"


def test_one_shard_is_judged_as_all_rows_are(corpus):
    cut = open_cut(str(corpus))
    sensitivity, rows = Sensitivity(cut), load_rows(cut)
    by_shard = np.concatenate([sensitivity.of_view(cut.view(0, shard.id), 0) for shard in cut.shards])
    assert by_shard.tolist() == sensitivity.levels(rows, 0).tolist()


def test_columns_are_found_under_the_recipes_names(corpus):
    (columns,) = Sensitivity(open_cut(str(corpus))).columns
    assert {column.name for column in columns} == {
        *("punsafe", "NSFW", "caption_flagged_word_ratio", "forbidden", "nsfw_zero_shot_watched"),
    }


def test_nothing_is_unsafe_where_nobody_looked(ray_session, tmp_path):
    run(Recipe(name="r", steps=["image.size"]), write_folder(tmp_path / "in", 3), out=tmp_path / "c")
    cut = open_cut(str(tmp_path / "c"))
    assert Sensitivity(cut).of(load_rows(cut), 0, range(3)) == ["show"] * 3


def test_a_damaged_column_hides_what_it_might_have_hidden(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "c")
    (file,) = (tmp_path / "c" / "scores").glob("image.blocklist-*/00000000.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    cut = open_cut(str(tmp_path / "c"))
    assert {VERDICTS[level] for level in Sensitivity(cut).of_view(cut.view(0, 0), 0)} == {"hide"}


def test_what_is_found_of_children_holds_for_their_parents(ray_session, tmp_path):
    """The first child of pair.augment is its parent's picture itself."""
    source = write_folder(tmp_path / "in", 5)
    (tmp_path / "list.txt").write_text(hashlib.md5((source / "p0003.jpg").read_bytes()).hexdigest())
    steps = [{"pair.augment": {"copies": 2}}, {"image.blocklist": {"lists": [str(tmp_path / "list.txt")]}}]
    run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")
    cut = open_cut(str(tmp_path / "c"))
    rows, sensitivity = load_rows(cut), Sensitivity(cut)
    hits = np.flatnonzero(np.asarray(rows.last.column("blocked")))
    assert len(hits) == 1 and rows.spaces[1].parents[hits[0]] == 3
    assert sensitivity.of(rows, 0, range(5)) == ["show", "show", "show", "hide", "show"]
    assert sensitivity.of_view(cut.view(1, 0), 0).tolist() == sensitivity.levels(rows, 0).tolist()


HEADS = [
    ("nsfw_clip.safetensors", "score", "sigmoid", "0.1"),
    ("head.safetensors", "punsafe", "softmax", "0.1"),
    ("nsfw.safetensors", "logit", "none", "-2.2"),
    ("aesthetic.safetensors", "aesthetic", "none", None),
]


def test_heads_are_known_by_their_names(ray_session, tmp_path):
    steps = []
    for path, name, output, _ in HEADS:
        head = {"path": str(make_head(tmp_path / path, 192, 1)), "output": output, "as": {"head_score": name}}
        steps.append({"image.head": {"model": "cupel-tiny", **head}})
    run(Recipe(name="r", steps=steps), write_folder(tmp_path / "in", 2), out=tmp_path / "c")
    (columns,) = Sensitivity(open_cut(str(tmp_path / "c"))).columns
    limits = {column.name: column.marks[0].values[0] for column in columns}
    assert limits == {name: limit for _, name, _, limit in HEADS if limit}
