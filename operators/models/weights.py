"""Where weights lie, how they get there, and whether they are whole.

A model is a name of open_clip's with a `pretrained` tag, or with a file of weights; a folder with an
`open_clip_config.json` and its weights (what open_clip pushes to hubs); a folder that `cupel train` wrote, whose model
lies in `model/`; or `cupel-tiny`, which is shipped. Published weights are fetched once a node into `$CUPEL_MODELS`
(default: ~/.cache/cupel/models) as

    ViT-B-32/openai/open_clip_model.safetensors
    ViT-B-32/openai/SHA256SUMS                     (as sha256sum writes it; checked whenever a worker loads them)
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from ..registry import did_you_mean

SHIPPED: Final = {"cupel-tiny": Path(__file__).parent / "cupel_tiny"}
CONFIG: Final = "open_clip_config.json"
SUMS: Final = "SHA256SUMS"
KNOCK_S: Final = 10.0
SUFFIXES: Final = (".safetensors", ".pt", ".pth", ".bin")  # a pickle is read with weights_only=True, or not at all


class ModelError(ValueError):
    """A model that is unknown, missing or damaged: in words for the user."""


def model_cache() -> Path:
    """The folder of fetched weights."""
    return Path(os.environ.get("CUPEL_MODELS") or "~/.cache/cupel/models").expanduser()


def model_folder(model: str) -> Path | None:
    """The folder that is the model: a shipped one, the user's or that of a run; None for a name of open_clip's."""
    if model in SHIPPED:
        return SHIPPED[model]
    places = (Path(model), Path(model) / "model")
    return next((place for place in places if (place / CONFIG).is_file()), None)


def model_config(model: str) -> dict[str, Any]:
    """The model's architecture, `embed_dim`, `vision_cfg` and `text_cfg`, read without loading open_clip."""
    if folder := model_folder(model):
        found = _read_json(folder / CONFIG).get("model_cfg")
        if not isinstance(found, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= found.keys():
            raise ModelError(f"{folder / CONFIG} has no model_cfg with embed_dim, vision_cfg and text_cfg")
        return found
    if (Path(model) / "run.json").is_file():
        raise ModelError(f"{model} is a run without a model yet: let it finish, the same `cupel train` goes on")
    if Path(model).is_dir():
        raise ModelError(f"the folder {model} has no {CONFIG}, so it is no model that open_clip saved")
    if model not in architectures():
        known = [*architectures(), *SHIPPED]
        raise ModelError(
            f"no model {model!r}{did_you_mean(model, known)} (known: open_clip's names, {', '.join(SHIPPED)}, and "
            f"folders with an {CONFIG} or of `cupel train`; `cupel models list` shows them)"
        )
    return _read_json(architectures()[model])


@cache
def architectures() -> dict[str, Path]:
    """open_clip's model names, and the files that say what they are."""
    found = importlib.util.find_spec("open_clip")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "model_configs"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def is_file_name(pretrained: str) -> bool:
    """Does it name a file of weights, rather than a tag of open_clip's?"""
    return pretrained.endswith(SUFFIXES) or os.sep in pretrained


def weights_files(model: str, pretrained: str) -> tuple[Path, ...]:
    """The local files that decide what the model computes; none for a published tag, whose name says all."""
    if model in SHIPPED:
        return tuple(sorted(path for path in SHIPPED[model].iterdir() if path.suffix != ".md"))
    if (folder := model_folder(model)) is not None:
        return (folder,)
    if is_file_name(pretrained):
        if not Path(pretrained).is_file():
            raise ModelError(f"there is no file of weights {pretrained!r}")
        return (Path(pretrained),)
    return ()


def cached_weights(model: str, pretrained: str) -> Path | None:
    """The fetched file of weights; None where it is not (or not wholly) there."""
    folder = model_cache() / model / pretrained
    if not (folder / SUMS).is_file():
        return None
    _, _, name = (folder / SUMS).read_text().strip().partition("  ")
    return folder / name if name and (folder / name).is_file() else None


def checked_weights(model: str, pretrained: str) -> Path:
    """The cached file after its checksum was compared; fetched first where it is missing. Raises ModelError."""
    found = cached_weights(model, pretrained) or fetch_weights(model, pretrained)
    expected = (found.parent / SUMS).read_text().split()[0]
    if _sha256(found) != expected:
        raise ModelError(f"{found} is damaged: {SUMS} has another SHA-256; delete {found.parent} and fetch it again")
    return found


def fetch_weights(model: str, pretrained: str) -> Path:
    """Fetch a published model's weights into the cache, once a node. Raises ModelError, saying what to do."""
    import open_clip

    model_config(model)  # an unknown name is told before an unknown tag
    tags = open_clip.list_pretrained_tags_by_model(model)
    published = open_clip.get_pretrained_cfg(model, pretrained)
    if not published:
        near = did_you_mean(pretrained, tags)
        raise ModelError(f"{model} has no weights {pretrained!r}{near} (there are: {', '.join(tags) or 'none'})")
    folder = model_cache() / model / pretrained
    with _one_at_a_time(folder):
        if (found := cached_weights(model, pretrained)) is not None:
            return found
        try:
            return _fetch(published, folder)
        except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
            raise ModelError(
                f"the weights of {model} ({pretrained}) are not in {folder} and cannot be fetched from "
                f"{publisher(published)} ({_reason(error)}). Where there is a network, run `cupel models fetch {model} "
                f"{pretrained}` and copy that folder to {folder} here; or name a file of these weights: `model: "
                f"{_as_file(model, published)}, pretrained: path/to/weights.safetensors`; or use `model: cupel-tiny`, "
                "which is shipped"
            ) from error


def _as_file(model: str, published: dict[str, Any]) -> str:
    """The architecture to name beside a file: a tag knows its activation, a file does not."""
    quick = f"{model}-quickgelu"
    return quick if published.get("quick_gelu") and quick in architectures() else model


def publisher(published: dict[str, Any]) -> str:
    """Where weights come from: a hub's repository, or an address."""
    return str(published.get("hf_hub", "")).rstrip("/") or str(published.get("url", ""))


def _fetch(published: dict[str, Any], folder: Path) -> Path:
    """Download, compare with the publisher's checksum where there is one, name it last."""
    from open_clip.pretrained import download_pretrained

    _knock(published)
    staging = folder / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        arrived = Path(download_pretrained(published, cache_dir=str(staging))).resolve()
        digest = _sha256(arrived)
        # A hub's cache names a file by the checksum that was published.
        if re.fullmatch("[0-9a-f]{64}", arrived.name) and arrived.name != digest:
            raise ModelError(f"what arrived has the SHA-256 {digest}, and {arrived.name} was published")
        suffix = Path(published.get("url") or ".safetensors").suffix if _is_pickle(arrived) else ".safetensors"
        target = folder / f"open_clip_model{suffix}"
        arrived.replace(target)
        (folder / "sums").write_text(f"{digest}  {target.name}\n")
        (folder / "sums").replace(folder / SUMS)
        return target
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_pickle(path: Path) -> bool:
    """A torch file is a zip or an old pickle; safetensors begins with the length of its JSON header."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[:4] == b"PK\3\4" or head[:1] == b"\x80" or head[8:] != b"{"


def _knock(published: dict[str, Any]) -> None:
    """Does the publisher's server answer at all? The hub's client would try for a minute where there is no network."""
    place = os.environ.get("HF_ENDPOINT", "https://huggingface.co") if published.get("hf_hub") else published["url"]
    try:
        urllib.request.urlopen(urllib.request.Request(place, method="HEAD"), timeout=KNOCK_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # it answers


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Workers of one node wait for the one that fetches."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object")
    return found
