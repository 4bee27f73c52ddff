"""dedup.near_text: texts that share a band of their MinHash signatures, and what hangs together by that."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Frames, operator
from ._against import known
from ._components import components
from ._grouping import Grouping
from ._prefer import VALUE, order, ranked, row_names

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ROW_BITS: Final = 32  # a row as one number: shard * 2^32 + row; rows of an existing corpus are negative


@operator
class NearText(Grouping):
    """Which kept text a text nearly repeats, by locality-sensitive hashing over the bands of `text.minhash`.

    Two texts are tied when a band of their signatures is equal: with b bands of r rows, and a share s of their word
    n-grams in common (Jaccard), with probability 1 - (1 - s^r)^b. Texts tied directly or through others (connected
    components) are one group; the best of it by `prefer`, ties by key, then shard and row, is the keeper, as in
    FineWeb and RefinedWeb. Through chains a text may resemble its keeper less than the others between. Texts too short
    for an n-gram have no signature and match nothing.

    A group that holds a text of `against` has that one as its keeper: the least by its name.
    """

    column: str = Field("minhash", description="column of band digests (a list of uint64 of one length)")

    adds = (
        field("near_text_of", pa.string(), "identity of the near-duplicate row that is kept; null for keepers"),
        field("near_text_rows", pa.int64(), "rows of its group; null for a row that stands alone", unit="rows"),
    )

    def __call__(self, rows: Frames) -> Frames:
        bands = rows.shuffle(["digest"], self._bands, growth=3)
        old = _numbered(known(rows.exchange, self.against, self.column)) if self.against else None
        labels = components(bands.map(_tie) if old is None else self._tied_to(old, bands))
        grouped = _join(rows.map(self._named), labels)
        if old is not None:
            grouped = grouped.with_rows_of(_join(old.map(_named_old), labels))
        return grouped.shuffle(["label"]).map(self._findings)

    def _tied_to(self, old: Frames, bands: Frames) -> Frames:
        """Edges among new texts, and between them and old ones."""
        if bands.parts == 1:  # few new texts: what they share no band with need not travel
            there = old.map(self._old_bands).map(_shared, Frames(old.exchange, bands.bags * old.parts))
            return bands.map(_tie, there.shuffle(["digest"], into=1))
        into = bands.parts + max(1, 3 * old.bytes // old.exchange.part_bytes)
        return bands.shuffle(["digest"], into=into).map(_tie, old.shuffle(["digest"], self._old_bands, into=into))

    def _bands(self, rows: pl.DataFrame) -> pl.DataFrame:
        return _exploded(rows.select(_node(), bands=pl.col(self.column)), self.column)

    def _old_bands(self, rows: pl.DataFrame) -> pl.DataFrame:
        return _exploded(rows.select("node", bands=pl.col(self.column)), self.column)

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What decides who is kept of a group."""
        names = row_names(pl.col("shard"), pl.col("row")).alias("name")
        return ranked(rows, self.prefer).select(_node(), "shard", "row", "key", VALUE, names)

    def _findings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The best row of each group first; an old one before all."""
        old = rows.filter(pl.col("node") < 0).sort("name")
        ordered = pl.concat([old, order(self.prefer).sort(rows.filter(pl.col("node") >= 0))])
        found = ordered.with_columns(
            keeper=pl.col("node").first().over("label"),
            near_text_of=pl.col("name").first().over("label"),
            near_text_rows=(pl.col("node") >= 0).sum().over("label").cast(pl.Int64),
        ).filter(pl.col("node") >= 0)
        of = pl.when(pl.col("node") != pl.col("keeper")).then("near_text_of")
        return found.select("shard", "row", near_text_of=of, near_text_rows="near_text_rows")


def _node() -> pl.Expr:
    shard = pl.col("shard").cast(pl.Int64)
    return shard.mul(2**_ROW_BITS).add(pl.col("row")).alias("node")


def _exploded(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """`node` and `digest`, a row for each band: bands are told apart by adding a multiple of their number."""
    kind = rows.schema["bands"]
    if not isinstance(kind, pl.List | pl.Array) or kind.inner != pl.UInt64:
        raise ValueError(f"column {column!r} holds {kind}, not band digests; text.minhash adds such a column")
    rows = rows.drop_nulls("bands")
    lengths = rows["bands"].list.len() if isinstance(kind, pl.List) else pl.Series([kind.size])
    exploded = rows["bands"].explode() if rows.height else pl.Series([], dtype=pl.UInt64)
    if exploded.null_count() or (rows.height and (lengths.n_unique() > 1 or not lengths[0])):
        raise ValueError(f"column {column!r} holds lists of different lengths, or with nulls, not band digests")
    digests, bands = exploded.to_numpy(), len(exploded) // max(1, rows.height)
    offsets = np.tile(np.arange(bands, dtype=np.uint64) * _GOLDEN, rows.height)
    return pl.DataFrame({"node": np.repeat(rows["node"].to_numpy(), bands), "digest": digests + offsets})


def _tie(bands: pl.DataFrame, *old: pl.DataFrame) -> pl.DataFrame:
    """The nodes of one digest, each tied to the least of them."""
    shared = pl.concat([bands, *old]).filter(pl.col("digest").is_duplicated())
    if old:
        shared = shared.filter((pl.col("node") >= 0).any().over("digest"))
    least = pl.col("node").min().over("digest")
    return shared.select(a=least, b="node").filter(pl.col("a") != pl.col("b")).unique()


def _shared(old: pl.DataFrame, bands: pl.DataFrame) -> pl.DataFrame:
    return old.join(bands.select("digest").unique(), on="digest", how="semi")


def _numbered(old: Frames) -> Frames:
    """Rows of an existing corpus as the nodes -1, -2, ..."""
    starts = np.cumsum([0, *(sum(piece.rows for piece in bag) for bag in old.bags)]).tolist()
    frames = [pl.DataFrame({"start": [start]}) for start in starts[:-1]]
    return old.map(_number, old.exchange.frames(*frames))


def _number(old: pl.DataFrame, start: pl.DataFrame) -> pl.DataFrame:
    return old.with_columns(node=-1 - start["start"][0] - pl.int_range(pl.len(), dtype=pl.Int64))


def _named_old(old: pl.DataFrame) -> pl.DataFrame:
    return old.select("node", "name")


def _join(nodes: Frames, labels: Frames) -> Frames:
    """The nodes that have a label, with it."""
    if labels.parts == 1 and labels.bytes <= labels.exchange.part_bytes:
        return nodes.map(_labelled, Frames(labels.exchange, labels.bags * nodes.parts))
    into = labels.parts + nodes.bytes // nodes.exchange.part_bytes
    return nodes.shuffle(["node"], into=into).map(_labelled, labels.shuffle(["node"], into=into))


def _labelled(nodes: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    return nodes.join(labels, on="node", how="inner")
