"""pair.label_agreement: does the caption name what a classifier sees in the image?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, operator
from ..models._clip_operator import LabelOperator
from ..models.labels import read_labels


@operator
class LabelAgreement(LabelOperator):
    """How many of the `top` labels that the image looks most like are named in the caption.

    CC3M keeps a pair if at least one of 5 to 20 labels of an image classifier occurs in the caption, both stemmed
    (Sharma et al. 2018, section 3). `named_label_rank` is the other side: where the best label that the caption names
    stands among all labels by the image; a caption that names a dog above an image for which `dog` ranks 70th
    disagrees with it (null: the caption names no label of the list, and nothing can be said).

    A label is named where its words stand in the caption one after the other, in any case, singular or plural;
    `sofa, couch` is one label with two names.
    """

    top: int = Field(5, ge=1, description="labels that count as seen in the image")
    templates: tuple[str, ...] = Field(
        ("a photo of a {}",), min_length=1, description="prompts; {} stands for the label"
    )

    adds = (
        field("labels_seen", pa.list_(pa.string()), "the labels that the image looks most like, nearest first"),
        field("labels_agreeing", pa.int16(), "how many of them the caption names", unit="labels"),
        field("named_label_rank", pa.int32(), "rank by the image of the best label that the caption names", unit="1.."),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (*super().reads, "text")

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[object] | np.ndarray]:
        names, _ = read_labels(self.labels)
        order = np.argsort(-self.cosines(batch), axis=1, kind="stable")
        ranks: list[int | None] = []
        agreeing = []
        for text, places in zip(batch.column("text").to_pylist(), order, strict=True):
            words = f" {' '.join(_stems(text))} "
            named = [rank for rank, i in enumerate(places, 1) if any(f" {n} " in words for n in _variants(names[i]))]
            agreeing.append(sum(rank <= self.top for rank in named))
            ranks.append(named[0] if named else None)
        return {
            "labels_seen": [[names[i] for i in places[: self.top]] for places in order],
            "labels_agreeing": agreeing,
            "named_label_rank": ranks,
        }


@cache
def _variants(label: str) -> tuple[str, ...]:
    """The label's names, their words stemmed."""
    return tuple(" ".join(_stems(name)) for name in label.split(",") if _stems(name))


def _stems(text: str) -> list[str]:
    """Words in lower case and in the singular: enough for names of things, and the same on both sides."""
    return [_singular(word) for word in re.findall(r"\w+", text.casefold())]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith("ives"):
        return word[:-3] + "fe"
    if len(word) > 4 and re.search("(ss|us|x|zz|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")) else word
