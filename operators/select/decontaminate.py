"""select.decontaminate: training images that also stand in an evaluation set."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, CorpusOperator, Frames, operator
from ..dedup._hamming import Hashes, near
from ..dedup.near_images import require_uint64
from ..image.phash import Phash
from ..images import ImageStore

IMAGE_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff"),
    *(".svg", ".heic", ".heif", ".jp2", ".jxl", ".ico"),
)
_NO_IMAGE: Final = ("not_an_image", "html", "empty")  # what a README, a CSV or a .gitkeep reads as


@operator
class Decontaminate(CorpusOperator):
    """Which reference image an image nearly equals: 64-bit hashes within `max_distance` differing bits, no pair missed.

    `reference` is a folder of images (an evaluation set; searched with its subfolders, hashed as `image.phash` does),
    or a Parquet file with a column `phash` (uint64, or 16 hex digits as imagehash and COYO-700M write it) and, if there
    is one, a column `key`. The nearest reference is named, ties by name: its path in the folder, its key, or FILE:row.

    An image of the folder that cannot be read is an error and not passed over: what it shows could be in the corpus.
    So is a null or malformed hash. Files that are no images (neither by suffix nor by content) and hidden files are
    left out. COYO-700M drops images that share the pHash of one in ImageNet, Flickr30K, COCO and others: distance 0.
    """

    reference: str = Field(min_length=1, description="folder of images, or Parquet file with a column phash")
    column: str = Field("phash", description="column of the corpus with 64-bit perceptual hashes (uint64)")
    max_distance: int = Field(4, ge=0, le=16, description="bits that may differ; time grows steeply beyond 8")

    adds = (
        field("contaminated_by", pa.string(), "the nearest reference image; null when none is within the distance"),
        field("contaminated_distance", pa.int8(), "bits in which it differs from it", unit="bits", range="0 to 16"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def files(self) -> tuple[Path, ...]:
        place = Path(self.reference)
        if place.is_dir():
            return tuple(_listed(place))
        if not place.is_file():
            raise ValueError(f"reference {self.reference!r} is neither a folder of images nor a Parquet file")
        return (place,)

    def __call__(self, rows: Frames) -> Frames:
        names, hashes = self._references()
        return rows.map(functools.partial(self._match, names, hashes))

    def _match(self, names: pl.Series, hashes: Hashes, rows: pl.DataFrame) -> pl.DataFrame:
        require_uint64(rows, self.column)
        wanted = rows.select("shard", "row", hash=pl.col(self.column)).drop_nulls()
        values, which = np.unique(wanted["hash"].to_numpy(), return_inverse=True)
        # Nearest first, then by name: names ascend, so (distance, index) in one number is what is to be smallest.
        none = (self.max_distance + 1) * len(names)
        nearest = np.full(len(values), none)
        for one, other, apart in near(values, hashes, self.max_distance):
            np.minimum.at(nearest, one, apart.astype(np.int64) * len(names) + other)
        hits = np.flatnonzero(nearest[which] < none)
        apart, index = np.divmod(nearest[which[hits]], len(names))
        found = wanted[hits].select("shard", "row")
        by, distance = names[index].alias("contaminated_by"), pl.Series("contaminated_distance", apart.astype(np.int8))
        return found.with_columns(by, distance)

    def _references(self) -> tuple[pl.Series, Hashes]:
        """Names, ascending, and hashes: each hash once, under its first name."""
        place = Path(self.reference)
        known = _of_folder(place, self.files) if place.is_dir() else _of_parquet(*self.files)
        if known.is_empty():
            kind = "image" if place.is_dir() else "hash"
            raise ValueError(f"reference {self.reference!r} holds no {kind}: nothing would be decontaminated")
        known = known.sort("name").unique("phash", keep="first", maintain_order=True)
        return known["name"], known["phash"].to_numpy()


def _listed(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden, in the order of their paths."""
    for path in sorted(folder.rglob("*")):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file():
            yield path


def _of_folder(folder: Path, files: tuple[Path, ...]) -> pl.DataFrame:
    """`name` and `phash` of every image."""
    found = [(path.relative_to(folder).as_posix(), _hash(path)) for path in files]
    images = [(name, value) for name, value in found if value is not None]
    return pl.DataFrame(images, schema={"name": pl.String, "phash": pl.UInt64}, orient="row")


def _hash(path: Path) -> int | None:
    """The file's pHash; None when it is plainly no image; ValueError when it is one that cannot be read."""
    batch = Batch(pa.table({"row": [0]}), ImageStore({0: path.read_bytes()}))
    value = Phash()(batch)["phash"][0]
    if (error := batch.failures.get(0)) is None:
        return int(value)
    if error.kind in _NO_IMAGE and path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    raise ValueError(f"reference image {path} cannot be read ({error}); mend it or take it out") from error


def _of_parquet(path: Path) -> pl.DataFrame:
    """`name` and `phash` of every row."""
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.ComputeError, OSError) as error:
        raise ValueError(f"reference {path} is no readable Parquet file: {error}") from error
    if "phash" not in table.columns:
        raise ValueError(f"reference {path} has no column 'phash'; it has {', '.join(table.columns)}")
    row_name = pl.lit(f"{path.name}:") + pl.int_range(pl.len()).cast(pl.String)
    key = pl.col("key").cast(pl.String) if "key" in table.columns else pl.lit(None, pl.String)
    return table.select(name=pl.coalesce(key, row_name), phash=_numbers(table["phash"], path))


def _numbers(hashes: pl.Series, path: Path) -> pl.Series:
    """uint64, or 16 hex digits, as uint64; ValueError for what is neither, nulls included."""
    if hashes.dtype == pl.String:
        good = hashes.str.contains("^[0-9a-fA-F]{16}$").fill_null(False)
        digits = bytes.fromhex("".join(hashes.filter(good)))
        values = pl.Series("phash", np.frombuffer(digits, ">u8").astype(np.uint64))
    elif hashes.dtype == pl.UInt64:
        good = hashes.is_not_null()
        values = hashes.filter(good)
    else:
        raise ValueError(f"column 'phash' of reference {path} holds {hashes.dtype}; uint64 or 16 hex digits are read")
    if not good.all():
        row = int((~good).arg_max() or 0)
        count = len(good) - int(good.sum())
        raise ValueError(f"reference {path}: {count} rows have no usable phash, first row {row}: {hashes[row]!r}")
    return values
