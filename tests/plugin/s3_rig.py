"""A real S3 server (moto) on a free port, and what goes wrong on the way to it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
CONFLICT = b"<?xml version='1.0'?><Error><Code>ConditionalRequestConflict</Code><Message>Later.</Message></Error>"


@dataclass
class Faults:
    """A WSGI application before the server's: faults for the next PUTs, and a list of all PUTs that came."""

    app: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    slow_down: int = 0  # answer 503
    conflict: int = 0  # answer 409
    lose_answer: int = 0  # do what is asked, then break the connection
    puts: list[dict[str, str]] = field(default_factory=list)  # headers, and `path`

    def reset(self) -> None:
        self.slow_down = self.conflict = self.lose_answer = 0
        self.puts.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "PUT":
            return self.app(environ, start_response)
        headers = {name[5:].lower().replace("_", "-"): environ[name] for name in environ if name.startswith("HTTP_")}
        self.puts.append(headers | {"path": environ["PATH_INFO"]})
        for fault, status, body in (("slow_down", "503", SLOW_DOWN), ("conflict", "409", CONFLICT)):
            if getattr(self, fault):
                setattr(self, fault, getattr(self, fault) - 1)
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(f"{status} Fault", [("Content-Type", "application/xml")])
                return [body]
        answer = self.app(environ, start_response)
        if self.lose_answer:
            self.lose_answer -= 1
            b"".join(answer)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        return answer


@contextmanager
def s3_running() -> Iterator[tuple[str, Faults]]:
    """(address, faults) of a server that ends with the block."""
    faults = Faults()
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=MotoRequestHandler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", faults
    server.shutdown()
    server.server_close()
    thread.join()
