"""`engine: img2dataset` with the real one against a real server (install it, or set CUPEL_IMG2DATASET_PYTHON)."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from drawing import encoded, picture

from cupel.operators.crawl import _img2dataset
from cupel.operators.crawl._fetch import FetchSettings
from cupel.operators.crawl._img2dataset import check_installed, fetch_with_img2dataset
from cupel.operators.crawl._img2dataset_child import is_public

IMAGE = encoded(picture(1))
SETTINGS = {
    "user_agent": "test/1 (+https://example.org)",
    "accept": "*/*",
    "codings": "identity",
    "max_bytes": 1 << 20,
    "timeout_s": 9,
    "connect_timeout_s": 1,
    "read_timeout_s": 1,
    "shard_timeout_s": 60,
    "retries": 0,
    "connections": 8,
    "per_domain": 8,
    "delay_s": 0,
    "robots": False,
    "tdmrep": False,
    "refused_directives": frozenset({"noai"}),
    "blocked_domains": frozenset({"blocked.example"}),
    "allow_hosts": frozenset({"127.0.0.1"}),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        headers = {"Connection": "close"}
        status, body = 200, IMAGE
        if kind.isdigit():
            status, body = int(kind), b"no"
        elif kind == "to":
            status, headers["Location"], body = 302, rest, b""
        elif kind == "loop":
            status, headers["Location"], body = 302, "/loop", b""
        elif kind == "noai":
            headers["X-Robots-Tag"] = "noai"
        elif kind == "empty":
            body = b""
        elif kind == "silent":
            time.sleep(3)
        length = len(body) + 100 * (kind == "short")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # with the default of 5 a connection may wait a second for its turn
    daemon_threads = True


@pytest.fixture(scope="module")
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def installed():
    try:
        check_installed()
    except ModuleNotFoundError:
        pytest.skip("img2dataset is not installed, and CUPEL_IMG2DATASET_PYTHON names no Python that has it")


def fetched(urls, server, **parameters):
    settings = FetchSettings(**{**SETTINGS, **parameters})
    found = {}
    for chunk in fetch_with_img2dataset(urls, settings):
        for places, outcome in chunk:
            found |= dict.fromkeys(places, outcome)
    assert sorted(found) == list(range(len(urls))), "every row once"
    return [found[row] for row in range(len(urls))]


def test_every_end_has_its_reason(installed, server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        at, nobody = f"http://127.0.0.1:{server.server_port}", f"http://127.0.0.1:{closed.getsockname()[1]}/a.jpg"
        expected = {
            f"{at}/a.jpg": "ok",
            f"{at}/empty": "ok",  # what it is finds whoever reads it
            f"{at}/404": "http_4xx",
            f"{at}/500": "http_5xx",
            f"{at}/429": "rate_limited",
            f"{at}/noai": "opted_out",
            f"{at}/short": "truncated",
            f"{at}/silent": "timeout",
            f"{at}/to/{at}/b.jpg": "ok",
            f"{at}/to/file:///etc/hostname": "refused_url",
            f"{at}/loop": "too_many_redirects",
            f"{at}/to/http://127.0.0.2:{server.server_port}/c.jpg": "blocked_address",
            nobody: "connect_failed",
            "http://no-such-name.invalid/a.jpg": "dns_failed",
            "http://169.254.169.254/latest": "blocked_address",
            "ftp://example.org/a.jpg": "refused_url",
            "http://user@example.org/": "refused_url",
            "http://[::1": "invalid_url",
            "http://www.blocked.example/a.jpg": "blocked_domain",
        }
        found = fetched(list(expected), server)
    assert {url: outcome.reason.value for url, outcome in zip(expected, found, strict=True)} == expected
    assert [outcome.index for outcome in found] == list(range(len(found)))
    assert found[0].body == found[8].body == IMAGE
    assert found[2].http_status == 404
    assert "/c.jpg" not in server.asked


def test_a_url_is_fetched_once(installed, server):
    url = f"http://127.0.0.1:{server.server_port}/once.jpg"
    assert [outcome.body for outcome in fetched([url] * 3, server)] == [IMAGE] * 3
    assert server.asked.count("/once.jpg") == 1


def test_too_large(installed, server):
    (found,) = fetched([f"http://127.0.0.1:{server.server_port}/a.jpg"], server, max_bytes=len(IMAGE) - 1)
    assert found.reason == "too_large"
    assert not found.body


def test_it_is_ended_when_the_time_is_over(installed, server):
    (found,) = fetched([f"http://127.0.0.1:{server.server_port}/silent"], server, shard_timeout_s=0.1)
    assert found.reason == "not_reached"
    assert found.transient


def test_a_missing_img2dataset_is_told_with_the_command(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"No module named 'img2dataset'\" >&2; exit 3\n")
    python.chmod(0o755)
    monkeypatch.setenv(_img2dataset.PYTHON, str(python))
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'img2dataset'.*pip install img2dataset==1\.47"):
        check_installed()


@pytest.mark.parametrize(
    "address, public",
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("168.63.129.16", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("a name", False),
    ],
)
def test_addresses_that_sockets_may_reach(address, public):
    assert is_public(address) is public
