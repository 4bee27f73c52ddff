"""The page that compares two cuts: its numbers, its rows, and what cannot be compared. The comparison: test_diff.py."""

from __future__ import annotations

import re
import threading

import polars as pl
import pytest
import two_cuts
from asking import Asking
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline.inspect.diff import diff_cuts
from cupel.pipeline.inspect.serve import comparing


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    return two_cuts.corpus("texts", tmp_path_factory.mktemp)


@pytest.fixture
def client(corpus, monkeypatch):
    monkeypatch.setattr(comparing, "PATIENCE_S", 60)
    with Asking(corpus) as asking:
        yield asking


def titles(client) -> tuple[str, str]:
    """Of the cut whose pages these are, and of the other."""
    own = client.served.first
    return own, next(entry.title for entry in client.served.cuts() if entry.title != own)


def kept(client, title) -> set[str]:
    files = (client.served.store.uri + f"/cuts/{title}/kept/*.parquet").removeprefix("file://")
    return set(pl.read_parquet(files)["key"])


def test_the_numbers_are_those_of_the_cuts_files(client):
    a, b = titles(client)
    of_a, of_b = kept(client, a), kept(client, b)
    found = client.data("/compare", **{"with": b})["diff"]
    assert (found["both"], found["only_a"], found["only_b"]) == (len(of_a & of_b), len(of_a - of_b), len(of_b - of_a))
    assert sum(gone["rows"] for gone in found["lost_by_b"]) == len(of_a - of_b)
    page = client.page(f"/compare?with={b}")
    samples = sum(len(gone["samples"]) for gone in (*found["lost_by_a"], *found["lost_by_b"]))
    assert page.count('class="tile kept"') == samples
    assert page.count("<figure>") == 2 * len(found["scores"]), "a chart for each side"
    assert "<script>alert(" not in page and "\u202e" not in page and "\x1b" not in page
    back = client.get(f"/cut/{b}/compare.json", params={"with": a}).json()["diff"]
    assert (back["only_a"], back["lost_by_a"]) == (found["only_b"], found["lost_by_b"])


def test_without_another_cut_those_there_are_are_offered(client):
    _, b = titles(client)
    data = client.data("/compare")
    assert [cut["cut"] for cut in data["others"]] == [b] and data["diff"] is None
    assert f'href="?with={b}"' in client.page("/compare")


def test_two_names_lead_there(client):
    a, b = titles(client)
    for suffix in ("", ".json"):
        answer = client.get(f"/diff{suffix}", params={"a": a, "b": b}, follow_redirects=False)
        assert answer.headers["location"] == f"/cut/{a}/compare{suffix}?with={b}"
    assert client.get("/diff", params={"a": a}).status_code == 400
    assert client.get("/diff", params={"a": a, "b": "//evil.example"}).status_code == 404


def test_what_cannot_be_compared_is_said(client):
    a, _ = titles(client)
    assert "both are" in client.page(f"/compare?with={a}", 409)
    assert "There is no cut" in client.page("/compare?with=nothing", 404)
    assert client.data("/compare", 404, **{"with": "../../etc"})["status"] == 404


def test_the_page_waits_and_says_so(client, monkeypatch):
    _, b = titles(client)
    go = threading.Event()

    def slowly(*cuts):
        go.wait(60)
        return diff_cuts(*cuts)

    monkeypatch.setattr(comparing, "PATIENCE_S", 0.01)
    monkeypatch.setattr(comparing, "diff_cuts", slowly)
    waiting = client.get(f"{client.cut}/compare?with={b}")
    assert (waiting.status_code, waiting.headers["refresh"]) == (202, "1") and "Comparing" in waiting.text
    assert client.data("/compare", 503, **{"with": b})["waiting"] is True
    go.set()
    monkeypatch.setattr(comparing, "PATIENCE_S", 60)
    assert re.search(r"only in .*A", client.page(f"/compare?with={b}"))


def test_one_cut_has_nothing_to_be_compared_with(ray_session, tmp_path):
    place = write_jsonl(tmp_path / "in.jsonl", ["one", "two words"])
    run(Recipe(name="alone", steps=["text.length"]), place, out=tmp_path / "c", write=False)
    with Asking(tmp_path / "c") as client:
        assert "Nothing to compare with" in client.page("/compare")
