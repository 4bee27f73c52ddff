"""pair.clip_similarity: does the caption say what the image shows?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, Model, operator
from ..models._clip_operator import ClipOperator
from ..models.weights import model_config


@operator
class ClipSimilarity(ClipOperator):
    """The cosine between the image's and the caption's embeddings by a CLIP-like model (CLIPScore is 2.5 times that).

    Equal to open_clip's own transform and towers on the same pixels within 1e-5 in fp32 and 2e-3 in bf16. Thresholds
    belong to a model: LAION keeps 0.28 and more by OpenAI's ViT-B-32, DataComp's best 30 % are 0.281 and more by that
    and 0.243 by ViT-L-14 (arXiv:2304.14108, table 16). Images are decoded upright, transparency on white, as all
    operators see them; captions longer than the model's context (77 tokens) are cut as open_clip does, and told
    (but for tokenizers of transformers, which do not say).

    Several captions of an image, and other operators that name the same model, share its one pass through the image
    tower. `decode: scaled` moved cupel-tiny's scores by 0.005 on average (95 % of them by less than 0.02; correlation
    0.999) and those of an untrained ViT-B-32 by 0.0001 (0.002 at most): use it for the whole corpus or not at all.
    """

    embeddings: bool = Field(
        False,
        description="also keep both unit vectors (fp16): for image.head and image.zero_shot later, and for search",
    )

    reads = ("image", "text")

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.image_tower, self.text_tower)

    @property
    def adds(self) -> tuple[pa.Field, ...]:
        scores = (
            field("clip_similarity", pa.float32(), "cosine of image and caption", range="-1 to 1"),
            field("clip_truncated", pa.bool_(), "whether the caption was too long, and cut; null: unknown"),
        )
        if not self.embeddings:
            return scores
        kind = pa.list_(pa.float16(), model_config(self.model)["embed_dim"])
        return (
            *scores,
            field("image_embedding", kind, "unit vector of the image"),
            field("text_embedding", kind, "unit vector of the caption"),
        )

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array | np.ndarray]:
        begun = batch.start(self.text_tower)
        images, texts = batch.run(self.image_tower), begun()
        texts, cut = texts[:, :-1], pa.array(texts[:, -1] > 0, mask=texts[:, -1] < 0)
        found = {"clip_similarity": (images * texts).sum(axis=1), "clip_truncated": cut}
        if not self.embeddings:
            return found
        return {**found, "image_embedding": _vectors(images), "text_embedding": _vectors(texts)}


def _vectors(rows: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(np.float16).reshape(-1)), rows.shape[1])
