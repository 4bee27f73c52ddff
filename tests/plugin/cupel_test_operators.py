"""Operators of a third party, found by entry points: some behave badly on purpose."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import ImageOps

from cupel.operators.base import Batch, Resources, RowOperator, operator
from cupel.operators.decode import Pixels
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


@operator
class Pid(RowOperator):
    """Asks for a GPU and measures a tensor that `prepare` made: the process that scored, and the mean of the tensor."""

    reads = ("text",)
    adds = (field("pid", pa.int64(), "process"), field("mean_code", pa.float64(), "mean code point"))
    needs = Resources(gpus=1.0)

    def prepare(self, batch: Batch) -> pa.Table:
        codes = [[ord(letter) for letter in text] for text in batch.column("text").to_pylist()]
        return pa.table({"codes": pa.array(codes, pa.list_(pa.int32()))})

    def __call__(self, batch: Batch) -> dict[str, list[float] | list[int]]:
        codes = batch.column("codes").to_pylist()
        return {"pid": [os.getpid()] * len(batch), "mean_code": [float(np.mean(c)) if c else 0.0 for c in codes]}


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
