"""Zero-shot classification: the class whose prompts lie nearest to an image (Radford et al., arXiv:2103.00020, 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .encoder import Encoder
from .shares import ranks, refuse_nan, share

# Plain ones, since what is trained on alt texts and drawn captions never saw most of CLIP's 80.
TEMPLATES: Final = (
    "{}",
    "a {}",
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}",
    "a drawing of a {}",
    "a close-up photo of a {}.",
    "a good photo of a {}.",
)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of images whose class came first, or among the first five; and the first averaged over classes."""

    top1: float
    top5: float
    mean_per_class: float
    images: int
    classes: int  # that could be chosen
    hits1: int
    hits5: int

    def as_dict(self) -> dict[str, Any]:
        """With chance levels and Wilson's intervals (95 %)."""
        chance1, chance5 = 1 / self.classes, min(1.0, 5 / self.classes)
        return {
            "images": self.images,
            "classes": self.classes,
            "top1": share(self.hits1, self.images, chance1),
            "top5": share(self.hits5, self.images, chance5),
            "mean_per_class": {"value": self.mean_per_class, "chance": chance1},
        }


def class_vectors(
    encoder: Encoder, names: Sequence[str], templates: Sequence[str] = TEMPLATES, *, rows: int = 4096
) -> np.ndarray:
    """Unit vectors (classes, d): the mean of each class's unit prompt vectors, made a unit again."""
    prompts = [template.replace("{}", name) for name in names for template in templates]
    vectors = np.concatenate([encoder.texts(prompts[i : i + rows]) for i in range(0, len(prompts), rows)])
    means = vectors.reshape(len(names), len(templates), -1).mean(axis=1)
    found: np.ndarray = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return found


def zero_shot_accuracy(image_vectors: np.ndarray, class_vectors: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Accuracy of unit vectors (n, d) and (classes, d) for labels (n,). TrainError where a vector is not a number.

    CLIP_benchmark's formulas (metrics/zeroshot_classification.py), and its mean per-class recall; of equal scores the
    class that is listed first wins. Classes without an image count as choices, not in the mean.
    """
    refuse_nan(image_vectors, class_vectors)
    labels = np.asarray(labels)
    return accuracy(image_vectors @ class_vectors.T, labels)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Accuracy of scores (n, classes)."""
    found = ranks(logits, labels)
    first, five = found <= 1, found <= 5
    per_class = [float(first[labels == label].mean()) for label in np.unique(labels)]
    return Accuracy(
        top1=float(first.mean()),
        top5=float(five.mean()),
        mean_per_class=float(np.mean(per_class)),
        images=len(labels),
        classes=logits.shape[1],
        hits1=int(first.sum()),
        hits5=int(five.sum()),
    )
