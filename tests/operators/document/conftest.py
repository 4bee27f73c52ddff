"""Documents in one line: a text is a paragraph, `img:URL` an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from cupel.operators.base import Batch, DocumentOperator
from cupel.operators.images import ImageStore

Measured = dict[str, list[object]]


def nodes_of(
    documents: Sequence[Sequence[str]],
    images: Mapping[str, bytes] | None = None,
    **columns: pa.Array,
) -> tuple[Batch, np.ndarray]:
    """The nodes of documents, and where each document begins."""
    flat = [node for document in documents for node in document]
    urls = [node[4:] if node.startswith("img:") else None for node in flat]
    table = {
        "kind": ["text" if url is None else "image" for url in urls],
        "text": pa.array([node if url is None else None for node, url in zip(flat, urls, strict=True)], pa.string()),
        "image_url": pa.array(urls, pa.string()),
        **columns,
    }
    store = ImageStore({i: (images or {}).get(url) if url else None for i, url in enumerate(urls)})
    return Batch(pa.table(table), store), np.cumsum([0, *map(len, documents)])


def measure_documents(operator: DocumentOperator, documents: Sequence[Sequence[str]], **more: object) -> Measured:
    """Each column's values, in the types declared; of as many documents or nodes as there are."""
    nodes, starts = nodes_of(documents, **more)  # type: ignore[arg-type]
    found = operator(nodes, starts)
    added = {column.name: (column.type, len(documents)) for column in operator.adds}
    added |= {column.name: (column.type, len(nodes)) for column in operator.adds_to_nodes}
    assert set(found) == set(added)
    values = {}
    for name, (kind, length) in added.items():
        column = found[name]
        values[name] = (column if isinstance(column, pa.Array) else pa.array(column, kind)).cast(kind).to_pylist()
        assert len(values[name]) == length, name
    return values


@pytest.fixture(scope="session")
def measure_in() -> Callable[..., Measured]:
    return measure_documents


@pytest.fixture(scope="session")
def make_nodes() -> Callable[..., tuple[Batch, np.ndarray]]:
    return nodes_of
