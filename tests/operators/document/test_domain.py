from __future__ import annotations

import pyarrow as pa
import pytest

from cupel.operators.base import Batch
from cupel.operators.document.domain import Domain


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.Example.org/a?b#c", "www.example.org"),
        ("http://example.org:8080/", "example.org:8080"),
        ("http://user:secret@example.org/", "example.org"),
        ("//example.org/a", "example.org"),
        ("example.org/a", None),
        ("", None),
        ("mailto:a@example.org", None),
        ("http://[::1]/a", "[::1]"),
        ("http://[::1/a", None),
        ("https://bücher.example/", "bücher.example"),
    ],
)
def test_by_example(url, domain):
    found = Domain()(Batch(pa.table({"page_url": [url]})))
    assert found["domain"].to_pylist() == [domain]
