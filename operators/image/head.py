"""image.head: what a small network on top of CLIP makes of an image: aesthetic, NSFW, watermark scores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, operator
from ..models._clip_operator import ImageClipOperator
from ..models.weights import ModelError

Layer = tuple[np.ndarray, np.ndarray]  # weight (out, in) and bias (out)


@operator
class Head(ImageClipOperator):
    """A linear or MLP head over the image's unit vector, in fp32.

    `path` is safetensors, or a torch file of tensors alone; its weights and biases are taken in the order of their
    numbers (`layers.0.weight`, `layers.0.bias`, `layers.2.weight`, ...). The activation stands between the layers and
    is no part of the file: LAION's aesthetic predictor (`sac+logos+ava1-l14-linearMSE`, over ViT-L-14/openai) has none,
    its NSFW and watermark MLPs have relu; `output` turns the last layer into a probability. Give the column a
    name of its own: `as: {head_score: aesthetic}`. LAION-aesthetic keeps 4.5, 5, 6 and more, LAION calls punsafe > 0.5
    unsafe and pwatermark > 0.8 watermarked.
    """

    path: str = Field(min_length=1, description="file of weights: safetensors, or a torch file that needs no pickle")
    activation: Literal["none", "relu", "gelu"] = Field("none", description="between the layers")
    output: Literal["none", "sigmoid", "softmax"] = Field("none", description="after the last layer")
    index: int = Field(0, ge=0, description="which of the last layer's numbers is the score")

    adds = (field("head_score", pa.float32(), "what the head says of the image", unit="the head's"),)

    @property
    def files(self) -> tuple[Path, ...]:
        if not Path(self.path).is_file():
            raise ModelError(f"there is no head {self.path!r}")
        return (*super().files, Path(self.path))

    def setup(self) -> None:
        _ = self._layers

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        x = self.vectors(batch)
        for i, (weight, bias) in enumerate(self._layers):
            if i:
                x = _activate(x, self.activation)
            x = x @ weight.T + bias
        return {"head_score": _finish(x, self.output)[:, self.index]}

    @cached_property
    def _layers(self) -> list[Layer]:
        layers = read_layers(Path(self.path))
        width = self.image_tower.width
        for i, (weight, bias) in enumerate(layers):
            if weight.ndim != 2 or bias.shape != weight.shape[:1]:
                shapes = f"a weight of {weight.shape} and a bias of {bias.shape}"
                raise ModelError(f"{self.path}: layer {i} has {shapes}: no linear layer")
            if weight.shape[1] != width:
                before = f"{self.model}'s embedding" if i == 0 else f"layer {i - 1}"
                raise ModelError(f"{self.path}: layer {i} takes {weight.shape[1]} numbers, and {before} has {width}")
            width = len(weight)
        if self.index >= width:
            raise ModelError(f"{self.path} gives {width} numbers, so there is no index {self.index}")
        return layers


def read_layers(path: Path) -> list[Layer]:
    """The linear layers of a file, in the order of their numbers. Raises ModelError."""
    try:
        tensors = _read_tensors(path)
    except Exception as error:
        why = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ModelError(f"the head {path} cannot be read: {why[0]}") from error
    weights = sorted((name for name in tensors if name.endswith("weight")), key=_by_numbers)
    if not weights:
        raise ModelError(f"the head {path} holds no weights (it holds {', '.join(tensors) or 'nothing'})")
    layers = [(tensors[name], tensors.get(name.removesuffix("weight") + "bias")) for name in weights]
    return [(w, b if b is not None else np.zeros(len(w), np.float32)) for w, b in layers]


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        found: object = load_file(path)
    else:
        found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict):
        found = found.get("state_dict", found)
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, and no tensors by name")
    return {name: tensor.float().numpy() for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """`layers.10.weight` comes after `layers.2.weight`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[._]", name)]


def _activate(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "relu":
        return np.asarray(np.maximum(x, 0))
    if kind == "gelu":
        from scipy.special import erf

        return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2))), np.float32)
    return x


def _finish(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "sigmoid":
        from scipy.special import expit

        return np.asarray(expit(x))
    if kind == "softmax":
        odds = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))
    return x
