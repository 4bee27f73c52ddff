"""Fourteen kinds of scene, each a function of a random generator, with captions that say what was drawn.

A scene draws on a `Canvas` and returns three phrases; `caption` puts them into a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from draw import COLOURS, Canvas, Colour, Point, some, spread, tint
from PIL import Image

SKIES: Final[dict[str, tuple[Colour, Colour]]] = {
    "under a clear blue sky": ((70, 130, 205), (196, 222, 240)),
    "at sunset under an orange sky": ((96, 60, 110), (248, 160, 84)),
    "under a pink evening sky": ((150, 120, 180), (248, 196, 190)),
    "under a cloudy grey sky": ((120, 126, 134), (206, 208, 208)),
    "at night under a dark sky": ((12, 16, 40), (52, 64, 110)),
    "in the golden light of the morning": ((240, 190, 110), (252, 236, 190)),
    "before a heavy storm": ((48, 56, 72), (128, 138, 140)),
}
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES: Final = (
    "{what} {where}",
    "{what} {where} {how}",
    "a drawing of {what} {where}",
    "{what} {where}, painted in warm and simple colours",
    "a picture that shows {what} {where} {how}",
    "view of {what} {how}",
    "this is an illustration of {what} {where}",
    "{how}, {what} {where}",
    "a quiet scene with {what} {where} {how}",
)


@dataclass(frozen=True)
class Phrases:
    """What a scene shows, as parts of a sentence: "two red kites", "above a sandy beach", "under a clear blue sky"."""

    what: str
    where: str
    how: str


def draw(name: str, size: tuple[int, int], rng: Random) -> tuple[Image.Image, Phrases]:
    """One picture (RGB, width x height) of the scene `name`, and what it shows."""
    canvas = Canvas(size, rng)
    phrases = SCENES[name](canvas, rng)
    return canvas.finish(), phrases


def caption(phrases: Phrases, rng: Random) -> str:
    """One of many ways to say what the picture shows, in 5 to 25 words."""
    text = rng.choice(TEMPLATES).format(what=phrases.what, where=phrases.where, how=phrases.how)
    return text[0].upper() + text[1:] + "." if rng.random() < 0.5 else text


def count(n: int, thing: str) -> str:
    """`a red kite`, `three red kites`."""
    if n == 1:
        return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    return f"{NUMBERS[n]} {thing}{'es' if thing.endswith(('s', 'sh', 'x')) else 's'}"


def sky(c: Canvas, rng: Random, until: float = 1.0) -> str:
    """Paint a sky, with a sun, a moon, clouds or stars in it."""
    how = rng.choice(list(SKIES))
    top, bottom = SKIES[how]
    c.backdrop(tint(top, rng), tint(bottom, rng), until)
    if "night" in how:
        for _ in range(40):
            c.oval(rng.random(), rng.uniform(0, until), 0.004, 0.004, (240, 240, 220))
    if "cloudy" in how or "storm" in how or rng.random() < 0.3:
        for _ in range(rng.randint(3, 9)):
            x, y = rng.random(), rng.uniform(0, until * 0.8)
            c.oval(x, y, rng.uniform(0.08, 0.2), rng.uniform(0.03, 0.06), tint((200, 204, 210), rng, 40))
    else:
        colour = (250, 244, 214) if "night" in how else (255, 224, 130)
        size = rng.uniform(0.05, 0.14)
        c.oval(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.8) * until, size, size, colour)
    return how


def tree(c: Canvas, x: float, y: float, height: float, rng: Random, kind: str) -> None:
    c.block(x, y, height * 0.1, height * 0.4, tint(COLOURS["brown"], rng))
    leaves = tint(COLOURS["dark green" if kind == "pine tree" else "green"], rng, 24)
    if kind == "pine tree":
        for step in range(3):
            top, half = -height * (0.55 + 0.22 * step), height * (0.3 - 0.06 * step)
            c.figure(x, y, [(-half, top + height * 0.3), (half, top + height * 0.3), (0, top - height * 0.05)], leaves)
    else:
        for dx, dy in ((-0.14, 0.5), (0.14, 0.52), (0, 0.7)):
            radius = height * 0.24
            c.oval(x + dx * height * c.unit / c.width, y - dy * height * c.unit / c.height, radius, radius, leaves)


def house(c: Canvas, x: float, y: float, size: float, wall: Colour, roof: Colour) -> None:
    c.block(x, y, size, size * 0.7, wall)
    c.figure(x, y, [(-size * 0.6, -size * 0.7), (size * 0.6, -size * 0.7), (0, -size * 1.2)], roof)
    c.block(x, y, size * 0.2, size * 0.4, (90, 62, 48))
    for side in (-0.3, 0.3):
        c.figure(x, y, [(size * (side + dx), -size * (0.45 + dy)) for dx, dy in CORNERS], (250, 226, 150))


CORNERS: Final = ((-0.08, -0.08), (0.08, -0.08), (0.08, 0.08), (-0.08, 0.08))


def sailboats(c: Canvas, rng: Random) -> Phrases:
    horizon, n = rng.uniform(0.3, 0.65), rng.randint(1, 5)
    how = sky(c, rng, horizon)
    water, sea = some(rng, "blue", "turquoise", "dark blue", "dark green")
    c.box(0, horizon, 1, 1, sea)
    for _ in range(60):
        x, y = rng.random(), rng.uniform(horizon, 1)
        c.box(x, y, x + rng.uniform(0.02, 0.1), y + 0.004, tint(sea, rng, 40))
    name, sail = some(rng, "white", "red", "orange", "yellow", "pink")
    for x in spread(n, rng):
        y, s = rng.uniform(horizon + 0.05, 0.92), rng.uniform(0.5, 1.7) * 0.2 / math.sqrt(n)
        c.figure(x, y, [(-s, -s * 0.3), (s, -s * 0.3), (s * 0.6, 0), (-s * 0.6, 0)], tint(COLOURS["brown"], rng))
        c.figure(x, y, [(0, -s * 2), (0, -s * 0.4), (s * 0.9, -s * 0.4)], sail)
        c.figure(x, y, [(-s * 0.1, -s * 1.7), (-s * 0.1, -s * 0.4), (-s * 0.7, -s * 0.4)], tint(sail, rng, 20))
    return Phrases(count(n, f"{name} sailboat"), f"on a calm {water} sea", how)


def mountains(c: Canvas, rng: Random) -> Phrases:
    how, n = sky(c, rng), rng.randint(1, 4)
    rock, trees = some(rng, "blue", "purple", "brown", "dark blue"), rng.randint(3, 9)
    for x in spread(n, rng):
        y, w, h = rng.uniform(0.65, 0.9), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.75)
        c.figure(x, y, [(-w, 0), (w, 0), (0, -h)], tint(rock[1], rng, 30))
        c.figure(x, y, [(-w * 0.3, -h * 0.7), (0, -h * 0.6), (w * 0.3, -h * 0.7), (0, -h)], (240, 242, 246))
    ground = rng.uniform(0.62, 0.85)
    c.ridge(ground, 0.05, tint(COLOURS[rng.choice(("green", "dark green"))], rng, 24))
    for x in spread(trees, rng):
        tree(c, x, rng.uniform(ground + 0.06, 0.98), rng.uniform(0.12, 0.3), rng, "pine tree")
    return Phrases(count(n, f"{rock[0]} mountain") + " with snow on top", f"behind {count(trees, 'pine tree')}", how)


def village(c: Canvas, rng: Random) -> Phrases:
    how, n, ground = sky(c, rng), rng.randint(1, 5), rng.uniform(0.4, 0.7)
    c.ridge(ground - 0.06, 0.06, tint(COLOURS["dark green"], rng, 30))
    hill, grass = some(rng, "green", "yellow", "dark green")
    c.ridge(ground, 0.04, grass)
    for x in spread(rng.randint(2, 6), rng):
        tree(c, x, ground + rng.uniform(0.02, 0.12), rng.uniform(0.15, 0.35), rng, "oak")
    (wall, paint), (roof, tiles) = some(rng, "white", "yellow", "pink", "blue"), some(rng, "red", "brown", "dark blue")
    for x in spread(n, rng):
        house(c, x, rng.uniform(ground + 0.14, 0.95), rng.uniform(0.5, 1.1) * 0.4 / math.sqrt(n), paint, tiles)
    return Phrases(f"{count(n, f'{wall} house')} with a {roof} roof", f"and trees on a {hill} hill", how)


def city(c: Canvas, rng: Random) -> Phrases:
    how, n = sky(c, rng), rng.randint(3, 9)
    name, wall = some(rng, "dark blue", "brown", "purple", "turquoise", "white")
    light, lamp = some(rng, "yellow", "orange", "white")
    for i, x in enumerate(spread(n, rng)):
        half, top, shade = rng.uniform(0.35, 0.62) / n, rng.uniform(0.12, 0.75), tint(wall, rng, 34)
        c.box(x - half, top, x + half, 1, shade)
        rows, columns = int((1 - top) * 16), 2 + i % 3
        for cell in range(rows * columns):
            left, y = x - half + half * 2 * (cell % columns + 0.3) / columns, top + (cell // columns + 0.4) / 16
            if rng.random() < 0.6:
                c.box(left, y, left + half * 0.8 / columns, y + 0.03, tint(lamp, rng))
    return Phrases(f"{count(n, f'{name} building')} with {light} windows", "in a big city", how)


def fruit(c: Canvas, rng: Random) -> Phrases:
    name, skin = some(rng, "red", "green", "yellow", "orange")
    wall, paint = some(rng, *(other for other in COLOURS if other != name))
    cloth, linen = some(
        rng, *(other for other in ("white", "brown", "blue", "green", "red", "dark blue") if other != name)
    )
    edge, n = rng.uniform(0.45, 0.75), rng.randint(2, 7)
    c.backdrop(tint(paint, rng, 40), tint(paint, rng, 40))
    c.box(0, edge, 1, 1, linen)
    for x in spread(rng.randint(3, 7), rng):
        c.box(x, edge, x + 0.02, 1, tint(linen, rng, 40))
    kind = {"orange": "orange", "yellow": "lemon"}.get(name, rng.choice(("apple", "plum", "pear")))
    for x in spread(n, rng):
        r, y = rng.uniform(0.6, 1.3) * 0.22 / math.sqrt(n), rng.uniform(edge - 0.03, 0.86)
        c.oval(x, y + r * 0.8, r * 1.1, r * 0.3, tint(linen, rng, 60))
        c.oval(x, y, r, r * rng.uniform(0.85, 1.2), tint(skin, rng, 24))
        c.oval(x - r * 0.3, y - r * 0.3, r * 0.2, r * 0.15, (250, 246, 230))
        c.block(x, y - r * 0.8, r * 0.12, r * 0.5, (80, 60, 40))
    ripe = kind if name == kind or kind == "lemon" else f"{name} {kind}"
    return Phrases(count(n, f"ripe {ripe}"), f"on a table with a {cloth} cloth", f"in front of a {wall} wall")


def flowers(c: Canvas, rng: Random) -> Phrases:
    how, ground = sky(c, rng), rng.uniform(0.3, 0.8)
    meadow, n = tint(COLOURS[rng.choice(("green", "dark green"))], rng, 30), rng.randint(2, 9)
    c.ridge(ground, 0.05, meadow)
    for _ in range(70):
        x, y = rng.random(), rng.uniform(ground + 0.05, 1)
        c.figure(x, y, [(-0.006, 0), (0.006, 0), (rng.uniform(-0.03, 0.03), -0.07)], tint(meadow, rng, 40))
    (name, petal), eye = some(rng, "red", "yellow", "white", "pink", "purple", "orange"), tint((120, 80, 30), rng)
    for x in spread(n, rng):
        y, r = rng.uniform(0.2, 0.75), rng.uniform(0.7, 1.6) * 0.13 / math.sqrt(n)
        c.figure(x, y, [(-0.008, 0), (0.008, 0), (0.008, 1), (-0.008, 1)], (60, 110, 50))
        for k in range(6):
            dx, dy = r * math.cos(k * math.pi / 3), r * math.sin(k * math.pi / 3)
            c.oval(x + dx * c.unit / c.width, y + dy * c.unit / c.height, r * 0.62, r * 0.62, petal)
        c.oval(x, y, r * 0.55, r * 0.55, eye)
    return Phrases(count(n, f"tall {name} flower"), "in a green meadow", how)


def balloons(c: Canvas, rng: Random) -> Phrases:
    how, n = sky(c, rng), rng.randint(1, 6)
    land, ground = some(rng, "green", "brown", "yellow", "dark green")
    c.ridge(rng.uniform(0.7, 0.92), 0.06, ground)
    (name, silk), (_, band) = (
        some(rng, "red", "yellow", "purple", "orange", "turquoise"),
        some(rng, "white", "dark blue"),
    )
    for x in spread(n, rng):
        y, r = rng.uniform(0.15, 0.62), rng.uniform(0.6, 1.4) * 0.24 / math.sqrt(n)
        c.figure(x, y, [(-r * 0.8, r * 0.6), (r * 0.8, r * 0.6), (r * 0.18, r * 1.5), (-r * 0.18, r * 1.5)], silk)
        for share, colour in ((1.0, silk), (0.62, band), (0.26, silk)):
            c.oval(x, y, r * share, r, colour)
        c.figure(
            x, y, [(-r * 0.2, r * 1.6), (r * 0.2, r * 1.6), (r * 0.16, r * 1.95), (-r * 0.16, r * 1.95)], (96, 64, 40)
        )
    return Phrases(count(n, f"{name} hot air balloon"), f"above {land} fields", how)


def fishes(c: Canvas, rng: Random) -> Phrases:
    water, n = rng.choice(("blue", "turquoise", "dark blue", "dark green")), rng.randint(1, 8)
    c.backdrop(tint(COLOURS[water], rng, 50), tint(COLOURS[water], rng, 50))
    c.ridge(rng.uniform(0.75, 0.95), 0.05, tint((214, 190, 140), rng, 30))
    weeds = rng.randint(2, 7)
    for x in spread(weeds, rng):
        height = rng.uniform(0.2, 0.7)
        points = [(0.04 * math.sin(k * 1.3), -height * k / 8) for k in range(9)]
        weed = tint(COLOURS["green"], rng, 40)
        c.figure(x, 1, [*points, *((dx + 0.035, dy) for dx, dy in reversed(points))], weed)
    name, scales = some(rng, "orange", "yellow", "red", "pink", "white")
    for x in spread(n, rng):
        y, r, way = rng.uniform(0.1, 0.85), rng.uniform(0.6, 1.5) * 0.17 / math.sqrt(n), rng.choice((-1, 1))
        c.figure(x, y, [(way * r, 0), (way * r * 1.9, -r * 0.6), (way * r * 1.9, r * 0.6)], tint(scales, rng, 30))
        c.oval(x, y, r * 1.3, r * 0.7, scales)
        c.oval(x - way * r * 0.7 * c.unit / c.width, y - r * 0.1, r * 0.14, r * 0.14, (20, 20, 24))
    where = f"between {count(weeds, 'water plant')}"
    return Phrases(f"{count(n, f'{name} fish').removesuffix('es')} swimming", where, f"in deep {water} water")


def quilt(c: Canvas, rng: Random) -> Phrases:
    (first, one), (second, two) = (
        some(rng, "red", "blue", "green", "purple"),
        some(rng, "white", "yellow", "pink", "orange"),
    )
    c.backdrop(tint(two, rng, 20), tint(two, rng, 20))
    n, shape = rng.randint(3, 7), rng.choice(("circle", "square", "triangle", "diamond"))
    shapes: dict[str, list[Point]] = {
        "square": [(-0.4, -0.4), (0.4, -0.4), (0.4, 0.4), (-0.4, 0.4)],
        "triangle": [(-0.45, 0.4), (0.45, 0.4), (0, -0.45)],
        "diamond": [(-0.45, 0), (0, 0.45), (0.45, 0), (0, -0.45)],
    }
    for cell in range(n * n):
        x, y, size = (cell % n + 0.5) / n, (cell // n + 0.5) / n, rng.uniform(0.6, 1.25) / n
        if rng.random() < 0.25:
            c.box(x - 0.5 / n, y - 0.5 / n, x + 0.5 / n, y + 0.5 / n, tint(one, rng, 60))
        colour = tint(rng.choice((one, two)), rng, 50)
        if shape == "circle":
            c.oval(x, y, size * 0.42, size * 0.42, colour)
        else:
            c.figure(x, y, [(dx * size, dy * size) for dx, dy in shapes[shape]], colour)
    return Phrases(f"a pattern of {first} and {second} {shape}s", f"in {NUMBERS[n]} even rows", "on a piece of cloth")


def cars(c: Canvas, rng: Random) -> Phrases:
    horizon, n = rng.uniform(0.35, 0.65), rng.randint(1, 3)
    how = sky(c, rng, horizon + 0.1)
    land, field = some(rng, "green", "yellow", "brown", "dark green")
    c.ridge(horizon, 0.07, field)
    road = rng.uniform(horizon + 0.12, 0.75)
    c.box(0, road, 1, road + 0.22, tint((84, 86, 92), rng))
    for x in spread(6, rng):
        c.box(x, road + 0.105, x + 0.07, road + 0.118, (236, 232, 214))
    for x in spread(rng.randint(1, 4), rng):
        tree(c, x, road - 0.01, rng.uniform(0.15, 0.4), rng, "oak")
    name, paint = some(rng, "red", "blue", "yellow", "white", "green")
    for x in spread(n, rng):
        s, y = rng.uniform(0.16, 0.26) / math.sqrt(n) + 0.04, road + rng.uniform(0.1, 0.2)
        c.block(x, y - s * 0.1, s * 2, s * 0.5, paint)
        c.figure(x, y, [(-s * 0.6, -s * 0.6), (-s * 0.35, -s), (s * 0.4, -s), (s * 0.7, -s * 0.6)], (180, 206, 220))
        for side in (-0.6, 0.6):
            c.oval(x + side * s * c.unit / c.width, y, s * 0.22, s * 0.22, (30, 30, 34))
    return Phrases(f"{count(n, f'{name} car')} driving", f"on a road through {land} fields", how)


def desert(c: Canvas, rng: Random) -> Phrases:
    how, n, sand = sky(c, rng), rng.randint(1, 6), tint((222, 176, 110), rng, 24)
    base = rng.uniform(0.4, 0.75)
    for step in range(3):
        c.ridge(base + 0.11 * step, 0.07, tint(sand, rng, 36), 5)
    for x in spread(n, rng):
        y, h, green = (
            rng.uniform(base + 0.2, 0.98),
            rng.uniform(0.6, 1.5) * 0.42 / math.sqrt(n),
            tint((70, 128, 84), rng, 24),
        )
        c.block(x, y, h * 0.18, h, green)
        for side, low in ((-1, rng.uniform(0.3, 0.5)), (1, rng.uniform(0.3, 0.6))):
            arm = [(0.0, -low), (side * 0.32, -low), (side * 0.32, -low - 0.32), (side * 0.2, -low - 0.32)]
            c.figure(
                x, y, [(dx * h, dy * h) for dx, dy in (*arm, (side * 0.2, -low - 0.12), (0.0, -low - 0.12))], green
            )
    return Phrases(f"{count(n, 'tall green cactus')}", "standing in the sand of a wide desert", how)


def snowmen(c: Canvas, rng: Random) -> Phrases:
    how, n, ground = sky(c, rng), rng.randint(1, 4), rng.uniform(0.45, 0.75)
    for x in spread(rng.randint(3, 8), rng):
        tree(c, x, ground + 0.03, rng.uniform(0.2, 0.55), rng, "pine tree")
    c.ridge(ground, 0.04, tint((226, 232, 240), rng, 14))
    name, hat = some(rng, "red", "blue", "green", "purple", "brown")
    for x in spread(n, rng):
        s, y = rng.uniform(0.6, 1.2) * 0.2 / math.sqrt(n), rng.uniform(ground + 0.1, 0.95)
        for up, r in ((0.0, 1.0), (1.3, 0.72), (2.3, 0.5)):
            c.oval(x, y - up * s * c.unit / c.height, s * r * 1.06, s * r * 1.06, (150, 164, 190))
            c.oval(x, y - up * s * c.unit / c.height, s * r, s * r, (250, 250, 250))
        c.block(x, y - 2.55 * s * c.unit / c.height, s * 0.8, s * 0.7, hat)
        c.figure(x, y, [(0, -2.4 * s), (0, -2.2 * s), (s * 0.6, -2.25 * s)], COLOURS["orange"])
    what = count(n, "snowman") if n == 1 else f"{NUMBERS[n]} snowmen"
    return Phrases(f"{what} with a {name} hat", "in the snow in front of a forest", how)


def planets(c: Canvas, rng: Random) -> Phrases:
    n, glow = rng.randint(1, 5), tint(COLOURS[rng.choice(("dark blue", "purple", "dark green"))], rng, 20)
    c.backdrop(tint((14, 12, 34), rng), glow)
    stars = rng.randint(60, 160)
    for _ in range(stars):
        r = rng.uniform(0.002, 0.006)
        c.oval(rng.random(), rng.random(), r, r, tint((236, 232, 214), rng, 20))
    name, rock = some(rng, "red", "orange", "turquoise", "pink", "yellow")
    ringed = rng.random() < 0.5
    for x in spread(n, rng):
        y, r = rng.uniform(0.15, 0.85), rng.uniform(0.6, 1.5) * 0.26 / math.sqrt(n)
        if ringed:
            c.oval(x, y, r * 1.7, r * 0.4, tint(rock, rng, 50))
        c.oval(x, y, r, r, rock)
        for band in (-0.4, 0.1, 0.45):
            c.oval(x, y + band * r * c.unit / c.height, r * 0.8, r * 0.09, tint(rock, rng, 50))
    how = "in the dark of space" if stars < 110 else "in a sky full of bright stars"
    return Phrases(f"{count(n, f'{name} planet')}{' with rings' if ringed else ''}", "far away from the sun", how)


def forest(c: Canvas, rng: Random) -> Phrases:
    how, n, kind = sky(c, rng), rng.randint(3, 9), rng.choice(("pine tree", "oak tree"))
    c.ridge(rng.uniform(0.55, 0.85), 0.05, tint(COLOURS[rng.choice(("green", "brown", "dark green"))], rng, 30))
    for x in spread(n, rng):
        tree(c, x, rng.uniform(0.75, 1), rng.uniform(0.35, 0.85), rng, kind)
    birds = rng.randint(2, 7)
    for x in spread(birds, rng):
        y, s = rng.uniform(0.05, 0.4), rng.uniform(0.02, 0.05)
        c.figure(x, y, [(-s, -s * 0.6), (0, 0), (s, -s * 0.6), (0, s * 0.3)], (30, 30, 36))
    return Phrases(f"{count(n, kind)} and {count(birds, 'bird')}", "at the edge of a forest", how)


SCENES: Final[dict[str, Callable[[Canvas, Random], Phrases]]] = {
    scene.__name__: scene
    for scene in (
        *(sailboats, mountains, village, city, fruit, flowers, balloons),
        *(fishes, quilt, cars, desert, snowmen, planets, forest),
    )
}
