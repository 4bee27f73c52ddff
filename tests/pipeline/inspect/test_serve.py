"""The live pages, asked in this process; over real HTTP: test_hostile_requests.py, in a browser: test_in_browser.py."""

from __future__ import annotations

import html
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pyarrow as pa
import pytest
from inspected import BLOCKED, UNSAFE
from PIL import Image
from starlette.testclient import TestClient

from cupel import Recipe, run
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.serve import state as state_module
from cupel.pipeline.inspect.serve.app import make_app, serve
from cupel.pipeline.inspect.serve.security import HEADERS
from cupel.pipeline.inspect.serve.state import CUTS_IN_MEMORY, State
from cupel.pipeline.inspect.serve.words import visible

PORT, TOKEN = 8765, "a-token"


def client_of(corpus, *, let_in: bool = True, faults: bool = True) -> TestClient:
    state = State(str(corpus), port=PORT, token=TOKEN)
    client = TestClient(make_app(state), base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=faults)
    client.state = state
    client.cut = f"/cut/{state.first}"
    if let_in:
        client.cookies.set(state.cookie, TOKEN)
    return client


@pytest.fixture(scope="module")
def drawn(drawn_corpus):
    with client_of(drawn_corpus) as client:
        yield client


@pytest.fixture(scope="module")
def read(documents_corpus):
    with client_of(documents_corpus) as client:
        yield client


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory):
    """A corpus of three texts whose file is gone, with a cut that has no summary, as older ones have none."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "in.csv").write_text("key,text\na,one\nb,two words\nc,three words here\n")
    steps = ["text.length", {"keep": {"words": {"min": 2}}}]
    run(Recipe(name="texts", read={"table": str(folder / "in.csv")}, steps=steps), out=folder / "corpus", write=False)
    (folder / "in.csv").unlink()
    next((folder / "corpus").glob("cuts/*/summary.json")).unlink()
    return folder / "corpus"


# Who is let in


def test_the_token_becomes_a_cookie_and_leaves_the_address(drawn_corpus):
    client = client_of(drawn_corpus, let_in=False)
    assert client.get("/").status_code == 403
    answer = client.get(f"{client.cut}/rows?token={TOKEN}&fate=kept&value=a%26b", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{client.cut}/rows?fate=kept&value=a%26b")
    cookie = answer.headers["set-cookie"]
    assert f"cupel-{PORT}={TOKEN}" in cookie and "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert client.get("/").status_code == 200, "the client sends the cookie now"
    elsewhere = client.get(f"http://127.0.0.1:{PORT}//evil.example/x?token={TOKEN}", follow_redirects=False)
    assert elsewhere.headers["location"] == "/evil.example/x"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": f"localhost:{PORT}"}, 200),
        ("GET", {"Host": "evil.example"}, 421),
        ("GET", {"Host": f"evil.example:{PORT}"}, 421),
        ("GET", {"Host": f"127.0.0.1:{PORT + 1}"}, 421),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ("POST", {}, 403),
        ("POST", {"Origin": f"http://localhost:{PORT}"}, 403),
        ("POST", {"Origin": f"http://127.0.0.1:{PORT}", "Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Origin": f"http://127.0.0.1:{PORT}"}, 405),
    ],
)
def test_where_a_request_may_come_from(drawn, method, headers, status):
    assert drawn.request(method, "/", headers=headers).status_code == status


def test_every_answer_has_the_policy_and_none_a_traceback(drawn_corpus, monkeypatch):
    client = client_of(drawn_corpus, faults=False)
    monkeypatch.setattr(State, "cuts", lambda self: 1 / 0)
    fault = client.get("/")
    monkeypatch.undo()
    assert fault.status_code == 500 and "Traceback" not in fault.text and "ZeroDivision" not in fault.text
    paths = ["/", "/nowhere", "/.json", "/static/cupel.css", f"{client.cut}/picture/0/0/0", "/?token=x"]
    for answer in [fault, *(client.get(path) for path in paths)]:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert client.get("/").headers["cache-control"] == "no-store"


# What pages hold


def test_the_numbers_of_the_funnel_lead_to_as_many_rows(drawn, read):
    for client in (drawn, read):
        links = [(text, to) for text, to in links_of(client.get(client.cut).text) if "/rows?" in to]
        counted = [(int(text.replace(",", "")), to) for text, to in links if re.fullmatch("[0-9,]+", text)]
        assert len(counted) > 10
        for count, to in counted:
            assert twin(client, to)["rows"] == count, to


def test_the_overview_reads_no_rows(drawn_corpus, monkeypatch):
    monkeypatch.setattr(state_module, "load_rows", lambda cut: pytest.fail("rows were read"))
    client = client_of(drawn_corpus)
    page = client.get(client.cut)
    assert page.status_code == 200 and "<svg" in page.text
    assert twin(client, client.cut)["funnel"][0]["rows_in"] == client.state.cut(client.state.first).manifest.rows_in


def test_a_page_waits_for_rows_and_says_so(drawn_corpus, monkeypatch):
    ready = threading.Event()

    def slowly(cut, **options):
        ready.wait(60)
        return load_rows(cut, **options)

    monkeypatch.setattr(state_module, "load_rows", slowly)
    monkeypatch.setattr(State.rows, "__defaults__", (0.01,))
    client = client_of(drawn_corpus)
    page, data = client.get(f"{client.cut}/rows"), client.get(f"{client.cut}/rows.json")
    assert (page.status_code, page.headers["refresh"], data.status_code) == (202, "1", 503)
    assert data.json()["loading"] is True and client.get(client.cut).status_code == 200
    ready.set()
    client.state.rows(client.state.first, 60)
    assert client.get(f"{client.cut}/rows").status_code == 200


def test_few_cuts_are_held_in_memory(drawn_corpus, monkeypatch):
    state = State(str(drawn_corpus))
    cut = state.cut(state.first)
    monkeypatch.setattr(state, "cut", lambda title: cut)
    made = []
    for title in ["a", "b", "a", "c", "a", "b"]:
        state.once(title, "thing", lambda rows, title=title: made.append(title))
    assert CUTS_IN_MEMORY == 2 and made == ["a", "b", "c", "b"]


def test_a_cut_that_is_made_again_in_its_folder_is_read_again(ray_session, tmp_path):
    (tmp_path / "in.csv").write_text("key,text\na,one\nb,two words\n")
    recipe = Recipe(name="again", steps=["text.length", {"keep": {"words": {"min": 2}}}])
    run(recipe, tmp_path / "in.csv", out=tmp_path / "corpus", write=False)
    state = State(str(tmp_path / "corpus"))
    before, rows = state.cut(state.first), state.rows(state.first, 60)
    assert state.cut(state.first) is before and state.once(state.first, "rows", lambda rows: rows) is rows
    path = tmp_path / "corpus" / before.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": "2099-01-01T00:00:00Z"}))
    state._listed = (float("-inf"), state._listed[1])
    assert state.cut(state.first).manifest.finished_at.startswith("2099") and state.rows(state.first, 60) is not rows
    assert state.once(state.first, "rows", lambda rows: rows) is state.rows(state.first) and len(state._held) == 1


def test_while_cuts_are_listed_others_take_the_list_there_was(drawn_corpus, monkeypatch):
    state = State(str(drawn_corpus))
    before, begun, ready = state.cuts(), threading.Event(), threading.Event()

    def slowly(store):
        begun.set()
        ready.wait(60)
        return []

    monkeypatch.setattr(state_module, "list_cuts", slowly)
    state._listed = (float("-inf"), before)
    lister = threading.Thread(target=state.cuts)
    lister.start()
    begun.wait(60)
    assert state.cuts() is before and state.cut(state.first).title == state.first
    ready.set()
    lister.join()
    assert state.cuts() == []


@pytest.mark.parametrize(("error", "status"), [(pa.ArrowNotImplementedError, 500), (pa.ArrowInvalid, 409)])
def test_no_file_is_blamed_for_what_arrow_cannot_do(drawn_corpus, monkeypatch, error, status):
    def fail(self):
        raise error("no kernel")

    client = client_of(drawn_corpus, faults=False)
    monkeypatch.setattr(State, "cuts", fail)
    answer = client.get("/")
    assert answer.status_code == status and ("A file of this corpus" in answer.text) == (status == 409)


def test_a_port_that_is_taken_is_named(drawn_corpus):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} .* give another with --port, or 0"):
            serve(str(drawn_corpus), port=port)


def test_a_row_says_what_dropped_it_and_shows_its_group(drawn):
    copy = twin(drawn, f"{drawn.cut}/rows?column=near_image_of&op=there&value=")["cards"][0]
    told = twin(drawn, address(drawn, copy))
    assert told["fate"] == "dropped" and told["dropped_by"]["column"] == "near_image_of"
    keeper, own = told["near"]["near_image_of"]
    assert keeper["name"] == copy["dropped_by"]["value"] and own == copy | {"values": {}}
    assert (keeper["dropped_by"] or {}).get("column") != "near_image_of"
    page = drawn.get(address(drawn, copy)).text
    assert "is a copy" in page and copy["dropped_by"]["value"] in page


def test_what_strangers_wrote_is_only_text(drawn):
    for path in (f"{drawn.cut}/rows?size=200", f"{drawn.cut}/rows?size=200&view=table", f"{drawn.cut}/samples"):
        page = drawn.get(path).text
        assert "\u202e" not in page and "<img src=x" not in page and "alert('caption')</script>" not in page
    rows = {card["words"]: card for card in twin(drawn, f"{drawn.cut}/rows?size=200")["cards"]}
    backwards = next(card for words, card in rows.items() if "\u202e" in words)
    page = drawn.get(address(drawn, backwards)).text
    assert "[U+202E]gpj.exe" in page
    assert 'href="javascript:' not in page and "javascript:alert(&#39;image&#39;)" in page
    long = next(card for words, card in rows.items() if words.startswith("many colours"))
    assert len(long["words"]) < 1100


def test_unsafe_pictures_wait_for_a_click_and_blocked_ones_never_come(drawn):
    blocked, unsafe, plain = (f"{drawn.cut}/row/0/0/{row}" for row in (BLOCKED, UNSAFE, 1))
    assert twin(drawn, blocked)["card"]["picture"] == "hide" and "<img" not in main_of(drawn.get(blocked).text)
    assert 'class="picture blur"' in drawn.get(unsafe).text
    assert 'class="picture blur"' not in drawn.get(plain).text
    note = drawn.get(f"{drawn.cut}/picture/0/0/{BLOCKED}")
    assert note.headers["content-type"].startswith("image/svg") and "blocklist" in note.text


def test_thumbnails_are_made_anew_in_the_sizes_there_are(drawn):
    place = f"{drawn.cut}/picture/0/0/1"
    for asked, side in [("", 256), ("?side=100", 112), ("?side=96", 96), ("?side=5000", 1024)]:
        answer = drawn.get(place + asked)
        picture = Image.open(io.BytesIO(answer.content))
        assert answer.headers["content-type"] == "image/webp" == f"image/{picture.format.lower()}"
        assert max(picture.size) <= side
    assert drawn.get(f"{place}?side=many").status_code == 400
    assert drawn.get(f"{drawn.cut}/picture/0/0/100000").status_code == 404
    assert (
        drawn.get(f"{drawn.cut}/picture/5/0/0").status_code
        == drawn.get(f"{drawn.cut}/picture/0/9/0").status_code
        == 404
    )


def test_documents_are_shown_in_reading_order_with_what_went(read):
    manifest = read.state.cut(read.state.first).manifest
    kept = twin(read, f"{read.cut}/documents?fate=kept")
    assert kept["documents"] == manifest.documents
    whole = twin(read, f"{read.cut}/documents")
    assert whole["documents"] == kept["documents"] + twin(read, f"{read.cut}/documents?fate=dropped")["documents"]
    mixed = next(each for each in kept["shown"] if each["kept"] < each["nodes"])
    path = address(read, mixed["source"]).replace("/row/", "/document/")
    document, page = twin(read, path), read.get(path).text
    assert [node["row"] for node in document["shown"]] == sorted(node["row"] for node in document["shown"])
    assert sum(why["nodes"] for why in document["reasons"]) == mixed["nodes"] - mixed["kept"]
    assert page.count('class="badge dropped"') == mixed["nodes"] - mixed["kept"]
    texts = [node["words"] for node in document["shown"] if node["kind"] == "text"]
    places = [html.unescape(page).find(visible(text)) for text in texts]
    assert -1 not in places and places == sorted(places)


@pytest.mark.parametrize(
    "path", ["/documents", "/document/0/0/0", "/row/0/0/x", "/row/1/0/0", "/row/0/7/0", "/nothing"]
)
def test_what_is_not_there_is_said(drawn, path):
    answer = drawn.get(drawn.cut + path)
    assert answer.status_code == 404 and re.search("There is no|are no documents", main_of(answer.text))
    assert drawn.get(f"{drawn.cut}{path}.json").json()["status"] == 404


def test_an_older_cut_whose_input_is_gone_is_shown_as_far_as_it_goes(texts):
    client = client_of(texts)
    assert client.get(client.cut).status_code == 200
    assert [card["fate"] for card in twin(client, f"{client.cut}/rows")["cards"]] == ["dropped", "kept", "kept"]
    for path in ("/rows", "/row/0/0/0"):
        page = client.get(client.cut + path)
        assert page.status_code == 200 and "cannot be read any more" in page.text
    assert [len(twin(client, f"{client.cut}/samples")[fate]) for fate in ("kept", "dropped")] == [2, 1]
    assert client.get(f"{client.cut}/rows?column=text&op=contains&value=w").status_code == 409


def test_ctrl_c_ends_it_in_silence(texts):
    code = f"from cupel.pipeline.inspect.serve.app import serve; serve({str(texts)!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        address = it.stdout.readline().strip()
        it.send_signal(signal.SIGINT)
        _, errors = it.communicate(timeout=60)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
    assert (it.returncode, errors) == (0, "")


def address(client: TestClient, card: dict) -> str:
    return f"{client.cut}/row/{card['space']}/{card['shard']}/{card['row']}"


def twin(client: TestClient, path: str) -> dict:
    """The page is there, and so is its JSON."""
    assert client.get(path).status_code == 200, path
    parts = urlsplit(path)
    answer = client.get(f"{parts.path}.json?{parts.query}")
    assert answer.status_code == 200
    return json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def main_of(page: str) -> str:
    return page.partition("<main")[2].partition("</main>")[0]


def links_of(page: str) -> list[tuple[str, str]]:
    """(text, address) of every link."""
    found: list[tuple[str, str]] = []

    class Links(HTMLParser):
        to, text = None, ""

        def handle_starttag(self, tag, attrs):
            if tag == "a":
                self.to, self.text = urljoin("/", dict(attrs).get("href", "")), ""

        def handle_data(self, data):
            self.text += data

        def handle_endtag(self, tag):
            if tag == "a":
                found.append((self.text.strip(), self.to))

    Links().feed(page)
    return found
