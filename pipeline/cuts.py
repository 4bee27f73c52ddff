"""The finished cuts of a corpus folder."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import ValidationError

from ..schemas.corpus import Manifest
from .read import CorpusError
from .store import Store


@dataclass(frozen=True, kw_only=True)
class CutEntry:
    """A finished cut of a corpus. Of cuts with one name, the one that was made last is `newest`."""

    folder: str  # cuts/NAME-HASH8
    manifest: Manifest
    newest: bool

    @property
    def title(self) -> str:
        """The folder's own name."""
        return self.folder.rpartition("/")[2]


def list_cuts(store: Store) -> list[CutEntry]:
    """The finished cuts of a corpus, the newest first; those from before cuts had a date come last.

    A cut whose manifest is damaged is left out: `cupel verify` tells of it.
    """
    found = [entry for folder in store.folders("cuts") if (entry := _entry(store, folder)) is not None]
    found.sort(key=lambda cut: (cut.newest, cut.folder), reverse=True)
    return sorted(found, key=lambda cut: cut.manifest.finished_at or "", reverse=True)


def _entry(store: Store, folder: str) -> CutEntry | None:
    """A cut, if it is finished and whole."""
    try:
        manifest = Manifest.model_validate_json(store.read(f"{folder}/manifest.json"))
    except (FileNotFoundError, ValidationError):
        return None
    try:
        newest = json.loads(store.read(f"cuts/{manifest.name}.json"))["cut"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        newest = None
    return CutEntry(folder=folder, manifest=manifest, newest=folder == f"cuts/{newest}")


def newest_cut(store: Store) -> CutEntry:
    """The cut that was made last. CorpusError where there is none."""
    cuts = list_cuts(store)
    if not cuts:
        raise CorpusError(f"{store.uri} has no finished cut; `cupel run` makes one")
    return cuts[0]


def cut_at(store: Store) -> str | None:
    """Where the cut lies that a user means by a folder, below it: "" for a cut's own folder; None: it holds none.

    Of a corpus it is the newest; CorpusError where that has none.
    """
    if store.exists("manifest.json"):
        return ""
    return f"{newest_cut(store).folder}/" if store.exists("corpus.json") else None
