"""Operators of a third party, found by entry points: some behave badly on purpose."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from cupel.operators.base import (
    Batch,
    DocumentExtractor,
    DocumentOperator,
    Extractor,
    FetchOperator,
    Model,
    Resources,
    RowOperator,
    operator,
)
from cupel.operators.decode import Pixels, RowError
from cupel.schemas.fields import field


@operator
class Kills(RowOperator):
    """Ends the process on a text that holds the word; otherwise the text's length."""

    word: str = "KILL"
    reads = ("text",)
    adds = (field("survived", pa.int32(), "length of the text"),)

    def __call__(self, batch: Batch) -> dict[str, list[int]]:
        texts = batch.column("text").to_pylist()
        if any(self.word in text for text in texts):
            os._exit(1)
        return {"survived": [len(text) for text in texts]}


@operator
class Hangs(RowOperator):
    """Sleeps for ever on a text that holds the word."""

    word: str = "HANG"
    reads = ("text",)
    adds = (field("woke", pa.bool_(), "always true"),)

    def __call__(self, batch: Batch) -> dict[str, list[bool]]:
        while any(self.word in text for text in batch.column("text").to_pylist()):
            time.sleep(1)
        return {"woke": [True] * len(batch)}


@operator
class Raises(RowOperator):
    """Raises ZeroDivisionError on a text that holds the word."""

    word: str = "RAISE"
    reads = ("text",)
    adds = (field("calm", pa.bool_(), "always true"),)

    def __call__(self, batch: Batch) -> dict[str, list[bool]]:
        if any(self.word in text for text in batch.column("text").to_pylist()):
            raise ZeroDivisionError("asked to")
        return {"calm": [True] * len(batch)}


@operator
class WrongLength(RowOperator):
    """Breaks its contract: a value too many."""

    reads = ("text",)
    adds = (field("odd", pa.int32(), "nothing"),)

    def __call__(self, batch: Batch) -> dict[str, list[int]]:
        return {"odd": [0] * (len(batch) + 1)}


@operator
class Shout(RowOperator):
    """A transform: the text in capitals."""

    reads = ("text",)
    adds = (field("loud_text", pa.string(), "the text in capitals"),)
    replaces = {"text": "loud_text"}

    def __call__(self, batch: Batch) -> dict[str, list[str]]:
        return {"loud_text": [text.upper() for text in batch.column("text").to_pylist()]}


@operator
class Invert(RowOperator):
    """A transform: the image's negative as PNG."""

    reads = ("image",)
    adds = (field("negative", pa.large_binary(), "the negative", unit="bytes"),)
    replaces = {"image": "negative"}

    def __call__(self, batch: Batch) -> dict[str, list[bytes | None]]:
        values: list[bytes | None] = [None] * len(batch)
        for row, image in batch.images(Pixels()):
            out = io.BytesIO()
            ImageOps.invert(image).save(out, "PNG")
            values[row] = out.getvalue()
        return {"negative": values}


@dataclass(frozen=True)
class PidModel(Model):
    """The process that runs it, and the mean of the array that `prepare` made."""

    reads = "text"
    width = 2

    def setup(self) -> None:
        pass

    def ready(self) -> None:
        pass

    def prepare(self, batch: Batch) -> np.ndarray:
        texts = batch.column("text").to_pylist()
        codes = np.full((len(batch), 200), -1, np.int32)
        for row, text in enumerate(texts):
            codes[row, : len(text)] = [ord(letter) for letter in text[:200]]
        return codes

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        means = [row[row >= 0].mean() if (row >= 0).any() else 0.0 for row in prepared]
        return np.array([[os.getpid(), mean] for mean in means], np.float32)


@operator
class Pid(RowOperator):
    """Asks for a GPU and measures an array that its model prepares: the process that ran it, and its mean."""

    reads = ("text",)
    adds = (field("pid", pa.int64(), "process"), field("mean_code", pa.float64(), "mean code point"))
    needs = Resources(gpus=1.0)
    models = (PidModel(),)

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        found = batch.run(self.models[0])
        return {"pid": found[:, 0].astype(np.int64), "mean_code": found[:, 1]}


@dataclass(frozen=True)
class CudaErrorModel(PidModel):
    """Loses its device the first time."""

    mark: str = ""

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().__call__(prepared)


@operator
class CudaError(RowOperator):
    """Asks for a GPU and loses it once."""

    mark: str
    reads = ("text",)
    adds = (field("mean_after", pa.float64(), "mean code point"),)
    needs = Resources(gpus=1.0)

    @property
    def models(self) -> tuple[Model, ...]:
        return (CudaErrorModel(mark=self.mark),)

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"mean_after": batch.run(self.models[0])[:, 1]}


@operator
class Words(Extractor):
    """Makes a row of each word of a text, none of an empty one; misbehaves on words in capitals."""

    reads = ("text",)
    adds = (field("text", pa.string(), "the word"), field("nth", pa.int32(), "its place in the text", range=">= 0"))

    def __call__(self, batch: Batch) -> tuple[np.ndarray, dict[str, list[object]]]:
        found = [(row, word) for row, text in enumerate(batch.column("text").to_pylist()) for word in text.split()]
        for row, word in found:
            if word == "FAIL":
                batch.fail(row, RowError("no_words", "asked to"))
            elif word == "RAISE":
                raise ZeroDivisionError("asked to")
            elif word == "KILL":
                os._exit(1)
        parents = np.array([row for row, _ in found], np.int64)
        nth = np.arange(len(parents)) - np.searchsorted(parents, parents)
        return parents, {"text": [word for _, word in found], "nth": nth.tolist()}


@operator
class Draws(Extractor):
    """Makes an image of a text: as wide as it has letters."""

    reads = ("text",)
    adds = (field("image", pa.large_binary(), "the image"),)

    def __call__(self, batch: Batch) -> tuple[np.ndarray, dict[str, list[bytes]]]:
        images = []
        for text in batch.column("text").to_pylist():
            out = io.BytesIO()
            Image.new("RGB", (len(text) + 1, 20)).save(out, "PNG")
            images.append(out.getvalue())
        return np.arange(len(batch)), {"image": images}


@operator
class Crops(Extractor):
    """Makes two rows of an image, its left and its right half as PNG; of a GIF one without an image."""

    reads = ("image", "text")
    uses_up = ("text",)
    adds = (field("image", pa.large_binary(), "half of the image"), field("side", pa.string(), "left or right"))

    def __call__(self, batch: Batch) -> tuple[np.ndarray, dict[str, list[object]]]:
        parents, halves, sides = [], [], []
        gifs = {row for row, header in batch.headers() if header.format == "gif"}
        for row, image in batch.images(Pixels()):
            middle = -(-image.width // 2)
            for side, box in (
                ("left", (0, 0, middle, image.height)),
                ("right", (image.width - middle, 0, *image.size)),
            ):
                out = io.BytesIO()
                image.crop(box).save(out, "PNG")
                if row not in gifs or side == "left":
                    parents.append(row)
                    sides.append(side)
                    halves.append(None if row in gifs else out.getvalue())
        return np.array(parents, np.int64), {"image": halves, "side": sides}


@operator
class Listed(RowOperator):
    """Does the text stand in a file of lines? The file's content is part of the fingerprint."""

    path: str
    reads = ("text",)
    adds = (field("listed", pa.bool_(), "whether the text is a line of the file"),)

    @property
    def files(self) -> tuple[Path, ...]:
        return (Path(self.path),)

    def __call__(self, batch: Batch) -> dict[str, list[bool]]:
        lines = set(Path(self.path).read_text().splitlines())
        return {"listed": [text in lines for text in batch.column("text").to_pylist()]}


@operator
class Page(DocumentExtractor):
    """Makes a document of a text: paragraphs and images (IMG:address) between bars."""

    column: str = "text"
    adds = (
        field("kind", pa.string(), "text or image"),
        field("text", pa.string(), "the paragraph"),
        field("image_url", pa.string(), "the image's address"),
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def uses_up(self) -> tuple[str, ...]:
        return (self.column,)

    def __call__(self, batch: Batch) -> tuple[np.ndarray, dict[str, list[object]]]:
        pages = batch.column(self.column).to_pylist()
        pages = [page.decode() if isinstance(page, bytes) else page for page in pages]
        nodes = [(i, node) for i, page in enumerate(pages) for node in page.split("|") if node]
        kinds = ["image" if node.startswith("IMG:") else "text" for _, node in nodes]
        paired = list(zip(kinds, nodes, strict=True))
        return np.array([i for i, _ in nodes], np.int64), {
            "kind": kinds,
            "text": [node if kind == "text" else None for kind, (_, node) in paired],
            "image_url": [node[4:] if kind == "image" else None for kind, (_, node) in paired],
        }


@operator
class Longest(DocumentOperator):
    """The longest paragraph of a document, and which paragraphs are as long; misbehaves on words in capitals."""

    reads = ("kind", "text")
    adds = (
        field("longest", pa.int32(), "characters of the longest paragraph", unit="characters"),
        field("seen", pa.int32(), "nodes that it was given", unit="nodes"),
    )
    of_kind = {"is_longest": "text"}
    adds_to_nodes = (field("is_longest", pa.bool_(), "is it the longest of its document?"),)

    def __call__(self, nodes: Batch, starts: np.ndarray) -> dict[str, list[object]]:
        texts = nodes.column("text").to_pylist()
        for i, text in enumerate(texts):
            if text and "FAIL" in text:
                nodes.fail(i, RowError("no_words", "asked to"))
            if text and "KILL" in text:
                os._exit(1)
            if text and "RAISE" in text:
                raise ZeroDivisionError("asked to")
        documents = [texts[start:stop] for start, stop in itertools.pairwise(starts)]
        longest = [max((len(text) for text in texts if text is not None), default=None) for texts in documents]
        return {
            "longest": longest,
            "seen": np.diff(starts),
            "is_longest": [
                None if text is None else len(text) == most
                for texts, most in zip(documents, longest, strict=True)
                for text in texts
            ],
        }


@operator
class Brings(FetchOperator):
    """Draws the picture that an address names (a number), last row first; `gone` is not there, `slow7` times out until
    there is a file `mark`, `RAISE` raises."""

    mark: str = ""
    pace = frozenset({"hurry"})
    hurry: int = 1

    reads = ("image_url",)
    adds = (
        field("image", pa.large_binary(), "the picture", unit="bytes"),
        field("brought", pa.string(), "ok, or why there is none"),
    )

    def __call__(self, batch: Batch) -> Iterator[tuple[np.ndarray, dict[str, list[object]]]]:
        urls = batch.column("image_url").to_pylist()
        for start in range(len(urls) - 1, -1, -3):
            rows = range(start, max(-1, start - 3), -1)
            found = [self._one(batch, row, urls[row]) for row in rows]
            yield np.array(rows), {"image": [image for image, _ in found], "brought": [why for _, why in found]}

    def _one(self, batch: Batch, row: int, url: str) -> tuple[bytes | None, str]:
        if url == "RAISE":
            raise ZeroDivisionError("asked to")
        there = self.mark and Path(self.mark).exists()
        url = url.removeprefix("slow") or "1" if there else url
        for word, transient in (("gone", False), ("slow", True)):
            if url.startswith(word):
                batch.fail(row, RowError(f"{word}_host", url, transient=transient), keep_values=True)
                return None, word
        held = io.BytesIO()
        Image.effect_noise((40 + int(url), 30), 60).convert("L").point(lambda _: int(url) % 256).save(held, "PNG")
        return held.getvalue(), "ok"


@operator
class Pictures(DocumentOperator):
    """How many of a document's images can be had."""

    reads = ("kind", "image")
    adds = (field("pictures", pa.int32(), "images with bytes", unit="images"),)

    def __call__(self, nodes: Batch, starts: np.ndarray) -> dict[str, list[object]]:
        there = [row for row, _ in nodes.take(np.arange(len(nodes))).image_bytes()]
        return {"pictures": np.histogram(there, starts)[0] if len(starts) > 1 else []}


@operator
class BringsText(FetchOperator):
    """Brings a text as bytes."""

    reads = ("text",)
    adds = (field("html", pa.large_binary(), "the text", unit="bytes"),)

    def __call__(self, batch: Batch) -> Iterator[tuple[np.ndarray, dict[str, list[object]]]]:
        for row, text in enumerate(batch.column("text").to_pylist()):
            yield np.array([row]), {"html": [text.encode()]}
