"""Weights over a real HTTP server that speaks as a model hub does, and as a plain file server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import open_clip.pretrained
import pytest

from cupel.operators.models import weights
from cupel.operators.models.weights import ModelError, cached_weights, checked_weights, fetch_weights

DATA = (16).to_bytes(8, "little") + b'{"weights": "x"}' + os.urandom(5000)
DIGEST = hashlib.sha256(DATA).hexdigest()
RN50 = "timm/resnet50_clip.openai"


@pytest.fixture
def server():
    """What it serves at which path, and how often each was asked for."""
    serves: dict[str, tuple[bytes, str]] = {}
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            asked[f"{self.command} {self.path}"] += 1
            data, etag = serves.get(self.path, (b"", ""))
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data)))
            if data:
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", "1" * 40)
                self.send_header("X-Linked-Size", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_):
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    http.serves, http.asked, http.address = serves, asked, f"http://127.0.0.1:{http.server_port}"
    yield http
    http.shutdown()
    http.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CUPEL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def published_at(monkeypatch, url: str, **about: object) -> None:
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["RN50"], "tag", {"url": url, **about})


def cupel(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cupel", "models", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )


def test_fetched_once_from_a_hub_and_found_again(server, tmp_path):
    server.serves[f"/{RN50}/resolve/main/open_clip_model.safetensors"] = (DATA, DIGEST)
    env = {"HF_ENDPOINT": server.address, "CUPEL_MODELS": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    assert cupel("where", "RN50", "openai", **env).returncode == 2
    first = cupel("fetch", "RN50", "openai", **env)
    path = tmp_path / "RN50" / "openai" / "open_clip_model.safetensors"
    assert (first.returncode, first.stdout.strip()) == (0, str(path)), first.stderr
    assert path.read_bytes() == DATA
    assert (path.parent / "SHA256SUMS").read_text() == f"{DIGEST}  {path.name}\n"
    asked = sum(server.asked.values())
    for command in ("fetch", "where"):
        assert cupel(command, "RN50", "openai", **env).stdout.strip() == str(path)
    assert sum(server.asked.values()) == asked, "what is here is not asked for"


def test_a_hub_that_sends_something_else_is_caught(server, tmp_path):
    server.serves[f"/{RN50}/resolve/main/open_clip_model.safetensors"] = (DATA, "0" * 64)
    env = {"HF_ENDPOINT": server.address, "CUPEL_MODELS": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    found = cupel("fetch", "RN50", "openai", **env)
    assert found.returncode == 2
    assert DIGEST in found.stderr
    assert not list(tmp_path.rglob("*.safetensors"))


def test_fetched_from_an_address(server, cache, monkeypatch):
    server.serves["/weights.pt"] = (DATA, "")
    published_at(monkeypatch, f"{server.address}/weights.pt")
    path = fetch_weights("RN50", "tag")
    assert path == cache / "RN50" / "tag" / "open_clip_model.safetensors"  # by what it is, not by its name
    assert checked_weights("RN50", "tag") == path
    assert [place.name for place in path.parent.iterdir() if place.is_dir()] == []


def test_workers_of_a_node_fetch_once(server, cache, monkeypatch):
    server.serves["/weights.pt"] = (DATA, "")
    published_at(monkeypatch, f"{server.address}/weights.pt")
    threads = [threading.Thread(target=checked_weights, args=("RN50", "tag")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked["GET /weights.pt"] == 1


def test_damage_is_noticed(server, cache, monkeypatch):
    server.serves["/weights.pt"] = (DATA, "")
    published_at(monkeypatch, f"{server.address}/weights.pt")
    path = fetch_weights("RN50", "tag")
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(ModelError, match="is damaged.*fetch it again"):
        checked_weights("RN50", "tag")


def test_without_a_network_it_says_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(weights, "KNOCK_S", 0.5)
    published_at(monkeypatch, "http://127.0.0.1:9/weights.pt", quick_gelu=True)
    with pytest.raises(ModelError) as caught:
        checked_weights("RN50", "tag")
    said = str(caught.value)
    assert str(cache / "RN50" / "tag") in said
    for advice in (
        "cupel models fetch RN50 tag",
        "model: RN50-quickgelu, pretrained: path/to/weights.safetensors",
        "cupel-tiny",
    ):
        assert advice in said
    assert cached_weights("RN50", "tag") is None


def test_an_unknown_tag_names_its_neighbours(cache):
    with pytest.raises(ModelError, match="no weights 'opnai'; did you mean 'openai'"):
        fetch_weights("RN50", "opnai")
    with pytest.raises(ModelError, match="no model 'RN51'; did you mean"):
        fetch_weights("RN51", "openai")
