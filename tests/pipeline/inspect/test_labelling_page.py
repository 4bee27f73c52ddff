"""Labelling in the page: who is asked about, what is written, what follows from it; by keys in a browser."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from asking import Asking
from drawing import write_jsonl
from serving import serving

from cupel import Recipe, run
from cupel.pipeline.inspect.labels.file import Labels
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.serve.lots import frame_of

WORDS = [(i * 7) % 12 for i in range(240)]
RULE = 0  # words min 3
DROPPED = [i for i, words in enumerate(WORDS) if words < 3]


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    place = write_jsonl(folder / "in.jsonl", [f"row {i}" + " word" * (n - 2) for i, n in enumerate(WORDS)], n=WORDS)
    run(Recipe(name="l", steps=[{"keep": {"n": {"min": 3, "max": 9}}}]), place, out=folder / "corpus")
    return folder / "corpus"


@pytest.fixture(scope="module")
def rows(corpus):
    return load_rows(open_cut(str(corpus)))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.parquet"


@pytest.fixture
def client(corpus, file):
    with Asking(corpus, file) as asking:
        yield asking


def said(client, word, row=None, path="/label.json?rule=0", status=200, **headers):
    body = {"say": word} | ({"shard": row["shard"], "row": row["row"]} if row else {})
    return client.post_as_ours(path, json.dumps(body).encode(), status, **{"X_Cupel": "label", **headers})


def test_without_a_file_it_says_how(corpus):
    with Asking(corpus) as client:
        assert "--labels" in client.page("/label")
        assert client.data("/label")["labels"] is None
        assert said(client, "keep", {"shard": 0, "row": 0}, status=403)["status"] == 403


def test_every_label_is_in_the_file_before_the_next_row_comes(client, file):
    first = client.data("/label", rule=RULE)["row"]
    second = said(client, "drop", first)["row"]
    (label,) = Labels(file).all
    assert (label.shard, label.row, label.label) == (first["shard"], first["row"], "drop")
    assert label.key == f"k{label.row}" and label.path == str(label.row) and label.cut == client.served.first
    assert label.stratum == ("dropped" if label.row in DROPPED else "passed")
    assert label.stratum_rows == (len(DROPPED) if label.row in DROPPED else 240 - len(DROPPED))
    assert second != first
    said(client, "keep", second)
    assert [label.label for label in Labels(file).all] == ["drop", "keep"]


def test_nothing_tells_what_was_decided(client):
    data = client.data("/label", rule=RULE)
    assert data["row"].keys() == data["after"].keys() == {"name", "space", "shard", "row", "words", "picture"}
    page = client.page("/label?rule=0")
    assert "badge dropped" not in page and "badge kept" not in page


def test_who_comes_back_goes_on(client, corpus, file):
    for _ in range(5):
        said(client, "keep", client.data("/label", rule=RULE)["row"])
    following = client.data("/label", rule=RULE)
    with Asking(corpus, file) as again:
        assert again.data("/label", rule=RULE) == following
        assert sum(stratum["keep"] for stratum in following["strata"].values()) == 5


def test_a_word_can_be_taken_back(client, file):
    first = client.data("/label", rule=RULE)
    assert not first["can_undo"]
    said(client, "undo", status=409)
    second = said(client, "drop", first["row"])
    third = said(client, "skip", second["row"])
    assert third["row"] not in (first["row"], second["row"]) and len(Labels(file)) == 1
    assert said(client, "undo")["row"] == second["row"] and len(Labels(file)) == 1
    back = said(client, "undo")
    assert back == first and len(Labels(file)) == 0


def test_another_question_keeps_its_own_words(client):
    said(client, "drop", client.data("/label", rule=RULE)["row"])
    whole = client.data("/label")
    assert whole["asked"] == "the whole cut" and not whole["can_undo"]
    assert all(stratum["drop"] == 0 for stratum in whole["strata"].values())


def test_all_rows_come_once_and_then_none(client):
    seen = []
    data = client.data("/label", rule=RULE, side="dropped")
    while data["row"]:
        seen.append(data["row"]["row"])
        data = said(client, "drop", data["row"], "/label.json?rule=0&side=dropped")
    assert sorted(seen) == DROPPED and seen != DROPPED
    found = data["estimates"]["precision"]
    assert (found["hits"], found["of"], found["share"], found["high"]) == (60, 60, 1, 1)
    assert found["low"] == pytest.approx(0.940, abs=1e-3)


def test_the_shares_follow_from_the_labels(client):
    """Would drop rows of one word and none: half of those dropped, and none of those that passed."""
    for side in ("dropped", "passed"):
        for _ in range(40):
            path = f"/label.json?rule=0&side={side}"
            row = client.data("/label", rule=RULE, side=side)["row"]
            data = said(client, "drop" if WORDS[row["row"]] < 2 else "keep", row, path)
    hits = data["strata"]["dropped"]["drop"]
    found = data["estimates"]["precision"]
    assert (found["hits"], found["of"]) == (hits, 40) and 10 < hits < 40
    p, z = hits / 40, 1.959964
    middle, spread = p + z * z / 80, z * math.sqrt(p * (1 - p) / 40 + z * z / 6400)
    bounds = ((middle - spread) / (1 + z * z / 40), (middle + spread) / (1 + z * z / 40))
    assert (found["low"], found["high"]) == pytest.approx(bounds)
    assert data["estimates"]["kept_precision"]["share"] == 1 and data["estimates"]["recall"]["share"] == 1
    assert data["estimates"]["recall"]["low"] < 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"say": "keep", "shard": 0, "row": 0}', {"X_Cupel": "other"}, 403),
        (b'{"say": "keep", "shard": 0, "row": 0}', {"Origin": "http://evil.example"}, 403),
        (b'{"say": "destroy", "shard": 0, "row": 0}', {}, 400),
        (b'{"say": "keep", "shard": "0", "row": 0}', {}, 400),
        (b'{"say": "keep", "row": 0, "path": "/etc/passwd"}', {}, 400),
        (b'{"say": "keep", "shard": 0, "row": 240}', {}, 400),
        (b'{"say": "keep", "shard": -1, "row": 0}', {}, 400),
        (b"not json", {}, 400),
        (b"[" * 5000, {}, 413),
    ],
)
def test_only_labels_of_rows_that_are_asked_about_are_taken(client, file, body, headers, status):
    client.post_as_ours("/label.json?rule=0", body, status, **{"X_Cupel": "label", **headers})
    assert not file.exists()


def test_rows_that_an_earlier_rule_dropped_are_not_asked_about(client):
    row = {"shard": 0, "row": DROPPED[0]}
    assert "not among" in said(client, "keep", row, "/label.json?rule=1", status=400)["error"]
    assert client.data("/label", status=400, rule=2)["status"] == client.data("/label", status=400, side="x")["status"]


def test_a_file_that_another_program_writes_is_read_anew(client, file):
    row = client.data("/label", rule=RULE)["row"]
    data = said(client, "keep", row)
    other = Labels(file)
    other.undo()
    assert "another program" in said(client, "keep", data["row"], status=409)["error"]
    assert client.data("/label", rule=RULE)["row"] == row


# Lots


@pytest.mark.parametrize("rule", [None, 0, 1])
def test_lots_are_drawn_from_the_rows_that_a_rule_saw(rows, rule):
    frame = frame_of(rows, rule)
    words = np.array(WORDS)
    saw = np.full(240, True) if rule != 1 else words >= 3
    gone = {None: (words < 3) | (words > 9), 0: words < 3, 1: words > 9}[rule]
    assert sorted(frame.orders["dropped"]) == np.flatnonzero(gone).tolist()
    assert sorted(frame.orders["passed"]) == np.flatnonzero(saw & ~gone).tolist()
    assert frame.sizes == {"dropped": int(gone.sum()), "passed": int((saw & ~gone).sum())}


def test_both_sides_come_mixed_each_in_its_own_order(rows):
    frame, again = frame_of(rows, 0), frame_of(rows, 0)
    both = frame.orders["both"]
    assert both.tolist() == again.orders["both"].tolist() and sorted(both) == list(range(240))
    gone = np.isin(both, frame.orders["dropped"])
    assert both[gone].tolist() == frame.orders["dropped"].tolist()
    assert 10 < gone[:60].sum() < 50, "whichever side has more rows"
    assert both[~gone].tolist() == frame.orders["passed"].tolist() != sorted(both[~gone])


# In a browser


def test_labels_by_keys(corpus, file, window):
    with serving(corpus, "--labels", str(file)) as site, window() as visit:
        page = visit.page
        page.goto(site.address)
        page.goto(f"{site.origin}{site.cut}/label?rule=0")
        words = page.locator(".label-words")
        words.wait_for()
        seen = [words.inner_text()]
        for key, count in (("k", 1), ("d", 2), ("s", 2), ("d", 3)):
            page.keyboard.press(key)
            page.wait_for_function("text => document.querySelector('.label-words').textContent !== text", arg=seen[-1])
            seen.append(words.inner_text())
            assert len(Labels(file)) == count
        page.keyboard.press("Backspace")
        page.wait_for_function("text => document.querySelector('.label-words').textContent === text", arg=seen[-2])
        assert [label.label for label in Labels(file).all] == ["keep", "drop"]
        assert len(set(seen)) == 5
        assert "2 labelled" in page.locator("aside").inner_text()
        assert visit.barriers() == []


def test_a_caption_with_markup_is_text_on_the_label_page(drawn_corpus, file, window):
    with serving(drawn_corpus, "--labels", str(file)) as site, window() as visit:
        page = visit.page
        page.goto(site.address)
        page.goto(f"{site.origin}{site.cut}/label")
        seen = ""
        for _ in range(60):
            page.locator(".label-words, .empty").wait_for()
            if page.locator(".empty").count():
                break
            before = page.locator(".label-words").inner_text()
            seen += before
            page.keyboard.press("s")
            page.wait_for_function("text => document.querySelector('.label-words')?.textContent !== text", arg=before)
        assert "<script>alert(" in seen and "\u202e" not in seen
        assert visit.barriers() == []
