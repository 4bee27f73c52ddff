"""What is wrong with each row of a drawn pool; for the oracle and the audit alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ..reader import Dataset
from .arms import Arm


def faults_of(raw: Dataset, truth: Path) -> np.ndarray:
    """The fault of each raw row, CLEAN for none."""
    table = pq.read_table(truth)
    faults = dict(zip(table.column("key").to_pylist(), table.column("fault").to_pylist(), strict=True))
    return np.array([faults[key] for key in raw.column("key").to_pylist()])


def audit(faults: np.ndarray, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Rows of each fault that each arm kept, averaged over seeds."""
    kinds, totals = np.unique(faults, return_counts=True)
    found = []
    for name in dict.fromkeys(arm.name for arm in arms):
        kept = np.mean([[(faults[a.rows] == kind).sum() for kind in kinds] for a in arms if a.name == name], axis=0)
        for kind, rows, stayed in zip(kinds.tolist(), totals.tolist(), kept.tolist(), strict=True):
            found.append({"arm": name, "fault": kind, "rows": rows, "kept": stayed, "dropped": rows - stayed})
    return found
