"""From texts to counts: each chunk's words as ids of its own, the vocabulary of all, each chunk's n-grams.

Ids: 0 <unk>, 1 <s>, 2 </s>, then words by falling frequency. A word outside the vocabulary keeps an id of its own by
its hash, above OUTSIDE: its n-grams count as its neighbours' contexts and are left out of the model, which is what
`lmplz --limit_vocab_file` does.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from ...operators.text._normalise import NORMALISERS
from .spill import bucket_of, merge, read_bucket, spill
from .texts import Part, chunks

BOS, EOS, FIRST = 1, 2, 3
SPECIAL: Final = ("<unk>", "<s>", "</s>")
OUTSIDE: Final = 1 << 31
WORD_BUCKETS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What a task made of its part of the texts."""

    chunks: tuple[str, ...]  # names under text/ and words/
    sentences: int
    words: int


def encode_part(scratch: Path, part: Part, number: int, normaliser: str) -> Encoded:
    """Turn texts into ids of each chunk's own words; sentences without a word are left out."""
    names, sentences, total = [], 0, 0
    for i, texts in enumerate(chunks(part)):
        found, tokens, count = encode(NORMALISERS[normaliser](texts))
        if not count:
            continue
        names.append(f"{number:06d}-{i:04d}.parquet")
        spilled = spill(scratch / "words" / names[-1], found, _word_bucket(found["word"]), WORD_BUCKETS)
        place = np.zeros(found.height + 1, np.uint32)
        place[spilled["id"].to_numpy()] = np.arange(1, found.height + 1)  # where a word stands in the file; 0: end
        (scratch / "text").mkdir(exist_ok=True)
        pl.DataFrame({"id": place[tokens]}).write_parquet(scratch / "text" / names[-1], compression="lz4")
        sentences, total = sentences + count, total + len(tokens) - count
    return Encoded(chunks=tuple(names), sentences=sentences, words=total)


def encode(lines: pl.Series) -> tuple[pl.DataFrame, np.ndarray, int]:
    """Distinct words with id (from 1) and count; the sentences as ids, 0 after each; how many sentences."""
    table = pl.DataFrame({"line": np.arange(len(lines)), "word": lines.str.split(" ")}).explode("word")
    table = table.filter(~pl.col("word").is_in(["", *SPECIAL]) & pl.col("word").is_not_null())
    if table.is_empty():
        return pl.DataFrame(schema={"id": pl.Int64, "word": pl.String, "count": pl.Int64}), np.empty(0, np.uint32), 0
    indexed = table["word"].to_arrow().dictionary_encode()
    ids = indexed.indices.to_numpy()
    starts = np.flatnonzero(np.diff(table["line"].to_numpy(), prepend=-1))
    tokens = np.insert(ids + 1, np.append(starts[1:], len(ids)), 0).astype(np.uint32)
    words = pl.Series("word", indexed.dictionary.cast(pa.large_string()))
    numbered = pl.DataFrame({"id": np.arange(1, len(words) + 1), "word": words, "count": np.bincount(ids)})
    return numbered, tokens, len(starts)


def _word_bucket(words: pl.Series) -> np.ndarray:
    return (words.hash(7) % WORD_BUCKETS).to_numpy().astype(np.int64)


def merge_words(scratch: Path, names: Sequence[str], bucket: int, min_count: int, most: int) -> pl.DataFrame:
    """Words of one bucket with their counts, those that can be in the vocabulary."""

    def add_up(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.group_by("word").agg(pl.col("count").sum())

    paths = [scratch / "words" / name for name in names]
    found = merge(paths, bucket, lambda rows: add_up(rows.select("word", "count")))
    return ranked(found.filter(pl.col("count") >= min_count), most)


def ranked(words: pl.DataFrame, most: int) -> pl.DataFrame:
    """The most frequent words, ties by the word; `most` 0: all."""
    found = words.sort(["count", "word"], descending=[True, False])
    return found.head(most) if most else found


@functools.lru_cache(maxsize=1)
def vocabulary(path: Path) -> pl.DataFrame:
    """`word` and `id` of every word of the model."""
    words = pl.read_parquet(path)["word"]
    return pl.DataFrame({"word": words, "id": np.arange(FIRST, FIRST + len(words), dtype=np.uint32)})


def count_chunk(scratch: Path, name: str, order: int, buckets: int) -> Path:
    """Count a chunk's n-grams of the highest order, in buckets of their contexts."""
    words = pl.concat([read_bucket(scratch / "words" / name, b)["word"] for b in range(WORD_BUCKETS)])
    known = vocabulary(scratch / "vocabulary.parquet")
    ids = words.to_frame().join(known, on="word", how="left", maintain_order="left")["id"]
    outside = (words.hash(11) % OUTSIDE).to_numpy().astype(np.uint32) | np.uint32(OUTSIDE)
    of_word = np.where(ids.is_null().to_numpy(), outside, ids.fill_null(0).to_numpy()).astype(np.uint32)
    tokens = pl.read_parquet(scratch / "text" / name)["id"].to_numpy()
    grams = ngrams(np.concatenate([np.array([EOS], np.uint32), of_word])[tokens], order)
    columns = grams.columns
    counted = grams.group_by(columns).agg(actual=pl.len().cast(pl.Int64)).with_columns(ext=pl.lit(0, pl.Int64))
    path = scratch / f"counts{order}" / name
    spill(path, counted, bucket_of([counted[c].to_numpy() for c in columns[:-1]], buckets), buckets)
    return path


def ngrams(ids: np.ndarray, order: int) -> pl.DataFrame:
    """Columns w1 to wN: the n-gram that ends at each word and each </s>, begun with as many <s> as it takes."""
    index = np.arange(len(ids))
    begins = np.zeros(len(ids), np.int64)
    begins[1:] = np.where(ids[:-1] == EOS, index[1:], 0)
    since = index - np.maximum.accumulate(begins)  # words of the sentence before this one
    columns = {}
    for back in range(order - 1, -1, -1):
        shifted = np.concatenate([np.full(back, BOS, np.uint32), ids[: len(ids) - back]])[: len(ids)]
        columns[f"w{order - back}"] = np.where(since >= back, shifted, BOS).astype(np.uint32)
    return pl.DataFrame(columns)
