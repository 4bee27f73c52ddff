"""What the operators that run a CLIP-like model share: its parameters, its towers, its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from ..base import Batch, ByRow, Model, Resources, RowOperator, operator
from ..batch import kept
from .clip import Decode, ImageTower, Precision, TextTower
from .labels import list_file, read_labels
from .weights import SHIPPED, ModelError, model_config, model_folder, weights_files


@operator
class ClipModel(ByRow):
    """Names a model by `model` and `pretrained`; operators that name the same one share its network and its outputs."""

    model: str = Field(
        "ViT-B-32",
        description="a model of open_clip's, a folder with an open_clip_config.json, one that `cupel train` wrote, or "
        "cupel-tiny (shipped)",
    )
    pretrained: str = Field(
        "openai",
        description="a tag of open_clip's (`cupel models list MODEL` shows them) or a file of weights: safetensors, or "
        "a torch file that needs no pickle, for the architecture as it is (QuickGELU: ViT-B-32-quickgelu) and "
        "OpenAI's mean and std. Nothing for a folder or cupel-tiny",
    )
    decode: Decode = Field(
        "full",
        description="full: open_clip's own transform. scaled: a JPEG is decoded at 1/2 to 1/8 of its size where that "
        "is still as large as the model's input; several times faster for large ones",
    )
    precision: Precision = Field(
        "auto",
        description="auto: bf16 on a GPU, fp32 on a CPU; scores differ by 0.002 at most and count as the same, so what "
        "was measured on one is not measured again on the other",
    )

    needs = Resources(gpus=1.0, memory_gb=2.0)

    def __post_init__(self) -> None:
        model_config(self.model)
        if self.model not in SHIPPED and (folder := model_folder(self.model)) is not None:
            object.__setattr__(self, "model", str(folder))  # one name: what a run's model has measured is known by it
        if model_folder(self.model) and self.pretrained not in ("", "openai"):
            raise ValueError(f"{self.model} has its weights with it; leave `pretrained: {self.pretrained}` out")

    @property
    def files(self) -> tuple[Path, ...]:
        return weights_files(self.model, self.pretrained)

    @property
    def image_tower(self) -> ImageTower:
        """Images to unit vectors."""
        return ImageTower(model=self.model, pretrained=self.pretrained, precision=self.precision, decode=self.decode)

    @property
    def text_tower(self) -> TextTower:
        """Texts to unit vectors."""
        return TextTower(model=self.model, pretrained=self.pretrained, precision=self.precision)


@operator
class ClipOperator(ClipModel, RowOperator):
    """Measures rows by a CLIP-like model."""


@operator
class ImageClipOperator(ClipOperator):
    """Looks at images only, or at their embeddings where an earlier step kept them."""

    column: str | None = Field(
        None,
        description="a column of image embeddings of this model that an earlier step kept (pair.clip_similarity with "
        "`embeddings: true`): no image is decoded and no network runs over it",
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column or "image",)

    @property
    def models(self) -> tuple[Model, ...]:
        return () if self.column else (self.image_tower,)

    def vectors(self, batch: Batch) -> np.ndarray:
        """Unit vectors (rows, embed_dim) fp32; NaN where the image fails."""
        if self.column is None:
            return batch.run(self.image_tower)
        kept, width = batch.column(self.column), self.image_tower.width
        if not (pa.types.is_list(kept.type) or pa.types.is_fixed_size_list(kept.type)):
            raise ModelError(f"column {self.column!r} holds {kept.type}, and no embeddings")
        found = np.asarray(kept.flatten(), np.float32).reshape(len(kept), -1)
        if len(found) and found.shape[1] != width:
            raise ModelError(f"column {self.column!r} has {found.shape[1]} numbers a row; {self.model} has {width}")
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)


@operator
class LabelOperator(ImageClipOperator):
    """Compares images with the texts of some labels."""

    labels: str | tuple[str, ...] = Field(
        "coco_objects", description="a list of labels, a text file with one a line, or the name of a shipped list"
    )
    templates: tuple[str, ...] = Field(("{}",), min_length=1, description="prompts; {} stands for the label")

    def __post_init__(self) -> None:
        super().__post_init__()
        for template in self.templates:
            if "{}" not in template:  # it would be the same for every label
                raise ValueError(f"templates holds {template!r}, which has no {{}} for the label")
        read_labels(self.labels)

    @property
    def files(self) -> tuple[Path, ...]:
        lists = (list_file(self.labels),) if isinstance(self.labels, str) else ()
        return (*super().files, *lists)

    @property
    def models(self) -> tuple[Model, ...]:
        return (*super().models, self.text_tower)

    def cosines(self, batch: Batch) -> np.ndarray:
        """Cosine of each image and each label (rows, labels)."""
        names, _ = read_labels(self.labels)
        found: np.ndarray = self.vectors(batch) @ label_vectors(batch, self.text_tower, names, self.templates).T
        return found


def label_vectors(batch: Batch, tower: TextTower, labels: tuple[str, ...], templates: tuple[str, ...]) -> np.ndarray:
    """A unit vector a label (labels, embed_dim): the mean over the templates, as CLIP's prompt ensembles; made once."""
    known, key = _label_vectors(), (tower, labels, templates)
    if key not in known:
        prompts = [template.replace("{}", label) for label in labels for template in templates]
        vectors = batch.of_texts(prompts).run(tower)[:, :-1].reshape(len(labels), len(templates), -1).mean(axis=1)
        known[key] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return known[key]


@kept
def _label_vectors() -> dict[tuple[TextTower, tuple[str, ...], tuple[str, ...]], np.ndarray]:
    return {}
