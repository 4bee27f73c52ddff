"""The finished cuts of a corpus folder."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import ValidationError

from ..operators.registry import did_you_mean
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


def chosen_cut(store: Store, name: str | None = None) -> CutEntry:
    """A cut of a corpus by its recipe's name or its folder's; the one that was made last where none is given.

    CorpusError where there is none, with near names.
    """
    cuts = list_cuts(store)
    if not cuts:
        raise CorpusError(f"{store.uri} has no finished cut; `cupel run` makes one")
    if name is None:
        return cuts[0]
    named = [cut for cut in cuts if name.removeprefix("cuts/") in (cut.title, cut.manifest.name)]
    if not named:
        known = [cut.title for cut in cuts]
        near = did_you_mean(name, [*known, *(cut.manifest.name for cut in cuts)])
        raise CorpusError(f"there is no cut {name!r}{near} (there are: {', '.join(known)})")
    return next((cut for cut in named if cut.newest), named[0])


def cut_at(store: Store, name: str | None = None) -> str | None:
    """Where the cut lies that a user means by a folder, below it: "" for a cut's own folder; None: it holds none.

    Of a corpus it is the one named, or the newest; CorpusError where there is none.
    """
    if store.exists("corpus.json"):
        return f"{chosen_cut(store, name).folder}/"
    return "" if store.exists("manifest.json") else None
