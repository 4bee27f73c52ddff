"""How many cores are this process's."""

from __future__ import annotations

import os
from typing import Final

MOST_THREADS: Final = 64


def cores() -> int:
    """Of this machine those that are this rank's: torchrun says how many ranks share it."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(there // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1), MOST_THREADS)
