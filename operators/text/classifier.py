"""text.classifier: what a fastText classifier of your own says of a text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ..registry import did_you_mean

PREFIX = "__label__"


class Model(Protocol):
    """What we use of a fastText model."""

    def predict(self, text: str, k: int = 1, threshold: float = 0.0) -> tuple[tuple[str, ...], tuple[float, ...]]: ...


@operator
class Classifier(RowOperator):
    """The probability of some labels by any supervised fastText model (arXiv:1607.01759), as DCLM scores quality.

    DCLM's `openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin` with `labels: [hq]` keeps 0.018112 and more, the best
    10 % of its pool (arXiv:2406.11794, section 4.4). Where several labels are named their probabilities are added. A
    line feed is replaced by a space, as DCLM does, because fastText reads one line; nothing else is changed. All is
    null for a text that is empty or white space. fastText's rounding can exceed 1; the probability is cut there.
    """

    path: str = Field(min_length=1, description="a fastText classifier: .bin or .ftz")
    labels: tuple[str, ...] = Field(min_length=1, description="labels to score, with or without __label__ before them")

    reads = ("text",)
    adds = (
        field("classifier_label", pa.string(), "the most probable label, without __label__"),
        field("classifier_score", pa.float64(), "probability of the named labels", range="0 to 1"),
    )

    @property
    def files(self) -> tuple[Path, ...]:
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"there is no fastText classifier {self.path!r}")
        return (Path(self.path),)

    @functools.cached_property
    def _model(self) -> Model:
        import fasttext

        try:
            model: Model = fasttext.load_model(str(*self.files))
            found, _ = model.predict("a", k=-1, threshold=-1.0)  # all; by default those of probability 0 are left out
            known = [label.removeprefix(PREFIX) for label in found]
        except (ValueError, MemoryError, RuntimeError) as error:
            raise ValueError(f"{self.path} is no fastText classifier, or not a whole one ({error})") from error
        for label in self._wanted:
            if label not in known:
                near = did_you_mean(label, known)
                raise ValueError(f"{self.path} has no label {label!r}{near} (it has {', '.join(sorted(known)[:20])})")
        return model

    @functools.cached_property
    def _wanted(self) -> frozenset[str]:
        return frozenset(label.removeprefix(PREFIX) for label in self.labels)

    def setup(self) -> None:
        _ = self._model

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        predict = self._model.predict
        best: list[str | None] = []
        scores: list[float | None] = []
        for text in pl.Series(batch.column("text")):
            if not text.strip():
                best.append(None)
                scores.append(None)
                continue
            names, shares = predict(text.replace("\n", " "), k=-1)
            found = [name.removeprefix(PREFIX) for name in names]
            best.append(found[0] if found else None)
            total = sum(share for name, share in zip(found, shares, strict=True) if name in self._wanted)
            scores.append(min(total, 1.0))
        return {"classifier_label": pa.array(best, pa.string()), "classifier_score": pa.array(scores, pa.float64())}
