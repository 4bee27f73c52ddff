"""A number of each row, drawn by a seed: the same on every machine, in every version, for any order of the rows."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def draws(rows: pl.DataFrame, seed: int, *columns: str) -> pl.Series:
    """Uniform over uint64: BLAKE2b of the key (and of other string columns), salted with the seed.

    Rows of one key get one number. A row without a key is drawn by its shard and row.
    """
    own = pl.format("\0{}:{}", "shard", "row")
    names = rows.select(pl.concat_str(pl.coalesce("key", own), *columns, separator="\0")).to_series()
    salt = seed.to_bytes(8, "little")
    digests = [hashlib.blake2b(name.encode(), digest_size=8, salt=salt).digest() for name in names]
    return pl.Series("draw", np.frombuffer(b"".join(digests), "<u8").astype(np.uint64))


def uniform(draw: pl.Series) -> np.ndarray:
    """Draws as float64 in [0, 1): their upper 53 bits."""
    return np.asarray((draw.to_numpy() >> np.uint64(11)) * 2.0**-53)
