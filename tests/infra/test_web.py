"""The demo's web: every misbehaviour is served as it is told, the same web every time, and a truth that holds."""

from __future__ import annotations

import gzip
import http.client
import io
import re
import socket
from collections import Counter
from html import escape
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin, urlsplit

import imagehash
import numpy as np
import pytest
from PIL import Image

INFRA = Path(__file__).parents[2] / "infra/demo"


@pytest.fixture(scope="module")
def infra(demo_modules):
    with demo_modules(web="web", build="web_build", plan="web_plan", store="web_store") as modules:
        yield modules


@pytest.fixture(scope="module")
def made(infra, tmp_path_factory):
    """Answers and truth, and the folder that they are kept in."""
    folder = tmp_path_factory.mktemp("web")
    answers, truth, port, new = infra.store.kept_web(folder)
    assert new
    return SimpleNamespace(answers=answers, truth=truth, port=port, folder=folder)


@pytest.fixture
def served(infra):
    """Starts a web of one site."""
    webs = []

    def start(**answers):
        web = infra.web.Web({"here": {f"/{name}": answer for name, answer in answers.items()}}, infra.web.free_ports(1))
        webs.append(web.__enter__())
        return web

    yield start
    for web in webs:
        web.__exit__(None, None, None)


@pytest.fixture
def ask():
    """Asks a web's one site for a path."""
    connections = []

    def get(web, path: str, timeout: float = 10) -> http.client.HTTPResponse:
        connections.append(http.client.HTTPConnection("127.0.0.1", web.ports["here"], timeout=timeout))
        connections[-1].request("GET", path)
        responses.append(connections[-1].getresponse())
        return responses[-1]

    responses = []
    yield get
    for opened in (*responses, *connections):
        opened.close()


def test_a_page_as_it_is(infra, served, ask):
    web = served(page=infra.web.Answer(b"hello", headers=(("X-Robots-Tag", "noai"),)))
    response = ask(web, "/page")
    assert (response.status, response.read()) == (200, b"hello")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["X-Robots-Tag"] == "noai"
    assert ask(web, "/other").status == 404
    assert web.requests == {("here", "/page"): 1, ("here", "/other"): 1}


def test_many_requests_on_one_connection(infra, served, ask):
    web = served(page=infra.web.Answer(b"hello"))
    connection = http.client.HTTPConnection("127.0.0.1", web.ports["here"], timeout=10)
    for _ in range(3):
        connection.request("GET", "/page")
        assert connection.getresponse().read() == b"hello"
    connection.close()


def test_redirects_and_compression(infra, served, ask):
    web = served(old=infra.web.moved("/new"), new=infra.web.Answer(b"x" * 1000, how="gzip"))
    assert (ask(web, "/old").status, ask(web, "/old").headers["Location"]) == (301, "/new")
    response = ask(web, "/new")
    body = response.read()
    assert response.headers["Content-Encoding"] == "gzip" and len(body) < 100
    assert gzip.decompress(body) == b"x" * 1000


def test_a_flaky_server_answers_in_the_end(infra, served, ask):
    web = served(page=infra.web.Answer(b"hello", how="flaky"))
    first = ask(web, "/page")
    assert (first.status, first.headers["Retry-After"]) == (503, "0")
    assert (ask(web, "/page").status, ask(web, "/page").status) == (200, 200)


def test_bodies_that_end_too_early(infra, served, ask):
    web = served(cut=infra.web.Answer(bytes(1000), how="cut"), short=infra.web.Answer(bytes(1000), how="short"))
    with pytest.raises(http.client.IncompleteRead):
        ask(web, "/cut").read()
    assert len(ask(web, "/short").read()) == 500


def test_a_server_that_hangs_up(infra, served, ask):
    web = served(page=infra.web.Answer(b"hello", how="reset"))
    with pytest.raises(ConnectionError):
        ask(web, "/page")


def test_servers_that_are_slow(infra, served, ask):
    """Bytes drip for longer than any timeout between two of them; or nothing comes at all."""
    web = served(drip=infra.web.Answer(bytes(1000), how="drip"), silent=infra.web.Answer(how="silent"))
    response = ask(web, "/drip", timeout=infra.web.DRIP_S * 4)
    assert len(response.read(2)) == 2
    with pytest.raises(TimeoutError):
        ask(web, "/silent", timeout=0.2)


def test_a_body_without_end(infra, served, ask):
    web = served(page=infra.web.Answer(bytes(1000), how="endless"))
    response = ask(web, "/page")
    assert response.headers["Content-Length"] is None
    assert len(response.read(5_000_000)) == 5_000_000


def test_ports_in_use_are_passed_over(infra):
    first = infra.web.free_ports(2)
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", first))
        door.listen()
        assert infra.web.free_ports(2, first) == first + 2


def test_the_same_web_every_time(infra, made):
    """Built anew, and read again from the folder."""
    answers, truth = infra.build.build(first_port=made.port)
    assert truth == made.truth
    assert answers == made.answers
    again, truth, port, new = infra.store.kept_web(made.folder)
    assert (again, truth, port, new) == (made.answers, made.truth, made.port, False)


def test_what_is_not_ours_is_left_alone(infra, tmp_path):
    (tmp_path / "corpus").mkdir()
    with pytest.raises(FileExistsError, match="not made by the demo"):
        infra.store.kept_web(tmp_path)
    assert (tmp_path / "corpus").is_dir()


def answer_of(made, url: str):
    """What the web answers for an address, redirects followed; None for 404."""
    sites = list(made.answers)
    for _ in range(5):
        place = urlsplit(url)
        path = place.path + (f"?{place.query}" if place.query else "")
        answer = made.answers[sites[place.port - made.port]].get(path)
        if answer is None or answer.status not in (301, 302):
            return answer
        url = urljoin(url, dict(answer.headers)["Location"])
    raise AssertionError(f"{url} leads in a circle")


def pages_that_answer(made):
    for page in made.truth.pages:
        if page.kind in ("article", "gallery"):
            yield (
                page,
                answer_of(made, page.url).body.decode(
                    "latin-1" if page.control == "latin_1" else "cp1252" if page.control == "no_charset" else "utf-8"
                ),
            )


def test_pages_hold_what_the_truth_says(made):
    texts, images = {}, {}
    for row in made.truth.texts:
        texts.setdefault(row.page_url, []).append(row.text)
    for row in made.truth.images:
        images.setdefault(row.page_url, []).append(row.image_url)
    for page, html in pages_that_answer(made):
        for text in texts[page.url]:
            assert escape(text).encode("ascii", "xmlcharrefreplace") in html.encode("ascii", "xmlcharrefreplace"), (
                page.url
            )
        for url in images[page.url]:
            assert url in html or url.rpartition("/")[2] in html, page.url
        assert len(re.findall("<p[> ]", html)) >= 3


def test_addresses_are_known_once(made):
    urls = [page.url for page in made.truth.pages]
    assert len(urls) == len(set(urls))
    shown = Counter((image.page_url, image.image_url) for image in made.truth.images)
    assert max(shown.values()) == 1
    assert {image.page_url for image in made.truth.images} <= set(urls)


def test_every_page_is_linked(made):
    fronts = {page.url: answer_of(made, page.url).body.decode() for page in made.truth.pages if page.kind == "front"}
    linked = {urljoin(url, path) for url, html in fronts.items() for path in re.findall('href="([^"]+)"', html)}
    assert {page.url for page in made.truth.pages if page.kind != "front"} == linked


def test_sound_pictures_open_and_flawed_ones_are_flawed(made):
    for image in made.truth.images:
        if image.flaw in ("dead_image", "forbidden_address", "looping_image", "silent_image", "svg"):
            continue
        body = answer_of(made, image.image_url).body
        if image.flaw in ("html_page", "zero_bytes", "random_bytes"):
            assert not body.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF"))
            continue
        if image.flaw == "bomb":
            assert len(body) < 1000
            continue
        size = Image.open(io.BytesIO(body)).size
        if image.flaw == "tiny_image" or image.furniture not in ("", "repeated_picture"):
            assert min(size) < 200
        elif not image.furniture:
            assert min(size) > 200
        assert (max(size) > 3 * min(size)) == (image.flaw == "extreme_aspect")


def test_sound_pictures_are_unlike(made):
    """Otherwise a deduplication would drop pictures that nobody planted."""
    plain = {image.image_url for image in made.truth.images if not image.flaw and not image.furniture}
    odd = {image.image_url for image in made.truth.images if image.control in ("sixteen_bit", "exif_orientation")}
    files = [answer_of(made, url).body for url in sorted(plain - odd)]  # Pillow alone shows those otherwise
    hashes = np.array([imagehash.phash(Image.open(io.BytesIO(body)).convert("RGB")).hash.ravel() for body in files])
    apart = (hashes[:, None] != hashes[None]).sum(axis=2) + 64 * np.eye(len(files), dtype=int)
    assert len(files) > 300 and apart.min() > 4


def test_nothing_outside_is_asked_but_what_must_be_refused(made):
    outside = [image for image in made.truth.images if urlsplit(image.image_url).hostname != "127.0.0.1"]
    assert outside and {image.flaw for image in outside} == {"forbidden_address"}
    for answer in (answer for served in made.answers.values() for answer in served.values()):
        for url in re.findall(
            rb'(?:src|href)="(https?://[^"]+)"', answer.body if b"<html" in answer.body[:100] else b""
        ):
            assert urlsplit(url.decode()).hostname in (
                "127.0.0.1",
                *(urlsplit(image.image_url).hostname for image in outside),
            )


def test_copies_have_an_original_that_is_sound(made):
    pages = {url: page for page in made.truth.pages for url in (page.url, page.final_url)}
    for page in made.truth.pages:
        assert bool(page.original) == (page.flaw in ("second_address", "copied_page", "edited_copy"))
        assert not page.original or not pages[page.original].flaw
    sound = {image.image_url for image in made.truth.images if not image.flaw and not image.caption_flaw}
    originals = [image.original for image in made.truth.images if image.original]
    assert set(originals) <= sound and max(Counter(originals).values()) == 1


def test_every_flaw_of_the_plan_is_planted(infra, made):
    plan = infra.plan
    flaws = Counter(
        image.flaw for image in made.truth.images if not urlsplit(image.page_url).path.startswith("/drafts")
    )
    refused = {page.url for page in made.truth.pages if page.flaw in plan.REFUSED}
    pages = Counter(page.flaw for page in made.truth.pages)
    assert refused
    assert all(flaws[flaw] >= n for flaw, n in plan.IMAGE_FLAWS.items())
    assert all(pages[flaw] == n for kinds in (plan.PAGE_FLAWS, plan.REFUSED, plan.COPIES) for flaw, n in kinds.items())
    texts = Counter(text.flaw for text in made.truth.texts)
    assert all(texts[flaw] >= n for flaw, n in plan.PARAGRAPH_FLAWS.items())
    assert sum(not page.flaw for page in made.truth.pages if page.kind == "article") > 100
