"""Thresholds moved in the page: numbers against a plain loop, the recipe against a run; sliders elsewhere."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from asking import Asking
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline.inspect.charts.axis import Axis
from cupel.pipeline.inspect.serve.board import _Lately
from cupel.pipeline.inspect.serve.handles import share_stops, stops_on
from cupel.pipeline.inspect.serve.shown import shown
from cupel.pipeline.inspect.serve.spread import DROPPED, ELSEWHERE, KEPT, LATER, Spread

WORDS = [(i * 7) % 12 for i in range(600)]
SCORES = [None if i % 50 == 9 else round((i * 37 % 600) / 600, 4) for i in range(600)]
EVIL = "<img src=x onerror=alert(1)> \u202e"
STEPS = [
    *("text.length", {"keep": {"words": {"min": 3, "max": 9}}}),
    {"keep": {"language": {"in": ["en"]}, "any": [{"score": {"min": 0.3}}, {"words": {"min": 8}}]}},
    {"keep": {"score": {"top": 0.8}}},
]


def passing(least=3, most=9, score=0.3):
    """Rows alive before the ranking."""
    return [
        i
        for i, (words, found) in enumerate(zip(WORDS, SCORES, strict=True))
        if least <= words <= most and i % 10 != 1 and ((found is not None and found >= score) or words >= 8)
    ]


def kept(share=0.8, **bounds):
    rows = passing(**bounds)
    valued = sorted((i for i in rows if SCORES[i] is not None), key=lambda i: -SCORES[i])
    return set(valued[: -(-len(valued) * round(share * 100) // 100)])


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thresholds")
    texts = [(EVIL if i == 7 else " ").join(["word"] * words) for i, words in enumerate(WORDS)]
    languages = ["de" if i % 10 == 1 else "en" for i in range(600)]
    place = write_jsonl(folder / "in.jsonl", texts, score=SCORES, language=languages)
    run(Recipe(name="moved", steps=STEPS), place, out=folder / "corpus")
    return folder / "corpus"


@pytest.fixture(scope="module")
def client(corpus):
    with Asking(corpus) as asking:
        yield asking


def number(client, row):
    """Which line of the input a row is."""
    shards = client.served.cut(client.served.first).shards
    return sum(shard.rows for shard in shards[: row["shard"]]) + row["row"]


def bound(data, id):
    return next(each for each in data["bounds"] if each["id"] == id)


def test_as_it_stands_it_says_what_the_cut_says(client):
    data = client.data("/thresholds")
    manifest = client.served.cut(client.served.first).manifest
    assert data["exact"] and data["moved"] == [] and data["kept"]["at_least"] == len(kept()) == manifest.kept
    assert [each["id"] for each in data["bounds"]] == [
        *("1.words", "2.language", "2.any0.score", "2.any1.words", "3.score"),
    ]
    assert bound(data, "2.language")["sides"] == [] and bound(data, "2.language")["fixed"] == ["in en"]
    assert bound(data, "1.words")["dropped"]["now"] == sum(not 3 <= words <= 9 for words in WORDS)


@pytest.mark.parametrize(
    ("change", "bounds"),
    [
        ("1.words.min=5", {"least": 5}),
        ("1.words.max=", {"most": 99}),
        ("1.words.max=9.5", {}),
        ("2.any0.score.min=0.61", {"score": 0.61}),
        ("3.score.top=0.25", {"share": 0.25}),
    ],
)
def test_a_moved_bound_keeps_what_a_loop_keeps(client, change, bounds):
    data = client.data("/thresholds", c=change)
    assert data["exact"] and data["kept"]["at_least"] == data["kept"]["at_most"] == len(kept(**bounds))
    changed = client.data("/thresholds/changed", c=change)
    assert changed["come"]["rows"] == len(kept(**bounds) - kept())
    assert changed["go"]["rows"] == len(kept() - kept(**bounds))
    assert {number(client, row) for row in changed["go"]["some"]} <= kept() - kept(**bounds)
    name, _, value = change.partition("=")
    assert client.data("/thresholds", **{name: value}) == data, "a form without scripts sends it so"


def test_each_side_is_counted_alone_among_the_rows_that_come(client):
    data = client.data("/thresholds", c=["1.words.min=5", "2.any0.score.min=0.5"], of=["1.words", "2.any0.score"])
    words, score = data["tallies"]["1.words"], data["tallies"]["2.any0.score"]
    assert words["here"] == [600, 600]
    assert words["fails"]["1.words.min"] == [sum(w < 5 for w in WORDS)] * 2
    assert words["fails"]["1.words.max"] == [sum(w > 9 for w in WORDS)] * 2
    come = [i for i, w in enumerate(WORDS) if 5 <= w <= 9]
    assert score["here"] == [len(come)] * 2
    assert score["fails"]["2.any0.score.min"] == [sum(SCORES[i] is None or SCORES[i] < 0.5 for i in come)] * 2
    assert data["charts"]["1.words"].startswith("<svg") and "min 5" in data["charts"]["1.words"]


@pytest.mark.parametrize(("side", "below", "above"), [("1.words.min", 4, 5), ("1.words.max", 9, 10)])
def test_the_rows_beside_a_bound_are_the_nearest(client, side, below, above):
    found = client.data("/thresholds/beside", c="1.words.min=5", of=side)
    for name, words in (("below", below), ("above", above)):
        assert len(found[name]) == 4
        assert [row["values"] for row in found[name]] == [[["words", str(words)]]] * 4
        assert {WORDS[number(client, row)] for row in found[name]} == {words}


def test_a_bound_that_is_taken_away_has_no_rows_beside_it(client):
    found = client.data("/thresholds/beside", c="1.words.min=", of="1.words.min")
    assert found == {"id": "1.words.min"}
    assert client.data("/thresholds/curve", c="1.words.min=", of="1.words.min")["curve"].startswith("<svg")


def test_the_recipe_keeps_what_was_foretold(client, corpus, tmp_path):
    query = {"c": ["1.words.min=5", "3.score.top=0.5"], "name": "tighter"}
    foretold = client.data("/thresholds", c=query["c"])["kept"]["at_least"]
    answer = client.get(f"{client.cut}/recipe.yaml", params=query)
    assert answer.headers["content-type"].startswith("text/yaml")
    assert answer.headers["content-disposition"] == 'attachment; filename="tighter.yaml"'
    (tmp_path / "tighter.yaml").write_bytes(answer.content)
    assert run(tmp_path / "tighter.yaml", out=tmp_path / "c").kept == foretold == len(kept(least=5, share=0.5))


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/thresholds.json", {"c": "nonsense"}),
        ("/thresholds.json", {"c": "1.words.min=many"}),
        ("/thresholds.json", {"c": "1.words.min=nan"}),
        ("/thresholds.json", {"c": "1.other.min=3"}),
        ("/thresholds.json", {"c": "2.language.min=3"}),
        ("/thresholds.json", {"c": "3.score.top=1.5"}),
        ("/thresholds.json", {"c": ["1.words.min=5"] * 300}),
        ("/thresholds.json", {"of": "1.nothing"}),
        ("/thresholds/beside.json", {"of": "1.words"}),
        ("/recipe.yaml", {"name": "../../etc/passwd"}),
        ("/recipe.yaml", {"name": 'a"; filename="evil.sh'}),
        ("/recipe.yaml", {"c": "1.words.max=<script>"}),
    ],
)
def test_what_is_no_bound_is_refused_in_words(client, path, query):
    answer = client.get(client.cut + path, params=query)
    assert answer.status_code == 400 and "<script>" not in answer.text


@pytest.mark.parametrize("path", ["", "/beside", "/curve", "/changed"])
@pytest.mark.parametrize(
    "change", ["1.words.min=nan", "1.words.min=inf", "3.score.top=-0.0", "3.score.top=2", "1.words.min=\u0663"]
)
def test_what_scripts_ask_is_refused_as_the_page_refuses_it(client, path, change):
    told = client.data(f"/thresholds{path}", status=400, c=change, of="1.words.min")
    assert told == client.data("/thresholds", status=400, c=change)


def test_the_page_works_as_a_form(client):
    page = client.page("/thresholds?1.words.min=5&every=yes")
    assert re.search(r'name="1\.words\.min" value="5"', page) and "was 3" in page
    assert page.count('class="chart"') == 4, "every bound with numbers has its histogram"
    assert '<input type="hidden" name="c" value="1.words.min=5">' in page, "the form that saves it"
    few = client.page("/thresholds")
    assert few.count('class="chart"') < 4


def test_what_strangers_wrote_comes_as_text(client):
    rows = client.data("/thresholds/changed", c="1.words.max=3")["go"]["some"]
    assert rows and all("\u202e" not in row["words"] for row in rows)
    card = {"name": "00000000:0", "space": 0, "shard": 0, "row": 0, "fate": "dropped", "picture": None}
    why = {"column": "text", "value": EVIL, "text": "in ['a\u202e']"}
    told = shown({**card, "words": EVIL, "dropped_by": why, "values": {"a\u202eb": EVIL}})
    assert "\u202e" not in json.dumps(told, ensure_ascii=False) and told["words"].endswith("[U+202E]")


# What charts and sliders are made of


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3, 1, None, 1, 8, -2] * 50, pa.int8()),
        pa.array(np.random.default_rng(1).integers(0, 10**6, 3000)),
        pa.array(np.random.default_rng(2).lognormal(0, 3, 3000)),
        pa.array([0.5, None, float("nan"), float("inf"), -1.0] * 10),
        pa.array([7.25] * 20, pa.float32()),
        pa.array([2**53 + i for i in range(50)] + [None]),
        pa.array([2**63 - 1, -(2**63), 0, None] * 10),
        pa.array([2**64 - 1, 2**64 - 2] * 10, pa.uint64()),
    ],
    ids=["few", "many", "skewed", "odd", "one", "too great for floats", "farthest", "unsigned"],
)
def test_a_spread_counts_every_row_once_in_its_bucket(values):
    numbers = np.array(values.fill_null(0).to_numpy(zero_copy_only=False), np.float64)
    there = np.array(values.is_valid()) & np.isfinite(numbers)
    fates = np.random.default_rng(3).integers(0, 4, len(values)).astype(np.uint8)
    buckets = Spread(values).buckets(fates)
    for fate in (KEPT, DROPPED, LATER):
        own = numbers[there & (fates == fate)]
        ends = zip(buckets.edges, buckets.ends, strict=True)
        counts = [int(((edge <= own) & (own < end)).sum()) for edge, end in ends]
        assert counts == buckets.counts[fate].tolist() and sum(counts) == len(own)
    assert buckets.total == int((there & (fates != ELSEWHERE)).sum())


def test_what_was_made_lately_is_remembered_and_no_more():
    made, lately = [], _Lately(2)
    for key in ["a", "b", "a", "c", "a", "b"]:
        assert lately(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b", "c", "b"]


def test_a_spread_of_nothing_has_no_buckets():
    assert Spread(pa.array([None, float("nan")], pa.float64())).buckets(np.zeros(2, np.uint8)) is None
    assert Spread(pa.array([1, 2])).buckets(np.full(2, ELSEWHERE, np.uint8)) is None


@pytest.mark.parametrize(
    ("axis", "side", "value"),
    [
        (Axis(low=-0.5, high=12.5, whole=True), "min", 3),
        (Axis(low=-0.5, high=1_000_000.5, kind="symlog", whole=True), "max", 7),
        (Axis(low=0.0, high=1.0), "min", 0.28),
        (Axis(low=1.0, high=11.0, kind="log"), "max", 3.0),
        (Axis(low=0.0, high=1.0), "max", 5.0),
    ],
)
def test_a_slider_goes_through_round_values_where_the_chart_has_them(axis, side, value):
    stops = stops_on(axis, side, value)
    assert value in stops.values and len(stops.values) <= 1002
    assert list(stops.values) == sorted(set(stops.values)) and list(stops.places) == sorted(stops.places)
    assert stops.places[0] >= 0 and stops.places[-1] <= 1
    if axis.whole:
        assert all(stop == int(stop) for stop in stops.values)
        edge = value + (-0.5 if side == "min" else 0.5)
        assert stops.places[stops.values.index(value)] == pytest.approx(float(axis.at([edge])[0]), abs=1e-5)


def test_a_share_moves_by_hundredths():
    stops = share_stops(0.333)
    assert 0.333 in stops.values and 0.34 in stops.values and stops.values[0] > 0 and stops.values[-1] == 1
