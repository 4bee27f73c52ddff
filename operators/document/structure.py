"""document.structure: how much text and how many images a document has, and how they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, DocumentOperator, operator
from ..text.length import WORD
from ._nodes import documents_of, is_kind, sums


@operator
class Structure(DocumentOperator):
    """Nodes, images, paragraphs and words of a document, and how its words lie between its images.

    Words are runs without white space, as `text.length` has them. `longest_gap_words` is the longest stretch of words
    without an image: before the first one, between two, behind the last, or all of them. OBELICS keeps documents of 1
    to 30 images (arXiv:2306.16527, table 3), MINT-1T too (arXiv:2406.11271), MMC4's core those of 2 to 15
    (arXiv:2304.06939). `image_set` is equal for two documents with the same set of image addresses, however often and
    in which order they show them; OBELICS keeps the newest of such. It is a SHA-256 of the sorted addresses, a line
    each (OBELICS joins them without a sign between, so that two sets may look alike).
    """

    reads = ("kind", "text", "image_url")
    adds = (
        field("total_nodes", pa.int32(), "paragraphs and images", unit="nodes", range=">= 0"),
        field("images", pa.int32(), "image nodes", unit="images", range=">= 0"),
        field("distinct_images", pa.int32(), "different image addresses", unit="images", range=">= 0"),
        field("paragraphs", pa.int32(), "text nodes", unit="paragraphs", range=">= 0"),
        field("total_words", pa.int32(), "words of all paragraphs", unit="words", range=">= 0"),
        field("total_characters", pa.int64(), "code points of all paragraphs", unit="characters", range=">= 0"),
        field("words_per_image", pa.float64(), "words over image nodes; null without an image", range=">= 0"),
        field("words_before_image", pa.int32(), "before the first image; null without one", unit="words"),
        field("share_before_image", pa.float64(), "of the words, before the first image; null: no words, or no image",
              range="0 to 1"),
        field("longest_gap_words", pa.int32(), "longest stretch of words without an image", unit="words"),
        field("image_set", pa.string(), "digest of the set of image addresses; null without any", unit="hex"),
    )  # fmt: skip

    def __call__(self, nodes: Batch, starts: np.ndarray) -> Mapping[str, pa.Array | np.ndarray]:
        image, text = is_kind(nodes, "image"), is_kind(nodes, "text")
        texts = pl.Series(nodes.column("text"), dtype=pl.String)
        words = np.where(text, texts.str.count_matches(WORD).fill_null(0).to_numpy(), 0).astype(np.int64)
        characters = np.where(text, texts.str.len_chars().fill_null(0).to_numpy(), 0).astype(np.int64)
        images, total = sums(image, starts), sums(words, starts)
        before, longest = _gaps(words, image, starts)
        sets = _image_sets(nodes, image, starts)
        return {
            "total_nodes": np.diff(starts).astype(np.int32),
            "images": images.astype(np.int32),
            "distinct_images": pa.array([len(urls) for urls in sets], pa.int32()),
            "paragraphs": sums(text, starts).astype(np.int32),
            "total_words": total.astype(np.int32),
            "total_characters": sums(characters, starts),
            "words_per_image": pa.array(total / np.maximum(images, 1), mask=images == 0),
            "words_before_image": pa.array(before, pa.int32(), mask=images == 0),
            "share_before_image": pa.array(before / np.maximum(total, 1), mask=(images == 0) | (total == 0)),
            "longest_gap_words": longest.astype(np.int32),
            "image_set": pa.array([_digest(urls) for urls in sets], pa.string()),
        }


def _gaps(words: np.ndarray, image: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Words before each document's first image (all without one), and the words of its longest stretch without any."""
    count = len(starts) - 1
    document = documents_of(starts)
    images_so_far = np.cumsum(image)
    seen = images_so_far - np.concatenate([[0], images_so_far])[starts[document]]  # of one's own document
    before = np.bincount(document[seen == 0], words[seen == 0], minlength=count)
    stretch = seen + np.repeat(np.concatenate([[0], np.cumsum(sums(image, starts) + 1)])[:-1], np.diff(starts))
    lengths = np.bincount(stretch, words) if len(stretch) else np.zeros(0)
    longest = np.zeros(count)
    np.maximum.at(longest, document, lengths[stretch])
    return before.astype(np.int64), longest.astype(np.int64)


def _image_sets(nodes: Batch, image: np.ndarray, starts: np.ndarray) -> list[set[str]]:
    sets: list[set[str]] = [set() for _ in range(len(starts) - 1)]
    document, urls = documents_of(starts), nodes.column("image_url").to_pylist()
    for row in np.flatnonzero(image):
        if urls[row] is not None:
            sets[document[row]].add(urls[row])
    return sets


def _digest(urls: set[str]) -> str | None:
    return hashlib.sha256("\n".join(sorted(urls)).encode("utf-8", "replace")).hexdigest() if urls else None
