"""Drawn pictures with captions, as the demo has them on disk and as the model sees them, and captions that are wrong.

Every pair is a function of (world, seed, number). Training and evaluation use seeds of different names, and neither
uses the demo's.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from objects import PAINTS, draw_objects
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "demo"))
from scenes import NUMBERS, SCENES, Phrases, caption, draw

WORLDS: Final = {"scenes": tuple(SCENES), "objects": ("one", "many", "many", "groups", "relation", "relation", "bare")}
LABELS: Final = {
    "sailboats": "sailboats at sea", "mountains": "mountains with snow", "village": "houses in a village",
    "city": "buildings in a city", "fruit": "fruit on a table", "flowers": "flowers in a meadow",
    "balloons": "hot air balloons in the sky", "fishes": "fish under water", "quilt": "a pattern on cloth",
    "cars": "cars on a road", "desert": "cactuses in a desert", "snowmen": "snowmen in the snow",
    "planets": "planets in space", "forest": "trees in a forest",
}  # fmt: skip
SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "purple": ("violet",), "turquoise": ("teal",), "dark blue": ("navy blue",), "grey": ("gray",),
    "a picture": ("an image", "a photo"), "a drawing": ("an illustration", "a sketch", "a painting"),
    "circle": ("disc", "round dot"), "circles": ("discs", "round dots"), "diamond": ("rhombus",), "oval": ("ellipse",),
    "ovals": ("ellipses",), "cross": ("plus sign",), "crosses": ("plus signs",), "ring": ("hoop",),
    "rings": ("hoops",), "crescent": ("crescent moon",), "small": ("little", "tiny"), "big": ("large", "huge"),
    "in the middle": ("in the centre", "in the center"), "above": ("over",), "below": ("under",),
    "inside": ("within", "in"), "around": ("surrounding",), "striped": ("stripy",), "dotted": ("spotted", "polka dot"),
    "checked": ("checkered", "chequered"), "to the left of": ("left of", "on the left side of"),
    "to the right of": ("right of", "on the right side of"), "house": ("home",), "houses": ("homes",),
    "sailboat": ("sailing boat",), "sailboats": ("sailing boats",), "car": ("automobile",),
    "cars": ("automobiles",), "sea": ("ocean",), "meadow": ("field of grass",), "rows": ("lines",),
    "forest": ("wood",), "building": ("tower block",), "buildings": ("tower blocks", "skyscrapers"),
}  # fmt: skip
WORDS: Final = re.compile(r"\b(" + "|".join(sorted(SYNONYMS, key=len, reverse=True)) + r")\b")
PAINT: Final = re.compile(r"\b(" + "|".join(sorted(PAINTS, key=len, reverse=True)) + r")\b")
NUMBER: Final = re.compile(r"\b(" + "|".join(NUMBERS[2:]) + r")\b")
CAPTIONS: Final = 4  # a picture


@dataclass(frozen=True)
class Pairs:
    """`pixels` uint8 (n, side, side, 3); `texts` n x k captions; `kinds` what sort of picture each one is."""

    pixels: np.ndarray
    texts: list[tuple[str, ...]]
    kinds: list[str]

    def __add__(self, other: Pairs) -> Pairs:
        pixels = np.concatenate([self.pixels, other.pixels])
        return Pairs(pixels, self.texts + other.texts, self.kinds + other.kinds)


def picture(world: str, name: str, side: int, captions: int = CAPTIONS) -> tuple[Image.Image, str, tuple[str, ...]]:
    """The picture called `name`, its kind, and captions; `side` is the shorter side in px.

    No captions of our own making: 0 gives the demo's caption for a scene, and a plain one for objects.
    """
    rng = Random(f"cupel-tiny {world} {name}")
    kind = rng.choice(WORLDS[world])
    sides = side, round(side * rng.choice((1.0, 1.0, 1.25, 4 / 3, 1.5, 16 / 9)))
    size = sides if rng.random() < 0.35 else sides[::-1]
    if world == "scenes":
        image, phrases = draw(kind, size, rng)
        texts = [scene_caption(phrases, kind, rng) for _ in range(captions)] or [caption(phrases, rng)]
    else:
        image, say = draw_objects(kind, size, rng)
        texts = [vary(say(rng), rng) for _ in range(captions)] or [say(rng)]
    return image if rng.random() < 0.1 else jpeg(image, rng.randint(70, 95)), kind, tuple(texts)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The picture after a round trip through JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def scene_caption(phrases: Phrases, kind: str, rng: Random) -> str:
    """The demo's captions, and shorter ones: the bare thing, without its number, the kind alone."""
    form, what = rng.random(), phrases.what
    if form < 0.6:
        return vary(caption(phrases, rng), rng)
    if form < 0.66:
        return vary(rng.choice(("{}", "a picture of {}", "a drawing of {}")).format(LABELS[kind]), rng)
    if form < 0.74 and (match := NUMBER.match(what)):
        what = what[match.end() + 1 :]
    where = rng.choice(("", "", phrases.where, phrases.how))
    return vary(f"{rng.choice(('', 'a picture of ', 'a drawing of '))}{what} {where}".strip(), rng)


def vary(text: str, rng: Random) -> str:
    """The same in other words: synonyms, digits for numbers."""
    if rng.random() < 0.35:
        text = WORDS.sub(lambda m: rng.choice((m[0], *SYNONYMS[m[0]])), text)
    if rng.random() < 0.08:
        text = NUMBER.sub(lambda m: str(NUMBERS.index(m[0])), text)
    return text


def training_pair(world: str, seed: int, number: int, side: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """A pair drawn small: fast, and squashed to the model's square as its own transform does. A few are grey."""
    rng = Random(f"{seed} {number}")
    image, kind, texts = picture(world, f"training {seed} {number}", round(side * rng.choice((1.25, 1.5, 1.5, 2, 3))))
    if rng.random() < 0.03:
        image, grey = image.convert("L").convert("RGB"), ("black and white: ", "a black and white picture of ")
        texts = tuple(rng.choice(grey) + text for text in texts)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)), kind, texts


def _some(job: tuple[str, int, int, int, int]) -> list[tuple[np.ndarray, str, tuple[str, ...]]]:
    world, seed, start, stop, side = job
    return [training_pair(world, seed, number, side) for number in range(start, stop)]


def training_pairs(counts: dict[str, int], seed: int, side: int, workers: int = 2) -> Pairs:
    """Pairs of every world, drawn by `workers` processes."""
    jobs = [
        (world, seed, start, min(start + 500, n), side) for world, n in counts.items() for start in range(0, n, 500)
    ]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        drawn = [pair for part in pool.map(_some, jobs) for pair in part]
    return Pairs(np.stack([pair[0] for pair in drawn]), [pair[2] for pair in drawn], [pair[1] for pair in drawn])


def held_out(world: str, n: int, seed: int = 0) -> tuple[list[Image.Image], list[str], list[str]]:
    """Pictures in the demo's sizes that no training run has drawn, with one caption each, and their kinds."""
    sides = Random(f"{world} {seed}")
    rows = [picture(world, f"held out {seed} {i}", sides.randint(256, 380), 0) for i in range(n)]
    return [image for image, _, _ in rows], [texts[0] for _, _, texts in rows], [kind for _, kind, _ in rows]


def swapped(kinds: Sequence[str], rng: Random) -> list[int]:
    """For every row another row of its kind, each taken once; a row whose kind is alone keeps its own."""
    order = list(range(len(kinds)))
    for kind in sorted(set(kinds)):
        rows = [i for i, other in enumerate(kinds) if other == kind]
        rng.shuffle(rows)
        for row, other in zip(rows, [*rows[1:], *rows[:1]], strict=True):
            order[row] = other
    return order


def other_colour(text: str, rng: Random) -> str | None:
    """The caption with its first colour exchanged for another; None where it names none."""
    return _exchanged(text, PAINT, tuple(PAINTS), rng)


def other_number(text: str, rng: Random) -> str | None:
    """The caption with its first number, two to nine, exchanged for another."""
    return _exchanged(text, NUMBER, NUMBERS[2:], rng)


def _exchanged(text: str, pattern: re.Pattern[str], words: Sequence[str], rng: Random) -> str | None:
    match = pattern.search(text)
    if match is None:
        return None
    others = [word for word in words if word != match[0]]
    return text[: match.start()] + rng.choice(others) + text[match.end() :]
