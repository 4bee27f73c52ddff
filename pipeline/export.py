"""Hand a cut to other programs: tar shards for open_clip and webdataset, Parquet files, DataComp's uid array.

Each file appears under its name when it is whole, on a disk as on S3; the same cut gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..schemas.corpus import Manifest
from .read import CorpusError
from .store import TEMPORARY, Store, open_store

# What open_clip looks for: jpg, png, jpeg, webp. The others are told from them, so that no loader takes them for one.
_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"\x89PNG"), "png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "webp"),
    (re.compile(rb"GIF8"), "gif"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "avif"),
)
_UID = re.compile(r"[0-9a-fA-F]{32}")
_UIDS = np.dtype("u8,u8")
_CHUNK_BYTES = 8 << 20


def export_cut(cut: str, to: Literal["webdataset", "parquet", "uids"], out: str) -> dict[str, int]:
    """Write a cut's rows in another form; returns the number of rows and files, and of tar rows that lack something.

    `out` is a folder, for uids a file; local or s3://. Raises CorpusError when there is no such cut, when it was run
    with --no-write (which does for uids), or when `out` holds other files.
    """
    store, folder = _find_cut(cut)
    manifest = Manifest.model_validate_json(store.read(f"{folder}manifest.json"))
    listed = store.table(f"{folder}files.parquet").to_pylist()
    if to == "uids":
        if manifest.made:
            raise CorpusError(f"{cut} holds rows that {', '.join(manifest.made)} made; uids name those of the source")
        return _write_uids(store, [folder + f["path"] for f in listed if f["path"].startswith("kept/")], out)
    if not manifest.wrote_images:
        raise CorpusError(f"{cut} was run with --no-write; run the recipe without it first")
    files = [entry for entry in listed if entry["path"].startswith("curated/")]
    names = [f"{i:05d}.tar" if to == "webdataset" else f"{i:08d}.parquet" for i in range(len(files))]
    target = open_store(out)
    _refuse_others(target, names)
    counts = Counter(rows=0, files=len(files))
    for name, entry in zip(names, files, strict=True):
        with target.writing(name, replace=True) as file:
            if to == "webdataset":
                counts.update(_write_tar(store, folder + entry["path"], file, name.removesuffix(".tar")))
            else:
                counts["rows"] += _copy(store, folder, entry, file)
    return dict(counts)


def _find_cut(cut: str) -> tuple[Store, str]:
    """The store and folder prefix of a cut: its own folder, or the only cut name of a corpus."""
    store = open_store(cut)
    if store.exists("manifest.json"):
        return store, ""
    if not store.exists("corpus.json"):
        raise CorpusError(f"{cut} is neither a finished cut nor a corpus folder")
    pointers = [path for path in store.files("cuts") if path.count("/") == 1]
    names = [json.loads(store.read(path))["cut"] for path in pointers]
    if len(names) != 1:
        told = f" ({', '.join(names)}); give one of their folders below cuts/" if names else ""
        raise CorpusError(f"{cut} has {len(names)} finished cuts{told}")
    return store, f"cuts/{names[0]}/"


def _refuse_others(target: Store, names: Sequence[str]) -> None:
    """A loader that is given the folder would read them too. What a stopped export left goes."""
    target.sweep(before=time.time())
    others = [path for path in target.files("") if path not in names and not path.startswith(TEMPORARY)]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise CorpusError(f"{target.uri} holds other files ({', '.join(others[:3])}{more}); give an empty folder")


def _batches(store: Store, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A file row group by row group, page checksums verified."""
    with store.open(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for group in range(parquet.num_row_groups):
            yield from parquet.read_row_group(group, columns=columns).to_batches()


# Tars


def _write_tar(store: Store, path: str, file: Path, name: str) -> dict[str, int]:
    """One curated file as one tar: NAME-ROW.jpg .txt .json per row, with no clock or user in it; counts of rows."""
    counts = {"rows": 0, "without_image": 0, "without_text": 0}
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for batch in _batches(store, path):
            for row in batch.to_pylist():
                key = f"{name}-{counts['rows']:06d}"
                image, text = row.pop("image", None), row.get("text")
                if image is not None:
                    _add(tar, f"{key}.{_suffix(image)}", image)
                if text is not None:
                    _add(tar, f"{key}.txt", text.encode())
                _add(tar, f"{key}.json", json.dumps(_plain(row), ensure_ascii=False).encode())
                counts["rows"] += 1
                counts["without_image"] += image is None
                counts["without_text"] += text is None
    return counts


def _suffix(image: bytes) -> str:
    return next((suffix for magic, suffix in _MAGIC if magic.match(image)), "bin")


def _plain(value: object) -> object:
    """What JSON can hold: bytes as hex, NaN and infinity as null, dates and the like as text."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


# Parquet


def _copy(store: Store, folder: str, entry: Mapping[str, str | int], file: Path) -> int:
    """A curated file as it is; its rows. CorpusError when it is not what was written."""
    digest = hashlib.sha256()
    with store.open(f"{folder}{entry['path']}") as source, file.open("wb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != entry["sha256"]:
        raise CorpusError(f"{folder}{entry['path']} has changed since it was written; see `cupel verify`")
    return int(entry["rows"])


# DataComp


def _write_uids(store: Store, files: Sequence[str], out: str) -> dict[str, int]:
    """DataComp's subset file: a sorted array of dtype u8,u8, the high and low halves of each 128-bit uid."""
    if Path(out).is_dir():
        raise CorpusError(f"{out} is a folder; give the name of a file, as in {out.rstrip('/')}/uids.npy")
    parts = [_halves(batch.column("key")) for path in files for batch in _batches(store, path, ["key"])]
    uids = np.concatenate([np.zeros((0, 2), ">u8"), *parts])
    uids = uids[np.lexsort((uids[:, 1], uids[:, 0]))]
    folder, name = os.path.split(out)
    with open_store(folder or ".").writing(name, replace=True) as file, file.open("wb") as handle:
        np.save(handle, np.ascontiguousarray(uids, "<u8").view(_UIDS)[:, 0], allow_pickle=False)
    return {"rows": len(uids), "files": 1}


def _halves(keys: pa.Array) -> np.ndarray:
    """(n, 2) big-endian 64-bit halves."""
    uids = keys.to_pylist()
    bad = [key for key in uids if key is None or not _UID.fullmatch(key)]
    if bad:
        told = "is no 32-digit hexadecimal uid; name the uid column with `read: {key: uid}`"
        raise CorpusError(f"key {bad[0]!r} {told}")
    return np.frombuffer(bytes.fromhex("".join(uids)), ">u8").reshape(-1, 2)
