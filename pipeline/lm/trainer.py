"""Train an n-gram model: `train(texts, out)`, the whole of `cupel lm train`.

What is held whole is the vocabulary, by the driver and by each worker. All else goes through files in a scratch folder
beside OUT (on a cluster, OUT stands on a file system that all nodes share): a task holds a chunk of text (8 MB) or one
bucket of n-grams, of which there are as many as keep a bucket near BUCKET_GRAMS. What shares a bucket shares all words
but one, so that no bucket must grow with the corpus: the n-grams after "of the" are no more than there are words.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import ray
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from ...operators.text._normalise import NORMALISERS
from ..cluster import end_tasks, ray_session
from ..progress import Reporter, Silent
from ..read import RunError
from . import arpa, count, estimate, texts

MAX_ORDER: Final = 6  # KenLM's
BUCKET_GRAMS: Final = 2_000_000


class TrainError(RunError):
    """There is nothing to train from, or an option does not fit. In words for the user."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What was made. `discounts`: D1, D2, D3+ of each order; `fallback`: orders whose counts gave none."""

    out: str
    order: int
    normaliser: str
    sentences: int
    words: int
    vocabulary: int
    ngrams: tuple[int, ...]
    discounts: tuple[tuple[float, ...], ...]
    fallback: tuple[int, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def train(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    order: int = 3,
    prune: Sequence[int] = (),
    normaliser: str = "plain",
    vocab_size: int = 0,
    min_count: int = 1,
    column: str = "text",
    ray_address: str | None = None,
    progress: Reporter | None = None,
) -> Trained:
    """Estimate an interpolated modified Kneser-Ney model of `order` from texts and write it as ARPA (gzip: *.gz).

    `prune`: n-grams seen at most so often are left out, one threshold an order, the last for all higher ones.
    `vocab_size` (0: all) and `min_count` bound the vocabulary. A text is a line, or a cell of a Parquet file's
    `column`; it is one sentence, normalised as `normaliser` says; <s>, </s> and <unk> in it are passed over.
    Raises TrainError; TextError where a text cannot be read.
    """
    began = time.monotonic()
    thresholds = _checked(order, prune, normaliser, vocab_size, min_count)
    target = Path(out)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise TrainError(f"cannot write {target}: {'it is a' if target.is_dir() else 'there is no such'} folder")
    parts = texts.split([Path(path) for path in paths], column)
    with _scratch(target) as scratch, ray_session(ray_address):
        job = _Job(scratch, order, thresholds, progress or Silent())
        encoded = job.read(parts, normaliser)
        chunks = [name for one in encoded for name in one.chunks]
        words = sum(one.words for one in encoded)
        if not chunks:
            raise TrainError(f"no text in {', '.join(map(str, paths))}: nothing but white space")
        job.choose_words(chunks, min_count, vocab_size)
        job.count(chunks, -(-(words + sum(one.sentences for one in encoded)) // BUCKET_GRAMS))
        job.estimate()
        ngrams = job.write(target, normaliser)
        return Trained(
            out=str(target),
            order=order,
            normaliser=normaliser,
            sentences=sum(one.sentences for one in encoded),
            words=words,
            vocabulary=job.size,
            ngrams=tuple(ngrams),
            discounts=tuple(tuple(round(d, 6) for d in amounts) for amounts in job.discounts),
            fallback=job.fallback,
            seconds=round(time.monotonic() - began, 2),
        )


def _checked(order: int, prune: Sequence[int], normaliser: str, vocab_size: int, min_count: int) -> list[int]:
    """A pruning threshold for each order."""
    if not 2 <= order <= MAX_ORDER:
        raise TrainError(f"order is {order}; KenLM reads orders 2 to {MAX_ORDER}")
    if len(prune) > order:
        raise TrainError(f"prune has {len(prune)} thresholds for a model of order {order}")
    if any(threshold < 0 for threshold in prune) or sorted(prune) != list(prune):
        raise TrainError(f"prune is {','.join(map(str, prune))}; thresholds are counts that never fall, as in 0,0,1")
    if normaliser not in NORMALISERS:
        raise TrainError(f"normaliser is {normaliser!r}; there are {', '.join(NORMALISERS)}")
    if vocab_size < 0 or min_count < 1:
        raise TrainError("vocab_size is at least 0 (all words), min_count at least 1")
    return [*prune, *[prune[-1] if prune else 0] * (order - len(prune))]


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Job:
    """The steps in order; what they hand on lies in the scratch folder or fits in a few numbers a word."""

    def __init__(self, scratch: Path, order: int, prune: Sequence[int], progress: Reporter) -> None:
        self.scratch, self.order, self.prune, self.progress = scratch, order, prune, progress
        self.buckets = 1
        self.size = 0
        self.tallies: list[estimate.Tally] = []
        self.unigrams = pl.DataFrame()
        self.discounts: list[tuple[float, float, float]] = []
        self.finals: dict[int, list[Path]] = {}

    def each(self, task: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of a task for each call, in the order of the calls, however many workers there are."""
        remote = ray.remote(task)
        waiting = {remote.remote(*call): i for i, call in enumerate(calls)}
        results: list[Any] = [None] * len(calls)
        try:
            while waiting:
                done, _ = ray.wait(list(waiting))
                results[waiting.pop(done[0])] = ray.get(done[0])
                self.progress.advance(1)
        except RayTaskError as error:
            if isinstance(error.cause, texts.TextError | OSError):  # in words already: a bad file, a full disk
                raise error.cause from None
            raise
        except (WorkerCrashedError, OutOfMemoryError) as error:
            raise TrainError(f"a worker died: {str(error).splitlines()[0]}") from error
        finally:
            end_tasks(waiting)
        return results

    @property
    def range(self) -> range:
        return range(self.buckets)

    def begin(self, stage: str, count: int) -> None:
        self.progress.begin(stage, count, "tasks")

    def read(self, parts: Sequence[texts.Part], normaliser: str) -> list[count.Encoded]:
        self.begin("read texts", len(parts))
        calls = [(self.scratch, part, i, normaliser) for i, part in enumerate(parts)]
        return self.each(count.encode_part, calls)

    def choose_words(self, chunks: Sequence[str], min_count: int, most: int) -> None:
        self.begin("choose words", count.WORD_BUCKETS)
        calls = [(self.scratch, chunks, bucket, min_count, most) for bucket in range(count.WORD_BUCKETS)]
        words = count.ranked(pl.concat(self.each(count.merge_words, calls)), most)
        if words.is_empty():
            raise TrainError(f"no word is seen {min_count} times: lower min_count")
        self.size = words.height
        words.write_parquet(self.scratch / "vocabulary.parquet")

    def count(self, chunks: Sequence[str], buckets: int) -> None:
        """Counts of all orders, from the highest down."""
        self.buckets = buckets
        self.begin("count n-grams", len(chunks))
        paths = self.each(count.count_chunk, [(self.scratch, name, self.order, buckets) for name in chunks])
        self.begin("merge counts", self.order * buckets)
        for n in range(self.order, 1, -1):
            fixed = (buckets, paths, n == self.order, self.prune[n - 1])
            merged = self.each(estimate.merge_counts, [(self.scratch, n, b, *fixed) for b in self.range])
            paths = [path for path, _ in merged]
            self.tallies.insert(0, sum((found for _, found in merged), estimate.Tally()))
        merged = self.each(estimate.merge_unigrams, [(b, paths, self.prune[0]) for b in self.range])
        self.unigrams = pl.concat([words for words, _ in merged])
        self.tallies.insert(0, sum((found for _, found in merged), estimate.Tally()))

    @cached_property
    def fallback(self) -> tuple[int, ...]:
        return tuple(n for n, found in enumerate(self.tallies, 1) if estimate.discounts(found) is None)

    def estimate(self) -> None:
        """Probabilities and backoffs of all orders, from the lowest up."""
        self.discounts = [estimate.discounts(found) or estimate.FALLBACK for found in self.tallies]
        if self.fallback:
            orders = ", ".join(f"{n}-grams" for n in self.fallback)
            self.progress.say(f"too little text to estimate the discounts of {orders}: taking 0.5, 1, 1.5")
        p = estimate.unigram_probabilities(self.unigrams, self.size, self.tallies[0], self.discounts[0])
        np.save(self.scratch / "unigrams.npy", p, allow_pickle=False)
        self.begin("estimate", 2 * (self.order - 1) * self.buckets)
        below: list[Path] = []
        for n in range(2, self.order + 1):
            fixed = (self.buckets, self.discounts[n - 1])
            alone = self.each(estimate.weigh, [(self.scratch, n, b, *fixed) for b in self.range])
            calls = [(self.scratch, n, b, self.buckets, alone, below) for b in self.range]
            below = self.finals[n] = self.each(estimate.interpolate, calls)

    def write(self, out: Path, normaliser: str) -> list[int]:
        """The ARPA file; n-grams of each order."""
        first, words = arpa.write_unigrams(self.scratch, self.buckets)
        segments = [[first]]
        self.begin("write", (self.order - 1) * self.buckets)
        for n in range(2, self.order + 1):
            calls = [(self.scratch, n, b, self.finals[n], n == self.order) for b in self.range]
            segments.append(self.each(arpa.write_segment, calls))
        ngrams = [words, *(found.kept for found in self.tallies[1:])]
        notes = {"normaliser": normaliser, "order": self.order, "prune": ",".join(map(str, self.prune))}
        arpa.assemble(out, notes, ngrams, segments)
        return ngrams
