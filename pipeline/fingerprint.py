"""What decides a number: a hash of the operator, its parameters and the files it depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..operators.base import Operator


def depends_on(operator: Operator) -> tuple[dict[str, Any], list[str]]:
    """Parameters, and digests of files. Where a file lies is not part of it, nor how fast the operator is to be."""
    digests = {str(path): _digest(path) for path in operator.files}
    params = {name: value for name, value in params_of(operator).items() if name not in operator.pace}
    params = {name: value for name, value in params.items() if str(value) not in digests}
    return params, sorted(digests.values())


def params_of(operator: Operator) -> dict[str, Any]:
    """The parameters as a recipe would have them, defaults written out."""
    params: dict[str, Any] = TypeAdapter(type(operator)).dump_python(operator, mode="json", exclude_none=True)
    return params


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder with their names."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(item for item in path.rglob("*") if item.is_file())
    return hashed([[item.relative_to(path).as_posix(), _digest(item)] for item in files])


def hashed(parts: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
