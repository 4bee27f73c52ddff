"""Images and captions to unit vectors, by whatever model is named: a run's, a folder's, one of open_clip's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ....operators.decode import MAX_PIXELS, Pixels, RowError, decode, read_header
from ....operators.models.weights import SHIPPED, ModelError, architectures, model_folder

if TYPE_CHECKING:
    from ....operators.models.clip import Network

TEXTS: Final = 1024  # tokenised at once


class Encoder(Protocol):
    """What the tasks ask of a model. Vectors are float32 (n, d) of length 1."""

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Vectors of uint8 pixels (n, height, width, 3), in the model's own size."""
        ...

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of captions."""
        ...


@dataclass(kw_only=True)
class ClipEncoder:
    """A model that open_clip can load; fp32 wherever it runs, so that a figure does not hang on the machine."""

    model: str
    pretrained: str = ""
    cut_short: int = 0  # captions so far that were longer than the model's context
    _network: Network = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import torch

        from ....operators.models.clip import Network

        torch.backends.cudnn.allow_tf32 = False  # convolutions on newer GPUs would have 10 bits of mantissa
        self._network = Network(self.model, self.pretrained, "fp32")

    @property
    def device(self) -> str:
        """Where it runs: cpu or cuda."""
        return str(self._network.device)

    def prepared(self, image: bytes) -> np.ndarray:
        """uint8 pixels (height, width, 3) as open_clip's transform makes them. RowError where it cannot be decoded."""
        from ....operators.models.clip import geometry, preprocessing

        transform, (height, width) = geometry(self.model, self.pretrained)
        decoded = decode(image, read_header(image), Pixels())
        growth = max(height, width) / min(decoded.size)
        by_short_side = preprocessing(self.model, self.pretrained).resize_mode == "shortest"
        if by_short_side and decoded.width * decoded.height * growth**2 > MAX_PIXELS:
            raise RowError("too_large", f"{decoded.width} x {decoded.height} pixels, too thin to be resized")
        return np.asarray(transform(decoded))

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """See Encoder."""
        return self._network.images(pixels)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """See Encoder."""
        from ....operators.models.clip import tokenize

        found = [self._network.texts(tokenize(self.model, some)) for some in _parts(list(texts))]
        both = np.concatenate(found)
        self.cut_short += int((both[:, -1] == 1).sum())
        return np.ascontiguousarray(both[:, :-1])


def open_encoder(model: str, pretrained: str = "") -> ClipEncoder:
    """The model of a run folder (RUN/model), of an open_clip folder, cupel-tiny, or open_clip's by name and tag.

    Raises ModelError for what is unknown, missing or damaged, and for a run that has no model yet.
    """
    return ClipEncoder(model=model_of(model), pretrained=pretrained)


def model_of(place: str) -> str:
    """The `model:` that a run's folder, or any name of a model, stands for. ModelError for a path to nothing."""
    if place in SHIPPED or place in architectures():
        return place
    folder = Path(place).expanduser()
    if (found := model_folder(str(folder))) is not None:
        return str(found)
    if not folder.exists() and (os.sep in place or place.startswith((".", "~"))):
        raise ModelError(f"there is no run or model {place}; give a folder that `cupel train --out` wrote")
    return str(folder) if folder.exists() else place  # told in words when it is loaded


def _parts(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), TEXTS):
        yield texts[start : start + TEXTS]
