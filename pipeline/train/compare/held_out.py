"""The held-out data: opened, known again by content, and hashed so that a corpus can be rid of what comes near it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ....operators.base import Batch
from ....operators.image.phash import Phash
from ....operators.images import ImageStore
from ..errors import TrainError
from ..evaluate.data import ClassFolder, Pairs, open_data
from ..evaluate.zero_shot import TEMPLATES
from .recipe import Evaluation

HASHES: Final = pa.schema([("key", pa.string()), ("phash", pa.uint64())])


def open_pairs(evaluation: Evaluation) -> Pairs:
    """Images with captions. TrainError where there are no captions; CorpusError and SourceError in words."""
    data = open_data(evaluation.pairs)
    if not isinstance(data, Pairs):
        raise TrainError(f"evaluation pairs {evaluation.pairs}: images have no captions; it looks like classes")
    return data


def open_classes(evaluation: Evaluation) -> ClassFolder | None:
    """Images by class; None where the experiment has none. TrainError where there are no classes."""
    if evaluation.classes is None:
        return None
    data = open_data(evaluation.classes)
    if not isinstance(data, ClassFolder):
        raise TrainError(f"evaluation classes {evaluation.classes}: is no folder with a folder a class")
    return data


def content_digest(evaluation: Evaluation) -> str:
    """SHA-256 of all that a model is judged by: images, captions, classes and prompts, not the places they lie at.

    Reads all of it. TrainError for an image that cannot be read.
    """
    pairs, classes, found = open_pairs(evaluation), open_classes(evaluation), hashlib.sha256()
    for data in _each(pairs, classes):
        for number, image in data.images():
            found.update(hashlib.sha256(_read(data, number, image)).digest())
    told: list[object] = [pairs.texts, pairs.image_of_text]
    if classes is not None:
        told += [classes.names, classes.labels.tolist(), evaluation.prompts or TEMPLATES]
    if not pairs.texts:
        raise TrainError(f"evaluation pairs {evaluation.pairs}: no row has both an image and a caption")
    found.update(json.dumps(told).encode())
    return found.hexdigest()


def write_hashes(evaluation: Evaluation, path: Path) -> int:
    """Write the pHash of every image, for `select.decontaminate`; how many. TrainError for one that cannot be read."""
    names, values = [], []
    for data in _each(open_pairs(evaluation), open_classes(evaluation)):
        kind = "pair" if isinstance(data, Pairs) else "class image"
        for number, image in data.images():
            batch = Batch(pa.table({"row": [0]}), ImageStore({0: image}))
            value = Phash()(batch)["phash"][0]
            if error := batch.failures.get(0):
                raise unreadable(data, number, error)
            names.append(f"{kind} {number}")
            values.append(int(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(pa.table([names, pa.array(values, pa.uint64())], schema=HASHES), part)
    part.replace(path)
    return len(values)


def unreadable(data: Pairs | ClassFolder, number: int, why: object) -> TrainError:
    """An evaluation image that cannot be used, in words."""
    return TrainError(f"evaluation image {number} of {data.place} cannot be read: {why}; take it out")


def _each(pairs: Pairs, classes: ClassFolder | None) -> list[Pairs | ClassFolder]:
    return [pairs] if classes is None else [pairs, classes]


def _read(data: Pairs | ClassFolder, number: int, image: object) -> bytes:
    if not isinstance(image, bytes):
        raise unreadable(data, number, image)
    return image
