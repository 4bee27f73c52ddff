"""The web of `crawl.py` and the pictures of `resize.py`: files, a certificate authority, nginx on loopback.

nginx serves the same files over HTTP and HTTPS. Names under `test` lead to loopback by a `sitecustomize` that is put on
PYTHONPATH (an own resolver, the same for both sides); a stalling host accepts connections and never answers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import trustme

NAMES_A_CERTIFICATE = 100
_CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; ssl_session_cache off;
  server_names_hash_max_size 4096;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  types {{ image/jpeg jpg; text/plain txt; }}
  root {folder}/files;
{servers}
}}
"""
_SERVER = """
  server {{
    listen 127.0.0.1:{http}{more}; listen 127.0.0.1:{https} ssl{more}; server_name {names};
    ssl_certificate {folder}/{number}.pem; ssl_certificate_key {folder}/{number}.key;
  }}"""
_RESOLVER = """
import socket
_asked = socket.getaddrinfo
def _answered(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else host
    return _asked("127.0.0.1" if name and name.rstrip(".").endswith(".test") else host, *rest, **more)
socket.getaddrinfo = _answered
"""


@dataclass(frozen=True, kw_only=True)
class Web:
    """Where the files are served, and what a client must have in its environment."""

    http_port: int
    https_port: int
    stalling_port: int
    files: tuple[str, ...]
    hosts: tuple[str, ...]
    environment: dict[str, str]

    def urls(self, scheme: str, stalling: float) -> list[str]:
        """One URL a file, spread over the hosts; a share of them at hosts of their own that never answer."""
        port = self.https_port if scheme == "https" else self.http_port
        every = round(1 / stalling) if stalling else 0
        return [
            f"{scheme}://stall{i:05d}.test:{self.stalling_port}/{name}"
            if every and i % every == every // 2
            else f"{scheme}://{self.hosts[i % len(self.hosts)]}:{port}/{name}"
            for i, name in enumerate(self.files)
        ]


def drawn(seed: int) -> bytes:
    """A JPEG of 640 to 1,200 px a side and about 100 KB: soft colours, sharp edges, grain."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(640, 1201, 2))
    colours = rng.integers(0, 256, (height // 80, width // 80, 3), np.uint8)
    pixels = cv2.resize(colours, (width, height), interpolation=cv2.INTER_CUBIC)
    for x, y, radius, *colour in rng.integers(0, (width, height, width // 6, 256, 256, 256), (40, 6)).tolist():
        cv2.circle(pixels, (x, y), radius + 4, colour, -1, cv2.LINE_AA)
    for x, y, to_x, to_y, *colour in rng.integers(0, (width, height, width, height, 256, 256, 256), (20, 7)).tolist():
        cv2.line(pixels, (x, y), (to_x, to_y), colour, 3, cv2.LINE_AA)
    grain = cv2.GaussianBlur(rng.normal(0, 9, (height, width, 3)).astype(np.float32), (0, 0), 0.8)
    pixels = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    for quality in range(60, 96, 5):
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) > 95_000:
            break
    return data


@contextmanager
def web(folder: Path, count: int, different: int, host_names: int) -> Iterator[Web]:
    """Serve `count` JPEGs, of which `different` are drawn and the others are links to these."""
    (folder / "files").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(count)]
    with ProcessPoolExecutor() as pool:
        for name, data in zip(names, pool.map(drawn, range(min(count, different))), strict=False):
            (folder / "files" / name).write_bytes(data)
    for i in range(different, count):
        (folder / "files" / names[i]).hardlink_to(folder / "files" / names[i % different])
    (folder / "files" / "robots.txt").write_text("User-agent: *\nAllow: /\n")
    hosts = tuple(f"h{i:04d}.test" for i in range(host_names)) if host_names > 1 else ("127.0.0.1",)
    http, https, stalling = free_ports(3)
    environment = {**os.environ, "SSL_CERT_FILE": str(_certificates(folder, hosts)), "PYTHONPATH": _resolver(folder)}
    with _nginx(folder, hosts, http, https), _stalling(stalling):
        yield Web(
            http_port=http,
            https_port=https,
            stalling_port=stalling,
            files=tuple(names),
            hosts=hosts,
            environment=environment,
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _certificates(folder: Path, hosts: tuple[str, ...]) -> Path:
    """Server certificates; the bundle to trust is the system's and our authority, so it loads as slowly as any."""
    system = ssl.get_default_verify_paths().cafile
    if system is None:
        sys.exit("this system has no bundle of certificate authorities: the cost of loading one would be missing")
    authority = trustme.CA()
    for number, names in enumerate(_by_certificate(hosts)):
        server = authority.issue_cert(*names)
        (folder / f"{number}.key").write_bytes(server.private_key_pem.bytes())
        (folder / f"{number}.pem").write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    (folder / "bundle.pem").write_bytes(Path(system).read_bytes() + authority.cert_pem.bytes())
    return folder / "bundle.pem"


def _by_certificate(hosts: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [hosts[at : at + NAMES_A_CERTIFICATE] for at in range(0, len(hosts), NAMES_A_CERTIFICATE)]


def _resolver(folder: Path) -> str:
    (folder / "resolver").mkdir()
    (folder / "resolver" / "sitecustomize.py").write_text(_RESOLVER)
    return os.pathsep.join([str(folder / "resolver"), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def _nginx(folder: Path, hosts: tuple[str, ...], http: int, https: int) -> Iterator[None]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        sys.exit("this benchmark needs nginx (apt-get install nginx)")
    servers = [
        _SERVER.format(
            folder=folder,
            http=http,
            https=https,
            names=" ".join(names),
            number=number,
            more="" if number else " backlog=4096",  # nginx wants a socket's options once
        )
        for number, names in enumerate(_by_certificate(hosts))
    ]
    user = "user root;" if os.geteuid() == 0 else ""  # or its worker could not read a private temporary folder
    (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, servers="".join(servers), user=user))
    process = subprocess.Popen([program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    try:
        for port in (http, https):
            _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    sys.exit("nginx did not start")


@contextmanager
def _stalling(port: int) -> Iterator[None]:
    """Accept, and say nothing."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(silent, "127.0.0.1", port, backlog=1024))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
