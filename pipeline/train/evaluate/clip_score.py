"""CLIPScore: how well captions fit their images, by a model's own judgement (Hessel et al., arXiv:2104.08718)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .shares import refuse_nan

WEIGHT: Final = 2.5


def clip_scores(image_vectors: np.ndarray, text_vectors: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
    """2.5 * max(cosine, 0) of each caption (m,) with its image, from unit vectors (n, d) and (m, d)."""
    refuse_nan(image_vectors, text_vectors)
    cosines = np.einsum("md,md->m", image_vectors[image_of_text], text_vectors)
    scores: np.ndarray = WEIGHT * np.maximum(cosines, 0.0)
    return scores


def clip_score(
    image_vectors: np.ndarray, text_vectors: np.ndarray, image_of_text: np.ndarray, *, seed: int = 0
) -> dict[str, Any]:
    """The mean over images of their captions' mean, its 95 % interval, and the same with images exchanged at random.

    Each image counts once; the interval is the normal one over images. The mean alone says little: models differ in
    what they call high. `shuffled` is what captions of other images get.
    """
    own = _by_image(clip_scores(image_vectors, text_vectors, image_of_text), image_of_text, len(image_vectors))
    order = np.random.default_rng(seed).permutation(len(image_vectors))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # one cycle: no image keeps its own
    strange = clip_scores(image_vectors, text_vectors, other[image_of_text])
    wide = 1.96 * float(own.std(ddof=1)) / len(own) ** 0.5 if len(own) > 1 else None
    mean = float(own.mean())
    return {
        "value": mean,
        "low": None if wide is None else mean - wide,
        "high": None if wide is None else mean + wide,
        "shuffled": float(_by_image(strange, image_of_text, len(own)).mean()) if len(own) > 1 else None,
        "images": len(own),
        "captions": len(image_of_text),
    }


def _by_image(scores: np.ndarray, image_of_text: np.ndarray, images: int) -> np.ndarray:
    found: np.ndarray = np.bincount(image_of_text, scores, images) / np.bincount(image_of_text, minlength=images)
    return found
