"""Search by meaning, over the unit vectors that CLIP steps kept: by a text, by a picture, by a row like this one.

Vectors are read shard by shard, one column alone, and the best are merged, so memory does not grow with the corpus;
where a column's vectors fit into CACHE_BYTES they stay there (fp16) for the next search. What is searched by is encoded
by the same model as the rows were; its weights must be on this machine, and none are fetched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ...operators.base import Batch, Model, loaded
from ...operators.decode import RowError
from ...operators.images import ImageStore
from ...operators.models._clip_operator import ClipModel
from ...operators.models.weights import ModelError, cached_weights, is_file_name, model_folder
from ..plan import MeasureStep
from .opened import OpenedCut
from .pictures.thumbnails import DECODING
from .search import QUERY_CHARACTERS, THREADS, SearchError

CACHE_BYTES: Final = 512 << 20
BLOCK_ROWS: Final = 1 << 14  # vectors made fp32 at a time
PICTURE_BYTES: Final = 16 << 20
MOST_HITS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A column of unit vectors that a step kept."""

    space: int
    name: str  # the recipe's
    step: MeasureStep
    operator: ClipModel
    width: int

    @property
    def of_texts(self) -> bool:
        """Are they the captions' vectors, and not the images'?"""
        own = next(old for old, new in self.step.names.items() if new == self.name)
        return own.startswith("text")

    @property
    def model(self) -> str:
        """As a user knows it: `ViT-B-32 (openai)`."""
        tag = "" if model_folder(self.operator.model) else f" ({self.operator.pretrained})"
        return f"{self.operator.model}{tag}"


@dataclass(frozen=True, kw_only=True)
class Near:
    """A row that was found, and the cosine of its vector and what was searched by (-1 to 1)."""

    space: int
    shard: int
    row: int
    cosine: float


Allowed = Callable[[int], np.ndarray]  # shard -> which of its rows may be found


def embedded_columns(cut: OpenedCut) -> tuple[Embedded, ...]:
    """The columns that can be searched: first those of images, of the last space first."""
    found = [
        Embedded(space=index, name=name, step=step, operator=step.operator, width=space.fields[name].type.list_size)
        for index, space in reversed(list(enumerate(cut.plan.spaces)))
        for step in cut.plan.steps[space.start : space.stop]
        if isinstance(step, MeasureStep) and isinstance(step.operator, ClipModel)
        for name in step.names.values()
        if _is_vectors(space.fields[name].type)
    ]
    return tuple(sorted(found, key=lambda column: column.of_texts))


def _is_vectors(kind: pa.DataType) -> bool:
    return bool(types.is_fixed_size_list(kind) and types.is_floating(kind.value_type))


class EmbeddingSearch:
    """Searches the vectors of one cut. Its methods may be called from any thread."""

    def __init__(self, cut: OpenedCut, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._cut, self._cache_bytes, self._held_bytes = cut, cache_bytes, 0
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int, int], tuple[np.ndarray, np.ndarray]] = {}

    @cached_property
    def columns(self) -> tuple[Embedded, ...]:
        """What can be searched, the default first; empty where no step kept vectors."""
        return embedded_columns(self._cut)

    def by_text(
        self, query: str, *, column: Embedded | None = None, top: int = 100, allowed: Allowed | None = None
    ) -> list[Near]:
        """The rows that mean most nearly what the query says, the nearest first.

        `allowed` gives for a shard a mask of the rows that may be found. Raises SearchError, in words, where no step
        kept vectors, or the model cannot be run.
        """
        chosen = self._chosen(column)
        if not query.strip() or len(query) > QUERY_CHARACTERS:
            raise SearchError(f"the query has {len(query):,} characters; 1 to {QUERY_CHARACTERS:,} are looked for")
        batch = Batch(pa.table({"text": pa.array([query], pa.string())}))
        vector = _encoded(chosen, chosen.operator.text_tower, batch)[:-1]  # the last number says whether it was cut
        return self._nearest(chosen, vector, top, allowed)

    def by_picture(
        self, picture: bytes, *, column: Embedded | None = None, top: int = 100, allowed: Allowed | None = None
    ) -> list[Near]:
        """The rows that are most like a picture, given as an encoded image of up to 16 MiB; otherwise as `by_text`."""
        chosen = self._chosen(column)
        if len(picture) > PICTURE_BYTES:
            raise SearchError(f"the picture has {len(picture):,} bytes; at most {PICTURE_BYTES:,} are read")
        batch = Batch(pa.table({"row": [0]}), ImageStore({0: picture}))
        return self._nearest(chosen, _encoded(chosen, chosen.operator.image_tower, batch), top, allowed)

    def like(
        self,
        space: int,
        shard: int,
        row: int,
        *,
        column: Embedded | None = None,
        top: int = 100,
        allowed: Allowed | None = None,
    ) -> list[Near]:
        """The rows nearest to a row by their vectors, without itself; no model is needed.

        Raises SearchError where the row has no vector, KeyError where there is no such shard.
        """
        of_space = next((embedded for embedded in self.columns if embedded.space == space), None)
        chosen = self._chosen(column or of_space)
        rows, vectors = self._vectors(chosen, shard)
        at = np.flatnonzero(rows == row)
        if chosen.space != space or not len(at):
            raise SearchError(f"{chosen.step.label} has no vector of this row, so nothing can be compared with it")
        near = self._nearest(chosen, vectors[at[0]].astype(np.float32), top + 1, allowed)
        return [other for other in near if (other.shard, other.row) != (shard, row)][:top]

    def _chosen(self, column: Embedded | None) -> Embedded:
        if column is None and not self.columns:
            raise SearchError(
                "no step of this cut kept vectors, so nothing can be found by its meaning; `pair.clip_similarity: "
                "{embeddings: true}` keeps them"
            )
        return column if column is not None else self.columns[0]

    def _nearest(self, column: Embedded, vector: np.ndarray, top: int, allowed: Allowed | None) -> list[Near]:
        """The best of all shards, merged."""
        top = min(top, MOST_HITS)
        query = np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
        cosines, shards, rows = np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
        ids = [shard.id for shard in self._cut.shards]
        with ThreadPoolExecutor(THREADS) as pool:
            each = pool.map(lambda shard: self._cosines(column, shard, query, allowed), ids)
            for shard, (here, found) in zip(ids, each, strict=True):
                cosines, rows = np.concatenate([cosines, found]), np.concatenate([rows, here])
                shards = np.concatenate([shards, np.full(len(here), shard)])
                best = np.lexsort((rows, shards, -cosines))[:top]
                cosines, shards, rows = cosines[best], shards[best], rows[best]
        places = zip(shards.tolist(), rows.tolist(), cosines.tolist(), strict=True)
        return [Near(space=column.space, shard=shard, row=row, cosine=cosine) for shard, row, cosine in places]

    def _cosines(
        self, column: Embedded, shard: int, query: np.ndarray, allowed: Allowed | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a shard that have a vector and may be found, and their cosines."""
        rows, vectors = self._vectors(column, shard)
        blocks = (vectors[start : start + BLOCK_ROWS] for start in range(0, len(vectors), BLOCK_ROWS))
        found = np.concatenate([np.zeros(0, np.float32), *(block.astype(np.float32) @ query for block in blocks)])
        if allowed is None:
            return rows, found
        chosen = allowed(shard)[rows]
        return rows[chosen], found[chosen]

    def _vectors(self, column: Embedded, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows, fp16 vectors) of a shard, those rows alone that have one."""
        key = (column.name, column.space, shard)
        with self._lock:
            if key in self._held:
                return self._held[key]
        read = self._cut.view(column.space, shard).column(column.name)
        rows = np.flatnonzero(read.is_valid())
        vectors = np.asarray(read.drop_null().flatten(), np.float16).reshape(len(rows), column.width)
        with self._lock:
            if key not in self._held and self._held_bytes + vectors.nbytes <= self._cache_bytes:
                self._held[key] = (rows, vectors)
                self._held_bytes += vectors.nbytes
        return rows, vectors


def _encoded(column: Embedded, tower: Model, batch: Batch) -> np.ndarray:
    """The vector of the batch's only row. SearchError where the weights are not here, or the picture is none."""
    operator = column.operator
    published = model_folder(operator.model) is None and not is_file_name(operator.pretrained)
    if published and cached_weights(operator.model, operator.pretrained) is None:
        raise SearchError(
            f"searching by a text or a picture takes the weights of {column.model}, which are not on this machine: "
            f"`cupel models fetch {operator.model} {operator.pretrained}`"
        )
    try:
        with DECODING:
            prepared = tower.prepare(batch)
        if batch.failures:
            raise batch.failures[0]
        return np.asarray(loaded(tower)(prepared)[0], np.float32)
    except RowError as error:
        raise SearchError(f"this is no picture that can be read ({error.kind}: {error.message})") from error
    except ModelError as error:
        raise SearchError(str(error)) from error
