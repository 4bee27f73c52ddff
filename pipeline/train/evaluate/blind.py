"""Text-only models, which see no picture: what they get right in a test of pictures, the test's captions give away.

Two of them, since either alone may be too weak: trigrams of the very captions, trained on one half of the images and
asked about the other, and cupel-en, which knows common English.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from ....operators.models.ngram import Scorer, load, shipped_model
from ....operators.text._normalise import NORMALISERS

_TOKEN: Final = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_START: Final = "<s>"
_END: Final = "</s>"


class Trigrams:
    """An interpolated trigram model with Witten and Bell's weights (1991): a context's weight is c / (c + types)."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._one: Counter[str] = Counter()
        self._two: dict[str, Counter[str]] = defaultdict(Counter)
        self._three: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for text in texts:
            for before, (last, word) in zip(_tokens(text), pairwise(_tokens(text)[1:]), strict=False):
                self._one[word] += 1
                self._two[last][word] += 1
                self._three[before, last][word] += 1
        self._total = self._one.total()
        self._sums = {key: some.total() for key, some in [*self._two.items(), *self._three.items()]}

    def log_p(self, text: str) -> float:
        """Natural logarithm of the text's probability, its end included; an unknown word is one of one more type."""
        tokens = _tokens(text)
        words = zip(tokens, pairwise(tokens[1:]), strict=False)
        return sum(math.log(self._p(before, last, word)) for before, (last, word) in words)

    def _p(self, before: str, last: str, word: str) -> float:
        types = len(self._one)
        p = (self._one[word] + types / (types + 1)) / (self._total + types) if types else 1.0
        for key, seen in ((last, self._two.get(last)), ((before, last), self._three.get((before, last)))):
            if seen is not None:
                p = (seen[word] + len(seen) * p) / (self._sums[key] + len(seen))
        return p


def _tokens(text: str) -> list[str]:
    return [_START, _START, *_TOKEN.findall(text.lower()), _END]


def by_captions(texts: Sequence[str], image_of_text: np.ndarray, asked: Sequence[str], of: np.ndarray) -> np.ndarray:
    """Log-probabilities (asked,) of texts that belong to images `of`, by the captions of the images' other half."""
    own = np.asarray(image_of_text) % 2
    models = [Trigrams(texts[i] for i in np.flatnonzero(own != half).tolist()) for half in (0, 1)]
    return np.array([models[image % 2].log_p(text) for text, image in zip(asked, of, strict=True)])


@functools.cache
def _english() -> Scorer:
    return load(shipped_model())


def by_english(texts: Sequence[str]) -> np.ndarray:
    """Log10-probabilities (texts,) by cupel-en."""
    model = _english()
    lines = NORMALISERS["words"](pl.Series(list(texts), dtype=pl.String)).to_list()
    return np.array([model.score(line) for line in lines])
