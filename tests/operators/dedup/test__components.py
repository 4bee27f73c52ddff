"""Connected components against scipy's of the whole graph."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_parts import in_parts
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cupel.operators.dedup._components import components

EDGES = {"a": pl.Int64, "b": pl.Int64}


def by_scipy(edges: list[tuple[int, int]]) -> dict[int, int]:
    nodes = sorted({node for edge in edges for node in edge})
    place = {node: i for i, node in enumerate(nodes)}
    ends = np.array([(place[a], place[b]) for a, b in edges]).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    least: dict[int, int] = {}
    for node in nodes:
        least.setdefault(component[place[node]], node)
    return {node: least[component[place[node]]] for node in nodes}


def found(edges: list[tuple[int, int]], parts: int, at_once: int) -> dict[int, int]:
    table = pl.DataFrame(edges, schema=EDGES, orient="row")
    labels = components(in_parts(table, parts, 300), at_once).collect()
    assert labels["node"].is_unique().all()
    return dict(labels.rows())


@given(
    st.lists(st.tuples(st.integers(-20, 40), st.integers(-20, 40)).filter(lambda e: e[0] != e[1]), max_size=60),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 1 << 20]),
)
def test_of_any_graph(edges: list[tuple[int, int]], parts: int, at_once: int) -> None:
    """In one place, and by star rounds alone (`at_once` 0)."""
    assert found(edges, parts, at_once) == by_scipy(edges)


@pytest.mark.parametrize("shape", ["path", "star", "cliques"])
def test_long_paths_large_stars_and_cliques_by_rounds(shape: str) -> None:
    rng = np.random.default_rng(3)
    name = rng.permutation(600) - 100
    edges = {
        "path": [(i, i + 1) for i in range(500)],
        "star": [(0, i) for i in range(1, 500)],
        "cliques": [(20 * c + i, 20 * c + j) for c in range(25) for i in range(20) for j in range(i)],
    }[shape]
    named = [(int(name[a]), int(name[b])) for a, b in edges]
    assert found(named, 4, 0) == by_scipy(named)
