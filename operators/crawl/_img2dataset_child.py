"""Runs img2dataset's Downloader over one shard: a program of its own, in a Python that has img2dataset.

It reads one JSON object from standard input and imports nothing of ours, because img2dataset's pins (pandas < 3,
albumentations < 2, Python <= 3.12) may keep it out of our environment. img2dataset itself connects wherever a URL or a
redirect leads; here every address is checked when a socket connects to it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from ipaddress import IPv6Address, ip_address
from typing import Any

MISSING = 3  # exit code where img2dataset cannot be imported


def main() -> None:
    wanted = json.load(sys.stdin)
    try:
        downloader = import_module("img2dataset.downloader")
        resizer = import_module("img2dataset.resizer")
        writer = import_module("img2dataset.writer")
    except ImportError as error:
        print(f"{error} ({sys.executable})", file=sys.stderr)
        sys.exit(MISSING)
    if wanted is None:
        return  # asked only whether it is there
    keep_to_public(wanted["allowed"])
    downloader.Downloader(
        sample_writer_class=writer.ParquetSampleWriter,
        resizer=resizer.Resizer(**wanted["resizer"]),
        output_folder=wanted["folder"],
        **wanted["downloader"],
    ).download_shard((0, wanted["urls"]))


def keep_to_public(allowed: list[list[Any]]) -> None:
    """Let no socket connect elsewhere than to global addresses, and to those that are listed with their ports."""
    exceptions = {(address, port) for address, port in allowed}

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not isinstance(arguments[1], tuple):
            return
        address, port = arguments[1][:2]
        if not is_public(address) and not exceptions & {(address, port), (address, None)}:
            raise PermissionError(f"refused: {address} is no global address")

    sys.addaudithook(check)


def is_public(address: str) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (ip.ipv4_mapped or ip.sixtofour or ip.teredo):
        return False
    return ip.is_global and not ip.is_multicast and address != "168.63.129.16"  # Azure's wire server


if __name__ == "__main__":
    main()
