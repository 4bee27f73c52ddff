"""Hand a cut to other programs: tar shards for open_clip and webdataset, Parquet files, DataComp's uid array; documents
as OBELICS's or MMC4's, too.

Each file appears under its name when it is whole, on a disk as on S3; the same cut gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..schemas.corpus import Manifest
from .export_documents import OBELICS, add_samples, as_mmc4, as_obelics, check_documents, check_matched
from .members import add, plain, suffix_of
from .read import CorpusError
from .store import TEMPORARY, Store, open_store

_UID = re.compile(r"[0-9a-fA-F]{32}")
_UIDS = np.dtype("u8,u8")
_CHUNK_BYTES = 8 << 20
Form = Literal["webdataset", "parquet", "uids", "obelics", "mmc4"]
_SUFFIXES: Final[dict[Form, str]] = {
    "webdataset": "{:05d}.tar",
    "parquet": "{:08d}.parquet",
    "obelics": "{:08d}.parquet",
    "mmc4": "{:05d}.jsonl",
}


def export_cut(cut: str, to: Form, out: str) -> dict[str, int]:
    """Write a cut's rows in another form; returns the number of rows and files, and of those that lack something.

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
    names = [_SUFFIXES[to].format(i) for i in range(len(files))]
    if to == "mmc4":  # its images stand in a tar beside each file of lines
        names += [name.replace(".jsonl", ".images.tar") for name in names]
    target = open_store(out)
    _refuse_others(target, names)
    counts = Counter(rows=0, files=len(names))
    for name, entry in zip(names, files, strict=False):
        path = folder + str(entry["path"])
        with target.writing(name, replace=True) as file:
            if to == "webdataset":
                counts.update(_write_tar(store, path, file, name.removesuffix(".tar")))
            elif to == "obelics":
                counts["rows"] += _write_obelics(store, path, file)
            elif to == "mmc4":
                with target.writing(name.replace(".jsonl", ".images.tar"), replace=True) as images:
                    counts.update(_write_mmc4(store, path, file, images))
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
    """One curated file as one tar: NAME-ROW.jpg .txt .json per row, with no clock or user in it; counts of rows.

    Of documents: NAME-ROW.json with NAME-ROW.0.jpg and so on.
    """
    counts: Counter[str] = Counter(rows=0, without_image=0)
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for batch in _batches(store, path):
            if "nodes" in batch.schema.names:
                counts.update(add_samples(tar, batch, name, counts["rows"]))
                continue
            for row in batch.to_pylist():
                key = f"{name}-{counts['rows']:06d}"
                image, text = row.pop("image", None), row.get("text")
                if image is not None:
                    add(tar, f"{key}.{suffix_of(image)}", image)
                if text is not None:
                    add(tar, f"{key}.txt", text.encode())
                add(tar, f"{key}.json", json.dumps(plain(row), ensure_ascii=False).encode())
                counts["rows"] += 1
                counts["without_image"] += image is None
                counts["without_text"] += text is None
    return counts


# Documents


def _write_obelics(store: Store, path: str, file: Path) -> int:
    """A curated file of documents as one of OBELICS's; its rows."""
    rows = 0
    with pq.ParquetWriter(file, OBELICS, compression="zstd") as writer:
        for batch in _batches(store, path):
            check_documents(batch.schema)
            writer.write_batch(as_obelics(batch))
            rows += batch.num_rows
    return rows


def _write_mmc4(store: Store, path: str, file: Path, images: Path) -> dict[str, int]:
    """A curated file of documents as lines of MMC4's, their images in a tar; counts of rows and of images left out."""
    counts: Counter[str] = Counter(rows=0, unmatched=0)
    written: set[str] = set()
    with file.open("wb") as lines, tarfile.open(images, "w", format=tarfile.USTAR_FORMAT) as tar:
        for batch in _batches(store, path):
            check_matched(batch.schema)
            for document in as_mmc4(batch):
                lines.write(document.line)
                for name, image in document.images.items():
                    if name not in written:
                        add(tar, name, image)
                        written.add(name)
                counts.update(rows=1, unmatched=document.unmatched)
    return counts


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
