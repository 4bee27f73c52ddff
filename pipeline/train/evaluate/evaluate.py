"""Run every task that data allows, and keep what came of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from ....operators.decode import RowError
from ....operators.models.weights import weights_files
from ....operators.source.base import SourceError
from ...progress import Reporter, Silent
from ...read import CorpusError
from ..cores import cores
from ..reader import open_dataset
from .clip_score import clip_score
from .compositional import compositional
from .data import AT_ONCE, ClassFolder, Encoded, Pairs, open_data
from .encoder import ClipEncoder, open_encoder
from .probe import few_shot, linear_probe, split
from .retrieval import recalls
from .zero_shot import TEMPLATES, class_vectors, zero_shot_accuracy

NAME: Final = "evaluation.json"  # in a run's folder
AHEAD: Final = 2  # batches


def evaluate(
    model: str,
    on: Sequence[str],
    *,
    pretrained: str = "",
    scorer: str | None = None,
    classes: Path | None = None,
    templates: Sequence[str] = TEMPLATES,
    seed: int = 0,
    progress: Reporter | None = None,
) -> dict[str, Any]:
    """All tasks on all data, as a dict that is JSON: `model`, and in `on` a dict for each place.

    `model` is a run's folder, or what `open_encoder` takes; `scorer` another model for CLIPScore; `classes` and
    `templates` are for folders of classes. Raises TrainError, ModelError, CorpusError, SourceError, ShardError.
    """
    sources = [open_data(place, classes) for place in on]  # a mistyped one is told before a model is loaded
    if classes is not None and not any(isinstance(data, ClassFolder) for data in sources):
        raise CorpusError(f"{classes} names classes, and none of {', '.join(on)} is a folder of classes")
    encoder = open_encoder(model, pretrained)
    judge = encoder if scorer is None else open_encoder(scorer)
    progress = progress or Silent()
    found = {}
    for place, data in zip(on, sources, strict=True):
        if isinstance(data, ClassFolder):
            progress.begin(place, len(data.files), "images")
            found[place] = _on_classes(encoder, data, templates, seed, progress)
        else:
            progress.begin(place, 0, "images")
            found[place] = _on_pairs(encoder, judge, data, scorer, seed, progress)
        found[place] |= _trained_on(model, place)
    told = {"model": model, "pretrained": pretrained or None, "device": encoder.device, "seed": seed}
    return {**told, "weights": weights_digest(encoder.model, pretrained), "on": found}


def save(result: dict[str, Any], run: Path) -> Path:
    """Write RUN/evaluation.json whole or not at all; what it has of other data stays while the weights do."""
    file = run / NAME
    try:
        earlier = json.loads(file.read_text("utf-8"))
        if earlier["weights"] == result["weights"]:
            result = {**result, "on": {**earlier["on"], **result["on"]}}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # there is none yet, or somebody has edited it: a new one
    temporary = run / f".cupel-{NAME}"
    temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, file)  # noqa: PTH105
    return file


def weights_digest(model: str, pretrained: str) -> str | None:
    """SHA-256 of the model's own files; None for published weights, whose name says all."""
    found = hashlib.sha256()
    places = weights_files(model, pretrained)
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.iterdir()))]
    for file in filter(Path.is_file, files):
        found.update(file.name.encode())
        with file.open("rb") as handle:
            found.update(hashlib.file_digest(handle, "sha256").digest())
    return found.hexdigest() if files else None


def _trained_on(model: str, place: str) -> dict[str, bool]:
    """Is this what the run was trained on? Then its figures say what it remembers."""
    told = Path(model) / "result.json"
    if not told.is_file():
        return {}
    result = json.loads(told.read_text("utf-8"))
    try:
        same = open_dataset(place).digest == result.get("digest")  # wherever it lies by now
    except (CorpusError, SourceError):  # no Parquet
        same = "dataset" in result and _place(result["dataset"]) == _place(place)
    return {"is_training_data": same}


def _place(place: str) -> str:
    return place.rstrip("/") if "://" in place else str(Path(place).resolve())


def _on_classes(
    encoder: ClipEncoder, data: ClassFolder, templates: Sequence[str], seed: int, progress: Reporter
) -> dict[str, Any]:
    numbers, (vectors,), bad = encode_images(data.images(), [encoder], progress)
    if not len(numbers):
        raise CorpusError(f"{data.place}: none of {len(data.files):,} images can be read ({_listed(bad)})")
    labels = data.labels[numbers]
    trains = None if data.trains is None else data.trains[numbers]
    tested = np.arange(len(labels)) if trains is None else np.flatnonzero(~trains)
    choices = class_vectors(encoder, data.names, templates)
    found: dict[str, Any] = {
        "kind": "classes",
        "images": len(labels),
        "bad_images": dict(bad),
        "classes": len(data.names),
    }
    found["zero_shot"] = zero_shot_accuracy(vectors[tested], choices, labels[tested]).as_dict()
    found["zero_shot"]["templates"] = list(templates)
    parts = split(labels, trains, seed)
    if parts is not None:
        found["linear_probe"] = linear_probe(vectors, labels, parts, len(data.names))
        there = zero_shot_accuracy(vectors[parts.test], choices, labels[parts.test]).top1
        shots = few_shot(vectors, labels, parts, len(data.names), seed=seed)
        enough = next((int(k) for k, drawn in shots.items() if drawn["value"] >= there), None)
        found["k_shot"] = {"shots": shots, "zero_shot_there": there, "shots_to_match_zero_shot": enough}
    return found


def _on_pairs(
    encoder: ClipEncoder, judge: ClipEncoder, data: Pairs, scorer: str | None, seed: int, progress: Reporter
) -> dict[str, Any]:
    encoders = [encoder] if judge is encoder else [encoder, judge]
    numbers, vectors, bad = encode_images(data.images(), encoders, progress)
    if not len(numbers):
        raise CorpusError(f"{data.place}: no image with a caption can be read ({_listed(bad + data.left_out)})")
    place = np.full(int(max(data.image_of_text)) + 1, -1)
    place[numbers] = np.arange(len(numbers))
    owner = place[np.array(data.image_of_text)]
    texts = [text for text, image in zip(data.texts, owner, strict=True) if image >= 0]
    owner = owner[owner >= 0]
    before = encoder.cut_short
    said = [each.texts(texts) for each in encoders]
    cut_short = encoder.cut_short - before
    told = {"kind": "pairs", "images": len(numbers), "captions": len(texts), "bad_images": dict(bad)}
    return {
        **told,
        "left_out": dict(data.left_out),
        "captions_cut_short": cut_short,
        "retrieval": _retrieval(vectors[0], said[0], owner, texts),
        "clip_score": {"scorer": scorer or "the model itself", **clip_score(vectors[-1], said[-1], owner, seed=seed)},
        "compositional": compositional(encoder, vectors[0], said[0], texts, owner, seed=seed),
    }


def _retrieval(images: np.ndarray, texts: np.ndarray, owner: np.ndarray, captions: Sequence[str]) -> dict[str, Any]:
    """Also with equal captions counted as right, where some are: they cap what can be reached."""
    found = recalls(images, texts, owner).as_dict()
    groups = np.unique([" ".join(caption.lower().split()) for caption in captions], return_inverse=True)[1]
    found["equal_captions"] = len(captions) - len(np.unique(groups))
    if found["equal_captions"]:
        fair = recalls(images, texts, owner, same_text=groups).as_dict()
        found["equal_captions_count"] = {way: fair[way] for way in ("image_to_text", "text_to_image")}
        for way in found["equal_captions_count"].values():
            for share in way.values():
                if isinstance(share, dict):
                    share.pop("chance")  # that of guessing among unequal ones
    return found


def encode_images(
    images: Iterable[tuple[int, Encoded]], encoders: Sequence[ClipEncoder], progress: Reporter
) -> tuple[np.ndarray, list[np.ndarray], Counter[str]]:
    """Numbers (n,) of the images that could be read, their vectors by each encoder, and the others by error class.

    Threads decode a batch at a time, on a GPU ahead of the model; on a CPU the two would stand in each other's way.
    """
    numbers: list[int] = []
    bad: Counter[str] = Counter()
    done: list[list[np.ndarray]] = [[] for _ in encoders]
    coming: deque[list[tuple[int, Future[list[np.ndarray]]]]] = deque()
    ahead = 0 if encoders[0].device == "cpu" else AHEAD

    def prepare(image: Encoded) -> list[np.ndarray]:
        if isinstance(image, RowError):
            raise image
        return [encoder.prepared(image) for encoder in encoders]

    def encode(batch: list[tuple[int, Future[list[np.ndarray]]]]) -> None:
        held = []
        for number, made in batch:
            try:
                held.append(made.result())
                numbers.append(number)
            except RowError as error:
                bad[error.kind] += 1
        if held:
            for i, encoder in enumerate(encoders):
                done[i].append(encoder.images(np.stack([pixels[i] for pixels in held])))
        progress.advance(len(batch))

    each = iter(images)
    with ThreadPoolExecutor(cores(), "cupel-decode") as pool:
        while batch := [(number, pool.submit(prepare, image)) for number, image in islice(each, AT_ONCE)]:
            coming.append(batch)
            if len(coming) > ahead:
                encode(coming.popleft())
        for batch in coming:
            encode(batch)
    return np.array(numbers, np.int64), [np.concatenate(made) if made else np.zeros((0, 1)) for made in done], bad


def _listed(bad: Counter[str]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in bad.most_common()) or "there are none"
