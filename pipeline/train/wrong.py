"""A hard negative for each caption that allows one: the same for the same caption and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

import numpy as np

from ...schemas.train import Negatives
from .negatives import swap


class WrongCaptions:
    """Token ids of hard negatives."""

    def __init__(self, spec: Negatives, seed: int) -> None:
        self.spec, self.seed = spec, seed

    def __call__(self, texts: list[str], tokenize: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        """Token ids (texts, context length); rows of zeros where there is none."""
        found = [self._of(text) for text in texts]
        ids = tokenize([text or "" for text in found])
        ids[[text is None for text in found]] = 0
        return ids

    def _of(self, text: str) -> str | None:
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8, salt=self.seed.to_bytes(8, "big"))
        rng = Random(int.from_bytes(digest.digest(), "big"))
        if rng.random() >= self.spec.share:
            return None
        for kind in rng.sample(self.spec.kinds, len(self.spec.kinds)):
            if (wrong := swap(text, kind, rng)) is not None:
                return wrong
        return None
