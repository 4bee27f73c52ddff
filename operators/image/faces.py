"""image.faces: where faces are, how many, and how much of the picture they take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..batch import kept
from ..decode import Pixels
from ..models.weights import ModelError
from ._boxes import fitted, union_share

if TYPE_CHECKING:
    import cv2

_FRONTAL: Final = "haarcascade_frontalface_alt2.xml"
_PROFILE: Final = "haarcascade_profileface.xml"  # of one side: hence the mirrored picture
_CASCADES: Final = (_FRONTAL, _PROFILE)
_STEP: Final = 1.1  # between two sizes of face looked for
_MIN_FACE_PX: Final = 20  # what the cascades were trained on
_ALIKE: Final = 0.2  # candidates whose edges lie this close, as a share of their size, are one face


@operator
class Faces(RowOperator):
    """Faces by OpenCV's Haar cascades (Viola and Jones, CVPR 2001; shipped with OpenCV, so no model is fetched).

    The grey picture at a longer side of `long_side_px` (enlarged twofold at most) is searched by the frontal cascade
    and by the profile one, this also mirrored, for squares of 20 px and more in steps of 10 %. Candidates of all three
    that lie alike are one face, their mean, when they are `min_votes` or more. `face_boxes` are [x0, y0, x1, y1] from
    0 to 1 of the upright picture, the largest first: what DataComp's `face_bboxes` are and img2dataset's `bbox_col`
    takes. `face_area_share` is the area of their union.

    Weaker than the networks of today: small, turned, dark and covered faces are missed. Of the 192 faces that any of
    12 settings found in 301 pictures, 7 votes find 81 %, and 85 % of what they find are faces; 5 votes 89 % and
    70 %, 11 votes 69 % and 94 %. OpenCV's usual setting (frontalface_default, 1.1, 5 neighbours) has 64 % and 69 %.
    """

    min_votes: int = Field(7, ge=2, description="fewer find more faces, and more that are none; 5 is better to blur")
    long_side_px: int = Field(640, ge=64, le=2048, description="size searched; the time grows with its square")

    reads = ("image",)
    adds = (
        field("faces", pa.int32(), "faces found", unit="faces", range=">= 0"),
        field("face_area_share", pa.float64(), "share of the picture that the boxes cover together", range="0 to 1"),
        field("face_boxes", pa.list_(pa.list_(pa.float32())), "[x0, y0, x1, y1] of each face, from 0 to 1"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(map(_file, _CASCADES))

    def setup(self) -> None:
        for name in _CASCADES:
            _cascade(name)

    def __call__(self, batch: Batch) -> Mapping[str, list[object]]:
        found = [np.zeros((0, 4))] * len(batch)
        for row, image in batch.images(Pixels(mode="L", min_side_px=self.long_side_px)):
            found[row] = self._boxes(np.asarray(fitted(image, self.long_side_px)))
        return {
            "faces": [len(boxes) for boxes in found],
            "face_area_share": [union_share(boxes) for boxes in found],
            "face_boxes": [boxes.tolist() for boxes in found],
        }

    def _boxes(self, grey: np.ndarray) -> np.ndarray:
        """[x0, y0, x1, y1] from 0 to 1, the largest first (faces, 4)."""
        import cv2

        height, width = grey.shape
        mirrored = [(width - x - w, y, w, h) for x, y, w, h in _squares(_PROFILE, np.fliplr(grey))]
        candidates = [*_squares(_FRONTAL, grey), *_squares(_PROFILE, grey), *mirrored]
        faces, _ = cv2.groupRectangles(candidates, self.min_votes - 1, _ALIKE)
        x, y, w, h = np.array(sorted(map(tuple, faces), key=lambda f: (-f[2] * f[3], f))).reshape(-1, 4).T
        return np.stack([x / width, y / height, (x + w) / width, (y + h) / height], axis=1)


def _squares(name: str, grey: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) of every place and size that a cascade takes for a face."""
    least = (_MIN_FACE_PX, _MIN_FACE_PX)
    found = _cascade(name).detectMultiScale(
        np.ascontiguousarray(grey), scaleFactor=_STEP, minNeighbors=0, minSize=least
    )
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h in found]


@kept
def _cascade(name: str) -> cv2.CascadeClassifier:
    import cv2

    cv2.setNumThreads(1)  # a worker has one core, and threads would find the candidates in another order each time
    return cv2.CascadeClassifier(str(_file(name)))


def _file(name: str) -> Path:
    import cv2.data

    path = Path(cv2.data.haarcascades) / name
    if not path.is_file():  # OpenCV 5 has neither the cascades nor the code that reads them
        raise ModelError(f"OpenCV {cv2.__version__} has no {name}: pip install 'opencv-python-headless<5'")
    return path
