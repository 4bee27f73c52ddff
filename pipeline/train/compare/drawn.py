"""Scenes drawn in NumPy, many at a time: coloured shapes on a lit, grainy ground, and what can be said of them.

A scene is a few numbers, so the same ones can be drawn again, edited, or told in another language. Light, grain, sizes
and turns differ from scene to scene: two scenes of one description are still two pictures, also to a perceptual hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np

World = Literal["one", "many", "two"]
WORLDS: Final[tuple[World, ...]] = ("one", "many", "two")
SHAPES: Final = ("circle", "square", "triangle", "diamond", "cross", "ring", "star", "crescent")
COLOURS: Final = {
    "red": (214, 38, 40), "green": (44, 160, 50), "blue": (40, 76, 214), "yellow": (242, 216, 40),
    "orange": (244, 138, 24), "purple": (128, 52, 168), "pink": (246, 132, 186), "brown": (122, 72, 36),
}  # fmt: skip
GROUNDS: Final = {"white": (206, 206, 206), "black": (48, 48, 48), "grey": (128, 128, 128), "teal": (16, 112, 116)}
PLACES: Final = ("upper left", "upper right", "lower left", "lower right")
RELATIONS: Final = ("left of", "right of", "above", "below")
SLOTS: Final = 4  # shapes that a scene has at most
PIXELS_A_BATCH: Final = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What is to be seen, as arrays (n,) of numbers; `seed` decides light, grain and sizes of each picture.

    `shape`, `colour`, `ground`, `place` and `relation` count in the tables above, `world` in WORLDS. `place` is said
    in a world of one thing, `count` in one of many, and `other_shape`, `other_colour`, `relation` in one of two.
    """

    seed: np.ndarray
    world: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    ground: np.ndarray
    place: np.ndarray
    count: np.ndarray
    other_shape: np.ndarray
    other_colour: np.ndarray
    relation: np.ndarray

    def __len__(self) -> int:
        return len(self.seed)

    def take(self, rows: np.ndarray) -> Scenes:
        """These rows, in this order; a row may stand there often."""
        return Scenes(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def draw_scenes(n: int, worlds: Sequence[World], rng: np.random.Generator) -> Scenes:
    """n descriptions, each world equally often, everything in them independent and uniform."""
    shape, colour = rng.integers(len(SHAPES), size=n), rng.integers(len(COLOURS), size=n)
    return Scenes(
        seed=rng.integers(1 << 62, size=n),
        world=np.array([WORLDS.index(world) for world in worlds])[rng.integers(len(worlds), size=n)],
        shape=shape,
        colour=colour,
        ground=rng.integers(len(GROUNDS), size=n),
        place=rng.integers(len(PLACES), size=n),
        count=rng.integers(2, SLOTS + 1, size=n),
        other_shape=rng.integers(len(SHAPES), size=n),
        other_colour=(colour + rng.integers(1, len(COLOURS), size=n)) % len(COLOURS),  # never the first one's
        relation=rng.integers(len(RELATIONS), size=n),
    )


def paint(scenes: Scenes, side_px: int) -> np.ndarray:
    """The pictures: uint8 (n, side_px, side_px, 3)."""
    found = np.empty((len(scenes), side_px, side_px, 3), np.uint8)
    step = max(1, PIXELS_A_BATCH // side_px**2)
    for start in range(0, len(scenes), step):
        rows = np.arange(start, min(start + step, len(scenes)))
        found[rows] = _painted(scenes.take(rows), side_px)
    return found


def _painted(scenes: Scenes, side: int) -> np.ndarray:
    draws, grain = _draws(scenes, side)
    grounds, colours = (np.array(list(table.values()), np.float32) for table in (GROUNDS, COLOURS))
    pixels = (_light(draws[:, 20:], side) + 7 * grain)[..., None] + grounds[scenes.ground][:, None, None]
    x, y, radius = _layout(scenes, draws[:, :16])
    for slot in range(SLOTS):
        there = np.flatnonzero(radius[:, slot])
        if not len(there):
            continue
        second = slot == 1 and scenes.world[there] == WORLDS.index("two")
        shape = np.where(second, scenes.other_shape[there], scenes.shape[there])
        colour = colours[np.where(second, scenes.other_colour[there], scenes.colour[there])]
        turn = (draws[there, 16 + slot] - 0.5) * 0.5
        cover = _cover(shape, x[there, slot], y[there, slot], radius[there, slot], turn, side)[..., None]
        shift = colour - grounds[scenes.ground[there]]  # light and grain lie over shapes and ground alike
        pixels[there] += cover * shift[:, None, None]
    found: np.ndarray = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return found


def _draws(scenes: Scenes, side: int) -> tuple[np.ndarray, np.ndarray]:
    """What each picture is free in: (n, 64) numbers from 0 to 1, and grain (n, side, side); by its own seed alone."""
    draws, grain = np.empty((len(scenes), 64), np.float32), np.empty((len(scenes), side, side), np.float32)
    for row, seed in enumerate(scenes.seed.tolist()):
        own = np.random.Generator(np.random.PCG64(seed))
        own.random(out=draws[row], dtype=np.float32)
        own.standard_normal(out=grain[row], dtype=np.float32)
    return draws, grain


def _layout(scenes: Scenes, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and radii (n, SLOTS) as shares of the side; radius 0: nothing is there."""
    n = len(scenes)
    slot, jitter = np.arange(SLOTS), (draws[:, :8] - 0.5).reshape(n, 2, SLOTS).swapaxes(0, 1)
    radius = np.zeros((n, SLOTS), np.float32)
    one, many, two = (scenes.world == i for i in range(len(WORLDS)))
    cell = np.where(one[:, None], scenes.place[:, None], np.argsort(draws[:, 8:12], axis=1))
    x = 0.29 + 0.42 * (cell % 2) + 0.1 * jitter[0]
    y = 0.29 + 0.42 * (cell // 2) + 0.1 * jitter[1]
    radius[one, 0] = 0.20 + 0.08 * draws[one, 12]
    radius[many] = (0.12 + 0.05 * draws[many, 12:16]) * (slot < scenes.count[many, None])
    radius[two, :2] = 0.14 + 0.06 * draws[two, 12:14]
    side = np.where(np.isin(scenes.relation, (0, 2)), -0.22, 0.22)  # the first stands left or above
    level = scenes.relation < 2
    for which, sign in ((0, 1), (1, -1)):
        x[two, which] = (0.5 + np.where(level, sign * side, 0) + 0.14 * jitter[0, :, which])[two]
        y[two, which] = (0.5 + np.where(level, 0, sign * side) + 0.14 * jitter[1, :, which])[two]
    return x, y, radius


def _cover(
    shape: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray, turn: np.ndarray, side: int
) -> np.ndarray:
    """How much of each pixel a shape covers: float32 (n, side, side), 0 to 1."""
    cover = np.zeros((len(shape), side, side), np.float32)
    grid = (np.arange(side, dtype=np.float32) + 0.5) / side
    for which in range(len(SHAPES)):
        rows = np.flatnonzero((shape == which) & (radius > 0))
        if not len(rows):
            continue
        at = [each[rows].astype(np.float32)[:, None, None] for each in (x, y, radius, turn)]
        a, b = (grid[None, None, :] - at[0]) / at[2], (grid[None, :, None] - at[1]) / at[2]
        cos, sin = np.cos(at[3]), np.sin(at[3])
        cover[rows] = np.clip(_inside(SHAPES[which], a * cos + b * sin, b * cos - a * sin) * at[2] * side + 0.5, 0, 1)
    return cover


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Positive inside of a shape of radius 1, about the distance to its edge; v points down."""
    far, wide, tall = np.hypot(u, v), abs(u), abs(v)
    inside: dict[str, Callable[[], np.ndarray]] = {
        "circle": lambda: 0.95 - far,
        "square": lambda: 0.82 - np.maximum(wide, tall),
        "triangle": lambda: np.minimum(0.6 - v, (0.95 + v - 1.75 * wide) * 0.5),
        "diamond": lambda: (1.1 - 1.6 * wide - tall) * 0.53,
        "cross": lambda: np.maximum(np.minimum(1 - wide, 0.3 - tall), np.minimum(1 - tall, 0.3 - wide)),
        "ring": lambda: 0.22 - abs(far - 0.75),
        "star": lambda: 0.46 - far * (np.cos(_from_tip(u, v)) * 0.46 + np.sin(_from_tip(u, v))),
        "crescent": lambda: np.minimum(1 - far, np.hypot(u - 0.55, v) - 0.8),
    }
    return inside[shape]()


def _from_tip(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The angle to the nearest of a star's five tips, the first of which points up: 0 to pi / 5."""
    fifth = 2 * np.pi / 5
    found: np.ndarray = abs((np.arctan2(u, -v) + fifth / 2) % fifth - fifth / 2)
    return found


def _light(draws: np.ndarray, side: int) -> np.ndarray:
    """Slow changes of brightness over the picture: float32 (n, side, side), about -40 to 40 grey levels."""
    knots = 6
    place = (np.arange(side) + 0.5) / side * (knots - 1)
    weights = np.clip(1 - abs(place[:, None] - np.arange(knots)), 0, None).astype(np.float32)
    grid = (draws[:, : knots * knots].reshape(-1, knots, knots) - 0.5) * 80
    found: np.ndarray = np.einsum("nij,ai,bj->nab", grid, weights, weights, optimize=True)
    return found
