"""Batches on the device before the step that wants them.

On a GPU a thread takes the next batch, pins it and copies it on a stream of its own while the step before it runs; on a
CPU there is nothing to copy, and the reader itself reads ahead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from .reader import Batch, Reader


def on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    """A copy of an array on the device, without waiting for what runs there."""
    found = torch.from_numpy(array)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


class Feed:
    """The batches of a reader with their images as tensors on the device; `waited_s` is what `next` was blocked."""

    def __init__(self, reader: Reader, device: torch.device) -> None:
        self.reader, self.device, self.waited_s = reader, device, 0.0

    def __iter__(self) -> Iterator[tuple[Batch, torch.Tensor]]:
        batches = self._ahead() if self.device.type == "cuda" else self._here()
        while True:
            began = time.perf_counter()
            found = next(batches, None)
            self.waited_s += time.perf_counter() - began
            if found is None:
                return
            yield found

    def _here(self) -> Iterator[tuple[Batch, torch.Tensor]]:
        for batch in self.reader:
            yield batch, torch.from_numpy(batch.images)

    def _ahead(self) -> Iterator[tuple[Batch, torch.Tensor]]:
        batches, stream = iter(self.reader), torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

        def fetch() -> tuple[Batch, torch.Tensor, torch.cuda.Event] | None:
            batch = next(batches, None)
            if batch is None:
                return None
            with torch.cuda.stream(stream):
                images = on(self.device, batch.images)
                return batch, images, stream.record_event()

        with ThreadPoolExecutor(1, "feed") as thread:
            coming = thread.submit(fetch)
            while (found := coming.result()) is not None:
                coming = thread.submit(fetch)
                batch, images, copied = found
                torch.cuda.current_stream(self.device).wait_event(copied)
                images.record_stream(torch.cuda.current_stream(self.device))  # not freed while a step reads it
                yield batch, images
