"""What is wrong with a drawn pool: which rows get which fault, and the pictures and captions that come of it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final, Literal

import numpy as np
import simplejpeg
from PIL import Image

from .captions import boilerplate, captions, foreign_captions
from .drawn import Scenes, paint

Fault = Literal["shuffled", "near_duplicate", "boilerplate", "foreign", "blurred"]
FAULTS: Final[tuple[Fault, ...]] = ("shuffled", "near_duplicate", "boilerplate", "foreign", "blurred")
CLEAN: Final = "clean"
ROWS_AT_ONCE: Final = 2048
PIXELS_ALONE: Final = 1 << 26  # fewer are painted before processes have started


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which scene each row shows and what is wrong with it.

    `fault` counts in FAULTS, -1 is a clean row. `scene` is the scene that is painted, of `scenes`; a near duplicate
    shows that of a clean row. `told` is the scene that the caption tells of: another one where captions are shuffled.
    """

    scenes: Scenes
    fault: np.ndarray
    scene: np.ndarray
    told: np.ndarray


def plan_faults(scenes: Scenes, shares: dict[Fault, float], sources: int, rng: np.random.Generator) -> Plan:
    """Spread the faults over the rows: exactly round(share x rows) of each, the rest clean.

    Near duplicates copy `sources` of the clean rows. Shuffled captions go round among their rows, so no row keeps its
    own. The shares leave clean rows.
    """
    n, order = len(scenes), rng.permutation(len(scenes))
    fault = np.full(n, -1, np.int8)
    start = 0
    for number, kind in enumerate(FAULTS):
        stop = start + round(shares.get(kind, 0.0) * n)
        fault[order[start:stop]] = number
        start = stop
    scene, told = np.arange(n), np.arange(n)
    copies, clean = np.flatnonzero(fault == FAULTS.index("near_duplicate")), order[start:]
    if len(copies):
        scene[copies] = told[copies] = rng.choice(clean[:sources], len(copies))
    mixed = rng.permutation(np.flatnonzero(fault == FAULTS.index("shuffled")))
    told[mixed] = np.roll(mixed, 1)
    return Plan(scenes=scenes, fault=fault, scene=scene, told=told)


def tell(plan: Plan, rng: np.random.Generator) -> list[str]:
    """The caption of each row."""
    found = captions(plan.scenes.take(plan.told), rng)
    foreign, empty = (np.flatnonzero(plan.fault == FAULTS.index(kind)) for kind in ("foreign", "boilerplate"))
    for row, text in zip(foreign.tolist(), foreign_captions(plan.scenes.take(foreign), rng), strict=True):
        found[row] = text
    for row, text in zip(empty.tolist(), boilerplate(len(empty), rng), strict=True):
        found[row] = text
    return found


def show(plan: Plan, side_px: int, seed: int) -> list[bytes]:
    """The JPEG of each row; by processes where there are many pixels to paint."""
    starts = range(0, len(plan.fault), ROWS_AT_ONCE)
    parts = [np.arange(start, min(start + ROWS_AT_ONCE, len(plan.fault))) for start in starts]
    jobs = [(plan.scenes.take(plan.scene[rows]), plan.fault[rows], side_px, [seed, int(rows[0])]) for rows in parts]
    if len(plan.fault) * side_px**2 < PIXELS_ALONE:
        return [image for job in jobs for image in _shown(*job)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return [image for part in pool.map(_shown, *zip(*jobs, strict=True)) for image in part]


def _shown(scenes: Scenes, fault: np.ndarray, side_px: int, seed: list[int]) -> list[bytes]:
    rng = np.random.default_rng(seed)
    pixels = paint(scenes, side_px)
    copied = fault == FAULTS.index("near_duplicate")
    pixels[copied] = _retouched(pixels[copied], rng)
    quality = np.where(copied, rng.integers(80, 92, len(fault)), 92).tolist()
    found = [encoded(each, q) for each, q in zip(pixels, quality, strict=True)]
    for i in np.flatnonzero(fault == FAULTS.index("blurred")).tolist():
        found[i] = encoded(_spoilt(pixels[i], tiny=rng.random() < 0.5), quality[i])
    return found


def encoded(pixels: np.ndarray, quality: int = 92) -> bytes:
    """A JPEG with its colours at full size: so small a picture has none to spare."""
    found: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "444")
    return found


def _retouched(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pictures a little brighter or darker, each colour on its own, as copies on the web are."""
    gain = rng.uniform(0.96, 1.04, (len(pixels), 1, 1, 3)).astype(np.float32)
    return np.clip(pixels * gain + rng.uniform(-4, 4, (len(pixels), 1, 1, 1)), 0, 255).astype(np.uint8)


def _spoilt(pixels: np.ndarray, *, tiny: bool) -> np.ndarray:
    """The picture at a quarter of its side, and unless `tiny` enlarged again."""
    image = Image.fromarray(pixels)
    small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
    return np.asarray(small if tiny else small.resize(image.size, Image.Resampling.BICUBIC))
