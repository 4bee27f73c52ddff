"""What the tasks share: ranks that ties cannot flatter, shares with intervals, and the refusal of what is no number."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from ...rates import wilson
from ..errors import TrainError


class Share(TypedDict):
    """A share, its 95 % interval (Wilson's), and what guessing would give."""

    value: float
    low: float
    high: float
    chance: float


def share(hits: float, of: int, chance: float) -> Share:
    """`hits` may be a fraction: of what is asked several times an image, each image counts once."""
    found = wilson(hits, of)  # type: ignore[arg-type]
    assert found.share is not None
    assert found.low is not None
    assert found.high is not None
    return {"value": found.share, "low": found.low, "high": found.high, "chance": chance}


def refuse_nan(*vectors: np.ndarray) -> None:
    """TrainError where a number is NaN or infinite: compared with it nothing is greater, so all ranks would be 1."""
    for some in vectors:
        bad = ~np.isfinite(some).all(axis=1)
        if bad.any():
            raise TrainError(
                f"{int(bad.sum()):,} of {len(some):,} vectors hold NaN or infinity: the model has diverged, or its "
                "weights are damaged; evaluate an earlier checkpoint, or train with a lower learning rate"
            )


def ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank (n,) from 1 of column right[i] in row i of scores (n, m); equal scores are ordered by column."""
    own = np.take_along_axis(scores, right[:, None], axis=1)
    before = np.arange(scores.shape[1]) < right[:, None]
    found: np.ndarray = 1 + (scores > own).sum(axis=1) + ((scores == own) & before).sum(axis=1)
    return found
