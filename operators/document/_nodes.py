"""The nodes of some documents: which document each is of, and where it stands there."""

from __future__ import annotations

import numpy as np

from ..base import Batch


def is_kind(nodes: Batch, kind: str) -> np.ndarray:
    """Which nodes are texts, or images (bool)."""
    return np.array([found == kind for found in nodes.column("kind").to_pylist()], bool)


def documents_of(starts: np.ndarray) -> np.ndarray:
    """The document of each node."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def positions(starts: np.ndarray) -> np.ndarray:
    """Where each node stands in its document, from 0 on."""
    whole: np.ndarray = np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts))
    return whole


def sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum over each document's nodes, of documents without any too."""
    total = np.concatenate([[0], np.cumsum(values)])
    whole: np.ndarray = total[starts[1:]] - total[starts[:-1]]
    return whole
