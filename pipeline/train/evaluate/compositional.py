"""Does the model know a caption from one that says something else in the same words? Pairs made by `negatives.py`.

As ARO asks (arXiv:2210.01936): of a caption and its negative the right one must be nearer to the image. Because many
such tests can be passed without looking (SugarCrepe, arXiv:2306.14610), what text-only models get right stands beside
each figure: a model has shown something only where it does better than those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np

from ..negatives import KINDS, Kind, swap
from .blind import by_captions, by_english
from .encoder import Encoder
from .shares import Share, refuse_nan, share

ITEMS: Final = 5000  # of a kind, at most
TIED: Final = 1e-6  # cosines so near are equal: the two texts were the same to the model, which had cut them short
SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Items:
    """Captions, by number, and the wrong one for each."""

    captions: np.ndarray  # int64 (items,)
    negatives: tuple[str, ...]


def make_items(texts: Sequence[str], kind: Kind, *, seed: int = 0, most: int = ITEMS) -> Items:
    """The captions that a rule fits, with their negatives: a function of each caption and the seed."""
    order = list(range(len(texts)))
    Random(seed).shuffle(order)
    found: dict[int, str] = {}
    for i in order:
        if len(found) == most:
            break
        wrong = swap(texts[i], kind, Random(f"{seed} {kind} {texts[i]}"))
        if wrong is not None:
            found[i] = wrong
    chosen = sorted(found)
    return Items(captions=np.array(chosen, np.int64), negatives=tuple(found[i] for i in chosen))


def wins(right: np.ndarray, wrong: np.ndarray, tied: float = 0.0) -> np.ndarray:
    """1 where the right one scores higher, 0 where lower, 1/2 where they are equal."""
    found: np.ndarray = np.where(np.abs(right - wrong) <= tied, 0.5, (right > wrong).astype(float))
    return found


def compositional(
    encoder: Encoder,
    image_vectors: np.ndarray,
    text_vectors: np.ndarray,
    texts: Sequence[str],
    image_of_text: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """kind -> accuracy of the model and of the blind ones, with 95 % intervals, ties and some of the pairs.

    Vectors are unit ones, (n, d) of images and (m, d) of the captions `texts`. Kinds that fit no caption have no items.
    """
    refuse_nan(image_vectors, text_vectors)
    made = {kind: make_items(texts, kind, seed=seed) for kind in KINDS}
    return {
        kind: _one_kind(encoder, image_vectors, text_vectors, texts, image_of_text, items)
        for kind, items in made.items()
    }


def _one_kind(
    encoder: Encoder,
    image_vectors: np.ndarray,
    text_vectors: np.ndarray,
    texts: Sequence[str],
    image_of_text: np.ndarray,
    items: Items,
) -> dict[str, Any]:
    if not items.negatives:
        return {"items": 0}
    images = image_of_text[items.captions]
    pictures = image_vectors[images]
    negatives = encoder.texts(list(items.negatives))
    refuse_nan(negatives)
    right = np.einsum("id,id->i", pictures, text_vectors[items.captions])
    wrong = np.einsum("id,id->i", pictures, negatives)
    own = [texts[i] for i in items.captions]
    owners = images.tolist()
    by_own, by_negatives = (by_captions(texts, image_of_text, some, images) for some in (own, items.negatives))
    blind = {"captions": wins(by_own, by_negatives), "cupel_en": wins(by_english(own), by_english(items.negatives))}
    judged = wins(right, wrong, TIED)
    return {
        "items": len(own),
        "images": len(set(owners)),
        "accuracy": _share(judged, owners),
        "ties": int((judged == 0.5).sum()),
        "blind": {name: _share(found, owners) for name, found in blind.items()},
        "examples": [{"caption": a, "negative": b} for a, b in list(zip(own, items.negatives, strict=True))[:SHOWN]],
    }


def _share(found: np.ndarray, owners: Sequence[int]) -> Share:
    """The mean; its interval is that of as many answers as there are images, since an image's captions are alike."""
    n = len(set(owners))
    return share(float(found.mean()) * n, n, 0.5)
