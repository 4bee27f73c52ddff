"""The demo's modules lie side by side and are no package; they are importable for these tests alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

INFRA = Path(__file__).parents[2] / "infra/demo"


@pytest.fixture(scope="module")
def demo_modules() -> Callable[..., AbstractContextManager[SimpleNamespace]]:
    """Imports some of them, under names of one's own, and forgets them and what they import."""

    @contextmanager
    def imported(**modules: str) -> Iterator[SimpleNamespace]:
        before = set(sys.modules)
        sys.path.insert(0, str(INFRA))
        yield SimpleNamespace(**{name: importlib.import_module(module) for name, module in modules.items()})
        sys.path.remove(str(INFRA))
        for name in set(sys.modules) - before:
            if (INFRA / f"{name}.py").is_file():
                sys.modules.pop(name)

    return imported
