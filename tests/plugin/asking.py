"""The live pages asked in this process, with the cookie that lets in, and as our own scripts ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from cupel.pipeline.inspect.serve.app import make_app
from cupel.pipeline.inspect.serve.state import State

PORT, TOKEN = 8766, "a-token"
ORIGIN = f"http://127.0.0.1:{PORT}"


class Asking(TestClient):
    """A client of one corpus; `cut` is the path of the newest cut's pages."""

    def __init__(self, corpus: Path, labels: Path | None = None) -> None:
        self.served = State(str(corpus), port=PORT, token=TOKEN, labels=None if labels is None else str(labels))
        super().__init__(make_app(self.served), base_url=ORIGIN)
        self.cut = f"/cut/{self.served.first}"
        self.cookies.set(self.served.cookie, TOKEN)

    def page(self, path: str = "", status: int = 200) -> str:
        """A page of the cut as HTML."""
        answer = self.get(self.cut + path)
        assert answer.status_code == status, answer.text[:2000]
        return answer.text

    def data(self, path: str, status: int = 200, **query: Any) -> Any:
        """A page of the cut as JSON."""
        answer = self.get(f"{self.cut}{path}.json", params=query)
        assert answer.status_code == status, answer.text[:2000]
        return json.loads(answer.text)

    def post_as_ours(self, path: str, body: bytes, status: int = 200, **headers: str) -> Any:
        """What a script of ours sends."""
        given = {"Origin": ORIGIN, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.post(self.cut + path, content=body, headers=given)
        assert answer.status_code == status, answer.text[:2000]
        return json.loads(answer.text)
