"""What a document operator that runs a CLIP-like model is told."""

from __future__ import annotations

from pydantic import Field

from ..base import DocumentOperator, Model, operator
from ..models._clip_operator import ClipModel


@operator
class ClipDocumentOperator(ClipModel, DocumentOperator):
    """Measures documents by a CLIP-like model, texts and images."""

    model: str = Field(
        "ViT-L-14",
        description="a model of open_clip's, a folder with an open_clip_config.json, or cupel-tiny (shipped)",
    )

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.image_tower, self.text_tower)
