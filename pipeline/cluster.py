"""Connect to Ray: the one in use, a cluster at an address, or an embedded one that ends with the run."""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from .read import RunError

KNOCK_S = 10.0
SETTLE_S = 1.0


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Use the Ray that runs, the cluster at an address, or an embedded one; stop only what was started here."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _knock(address)
    init = functools.partial(ray.init, address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        init(include_dashboard=False) if address == "local" else init()
    except (ValueError, ConnectionError) as error:
        raise RunError(f"cannot use the Ray cluster {address!r}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def end_tasks(running: Iterable[ray.ObjectRef[Any]]) -> None:
    """End tasks that nobody waits for any more.

    Ray aborts this process ("Tried to complete task that was not pending") where a task is cancelled that is just being
    sent, or is just done (ray-project/ray#54798 tells of the race): so they have a moment to be one or the other.
    """
    left = list(running)
    if not left:
        return
    try:
        _, left = ray.wait(left, num_returns=len(left), timeout=SETTLE_S, fetch_local=False)
    finally:
        for ref in left:
            ray.cancel(ref, force=True)


def _knock(address: str) -> None:
    """Does anybody answer? Ray itself would go on asking for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except OSError as error:
        raise RunError(f"no Ray cluster answers at {address}: {error.strerror or error}") from error
