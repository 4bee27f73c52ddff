"""What a trained model can do, in the few numbers that arms are compared by. Evaluation data is read once a process."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np

from ....operators.decode import RowError
from ..evaluate.blind import by_captions, by_english
from ..evaluate.compositional import TIED, Items, make_items, wins
from ..evaluate.data import ClassFolder, Pairs
from ..evaluate.encoder import ClipEncoder, open_encoder
from ..evaluate.retrieval import recalls
from ..evaluate.zero_shot import TEMPLATES, class_vectors, zero_shot_accuracy
from ..negatives import KINDS
from .held_out import open_classes, open_pairs, unreadable
from .recipe import Evaluation

NEGATIVES: Final = 1000  # of a kind
HEADLINES: Final = ("zs_top1", "i2t_R@1", "t2i_R@1")  # fixed beforehand: these three decide
METRICS: Final = ("zs_top1", "i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10", "comp_acc")


class Judge:
    """Holds the evaluation data decoded, at the size of the first model: all have the same."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self._pixels: dict[str, np.ndarray] = {}

    def __call__(self, model: str) -> dict[str, float]:
        """metric -> share, 0 to 1."""
        encoder = open_encoder(model)
        found: dict[str, float] = {}
        if self._classes is not None:
            prompts = self.evaluation.prompts or TEMPLATES
            images = encoder.images(self._prepared(encoder, self._classes))
            vectors = class_vectors(encoder, self._classes.names, prompts)
            found["zs_top1"] = zero_shot_accuracy(images, vectors, self._classes.labels).top1
        pixels = self._prepared(encoder, self._pairs)  # before the texts: they are read with the images
        images, texts = encoder.images(pixels), encoder.texts(self._pairs.texts)
        owner, same = np.array(self._pairs.image_of_text), np.unique(self._pairs.texts, return_inverse=True)[1]
        ranks = recalls(images, texts, owner, same_text=same)
        for k in (1, 5, 10):
            found[f"i2t_R@{k}"], found[f"t2i_R@{k}"] = ranks.recall(k)
        if self._wrong:
            found["comp_acc"] = float(np.mean([self._knows(encoder, images, texts, items) for items in self._wrong]))
        return {name: found[name] for name in METRICS if name in found}

    @property
    def grains(self) -> dict[str, float]:
        """metric -> what one image or caption more is worth; once a model has been judged, or `blind` was asked for."""
        found = {} if self._classes is None else {"zs_top1": 1 / len(self._classes.labels)}
        for k in (1, 5, 10):
            found[f"i2t_R@{k}"] = 1 / (max(self._pairs.image_of_text) + 1)
            found[f"t2i_R@{k}"] = 1 / len(self._pairs.texts)
        if self._wrong:
            found["comp_acc"] = 1 / len(self._wrong) / min(len(items.negatives) for items in self._wrong)
        return found

    @cached_property
    def blind(self) -> float | None:
        """`comp_acc` of the better of two models that see texts alone; None where no caption has a negative."""
        if not self._pairs.texts:
            for _ in self._pairs.images():  # texts are read with the images
                pass
        owner, best = np.array(self._pairs.image_of_text), []
        for items in self._wrong:
            own, of = [self._pairs.texts[i] for i in items.captions], owner[items.captions]
            by_own, by_wrong = (by_captions(self._pairs.texts, owner, each, of) for each in (own, items.negatives))
            english = wins(by_english(own), by_english(items.negatives))
            best.append(max(wins(by_own, by_wrong).mean(), english.mean()))
        return float(np.mean(best)) if best else None

    @cached_property
    def _wrong(self) -> list[Items]:
        """Captions with negatives, of each kind that fits any: accuracy is averaged over kinds."""
        made = (make_items(self._pairs.texts, kind, most=NEGATIVES) for kind in KINDS)
        return [items for items in made if items.negatives]

    def _knows(self, encoder: ClipEncoder, images: np.ndarray, texts: np.ndarray, items: Items) -> float:
        """Share of captions that are nearer to their image than their negatives are."""
        pictures = images[np.array(self._pairs.image_of_text)[items.captions]]
        right = np.einsum("id,id->i", pictures, texts[items.captions])
        wrong = np.einsum("id,id->i", pictures, encoder.texts(items.negatives))
        return float(wins(right, wrong, TIED).mean())

    @cached_property
    def _pairs(self) -> Pairs:
        return open_pairs(self.evaluation)

    @cached_property
    def _classes(self) -> ClassFolder | None:
        return open_classes(self.evaluation)

    def _prepared(self, encoder: ClipEncoder, data: ClassFolder | Pairs) -> np.ndarray:
        """uint8 (n, height, width, 3). TrainError for an image that cannot be read, decoded or resized."""
        if data.place not in self._pixels:
            found = []
            for number, image in data.images():
                if not isinstance(image, bytes):
                    raise unreadable(data, number, image)
                try:
                    found.append(encoder.prepared(image))
                except RowError as error:
                    raise unreadable(data, number, error) from error
            self._pixels[data.place] = np.stack(found)
        return self._pixels[data.place]
