"""crawl.images: the images that rows name by their URL, from the web or from web archives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, FetchOperator, Values, operator
from ..decode import RowError
from ._columns import COMMON_OF_IMAGES, bytes_column, common_columns, told
from ._crawler import Crawler
from ._outcome import Outcome
from ._reasons import Reason, of_decoder
from ._resize import Format, Mode, Resize, Resized, resize

CHUNK_BYTES = 8 << 20  # of images that are handed over at once
Found = tuple[list[int], Outcome]  # rows that share a URL, and how it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    outcome: Outcome
    sha256: str | None = None
    resized: Resized | None = None


@operator
class Images(Crawler, FetchOperator):
    """The image that `image_url` leads to, and how the fetching ended: `image_status` is `ok` or one of the reasons.

    Each URL is fetched once a shard. Hosts are asked within budgets by registered domain that hold for the whole
    cluster, robots.txt and opt-outs are respected, and only public addresses are connected to, at each redirect. What
    comes is an image by its first bytes, whatever the header says: JPEG, PNG, WebP, GIF or AVIF. `data:` URLs up to
    1 MiB are decoded. A row without an image is a failure, by its reason; reasons that may pass are transient.

    `resize` as img2dataset has it: `keep_ratio` makes the shorter side `size_px`, `center_crop` crops that to a square,
    `keep_ratio_largest` makes the longer side `size_px`, `border` puts that on a white square; EXIF orientation is
    applied and no metadata kept. With `none` the bytes are stored as they came. `image_sha256` is of the bytes fetched,
    before. `source: archive` takes responses from the WARC files in `archive`, or the one in the row's `warc_file`.
    `engine: img2dataset` fetches by img2dataset's Downloader, from public addresses alone: without robots.txt, TDMRep
    and budgets.
    """

    source: Literal["web", "archive"] = Field("web", description="archive: responses in WARC files serve as the web")
    archive: tuple[str, ...] = Field((), description="WARC files for `source: archive`, beside the row's own")
    engine: Literal["cupel", "img2dataset"] = Field("cupel", description="img2dataset: its Downloader (an extra)")
    max_bytes: int = Field(20_000_000, ge=1, le=1 << 30, description="of an image as sent")
    resize: Mode = Field("none", description="what is done to the image on the way in")
    size_px: int = Field(256, ge=1, description="of the side that `resize` is about")
    only_if_bigger: bool = Field(False, description="do not enlarge")
    format: Format = Field("jpeg", description="of resized images")
    quality: int = Field(95, ge=0, description="0 to 100; of a png the compression, 0 to 9")

    accept: ClassVar[str] = "image/avif,image/webp,image/png,image/jpeg,image/gif,image/*;q=0.8,*/*;q=0.5"
    reads = ("image_url",)
    takes = ("warc_file",)
    adds = (
        field("image", pa.large_binary(), "the image, encoded", unit="bytes"),
        *COMMON_OF_IMAGES,
        field("image_mime", pa.string(), "media type of what is stored, by its first bytes"),
        field("original_width_px", pa.int32(), "width as fetched, seen upright", unit="px", range=">= 1"),
        field("original_height_px", pa.int32(), "height as fetched, seen upright", unit="px", range=">= 1"),
        field("image_sha256", pa.string(), "SHA-256 of the image as fetched", unit="hex", range="64 digits"),
    )

    def __post_init__(self) -> None:
        _ = self._resize
        if self.engine == "img2dataset" and self.source == "archive":
            raise ValueError("engine: img2dataset fetches from the web alone; leave `source: archive` out")

    @property
    def most_bytes(self) -> int:
        return self.max_bytes

    @cached_property
    def _resize(self) -> Resize:
        return Resize(
            mode=self.resize,
            size_px=self.size_px,
            only_if_bigger=self.only_if_bigger,
            format=self.format,
            quality=self.quality,
        )

    def setup(self) -> None:
        super().setup()
        if self.engine == "img2dataset":
            from ._img2dataset import check_installed

            check_installed()

    def __call__(self, batch: Batch) -> Iterator[tuple[np.ndarray, Values]]:
        with ThreadPoolExecutor(_threads(self.resize), thread_name_prefix="resize") as pool:
            for chunk in self._found(batch):
                outcomes = [outcome for _, outcome in chunk]
                images = list(map(self._image, outcomes) if self.resize == "none" else pool.map(self._image, outcomes))
                yield from self._columns(batch, [rows for rows, _ in chunk], images)

    def _found(self, batch: Batch) -> Iterator[list[Found]]:
        urls = batch.column("image_url").to_pylist()
        if self.source == "archive":
            from ._archived import find_all

            return find_all(urls, _warc_files(batch), self.archive, self.settings)
        if self.engine == "img2dataset":
            from ._img2dataset import fetch_with_img2dataset

            return fetch_with_img2dataset(urls, self.settings)
        return self.fetch(urls, batch)

    def _image(self, outcome: Outcome) -> _Image:
        """What came, looked at and resized; runs in several threads."""
        if outcome.reason is not Reason.OK:
            return _Image(outcome=outcome)
        sha256 = hashlib.sha256(outcome.body).hexdigest()
        try:
            return _Image(outcome=outcome, sha256=sha256, resized=resize(outcome.body, self._resize))
        except RowError as error:
            outcome.reason, outcome.message = of_decoder(error), error.message
            outcome.transient = error.transient
            outcome.body = b""  # a traceback may keep it for long
            error.__traceback__ = None
            return _Image(outcome=outcome, sha256=sha256)

    def _columns(
        self, batch: Batch, rows: Sequence[list[int]], images: Sequence[_Image]
    ) -> Iterator[tuple[np.ndarray, Values]]:
        """The chunk's rows, cut where many share a large image."""
        done: list[tuple[int, _Image]] = []
        size = 0
        for places, image in zip(rows, images, strict=True):
            for row in places:
                told(batch, row, image.outcome)
                done.append((row, image))
                size += len(image.resized.data) if image.resized else 0
                if size >= CHUNK_BYTES:
                    yield _table(done)
                    done, size = [], 0
        if done:
            yield _table(done)


def _table(done: Sequence[tuple[int, _Image]]) -> tuple[np.ndarray, Values]:
    images = [image for _, image in done]
    outcomes = [image.outcome for image in images]
    resized = [image.resized for image in images]
    return np.array([row for row, _ in done], np.int64), {
        "image": bytes_column([each.data if each else None for each in resized]),
        **dict(zip((column.name for column in COMMON_OF_IMAGES), common_columns(outcomes).values(), strict=True)),
        "image_mime": pa.array([each and each.mime for each in resized], pa.string()),
        "original_width_px": pa.array([each and each.original_width_px for each in resized], pa.int32()),
        "original_height_px": pa.array([each and each.original_height_px for each in resized], pa.int32()),
        "image_sha256": pa.array([image.sha256 for image in images], pa.string()),
    }


def _threads(mode: Mode) -> int:
    return 1 if mode == "none" else min(4, os.cpu_count() or 1)


def _warc_files(batch: Batch) -> list[str | None]:
    named = "warc_file" in batch.columns.column_names
    return list(batch.column("warc_file").to_pylist()) if named else [None] * len(batch)
