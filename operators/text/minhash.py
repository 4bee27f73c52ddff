"""text.minhash: what near-duplicate texts have in common, as a few numbers to join on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._code_points import slices
from ._shingles import Numbers, Unit, mixed, random_numbers, shingles

Preset = Literal["fineweb", "refinedweb", "dclm"]
PRESETS: Final[dict[Preset, tuple[int, int]]] = {"fineweb": (14, 8), "refinedweb": (450, 20), "dclm": (93, 15)}


@operator
class Minhash(RowOperator):
    """MinHash band digests: two texts share one with probability 1 - (1 - s^rows)^bands, s being their Jaccard index.

    s is the share of n-grams that two texts have in common, of all that either has. A signature is `bands` x `rows`
    minima over a text's n-grams, each under a hash function of its own; a digest (64 bits) stands for one band's minima
    (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4). Presets, all for n-grams of 5 words:

    - fineweb: 14 x 8 (arXiv:2406.17557, datatrove); finds 56, 77, 92 and 99 % at s = 0.70, 0.75, 0.80 and 0.85.
    - refinedweb: 450 x 20 (arXiv:2306.01116, after arXiv:2107.06499); 30, 76, 99.5 and 100 %, in 40 times the time.
    - dclm: 93 x 15 (arXiv:2406.11794, its MinHash runs); 36, 71, 96 and 100 %, in 7 times the time.

    Before n-grams are taken, texts are made alike as datatrove's `simplify_text` does: lower case, without accents, a
    number is 0, punctuation parts words. Beyond it: compatible forms are one (NFKD), symbols and emoji part words too,
    invisible characters go. A word is a run of letters, spacing marks and numbers; in scripts that are written without
    spaces (Han, kana, Thai, Lao, Khmer, Myanmar) each character is a word, where datatrove has a tokenizer for each
    language. On ASCII texts these are its words, but for contractions that spaCy splits ("cannot").

    Null for a text with fewer words than `ngram` (or, with `unit: characters`, fewer characters): it is never a
    duplicate, as in datatrove. Captions are short and differ in little: 13 % of web captions have fewer than 5 words,
    and "1964 Yearbook" is not "1965 Yearbook". For them try `unit: characters, ngram: 8, numbers: keep`: of captions
    with one word changed it finds 48 % instead of 23 %, but also some of one template ("Kite Royalty Free Stock
    Photos"), which more `rows` make rarer (infra/bench/minhash.py --edits).
    """

    preset: Preset | None = Field(
        None, description="bands and rows as published; fineweb unless `bands` and `rows` are"
    )
    bands: int | None = Field(None, ge=1, le=1000, description="digests a text; with `rows`, instead of a preset")
    rows: int | None = Field(None, ge=1, le=100, description="minima in a band; with `bands`, instead of a preset")
    ngram: int = Field(5, ge=1, le=100, description="words, or characters, in an n-gram")
    unit: Unit = Field("words", description="what n-grams are of: words or characters (one space between words)")
    numbers: Numbers = Field("zero", description="zero: all numbers are one word, as for datatrove; keep: as they are")
    seed: int = Field(1, ge=0, lt=2**63, description="of the hash functions; digests of two seeds never compare")

    reads = ("text",)

    def __post_init__(self) -> None:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("bands and rows go together: give both, or a preset")
        if self.preset is not None and self.bands is not None:
            raise ValueError(f"preset {self.preset} has its own bands and rows: leave out one or the other")

    @property
    def _shape(self) -> tuple[int, int]:
        """Bands, and rows of each."""
        return PRESETS[self.preset or "fineweb"] if self.bands is None or self.rows is None else (self.bands, self.rows)

    @property
    def adds(self) -> tuple[pa.Field, ...]:
        bands, rows = self._shape
        doc = f"a digest for each band of {rows} minima over n-grams of {self.ngram} {self.unit}; null without any"
        return (field("minhash", pa.list_(pa.uint64(), bands), doc, unit="64 bits each"),)

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        hashes, counts = shingles(pl.Series(batch.column("text")), self.unit, self.numbers, self.ngram)
        bands, rows = self._shape
        digests = np.zeros((len(counts), bands), np.uint64)
        digests[counts > 0] = band_digests(hashes, counts[counts > 0], bands, rows, self.seed)
        return {"minhash": pa.FixedSizeListArray.from_arrays(digests.ravel(), bands, mask=pa.array(counts == 0))}


def band_digests(hashes: np.ndarray, counts: np.ndarray, bands: int, rows: int, seed: int) -> np.ndarray:
    """Digests (uint64) [texts, bands] of texts with `counts` shingle hashes (uint32) each, none without.

    The digest of a band's minima m is mixed(sum of w_i m_i + b) modulo 2^64 with random odd w, and a random b for each
    band: different minima share a digest with a probability near 2^-64, whether of one band or of two.
    """
    factors, offsets = permutations(seed, bands * rows)
    weights, salts = np.split(random_numbers(seed, bands * rows + rows + bands)[bands * rows :], [rows])
    starts = np.cumsum(counts) - counts
    found = np.empty((len(counts), bands), np.uint64)
    for part in slices(counts):
        first, after = starts[part.start], starts[part.stop - 1] + counts[part.stop - 1]
        sums = np.repeat(salts[:, None], part.stop - part.start, axis=1)
        for i, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
            least = minima(hashes[first:after], starts[part] - first, factor, offset)
            sums[i // rows] += least * (weights[i % rows] | np.uint64(1))
        found[part] = mixed(sums).T
    return found


def permutations(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and offsets (uint32) of `count` permutations of the numbers below 2^32: x -> factor x + offset.

    32 bits and no prime modulus, because processors do that on eight or sixteen numbers at once. No such family is
    min-wise independent; over hashes, which are random, it is as far as 100,000 pairs of texts show, of 5 shingles or
    of 1,700. Hashes that meet by chance raise s by about (shingles of a text) / 2^32.
    """
    numbers = random_numbers(seed, count)
    return (numbers >> np.uint64(32)).astype(np.uint32) | np.uint32(1), numbers.astype(np.uint32)


def minima(hashes: np.ndarray, starts: np.ndarray, factor: np.uint32, offset: np.uint32) -> np.ndarray:
    """The least value (uint32) of each text under one permutation; texts begin at `starts`."""
    values = hashes * factor
    values += offset
    least: np.ndarray = np.minimum.reduceat(values, starts)
    return least
