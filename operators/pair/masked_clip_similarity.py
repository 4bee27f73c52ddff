"""pair.masked_clip_similarity: does the caption say what the image shows, apart from what is written in it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, Model, operator
from ..decode import Pixels, RowError
from ..image._boxes import places, shares
from ..image._paint import painted_over
from ..models._clip_operator import ClipOperator
from ..models.clip import ImageTower


@operator
class MaskedClipSimilarity(ClipOperator):
    """T-MARS: the cosine between the caption's embedding and that of the image with its text painted over.

    Each polygon of `column` is filled with the mean colour of what surrounds it (the pixels outside all text within 1 %
    of the picture's longer side), and the picture is scored as `pair.clip_similarity` does; nothing is written of it,
    so what is trained on is the image as it was. T-MARS drops the lower half of LAION by this score (Maini et al.,
    arXiv:2307.03132; it finds text by FAST), since a CLIP-like model gives a picture of its own caption a high score.

    A picture without text has the same score as by `pair.clip_similarity`, and shares its pass through the network.
    """

    column: str = Field(
        "text_polygons", description="where text is: [x, y] of four corners from 0 to 1, as image.text_regions finds it"
    )

    adds = (field("masked_clip_similarity", pa.float32(), "cosine of masked image and caption", range="-1 to 1"),)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", "text", self.column)

    @property
    def masked_tower(self) -> MaskedImageTower:
        """Images to unit vectors, their text painted over."""
        return MaskedImageTower(**vars(self.image_tower), column=self.column)

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.image_tower, self.masked_tower, self.text_tower)

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        begun = batch.start(self.text_tower)
        written = places(batch, self.column).value_lengths().to_numpy() > 0
        images = np.full((len(batch), self.image_tower.width), np.nan, np.float32)
        for tower, chosen in ((self.image_tower, ~written), (self.masked_tower, written)):
            rows = np.flatnonzero(chosen)
            part = batch.take(rows)
            images[rows] = part.run(tower)
            for i, error in part.failures.items():
                batch.fail(int(rows[i]), error)
        return {"masked_clip_similarity": (images * begun()[:, :-1]).sum(axis=1)}


@dataclass(frozen=True, kw_only=True)
class MaskedImageTower(ImageTower):
    """The same network, shown each picture with the polygons of a column painted over."""

    column: str

    def prepare(self, batch: Batch) -> np.ndarray:
        return super().prepare(_Masked(batch, self.column))


class _Masked(Batch):
    """A batch whose images have the polygons of a column painted over."""

    def __init__(self, batch: Batch, column: str) -> None:
        super().__init__(batch.columns)
        self.failures = batch.failures
        self._batch, self._polygons = batch, places(batch, column)

    def images(self, request: Pixels) -> Iterator[tuple[int, Image.Image]]:
        for row, image in self._batch.images(request):
            try:
                masked = painted_over(image, shares(self._polygons[row], 8))
            except RowError as error:
                self.fail(row, error)
            else:
                yield row, masked
