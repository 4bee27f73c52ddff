"""What a model is evaluated on: a folder with a folder a class, or images with captions in any form that Cupel reads.

Rows whose images are the same bytes are one image with several captions, wherever the rows stand: a list of captions, a
path named twice, or bytes stored twice. Images are read a few at a time and never held.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import yaml

from ....operators.decode import RowError
from ....operators.source import open_source
from ....operators.source.base import Piece, Rows, Source, cut, unify
from ....operators.source.files import MAX_IMAGE_BYTES, Entry, find, is_folder, is_remote, read_pieces
from ....operators.source.samples import IMAGE_SUFFIXES, JSON_SUFFIXES, TEXT_SUFFIXES
from ....operators.source.table import FORMATS
from ....schemas.recipe import Read
from ...cuts import cut_at
from ...read import CorpusError
from ...store import open_store

AT_ONCE: Final = 64  # images read at a time
SPLITS: Final = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
Encoded = bytes | RowError


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """Images by class. `names` are what prompts call the classes; labels are numbers of them."""

    place: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    labels: np.ndarray  # int64 (files,)
    trains: np.ndarray | None  # bool (files,): which lie below train/; None where nobody parted them

    def images(self) -> Iterator[tuple[int, Encoded]]:
        """Number and bytes of each image, or why it cannot be read."""
        for start in range(0, len(self.files), AT_ONCE):
            pieces = [Piece(file=file) for file in self.files[start : start + AT_ONCE]]
            yield from enumerate(read_pieces(pieces, MAX_IMAGE_BYTES), start)


@dataclass(kw_only=True)
class Pairs:
    """Images with captions. What `images` has passed over stands in `texts`, `image_of_text` and `left_out`."""

    place: str
    source: Source
    texts: list[str] = field(default_factory=list)
    image_of_text: list[int] = field(default_factory=list)  # number of the image, as `images` counts
    left_out: Counter[str] = field(default_factory=Counter)  # rows, by what they lack

    def images(self) -> Iterator[tuple[int, Encoded]]:
        """Number and bytes of each image when it is met first, or why it cannot be read."""
        numbers: dict[bytes, int] = {}
        seen: set[tuple[int, str]] = set()
        for image, text in self._rows():
            if image is None or text is None or not text.strip():
                self.left_out["no image" if image is None else "no caption"] += 1
                continue
            told = image if isinstance(image, bytes) else str(image).encode()
            digest = hashlib.blake2b(told, digest_size=16).digest()
            is_new = digest not in numbers
            number = numbers.setdefault(digest, len(numbers))
            if (number, text) in seen:
                self.left_out["the same pair again"] += 1
            else:
                seen.add((number, text))
                self.texts.append(text)
                self.image_of_text.append(number)
            if is_new:
                yield number, image

    def _rows(self) -> Iterator[tuple[Encoded | None, str | None]]:
        for file in self.source.files():
            scan = self.source.scan(file)
            schema = unify({file: scan.schema})
            for shard in cut(scan, 1 << 14, 0):
                for rows in self.source.rows(shard, schema, ["image", "text"]):
                    yield from _loaded(rows)


def _loaded(rows: Rows) -> Iterator[tuple[Encoded | None, str | None]]:
    """Every row's image and text, each slot loaded once."""
    texts = rows.table.column("text").to_pylist()
    for start in range(0, len(rows.slots), AT_ONCE):
        slots = rows.slots[start : start + AT_ONCE]
        wanted = [int(slot) for slot in np.unique(slots[slots >= 0])]
        images = dict(zip(wanted, rows.images.load(wanted), strict=True))
        for slot, text in zip(slots.tolist(), texts[start : start + AT_ONCE], strict=True):
            yield images.get(slot), text


def open_data(place: str, classes: Path | None = None) -> ClassFolder | Pairs:
    """A cut, a corpus (its newest cut), a folder of classes, or images with captions: a table, tars, texts beside.

    A folder of classes has a folder a class, perhaps below train/ and test/; `classes` is a YAML file that says what
    prompts call them, `folder: name`. Raises CorpusError or SourceError in words for the user.
    """
    found = _pairs(place)
    if found is not None:
        return found
    listed = find(place)
    by_class = _by_class(place, listed)
    if by_class is None:
        raise CorpusError(
            f"{place} is nothing to evaluate on: it holds neither two folders of images (a folder a class), nor images "
            "with captions: a table with both, tars, images with .txt beside them, a cut or a corpus"
        )
    return _class_folder(place, by_class, classes)


def _pairs(place: str) -> Pairs | None:
    if is_remote(place) or Path(place).is_dir():
        store = open_store(place)
        if (cut := cut_at(store)) is not None:
            return _curated(place, f"{store.uri}/{cut}".rstrip("/"))
    if not is_folder(place):
        return _captioned(place, Read(input=place))
    names = [entry.path for entry in find(place)]
    own = [name for name in names if _suffix(name) in FORMATS and "/" not in _below(place, name)]
    if len(own) == 1 and (found := _captioned(place, Read(table=own[0]), needs=("text", "image"))):
        return found
    images = {name.rpartition(".")[0] for name in names if _suffix(name) in IMAGE_SUFFIXES}
    beside = {name.rpartition(".")[0] for name in names if _suffix(name) in (*TEXT_SUFFIXES, *JSON_SUFFIXES)}
    if images and not images & beside:
        return None
    return _captioned(place, Read(folder=place) if images else Read(input=place))


def _curated(place: str, uri: str) -> Pairs:
    if not open_store(uri).files("curated"):
        raise CorpusError(f"{uri} was run with --no-write: run the recipe without it, so that its images are there")
    found = _captioned(place, Read(table=f"{uri}/curated"))
    assert found is not None
    return found


def _captioned(place: str, read: Read, needs: Sequence[str] = ()) -> Pairs | None:
    """Pairs, if the columns are there; None where they are not, and nobody said that they must be."""
    source = open_source(read)
    schema = source.scan(source.files()[0]).schema
    missing = [name for name in ("text", "image") if name not in schema.names]
    if not missing:
        return Pairs(place=place, source=source)
    if needs:
        return None
    if "nodes" in schema.names:
        raise CorpusError(f"{place} holds documents, and evaluation takes pairs of an image and a caption")
    if "image_url" in schema.names:
        raise CorpusError(f"{place} holds addresses of images; `cupel run` with crawl.images fetches them first")
    raise CorpusError(f"{place} has no {missing[0]} column; it has {', '.join(schema.names[:12])}")


def _by_class(place: str, listed: Sequence[Entry]) -> dict[tuple[str, ...], list[str]] | None:
    """Folder (or split and folder) -> its images; None where there are fewer than two classes."""
    found: dict[tuple[str, ...], list[str]] = {}
    images = [entry.path for entry in listed if _suffix(entry.path) in IMAGE_SUFFIXES]
    parts = {path: PurePosixPath(_below(place, path)).parts[:-1] for path in images}
    is_split = bool(parts) and all(part and part[0] in SPLITS for part in parts.values())
    depth = 2 if is_split else 1
    for path in images:
        if len(parts[path]) >= depth:
            found.setdefault(parts[path][:depth], []).append(path)
    return found if len({folder[-1] for folder in found}) > 1 else None


def _class_folder(place: str, by_class: dict[tuple[str, ...], list[str]], classes: Path | None) -> ClassFolder:
    folders = sorted({folder[-1] for folder in by_class})
    names = {folder: folder.replace("_", " ").replace("-", " ") for folder in folders}
    if classes is not None:
        names |= _read_names(classes, folders)
    listed = [(path, folders.index(folder[-1]), folder[0]) for folder, paths in by_class.items() for path in paths]
    listed.sort()
    splits = {SPLITS.get(split) for _, _, split in listed} if all(len(folder) > 1 for folder in by_class) else set()
    trains = np.array([SPLITS[split] == "train" for _, _, split in listed]) if splits == {"train", "test"} else None
    return ClassFolder(
        place=place,
        names=tuple(names[folder] for folder in folders),
        files=tuple(path for path, _, _ in listed),
        labels=np.array([label for _, label, _ in listed], np.int64),
        trains=trains,
    )


def _read_names(file: Path, folders: Sequence[str]) -> dict[str, str]:
    """What a YAML file calls the classes. CorpusError for a folder that is not there."""
    try:
        given = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file} is no YAML: {error}") from error
    if not isinstance(given, dict) or not all(isinstance(name, str) for pair in given.items() for name in pair):
        raise CorpusError(f"{file} must hold a line a class, `folder: name`; it holds {str(given)[:80]!r}")
    strange = sorted(set(given) - set(folders))
    if strange:
        raise CorpusError(f"{file} names {strange[0]!r}, and the folders are {', '.join(folders[:12])}")
    return dict(given)


def _below(place: str, path: str) -> str:
    return path[len(place.rstrip("/")) :].lstrip("/")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
