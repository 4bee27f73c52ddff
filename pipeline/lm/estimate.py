"""Interpolated modified Kneser-Ney estimates from counts, with the conventions of KenLM's lmplz.

Chen & Goodman 1998 (TR-10-98), section 3; Heafield et al. 2013 (P13-2121), sections 3 and 4. An n-gram's adjusted count
is how many different words stand before it; at the highest order, and where it begins with <s>, it is its count.
Every function here takes one bucket, or figures that fit in a few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from .count import BOS, EOS, FIRST, OUTSIDE
from .spill import bucket_of, merge, spill

FALLBACK: Final = (0.5, 1.0, 1.5)  # lmplz --discount_fallback


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of adjusted counts of one order (or of a bucket of it)."""

    of_count: tuple[int, ...] = (0, 0, 0, 0)  # n-grams whose adjusted count is 1, 2, 3, 4
    kept: int = 0
    total: int = 0  # sum of adjusted counts
    pruned: int = 0  # of these, what the pruned n-grams had
    kept_of_count: tuple[int, ...] = (0, 0, 0)  # n-grams kept whose adjusted count is 1, 2, 3 or more

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            of_count=tuple(map(sum, zip(self.of_count, other.of_count, strict=True))),
            kept=self.kept + other.kept,
            total=self.total + other.total,
            pruned=self.pruned + other.pruned,
            kept_of_count=tuple(map(sum, zip(self.kept_of_count, other.kept_of_count, strict=True))),
        )


def tally(rows: pl.DataFrame) -> Tally:
    """Of rows with `count` and `kept`."""
    count, kept = rows["count"].to_numpy(), rows["kept"].to_numpy()
    classes = np.bincount(np.minimum(count, 5), minlength=6)
    of_kept = np.bincount(np.minimum(count[kept], 3), minlength=4)
    return Tally(
        of_count=tuple(map(int, classes[1:5])),
        kept=int(kept.sum()),
        total=int(count.sum()),
        pruned=int(count[~kept].sum()),
        kept_of_count=tuple(map(int, of_kept[1:])),
    )


def discounts(found: Tally) -> tuple[float, float, float] | None:
    """D1, D2, D3+ by Chen & Goodman's equation 26; None where there is nothing to estimate them from."""
    n = found.of_count
    if not all(n[:3]):
        return None
    y = n[0] / (n[0] + 2 * n[1])
    amounts = tuple(j - (j + 1) * y * n[j] / n[j - 1] for j in (1, 2, 3))
    if any(not 0 <= amount <= j for j, amount in enumerate(amounts, 1)):
        return None
    return amounts[0], amounts[1], amounts[2]


def names(order: int) -> list[str]:
    """Columns of an n-gram's words."""
    return [f"w{i}" for i in range(1, order + 1)]


def ids_of(rows: pl.DataFrame, columns: Sequence[str]) -> list[np.ndarray]:
    return [rows[column].to_numpy() for column in columns]


def merge_counts(
    scratch: Path, order: int, bucket: int, buckets: int, paths: Sequence[Path], top: bool, prune: int
) -> tuple[Path, Tally]:
    """Counts of one bucket of contexts; what they tell of the next lower order is spilled for it."""
    words = names(order)
    rows = merge(paths, bucket, lambda part: part.group_by(words).agg(pl.col("ext", "actual").sum()))
    lower = rows.group_by(words[1:]).agg(ext=pl.len().cast(pl.Int64), actual=pl.col("actual").sum())
    lower = lower.rename(dict(zip(words[1:], words, strict=False)))
    lower_path = scratch / f"counts{order - 1}" / f"{bucket:06d}.parquet"
    spill(lower_path, lower, bucket_of(ids_of(lower, words[: max(1, order - 2)]), buckets), buckets)
    if order > 1:
        rows = rows.filter(pl.col("w2") != BOS)  # <s> <s> is no n-gram: it only brought the shorter one's count
    count = pl.col("actual") if top else pl.when(pl.col("w1") == BOS).then("actual").otherwise("ext")
    inside = pl.all_horizontal(pl.col(word) < OUTSIDE for word in words)
    rows = rows.select(*words, count=count, kept=(pl.col("actual") > prune) & inside)
    path = scratch / f"merged{order}" / f"{bucket:06d}.parquet"
    path.parent.mkdir(exist_ok=True)
    rows.write_parquet(path, compression="lz4")
    return lower_path, tally(rows)


def merge_unigrams(bucket: int, paths: Sequence[Path], prune: int) -> tuple[pl.DataFrame, Tally]:
    """Words of one bucket with their adjusted counts (those of the vocabulary), and what all of them add up to."""
    rows = merge(paths, bucket, lambda part: part.group_by("w1").agg(pl.col("ext", "actual").sum()))
    kept = ((pl.col("actual") > prune) & (pl.col("w1") < OUTSIDE)) | (pl.col("w1") == EOS)
    rows = rows.select("w1", count="ext", kept=kept)
    return rows.filter("kept").select("w1", "count"), tally(rows)


def _share(count: pl.Expr, amounts: tuple[float, float, float]) -> pl.Expr:
    """Count less its discount."""
    one, two, more = amounts
    return count - pl.when(count == 1).then(one).when(count == 2).then(two).otherwise(more)


def unigram_probabilities(
    words: pl.DataFrame, size: int, found: Tally, amounts: tuple[float, float, float]
) -> np.ndarray:
    """p of each id: interpolated with the uniform distribution over the words kept, <unk> among them; nan: pruned."""
    left_over = (np.dot(amounts, found.kept_of_count) + found.pruned) / found.total
    uniform = left_over / (found.kept + 1)  # words and </s>, and <unk>; not <s>, which is never predicted
    p = np.full(FIRST + size, np.nan)
    counts = words.select("w1", p=_share(pl.col("count"), amounts) / found.total)
    p[counts["w1"].to_numpy()] = counts["p"].to_numpy() + uniform
    p[0], p[BOS] = uniform, 1.0
    return p


def weigh(scratch: Path, order: int, bucket: int, buckets: int, amounts: tuple[float, float, float]) -> Path:
    """Each context's weight for the lower order (its backoff), and each n-gram's share before interpolation."""
    words = names(order)
    rows = pl.read_parquet(scratch / f"merged{order}" / f"{bucket:06d}.parquet")
    count, kept = pl.col("count"), pl.col("kept")
    classes = [(kept & (count == 1)).sum(), (kept & (count == 2)).sum(), (kept & (count >= 3)).sum()]
    left_over = sum((d * n for d, n in zip(amounts, classes, strict=True)), count.filter(~kept).sum())
    sums = rows.group_by(words[:-1]).agg(total=count.sum(), gamma=left_over / count.sum())
    path = scratch / f"gamma{order}" / f"{bucket:06d}.parquet"
    path.parent.mkdir(exist_ok=True)
    sums.select(*words[:-1], "gamma").write_parquet(path, compression="lz4")
    alone = rows.filter("kept").join(sums, on=words[:-1])
    alone = alone.select(*words, "gamma", p=_share(count, amounts) / pl.col("total"))
    path = scratch / f"alone{order}" / f"{bucket:06d}.parquet"
    spill(path, alone, bucket_of(ids_of(alone, words[1:]), buckets), buckets)
    return path


def interpolate(
    scratch: Path, order: int, bucket: int, buckets: int, paths: Sequence[Path], lower: Sequence[Path]
) -> Path:
    """p of the n-grams of one bucket of suffixes: their share, and their context's weight times p of the suffix."""
    words = names(order)
    rows = merge(paths, bucket, lambda part: part)
    if order == 2:
        below = pl.Series(np.load(scratch / "unigrams.npy")[rows["w2"].to_numpy()])
        found = rows.select(*words, p=pl.col("p") + pl.col("gamma") * below)
    else:
        suffix = merge(lower, bucket, lambda part: part).rename(
            {**dict(zip(names(order - 1), words[1:], strict=True)), "p": "below"}
        )
        joined = rows.join(suffix, on=words[1:], how="inner")
        assert joined.height == rows.height, "a suffix of an n-gram kept is kept"
        found = joined.select(*words, p=pl.col("p") + pl.col("gamma") * pl.col("below"))
    path = scratch / f"p{order}" / f"{bucket:06d}.parquet"
    spill(path, found, bucket_of(ids_of(found, words), buckets), buckets)
    return path
