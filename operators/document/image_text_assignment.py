"""document.image_text_assignment: which sentence of a document each of its images goes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, operator
from ..decode import RowError
from ..text._sentences import sentences
from ._assignment import assign
from ._clip_document import ClipDocumentOperator
from ._nodes import documents_of, is_kind, positions

Unit = Literal["sentence", "paragraph"]
MAX_PAIRS: Final = 1_000_000  # of a document: one image shown 1,000 times, among 1,000 sentences, takes a second
_POSITION: Final = field("node_position", pa.int32(), "place in the document among the nodes alive here", range=">= 0")
_OF_IMAGES: Final = (
    field("matched_node", pa.int32(), "node_position of the text that the image is assigned to", range=">= 0"),
    field("matched_sentence", pa.int32(), "which sentence of that text; null for paragraphs", range=">= 0"),
    field("matched_similarity", pa.float32(), "cosine of the image and what it is assigned to", range="-1 to 1"),
    field("best_similarity", pa.float32(), "cosine of the image and the text nearest to it", range="-1 to 1"),
)
SIMILARITIES: Final = field(
    "similarities",
    pa.list_(pa.list_(pa.float32())),
    "cosines of the image and each sentence of each node, by node_position; null without a picture or a text",
    range="-1 to 1",
)


@operator
class ImageTextAssignment(ClipDocumentOperator):
    """The sentence that each image is assigned to, so that the sum of their CLIP similarities is the greatest.

    MMC4's measure (arXiv:2304.06939, 3.2): cosines of all images and all sentences of a document by CLIP (ViT-L/14
    there), and a linear assignment over them, in which a sentence has one image at most. It differs from taking each
    image's best sentence: of two images that both resemble one sentence, the other gets the next. Where there are more
    images than sentences, those left over go to their best one. MMC4 first takes out images whose best sentence is
    below 0.15 (`min_similarity: 0.15`, and `keep: {best_similarity: {min: 0.15}}`); its core has documents with 75 % of
    the similarities above 0.25 (`well_matched_share`). A text longer than the model's context is cut.

    `matched_node` is the `node_position` of the matched text among the nodes alive here, so it stays true when nodes
    are dropped later; `matched_sentence` counts the sentences of that node from 0 on (null with `unit: paragraph`).
    `similarities` is read the same way: `similarities[matched_node][matched_sentence]` is `matched_similarity`.
    Images without a picture, below `min_similarity`, or of a document without text, have none. An image that cannot be
    decoded is told among the errors, has none, and fails nothing else. Sentences end by rules (see `text.sentences`),
    where MMC4 had NLTK's.
    """

    unit: Unit = Field("sentence", description="what images are assigned to: sentences (MMC4) or whole paragraphs")
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="an image with no text as near as this takes no part; MMC4 has 0.15"
    )
    well_matched: float = Field(
        0.25, ge=-1, le=1, description="the similarity above which an image counts for well_matched_share"
    )
    similarity_matrix: bool = Field(
        False, description="also keep all similarities, a list for each image, of which MMC4's matrix is made"
    )

    reads = ("kind", "text", "image")
    of_kind = dict.fromkeys((*(column.name for column in _OF_IMAGES), SIMILARITIES.name), "image")
    adds = (
        field("well_matched_share", pa.float64(), "of the images assigned, above `well_matched`", range="0 to 1"),
        field("highest_similarity", pa.float32(), "of the images assigned; null: none", range="-1 to 1"),
        field("lowest_similarity", pa.float32(), "of the images assigned; null: none", range="-1 to 1"),
    )

    @property
    def adds_to_nodes(self) -> tuple[pa.Field, ...]:
        return (_POSITION, *_OF_IMAGES, *([SIMILARITIES] if self.similarity_matrix else []))

    def __call__(self, nodes: Batch, starts: np.ndarray) -> Mapping[str, pa.Array]:
        pictures, units = np.flatnonzero(is_kind(nodes, "image")), self._units(nodes)
        paired = _paired(nodes, starts, pictures, units.node)
        document = documents_of(starts)
        pictures, units = pictures[paired[document[pictures]]], units.take(paired[document[units.node]])
        begun = nodes.of_texts(units.texts).start(self.text_tower)
        images, texts = self._vectors(nodes, pictures), begun()[:, :-1]
        of_nodes, place = _Matches(nodes=len(nodes)), positions(starts)
        measured: list[tuple[object, ...]] = []
        bounds = (np.searchsorted(rows, starts).tolist() for rows in (pictures, units.node))  # both ascend
        for mine, its in zip(*(map(slice, ends, ends[1:]) for ends in bounds), strict=True):
            cosines = images[mine] @ texts[its].T
            measured.append(
                self._shares(self._match(cosines, pictures[mine], units.node[its], units.part[its], of_nodes))
            )
            if self.similarity_matrix and cosines.size:
                of_nodes.keep(cosines, pictures[mine], place[units.node[its]])
        return {
            "node_position": pa.array(place, pa.int32()),
            **of_nodes.columns(place),
            **({SIMILARITIES.name: pa.array(of_nodes.all, SIMILARITIES.type)} if self.similarity_matrix else {}),
            **{added.name: pa.array([row[k] for row in measured], added.type) for k, added in enumerate(self.adds)},
        }

    def _units(self, nodes: Batch) -> _Units:
        texts = nodes.column("text").to_pylist()
        rows = [row for row in np.flatnonzero(is_kind(nodes, "text")).tolist() if texts[row]]
        split = [sentences(texts[row]) if self.unit == "sentence" else [texts[row]] for row in rows]
        return _Units(
            node=np.repeat(np.array(rows, np.int64), [len(parts) for parts in split]),
            part=np.array(
                [k if self.unit == "sentence" else -1 for parts in split for k in range(len(parts))], np.int64
            ),
            texts=[part for parts in split for part in parts],
        )

    def _vectors(self, nodes: Batch, pictures: np.ndarray) -> np.ndarray:
        """Unit vectors of these nodes' images; NaN where there is none."""
        part = nodes.take(pictures)
        found = part.run(self.image_tower)
        for row, error in part.failures.items():
            if error.kind != "missing_file":  # what was not fetched was told there
                nodes.fail(int(pictures[row]), error, keep_values=True)
        return found

    def _match(
        self, cosines: np.ndarray, pictures: np.ndarray, nodes: np.ndarray, parts: np.ndarray, found: _Matches
    ) -> np.ndarray:
        """Note whom the images of one document go with; returns the similarities of those assigned."""
        if not cosines.size:
            return np.zeros(0, np.float32)
        best = cosines.max(axis=1)
        found.best[pictures] = best
        least = -np.inf if self.min_similarity is None else self.min_similarity
        taking_part = np.flatnonzero(best >= least)  # NaN is not
        if not len(taking_part):
            return np.zeros(0, np.float32)
        text = assign(cosines[taking_part])
        rows, similarity = pictures[taking_part], cosines[taking_part, text]
        found.node[rows], found.part[rows], found.similarity[rows] = nodes[text], parts[text], similarity
        assigned: np.ndarray = similarity
        return assigned

    def _shares(self, assigned: np.ndarray) -> tuple[float | None, float | None, float | None]:
        if not len(assigned):
            return None, None, None
        return float((assigned > self.well_matched).mean()), float(assigned.max()), float(assigned.min())


@dataclass(frozen=True, kw_only=True)
class _Units:
    """What images are assigned to: which part of which node, and its text."""

    node: np.ndarray
    part: np.ndarray
    texts: list[str]

    def take(self, which: np.ndarray) -> _Units:
        texts = [text for text, taken in zip(self.texts, which.tolist(), strict=True) if taken]
        return _Units(node=self.node[which], part=self.part[which], texts=texts)


class _Matches:
    """What is found of each node; -1 and NaN stand for nothing."""

    def __init__(self, nodes: int) -> None:
        self.node, self.part = np.full((2, nodes), -1)
        self.similarity, self.best = np.full((2, nodes), np.nan, np.float32)
        self.all: list[list[list[float]] | None] = [None] * nodes

    def keep(self, cosines: np.ndarray, pictures: np.ndarray, places: np.ndarray) -> None:
        """Note all cosines of one document's images, by the place of the node that each text is a part of."""
        ends = np.cumsum(np.bincount(places)).tolist()
        for picture, row in zip(pictures.tolist(), cosines, strict=True):
            if not np.isnan(row).any():
                values = row.tolist()
                self.all[picture] = [values[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def columns(self, place: np.ndarray) -> dict[str, pa.Array]:
        none = self.node < 0
        return {
            "matched_node": pa.array(place[self.node] if len(place) else place, pa.int32(), mask=none),
            "matched_sentence": pa.array(self.part, pa.int32(), mask=self.part < 0),
            "matched_similarity": pa.array(self.similarity, pa.float32(), mask=none),
            "best_similarity": pa.array(self.best, pa.float32(), mask=np.isnan(self.best)),
        }


def _paired(nodes: Batch, starts: np.ndarray, pictures: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The documents that have both; one with more pairs than can be assigned fails."""
    document, count = documents_of(starts), len(starts) - 1
    images, units = (np.bincount(document[rows], minlength=count) for rows in (pictures, texts))
    for i in np.flatnonzero(images * units > MAX_PAIRS):
        error = RowError("too_large", f"{images[i]} images x {units[i]} texts; at most {MAX_PAIRS:,} pairs")
        nodes.fail(int(starts[i]), error)
    both: np.ndarray = (images > 0) & (units > 0) & (images * units <= MAX_PAIRS)
    return both
