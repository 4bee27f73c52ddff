"""The page of searches: words against a plain loop, meaning by rows and pictures that are there, pages, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from asking import Asking

from cupel.pipeline.inspect.serve import searching
from cupel.pipeline.inspect.serve.searching import PICTURE_BYTES


@pytest.fixture(scope="module")
def client(drawn_corpus):
    with Asking(drawn_corpus) as asking:
        yield asking


@pytest.fixture(scope="module")
def captions(drawn_corpus) -> list[dict]:
    lines = (drawn_corpus.parent / "in" / "captions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def rows_of(data) -> list[int]:
    return [card["row"] for card in data["cards"]]


def sent(client, body: bytes, status=200, query="", **headers):
    return client.post_as_ours(f"/search.json{query}", body, status, **{"X_Cupel": "search", **headers})


def test_words_find_the_captions_that_hold_them_all(client, captions):
    data = client.data("/search", q="NUMBER 1")
    wanted = (r"\bnumber", r"\b1")
    expected = {i for i, row in enumerate(captions) if all(re.search(word, row["text"]) for word in wanted)}
    assert data["rows"] == len(expected) > 3 and set(rows_of(data)) == expected
    assert re.search(r"\b1\b", captions[rows_of(data)[0]]["text"]), "a whole word comes first"


def test_kept_and_dropped_rows_can_be_searched_alone(client):
    parts = {fate: client.data("/search", q="picture", fate=fate) for fate in ("all", "kept", "dropped")}
    assert parts["all"]["rows"] == parts["kept"]["rows"] + parts["dropped"]["rows"] and parts["dropped"]["rows"]
    assert {card["fate"] for card in parts["kept"]["cards"]} == {"kept"}
    assert {card["fate"] for card in parts["dropped"]["cards"]} == {"dropped"}


def test_pages_follow_each_other(client, monkeypatch):
    monkeypatch.setattr(searching, "PAGE_ROWS", 5)
    whole = client.data("/search", q="picture")
    pages = [rows_of(client.data("/search", q="picture", page=at)) for at in range(1, whole["pages"] + 1)]
    assert sum(map(len, pages)) == whole["rows"] == len({row for page in pages for row in page})
    html = client.page("/search?q=picture&page=2&fate=kept")
    (after,) = re.findall(r'rel="next" href="\?([^"]*)"', html)
    assert parse_qs(after.replace("&amp;", "&"))["page"] == ["3"] and "fate=kept" in after
    assert client.data("/search", q="picture", page=99)["page"] == whole["pages"]


def test_a_row_like_another_is_not_itself(client):
    data = client.data("/search", like="0/0/1")
    found = rows_of(data)
    cosines = [card["values"]["similarity"] for card in data["cards"]]
    assert 1 not in found and len(found) == len(set(found)) > 20
    assert cosines == sorted(cosines, reverse=True) and 1 >= cosines[0] > cosines[-1]
    kept = client.data("/search", like="0/0/1", fate="kept")
    assert rows_of(kept) == [card["row"] for card in data["cards"] if card["fate"] == "kept"]
    assert "Like this one" in client.page("/search?like=0/0/1")


def test_a_picture_finds_its_row(client, drawn_corpus, captions):
    i = next(i for i, row in enumerate(captions) if i % 6 and i > 20)
    picture = Path(drawn_corpus.parent, "in", captions[i]["image"]).read_bytes()
    query = sent(client, picture)["query"]
    html = client.page(f"/search{query}")
    assert "to your picture" in html
    found = client.data("/search", **{name: values[0] for name, values in parse_qs(query[1:]).items()})
    assert found["by_picture"] and rows_of(found)[0] == i
    assert found["cards"][0]["values"]["similarity"] == pytest.approx(1, abs=0.01)


def test_what_a_picture_found_is_not_kept_for_ever(client, drawn_corpus, captions, monkeypatch):
    monkeypatch.setattr(searching, "REMEMBERED", 1)
    picture = Path(drawn_corpus.parent, "in", captions[1]["image"]).read_bytes()
    first, second = (sent(client, picture)["query"] for _ in range(2))
    assert client.get(f"{client.cut}/search{second}").status_code == 200
    assert "not remembered" in client.page(f"/search{first}", 400)


@pytest.mark.parametrize(
    ("body", "headers", "query", "status"),
    [
        (b"a picture", {"X_Cupel": "label"}, "", 403),
        (b"a picture", {"Origin": "http://evil.example"}, "", 403),
        (b"a picture", {}, "?fate=lost", 400),
        (b"a picture", {}, "", 400),
        (b"", {}, "", 400),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", {}, "", 400),
        (b"\xff\xd8\xff" + b"x" * PICTURE_BYTES, {}, "", 413),
    ],
    ids=["header", "origin", "fate", "text", "nothing", "svg", "large"],
)
def test_only_pictures_of_our_own_page_are_looked_at(client, body, headers, query, status):
    answer = sent(client, body, status, query, **headers)
    assert answer["status"] == status and "Traceback" not in answer["error"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"q": " "}, 200),
        ({"q": "-"}, 400),
        ({"q": "x " * 600}, 400),
        ({"how": "magic"}, 400),
        ({"fate": "lost"}, 400),
        ({"like": "0/0"}, 400),
        ({"like": "0/0/../../etc"}, 400),
        ({"like": "7/0/0"}, 404),
        ({"like": "0/0/100000"}, 404),
        ({"picture": "unknown"}, 400),
        ({"how": "meaning", "q": "y" * 2000}, 400),
    ],
)
def test_what_cannot_be_searched_is_said(client, query, status):
    answer = client.get(f"{client.cut}/search", params=query)
    assert answer.status_code == status and "Traceback" not in answer.text
    data = client.data("/search", status, **query)
    assert "error" in data and not data.get("cards")


def test_what_was_asked_for_and_found_stands_there_as_text(client):
    html = client.page('/search?q=<script>alert(1)</script>"><img src=x onerror=alert(2)>')
    assert "<script>alert(" not in html and "<img src=x" not in html
    html = client.page("/search?q=colours")
    assert "<script>alert(" not in html and "\u202e" not in html


def test_meaning_by_words_and_by_a_file_in_a_browser(client, drawn, drawn_corpus, captions, window):
    with window() as visit:
        page = visit.page
        page.set_default_timeout(120_000)  # the model is loaded when it is first needed
        page.goto(drawn.address)
        drawn.ready(f"{drawn.cut}/search")
        page.goto(f"{drawn.origin}{drawn.cut}/search")
        page.get_by_label("By meaning").check()
        page.get_by_role("searchbox").fill("colours of a picture")
        page.keyboard.press("Enter")
        page.wait_for_url("**how=meaning**")
        assert "nearest" in page.get_by_role("heading", level=1).inner_text()
        page.set_input_files("#picture", Path(drawn_corpus.parent, "in", captions[25]["image"]))
        page.wait_for_url("**picture=**")
        page.locator(".tile").first.wait_for()
        assert captions[25]["text"] in page.locator(".tile").first.inner_text()
        assert visit.barriers() == []
