"""Connect to Ray: the one in use, a cluster at an address, or an embedded one that ends with the run."""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from .read import RunError

KNOCK_S = 10.0


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


def _knock(address: str) -> None:
    """Does anybody answer? Ray itself would go on asking for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except OSError as error:
        raise RunError(f"no Ray cluster answers at {address}: {error.strerror or error}") from error
