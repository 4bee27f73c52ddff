"""Which cut a run makes: what decides its name, and whether it is made already."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping

from ..operators.registry import did_you_mean
from ..operators.source.base import Source
from ..schemas.corpus import Manifest
from .funnel import Funnel
from .plan import Plan
from .planner import make_plan
from .read import CorpusError, ShardList, digest_parts, known_shards, to_scan
from .recipe_file import RecipeFile
from .store import Store


def source_digest(store: Store, shards: ShardList) -> str:
    """Decides which rows there are, and how often errors were tried again."""
    parts = [list(digest_parts(shards)), store.files("retries")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def note_retry(store: Store, classes: Collection[str]) -> None:
    """Write down that these classes of errors are tried again, which makes another cut. Raises CorpusError."""
    paths = store.files("errors")
    there = {kind for path in paths for kind in store.table(path, ["class"]).column("class").to_pylist()}
    for kind in sorted(set(classes) - there):
        near, known = did_you_mean(kind, sorted(there)), ", ".join(sorted(there)) or "none"
        raise CorpusError(f"no row failed with {kind!r}{near} (classes there are: {known})")
    store.write(f"retries/{len(store.files('retries')):04d}.json", json.dumps(sorted(classes)).encode())


def manifest_of(store: Store, plan: Plan) -> Manifest | None:
    """The manifest of this very cut, if it has one."""
    try:
        return Manifest.model_validate_json(store.read(f"{plan.cut}/manifest.json"))
    except FileNotFoundError:
        return None


def made_already(store: Store, source: Source, file: RecipeFile, *, write: bool, began: float) -> Funnel | None:
    """The funnel of a run for which nothing is left to do; told without starting Ray."""
    known = known_shards(store)
    if known is None or to_scan(source, known):
        return None
    plan = make_plan(file, known.schema, source_digest(store, known))
    manifest = manifest_of(store, plan)
    if manifest is None or not manifest.complete or (write and not manifest.wrote_images):
        return None
    return funnel_of(store, plan, manifest, {}, began)


def funnel_of(store: Store, plan: Plan, manifest: Manifest, measured: Mapping[str, int], began: float) -> Funnel:
    """The result of a run that began at this time (`time.perf_counter`)."""
    return Funnel(
        manifest=manifest,
        measured_rows={step.label: measured.get(step.label, 0) for step in plan.by_row},
        seconds=round(time.perf_counter() - began, 3),
        corpus=store.uri,
        cut=f"{store.uri}/{plan.cut}",
    )
