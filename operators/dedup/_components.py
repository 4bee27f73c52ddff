"""Connected components of a graph that no single machine has to hold.

Few edges are settled in one place (scipy). More go through alternating large-star and small-star rounds (Kiveris et
al., "Connected components in MapReduce and beyond", SoCC 2014): each is one shuffle, O(log^2 n) rounds in all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..frames import Frames

EDGES_AT_ONCE: Final = 1 << 23  # edges in one place: about 1 GB with what scipy needs

LABELS: Final = {"node": pl.Int64, "label": pl.Int64}


def components(edges: Frames, at_once: int = EDGES_AT_ONCE) -> Frames:
    """`node` and `label`, the least node of its component, for every node of the edges (`a`, `b`: int64)."""
    edges = edges.shuffle(["a"], _ordered).map(_distinct)
    before = None
    while edges.rows > at_once:
        edges = edges.shuffle(["a"], _both_ways).map(_large_star)
        edges = edges.shuffle(["a"], _downwards).map(_small_star)
        after = _sketch(edges)
        if after == before:  # stars: every node hangs on the least one
            return edges.map(_star_labels).shuffle(["node"]).map(_distinct)
        before = after
    return edges.exchange.frames(_labelled(edges.collect()))


def _labelled(edges: pl.DataFrame) -> pl.DataFrame:
    """Components of edges in one place."""
    nodes, ends = np.unique(edges.select("a", "b").to_numpy().reshape(-1), return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)  # nodes ascend, so a component's first is its least
    return pl.DataFrame({"node": nodes, "label": nodes[first[component]]}, schema=LABELS)


def _ordered(edges: pl.DataFrame) -> pl.DataFrame:
    return edges.select(a=pl.min_horizontal("a", "b"), b=pl.max_horizontal("a", "b")).unique()


def _distinct(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.unique()


def _both_ways(edges: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([edges.select("a", "b"), edges.select(a="b", b="a")])


def _large_star(edges: pl.DataFrame) -> pl.DataFrame:
    """Every larger neighbour of a node is tied to the node's least neighbour (or the node itself)."""
    least = pl.min_horizontal(pl.col("b").min().over("a"), pl.col("a"))
    return edges.with_columns(least=least).filter(pl.col("b") > pl.col("a")).select(a="least", b="b").unique()


def _downwards(edges: pl.DataFrame) -> pl.DataFrame:
    return edges.select(a=pl.max_horizontal("a", "b"), b=pl.min_horizontal("a", "b"))


def _small_star(edges: pl.DataFrame) -> pl.DataFrame:
    """A node and its smaller neighbours are tied to the least of them."""
    tied = edges.with_columns(least=pl.col("b").min().over("a"))
    both = pl.concat([tied.select(a="least", b="a"), tied.select(a="least", b="b")])
    return both.filter(pl.col("a") != pl.col("b")).unique()


def _star_labels(edges: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([edges.select(node="b", label="a"), edges.select(node="a", label="a")]).unique()


def _sketch(edges: Frames) -> tuple[int, int]:
    """Distinct edges and a sum over them: equal when nothing changed."""
    found = edges.shuffle(["a", "b"], _distinct).map(_distinct).map(_summed).collect()
    return int(found["rows"].sum()), sum(int(value) for value in found["sum"]) % 2**64


def _summed(edges: pl.DataFrame) -> pl.DataFrame:
    mixed = edges["a"].to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ edges["b"].to_numpy().astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    return pl.DataFrame({"rows": [edges.height], "sum": [mixed.sum()]}, schema={"rows": pl.Int64, "sum": pl.UInt64})
