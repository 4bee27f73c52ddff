"""image.zero_shot: which of some labels the image looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ...schemas.sensitive import sounds_unsafe
from ..base import Batch, operator
from ..models._clip_operator import LabelOperator
from ..models.labels import read_labels

SAFETY_LISTS: Final = ("laion_nsfw", "laion_underage")


@operator
class ZeroShot(LabelOperator):
    """CLIP's zero-shot classification: the label whose text is nearest to the image, with its probability.

    A label's vector is the mean of its prompts' (one a template); probabilities are softmax(cosine / temperature) over
    the labels (Radford et al., arXiv:2103.00020, 3.1). `watch` names labels one is on the look-out for:
    `zero_shot_watched` counts those among the two best, which is LAION-400M's tag with `labels: laion_nsfw`: 0 is
    UNLIKELY, 1 UNSURE, 2 NSFW (its own template is the bare label). `zero_shot_scores` has all cosines, so that
    another rule needs no second pass. Shipped lists: laion_nsfw, laion_underage, laion_animals (LAION-400M's, with the
    comma that was missing in its code put in), watermark, coco_objects.
    """

    watch: tuple[str, ...] = Field((), description="labels to count in zero_shot_watched; shipped lists have their own")
    temperature: float = Field(0.01, gt=0, description="CLIP's learned one is 0.01")

    @property
    def adds(self) -> tuple[pa.Field, ...]:
        watched = "how many of these two labels are watched for"
        scores = "cosine of the image and each label, in the list's order"
        sensitive = "blur: >= 1" if self._watches_for_unsafe else ""
        return (
            field("zero_shot_label", pa.string(), "the label nearest to the image"),
            field("zero_shot_second", pa.string(), "the label next to it"),
            field("zero_shot_probability", pa.float32(), "probability of the nearest label", range="0 to 1"),
            field("zero_shot_watched", pa.int8(), watched, range="0 to 2", sensitive=sensitive),
            field("zero_shot_watched_probability", pa.float32(), "probability of all watched labels", range="0 to 1"),
            field("zero_shot_scores", pa.list_(pa.float32()), scores),
        )

    @cached_property
    def _watches_for_unsafe(self) -> bool:
        """Are pictures in which it finds what it watches for to be blurred where they are shown?"""
        _, watched = read_labels(self.labels)
        return self.labels in SAFETY_LISTS or any(map(sounds_unsafe, self.watch or watched))

    def __post_init__(self) -> None:
        super().__post_init__()
        names, _ = read_labels(self.labels)
        for label in self.watch:
            if label not in names:
                raise ValueError(f"watch names {label!r}, which is none of the labels")

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array | Sequence[object] | np.ndarray]:
        names, watched = read_labels(self.labels)
        scores = self.cosines(batch)
        odds = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.temperature)
        probability = odds / odds.sum(axis=1, keepdims=True)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :2]
        watch = np.isin(names, self.watch or watched)
        return {
            "zero_shot_label": [names[i] for i in best[:, 0]],
            "zero_shot_second": [names[i] for i in best[:, 1]],
            "zero_shot_probability": probability.max(axis=1),
            "zero_shot_watched": watch[best].sum(axis=1).astype(np.int8),
            "zero_shot_watched_probability": probability[:, watch].sum(axis=1),
            "zero_shot_scores": pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), len(names)).cast(
                pa.list_(pa.float32())
            ),
        }
