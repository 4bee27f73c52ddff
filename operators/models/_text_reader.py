"""rapidocr's text detector and reader (PP-OCRv6, small), with the weights that its wheel ships, on one thread."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from ..batch import kept
from .weights import ModelError

DETECTOR: Final = "PP-OCRv6_det_small.onnx"
READER: Final = "PP-OCRv6_rec_small.onnx"
_BLANK: Final = (64, 64)


class TextReader:
    """Finds lines of text in a picture, and reads them."""

    def __init__(self) -> None:
        import cv2
        from rapidocr import RapidOCR

        cv2.setNumThreads(1)  # a worker has one core
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        # With its path given, a model is never looked for elsewhere: rapidocr would fetch what is not there.
        models = {"Det.model_path": str(model_file(DETECTOR)), "Rec.model_path": str(model_file(READER))}
        # The caller has made the picture as large as it shall be.
        size = {"Global.use_preprocess_img": False, "Det.limit_type": "max", "Det.limit_side_len": 1 << 16}
        # Lines one by one: six at a time, as is its custom, took twice the memory and half as long again.
        rest = {"Global.use_cls": False, "Global.use_rec": False, "Rec.rec_batch_num": 1, "Global.log_level": "error"}
        self._engine = RapidOCR(params=threads | models | size | rest)
        self.find(Image.new("RGB", _BLANK))  # loads the detector

    def find(self, picture: Image.Image) -> np.ndarray:
        """Corners in pixels, clockwise from the upper left one, of every line, from top to bottom (lines, 4, 2)."""
        boxes = getattr(self._engine(picture), "boxes", None)
        return np.zeros((0, 4, 2)) if boxes is None else np.asarray(boxes, np.float64)

    def read(self, picture: Image.Image, lines: np.ndarray) -> tuple[Sequence[str], Sequence[float]]:
        """What the lines say, and how sure that is, from 0 to 1."""
        if not len(lines):
            return (), ()
        pixels = np.asarray(picture)[:, :, ::-1]
        found = self._engine.recognize_txt(self._engine.crop_text_regions(pixels, lines.astype(np.float32)))
        return found.txts or (), found.scores


@kept
def text_reader() -> TextReader:
    """The reader of this process, loaded once."""
    return TextReader()


def model_file(name: str) -> Path:
    """A model inside rapidocr's wheel. ModelError where that is not installed."""
    package = importlib.util.find_spec("rapidocr")
    if package is None or importlib.util.find_spec("onnxruntime") is None:
        raise ModelError("reading text in images needs rapidocr and onnxruntime: pip install 'cupel[rapidocr]'")
    assert package.origin is not None
    path = Path(package.origin).parent / "models" / name
    if not path.is_file():
        raise ModelError(f"this rapidocr does not ship {name}: pip install 'cupel[rapidocr]'")
    return path
