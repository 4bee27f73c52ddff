"""Check a corpus: are all files whole and unchanged, do the rows add up, does nothing lie about that nobody lists?

Every fault names its file. No more is held in memory than the rows of one shard and the list of the files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ..operators.source.base import Shard
from ..schemas.corpus import ERRORS, FETCHED, FOUND, MADE, Manifest, shard_name
from ..schemas.summary import Summary
from .read import CorpusError, known_shards
from .recount import Recount
from .scores import version_path
from .store import TEMPORARY, Store, open_store
from .summary.summarise import FILE, disagreement

_LISTED = ("kept/", "dropped/", "parents/", "curated/")
_MEASURED = {
    "scores": ("row", "state"),
    "fetched": tuple(FETCHED.names),
    "errors": tuple(ERRORS.names),
    "rows": tuple(MADE.names),
}
_UNLISTED = ("ranks/", "recipe.yaml", "manifest.json", "files.parquet", FILE, "report.html")
_DAMAGE = (OSError, pa.ArrowException, ValueError, KeyError, TypeError)  # what Arrow raises on a damaged footer
_THREADS = 8
_CHUNK_BYTES = 8 << 20


@dataclass(kw_only=True)
class Verified:
    """What was checked, what is wrong, what is worth knowing."""

    corpus: str
    files: int = 0
    cuts: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return {**vars(self), "ok": not self.faults}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"FAULT: {fault}" for fault in self.faults)
        state = "sound" if not self.faults else f"{len(self.faults)} faults"
        yield f"{self.corpus}: {state}; {self.files:,} files and {self.cuts:,} cuts checked"


def verify_corpus(corpus: str) -> Verified:
    """Check every file of a corpus folder. Raises CorpusError when this is none."""
    store, found = open_store(corpus), Verified(corpus=corpus)
    files = store.files("")
    there = set(files)
    if "source.parquet" not in there:
        if "corpus.json" not in there:
            raise CorpusError(f"{corpus} is no corpus folder: it has no source.parquet")
        found.faults.append("source.parquet: is missing")
        return found
    check = _Check(store, found)
    try:
        known = known_shards(store)
    except _DAMAGE as error:
        check.fault("source.parquet", f"cannot be read: {_first_line(error)}")
        return found
    assert known is not None
    for path in files:
        check.file(path, known.shards, there)
    for cut, below in itertools.groupby((path for path in files if path.count("/") > 1), lambda p: p.split("/")[:2]):
        if cut[0] == "cuts":
            check.cut("/".join(cut), list(below), known.shards)
    found.files = len(check.checked)
    return found


class _Check:
    """Checks one file or cut after the other and takes down what it finds."""

    def __init__(self, store: Store, found: Verified) -> None:
        self.store, self.found = store, found
        self.checked = {"source.parquet"}
        self._born: tuple[str, np.ndarray] = ("", np.zeros(0, np.int64))  # a shard's files, and the parents in them

    def fault(self, path: str, what: str) -> None:
        self.found.faults.append(f"{path}: {what}")

    def note(self, path: str, what: str) -> None:
        self.found.notes.append(f"{path}: {what}")

    # Reading

    def tables(self, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The row groups of a file, page checksums verified; a damaged file is a fault, and ends."""
        try:
            with self.store.open(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                yield parquet.schema_arrow.empty_table().select(columns or parquet.schema_arrow.names)
                for group in range(parquet.num_row_groups):
                    yield parquet.read_row_group(group, columns=columns, use_threads=False)
            self.checked.add(path)
        except FileNotFoundError:
            self.fault(path, "is missing")
        except _DAMAGE as error:
            self.fault(path, f"cannot be read: {_first_line(error)}")

    def table(self, path: str) -> pa.Table | None:
        """The whole file, or None where it is damaged."""
        faults = len(self.found.faults)
        parts = list(self.tables(path))
        return None if len(self.found.faults) > faults else pa.concat_tables(parts)

    def values(self, paths: Sequence[str], columns: list[str]) -> Iterator[tuple[str | None, ...]]:
        """These columns of the rows in these files, one after the other."""
        for path in paths:
            for table in self.tables(path, columns):
                yield from zip(*(table.column(name).to_pylist() for name in columns), strict=True)

    # Files outside of cuts

    def file(self, path: str, shards: Sequence[Shard], files: set[str]) -> None:
        """One file of the corpus folder that belongs to no cut."""
        folder, _, rest = path.partition("/")
        if path.rpartition("/")[2].startswith(TEMPORARY):
            self.note(path, "left by a run that was stopped; the next run removes it")
        elif folder in _MEASURED:
            self.measured(path, shards, files)
            if folder == "errors" and not {f"{home}/{rest}" for home in FOUND} & files:
                self.note(path, "its scores were not committed; the next run measures them")
        elif folder == "members":
            for _ in self.tables(path):
                pass
        elif folder in ("corpus.json", "retries") or (folder == "cuts" and "/" not in rest):
            self.json(path, files)
        elif folder not in ("cuts", "source.parquet"):
            self.note(path, "nobody knows this file")

    def measured(self, path: str, shards: Sequence[Shard], files: set[str]) -> None:
        """Scores, errors, what extractors made: of rows that there are, of each once at most."""
        folder, file = path.split("/")[0], path.rpartition("/")[2].removesuffix(".parquet")
        name, _, version = file.partition("+")
        parts, columns = [], []
        for table in self.tables(path):
            columns = table.column_names
            parts.append(table.select([name for name in _MEASURED[folder] if name in columns]))
        if path not in self.checked:
            return
        table = pa.concat_tables(parts)
        if not name.isdecimal() or int(name) >= len(shards):
            self.fault(path, f"there is no shard {name}")
        elif table.column_names != list(_MEASURED[folder]):
            self.fault(path, f"has the columns {columns}")
        elif folder != "errors" and version.isdecimal() and path.replace(*_before(int(version))) not in files:
            self.fault(path, "the file before it is missing")
        else:
            numbered_by = (parts[0].schema.metadata or {}).get(b"numbered_by", b"").decode()
            known = self.lines(numbered_by, int(name), files) if numbered_by else shards[int(name)].rows
            self.numbers(path, table, known)

    def numbers(self, path: str, table: pa.Table, known: int) -> None:
        """Numbers of rows on disk are among those that the shard has, and lines about one row are not spread."""
        rows = table.column(0).to_numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= known):
            self.fault(path, f"has rows beyond the shard's {known}")
        elif path.startswith(("scores/", "fetched/")) and len(np.unique(rows)) < len(rows):
            self.fault(path, "has rows twice")
        elif path.startswith("rows/"):
            child = table.column("child").fill_null(-1).to_numpy()
            same = np.diff(rows, prepend=-1) == 0
            follows = np.where(same, np.append(-1, child[:-1]) + 1, np.minimum(child, 0))
            if (np.diff(rows) < 0).any() or (child != follows).any() or (same & (child < 1)).any():
                self.fault(path, "its children do not stand in the order of their parents")
            self.born_twice(path, np.unique(rows[child >= 0]))

    def born_twice(self, path: str, parents: np.ndarray) -> None:
        """Whoever has children has them in one file. (The files of a shard come one after the other.)"""
        shard = path.partition("+")[0].removesuffix(".parquet")
        known = self._born[1] if self._born[0] == shard else np.zeros(0, np.int64)
        if len(np.intersect1d(known, parents)):
            self.fault(path, "has children of rows whose children are in another file")
        self._born = (shard, np.union1d(known, parents))

    def lines(self, folder: str, shard: int, files: set[str]) -> int:
        """The lines of an extractor's files of one shard: so many numbers its children may have."""
        paths = (version_path(folder, shard, number) for number in itertools.count())
        there = itertools.takewhile(lambda path: path in files, paths)
        try:
            return sum(_rows(self.store, path) for path in there)
        except _DAMAGE:
            return 2**31  # told when the file itself is checked

    def json(self, path: str, files: set[str]) -> None:
        """corpus.json, a list of retried classes, or a pointer to the newest cut of a name."""
        self.checked.add(path)
        try:
            content = json.loads(self.store.read(path))
            cut = content["cut"] if path.startswith("cuts/") else None
        except (ValueError, KeyError, TypeError):
            self.fault(path, "is damaged")
            return
        if cut is not None and f"cuts/{cut}/manifest.json" not in files:
            self.fault(path, f"names the cut {cut}, which has no manifest")

    # Cuts

    def cut(self, cut: str, files: Sequence[str], shards: Sequence[Shard]) -> None:
        """One cut: the manifest, the file list, the files, the rows."""
        try:
            manifest = Manifest.model_validate_json(self.store.read(f"{cut}/manifest.json"))
        except FileNotFoundError:
            self.note(cut, "not finished; the same command goes on with it")
            return
        except ValidationError as error:
            self.fault(f"{cut}/manifest.json", error.errors()[0]["msg"])
            return
        self.found.cuts += 1
        self.checked.add(f"{cut}/manifest.json")
        if manifest.unreadable:
            self.note(cut, f"incomplete, {len(manifest.unreadable)} shards or files could not be read")
        for path in files:
            if path.startswith(f"{cut}/ranks/"):
                self.table(path)
        if cut != f"cuts/{manifest.name}-{manifest.recipe_hash[:8]}":
            self.fault(f"{cut}/manifest.json", f"is that of {manifest.name}-{manifest.recipe_hash[:8]}")
        if _digest(self.store, f"{cut}/files.parquet")[1] != manifest.files_sha256:
            self.fault(f"{cut}/files.parquet", "is missing, or not the list that manifest.json names")
            return
        table = self.table(f"{cut}/files.parquet")
        assert table is not None
        listed = {entry["path"]: entry for entry in table.to_pylist()}
        self.unlisted(cut, files, set(listed))
        if self.unchanged(cut, listed):
            faults = len(self.found.faults)
            self.rows(cut, manifest, set(listed), shards)
            if f"{cut}/{FILE}" in files:  # older cuts have none
                self.summary(f"{cut}/{FILE}", manifest if len(self.found.faults) == faults else None)

    def summary(self, path: str, manifest: Manifest | None) -> None:
        """Can summary.json be read, and does it count as a sound manifest does?"""
        self.checked.add(path)
        try:
            summary = Summary.model_validate_json(self.store.read(path))
        except ValidationError as error:
            self.fault(path, f"cannot be read: {_first_line(error)}")
            return
        if manifest is not None and (wrong := disagreement(summary, manifest)):
            self.fault(path, wrong)

    def unlisted(self, cut: str, files: Sequence[str], listed: set[str]) -> None:
        """A file that a reader would take for a part of the cut is a fault."""
        for path in files:
            name = path.removeprefix(f"{cut}/")
            if name.startswith(_LISTED) and name not in listed:
                self.fault(path, "is not in the manifest's file list")
            elif name.startswith("work/"):
                self.note(path, "left by a run that was stopped")
            elif not name.startswith((*_LISTED, *_UNLISTED)):
                self.note(path, "nobody knows this file")

    def unchanged(self, cut: str, listed: dict[str, dict[str, object]]) -> bool:
        """Do all listed files have their sizes and digests?"""
        with ThreadPoolExecutor(_THREADS) as pool:
            told = pool.map(lambda path: _difference(self.store, f"{cut}/{path}", listed[path]), listed)
            faults = [(path, what) for path, what in zip(listed, told, strict=True) if what]
        for path, what in faults:
            self.fault(f"{cut}/{path}", what)
        self.checked |= {f"{cut}/{path}" for path in listed}
        return not faults

    def rows(self, cut: str, manifest: Manifest, listed: set[str], shards: Sequence[Shard]) -> None:
        """Every row of every shard is kept or dropped, once; the manifest counts them so; curated/ holds the kept."""
        faults, recount = len(self.found.faults), Recount(manifest)
        own = shards[: manifest.shards]  # files added to the input since have theirs after these
        decided = [shard for shard in own if f"kept/{shard_name(shard.id)}.parquet" in listed]
        if len(own) - len(decided) > len(manifest.unreadable):
            self.fault(f"{cut}/kept", "lacks shards that are not reported as unreadable")
        for shard in decided:
            path = f"{cut}/kept/{shard_name(shard.id)}.parquet"
            tables = {}
            for folder in ("kept", "dropped", *(["parents"] if manifest.made else [])):
                table = self.table(path.replace("/kept/", f"/{folder}/"))
                if table is None:
                    return
                tables[folder] = table
            if wrong := recount.add(shard, tables):
                self.fault(path, wrong)
        if wrong := recount.miscounts():
            self.fault(f"{cut}/manifest.json", wrong)
        if manifest.wrote_images and len(self.found.faults) == faults:
            columns = ["key", *(["parent"] if manifest.made else [])]
            self.curated(cut, sorted(listed), columns, of_documents=manifest.documents is not None)

    def curated(self, cut: str, listed: Sequence[str], columns: list[str], *, of_documents: bool) -> None:
        """The rows in curated/ are those in kept/, in order, by these columns, or the documents of those."""
        kept = self.values([f"{cut}/{path}" for path in listed if path.startswith("kept/")], columns)
        if of_documents:
            kept = (row for row, _ in itertools.groupby(kept))
        for path in (path for path in listed if path.startswith("curated/")):
            held = list(self.values([f"{cut}/{path}"], columns))
            if held != list(itertools.islice(kept, len(held))):
                self.fault(f"{cut}/{path}", "does not hold the kept rows in order")
                return
        if any(True for _ in kept):
            self.fault(f"{cut}/curated", "lacks the last of the kept rows")


def _difference(store: Store, path: str, entry: dict[str, object]) -> str:
    """How a file differs from its entry in the file list; empty where it does not."""
    size, digest = _digest(store, path)
    if not digest:
        return "is missing"
    return "" if (size, digest) == (entry["bytes"], entry["sha256"]) else "has changed since it was written"


def _digest(store: Store, path: str) -> tuple[int, str]:
    """Size and SHA-256 of a file; an empty digest where there is none."""
    digest, size = hashlib.sha256(), 0
    try:
        with store.open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        return 0, ""
    return size, digest.hexdigest()


def _before(version: int) -> tuple[str, str]:
    """What to replace in a file's name to get that of the version before."""
    return f"+{version}.", f"+{version - 1}." if version > 1 else "."


def _rows(store: Store, path: str) -> int:
    with store.open(path) as file, pq.ParquetFile(file) as parquet:
        return int(parquet.metadata.num_rows)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:200]
