"""What a document operator that runs a CLIP-like model is told, as `models/_clip_operator.py` has it for rows."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..base import DocumentOperator, Model, Resources, operator
from ..models.clip import Decode, ImageTower, Precision, TextTower
from ..models.weights import model_config, model_folder, weights_files


@operator
class ClipDocumentOperator(DocumentOperator):
    """Names a model by `model` and `pretrained`; operators that name the same one share its network and its outputs."""

    model: str = Field(
        "ViT-L-14",
        description="a model of open_clip's, a folder with an open_clip_config.json, or cupel-tiny (shipped)",
    )
    pretrained: str = Field(
        "openai",
        description="a tag of open_clip's (`cupel models list MODEL` shows them) or a file of weights, as for "
        "pair.clip_similarity. Nothing for a folder or cupel-tiny",
    )
    decode: Decode = Field(
        "full",
        description="full: open_clip's own transform. scaled: a JPEG is decoded at 1/2 to 1/8 of its size where that "
        "is still as large as the model's input; several times faster for large ones",
    )
    precision: Precision = Field(
        "auto", description="auto: bf16 on a GPU, fp32 on a CPU, whose scores differ by 0.002 at most"
    )

    needs = Resources(gpus=1.0, memory_gb=2.0)

    def __post_init__(self) -> None:
        model_config(self.model)
        if model_folder(self.model) and self.pretrained not in ("", "openai"):
            raise ValueError(f"{self.model} has its weights with it; leave `pretrained: {self.pretrained}` out")

    @property
    def files(self) -> tuple[Path, ...]:
        return weights_files(self.model, self.pretrained)

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.image_tower, self.text_tower)

    @property
    def image_tower(self) -> ImageTower:
        """Images to unit vectors."""
        return ImageTower(model=self.model, pretrained=self.pretrained, precision=self.precision, decode=self.decode)

    @property
    def text_tower(self) -> TextTower:
        """Texts to unit vectors."""
        return TextTower(model=self.model, pretrained=self.pretrained, precision=self.precision)
