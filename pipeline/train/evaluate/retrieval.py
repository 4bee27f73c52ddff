"""Retrieval between images and captions, several captions an image: R@k both ways and median ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import gammaln

from ...read import CorpusError
from .shares import ranks, refuse_nan, share

KS: Final = (1, 5, 10)
CELLS: Final = 1 << 24  # scores held at once


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Ranks of the right answer, from 1: `image_to_text` (images,) of the best caption, `text_to_image` (captions,)."""

    image_to_text: np.ndarray
    text_to_image: np.ndarray
    captions_of_image: np.ndarray  # (images,)

    def recall(self, k: int) -> tuple[float, float]:
        """R@k of images asking for captions, and of captions asking for images."""
        return float((self.image_to_text <= k).mean()), float((self.text_to_image <= k).mean())

    def as_dict(self, ks: Sequence[int] = KS) -> dict[str, Any]:
        """R@k with chance levels and Wilson's intervals (95 %), for which each image counts once; median ranks."""
        images, texts = len(self.image_to_text), len(self.text_to_image)
        to_text = {f"R@{k}": share(self.recall(k)[0] * images, images, self._chance(k)) for k in ks}
        to_image = {f"R@{k}": share(self.recall(k)[1] * images, images, min(1.0, k / images)) for k in ks}
        return {
            "images": images,
            "captions": texts,
            "image_to_text": {**to_text, "median_rank": float(np.median(self.image_to_text))},
            "text_to_image": {**to_image, "median_rank": float(np.median(self.text_to_image))},
        }

    def _chance(self, k: int) -> float:
        """That one of an image's c captions is among k drawn of m: 1 - C(m - c, k) / C(m, k), averaged."""
        m, others = len(self.text_to_image), len(self.text_to_image) - self.captions_of_image
        if k >= m:
            return 1.0

        def log_choose(n: np.ndarray) -> np.ndarray:
            found: np.ndarray = gammaln(n + 1) - gammaln(np.maximum(n - k, 0) + 1) - gammaln(k + 1)
            return found

        none = np.where(others < k, 0.0, np.exp(log_choose(others) - log_choose(np.array(m))))
        return float(1 - none.mean())


def recalls(
    image_vectors: np.ndarray,
    text_vectors: np.ndarray,
    image_of_text: np.ndarray,
    *,
    same_text: np.ndarray | None = None,
) -> Retrieval:
    """Ranks from unit vectors (n, d) of images and (m, d) of captions; image_of_text (m,) is each caption's image.

    CLIP_benchmark's formulas (metrics/zeroshot_retrieval.py): an image is answered by any of its own captions, a
    caption by its own image, and nothing else, though another image may have the very same caption. With `same_text`
    (m,), equal where two captions are equal, such captions and images count as right too. Of equal scores the first
    in order wins. TrainError where a vector is not a number; CorpusError where an image has no caption.
    """
    refuse_nan(image_vectors, text_vectors)
    owner = np.asarray(image_of_text)
    counts = np.bincount(owner, minlength=len(image_vectors))
    if not len(counts) or not counts.all():
        raise CorpusError(f"retrieval needs images with captions; {int((counts == 0).sum()) or 'all'} have none")
    said = np.arange(len(owner)) if same_text is None else np.unique(same_text, return_inverse=True)[1]
    each = np.arange(len(counts))
    return Retrieval(
        image_to_text=_best_ranks(image_vectors, text_vectors, each, said, owner, said),
        text_to_image=_best_ranks(text_vectors, image_vectors, said, each, said, owner),
        captions_of_image=counts,
    )


def _best_ranks(
    queries: np.ndarray, answers: np.ndarray, asking: np.ndarray, named: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Rank of each query's best right answer; a part of the scores at a time.

    Query q stands for asking[q], answer a for named[a]; a is right for q where some link (left[i], right[i]) joins
    these two. So equal captions, which stand for the same, share their answers.
    """
    rows = max(1, CELLS // len(answers))
    found = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        keys, key = np.unique(asking[part], return_inverse=True)
        mine = np.isin(left, keys)
        linked = np.zeros((len(keys), int(named.max()) + 1), bool)
        linked[np.searchsorted(keys, left[mine]), right[mine]] = True
        scores = queries[part] @ answers.T
        best = np.where(linked[key][:, named], scores, -np.inf).argmax(axis=1)
        found[part] = ranks(scores, best)
    return found
