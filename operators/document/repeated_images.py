"""document.repeated_images: images that a document shows twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, DocumentOperator, operator
from ._nodes import sums

_MOST: Final = 2_000  # different hashes of a document with which others are compared


@operator
class RepeatedImages(DocumentOperator):
    """Which images repeat an earlier one of their own document, and how many do.

    `column` says what makes two images one: their address (OBELICS, which drops the repeats at the end:
    arXiv:2306.16527, appendix A.1), the digest of their bytes (`image_sha256`: MINT-1T, arXiv:2406.11271), or a
    perceptual hash, for which `max_distance` is the number of bits that may differ (MMC4 has one copy of an image in a
    document: arXiv:2304.06939, 3.1). Images without a value repeat none. An image is compared with the first ones of
    their kind, not with repeats, so no chain of small changes makes two different images one. Of hashes, at most 2,000
    different ones of a document are compared.
    """

    column: str = Field("image_url", description="image_url, a column of digests, or of 64-bit hashes (phash, dhash)")
    max_distance: int = Field(0, ge=0, le=32, description="bits of a hash that may differ; 0: equal values")

    adds = (field("repeated_images", pa.int32(), "images that repeat an earlier one", unit="images", range=">= 0"),)
    of_kind = {"repeats_image": "image"}  # noqa: RUF012  a class attribute of a frozen record
    adds_to_nodes = (
        field("repeats_image", pa.int32(), "which earlier image of the document it repeats, from 0 on; null: none",
              range=">= 0"),
    )  # fmt: skip

    @property
    def reads(self) -> tuple[str, ...]:
        return ("kind", self.column)

    def __call__(self, nodes: Batch, starts: np.ndarray) -> Mapping[str, pa.Array]:
        column = nodes.column(self.column)
        if self.max_distance and not pa.types.is_uint64(column.type):
            raise ValueError(f"column {self.column!r} holds {column.type}; only 64-bit hashes have a distance")
        kinds, values = nodes.column("kind").to_pylist(), column.to_pylist()
        of: list[int | None] = []
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            images = [i for i in range(start, stop) if kinds[i] == "image"]
            first = self._first_of_its_kind([values[i] for i in images])
            repeats = dict(zip(images, first, strict=True))
            of += [repeats.get(i) for i in range(start, stop)]
        found = pa.array(of, pa.int32())
        counts = sums(np.asarray(found.is_valid()), starts)
        return {"repeats_image": found, "repeated_images": pa.array(counts, pa.int32())}

    def _first_of_its_kind(self, values: list[object]) -> list[int | None]:
        """For each image of a document the earlier one that it repeats."""
        if self.max_distance:
            return _nearest_first([value if isinstance(value, int) else None for value in values], self.max_distance)
        first: dict[object, int] = {}
        of = [first.setdefault(value, i) for i, value in enumerate(values)]
        return [None if j == i or value is None else j for i, (j, value) in enumerate(zip(of, values, strict=True))]


def _nearest_first(hashes: list[int | None], distance: int) -> list[int | None]:
    first: list[tuple[int, int]] = []
    of: list[int | None] = []
    for i, value in enumerate(hashes):
        near = [] if value is None else [j for j, other in first if (value ^ other).bit_count() <= distance]
        of.append(near[0] if near else None)
        if value is not None and not near and len(first) < _MOST:
            first.append((i, value))
    return of
