"""Shapes with a colour, a texture, a size, a number and a place, and captions that say what was drawn.

The demo's scenes teach nouns; these pictures teach the words that tell two scenes of one kind apart. Every picture is
a function of its random generator. What is said is never more than what is drawn, and often less.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[1] / "demo"))  # the demo's drawing code
from draw import COLOURS, Canvas, Colour, Point, tint
from scenes import count

Say = Callable[[Random], str]  # one of many true captions

PAINTS: Final[dict[str, Colour]] = {**COLOURS, "black": (26, 26, 30), "grey": (128, 130, 132)}
APART: Final = 110.0  # distance in RGB below which two paints might be taken for each other
TEXTURES: Final = ("striped", "dotted", "checked")


def _star(points: int, inner: float) -> list[Point]:
    radii = (1.0, inner)
    angles = [math.pi * k / points - math.pi / 2 for k in range(2 * points)]
    return [(radii[k % 2] * math.cos(a), radii[k % 2] * math.sin(a)) for k, a in enumerate(angles)]


def _regular(n: int) -> list[Point]:
    return [(math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)) for k in range(n)]


def _heart() -> list[Point]:
    turns = [2 * math.pi * k / 40 for k in range(40)]
    wave = (13.0, -5.0, -2.0, -1.0)
    return [(math.sin(t) ** 3, -sum(w * math.cos((k + 1) * t) for k, w in enumerate(wave)) / 16 - 0.1) for t in turns]


def _crescent() -> list[Point]:
    outer = [(math.cos(a), math.sin(a)) for a in np.linspace(0.9, 2 * math.pi - 0.9, 30)]
    inner = [(0.36 + 0.83 * math.cos(a), 0.94 * math.sin(a)) for a in np.linspace(2 * math.pi - 1.25, 1.25, 30)]
    return [*outer, *inner]


# Outlines inside the unit circle, y downwards. A ring is a circle with a hole.
OUTLINES: Final[dict[str, list[Point]]] = {
    "circle": _regular(48),
    "oval": [(x, 0.55 * y) for x, y in _regular(48)],
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "rectangle": [(-1, -0.42), (1, -0.42), (1, 0.42), (-1, 0.42)],
    "triangle": [(0, -0.95), (0.95, 0.75), (-0.95, 0.75)],
    "diamond": [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)],
    "hexagon": _regular(6),
    "star": _star(5, 0.42),
    "heart": _heart(),
    "crescent": _crescent(),
    "ring": _regular(48),
    "cross": [
        *((-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3)),
        *((0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)),
    ],
    "arrow": [(-1, -0.25), (0.2, -0.25), (0.2, -0.7), (1, 0), (0.2, 0.7), (0.2, 0.25), (-1, 0.25)],
}
WAYS: Final = ("right", "down", "left", "up")  # quarter turns of an arrow


@dataclass(frozen=True)
class Thing:
    """A shape and its looks. `paint` and `second` are names in PAINTS; `way` counts an arrow's quarter turns."""

    shape: str
    paint: str
    texture: str = "plain"
    second: str = ""
    way: int = 0

    def say(self, rng: Random, n: int = 1, size: str = "") -> str:
        """`a small red circle`, `three blue stars with white dots`, now and then without a number or a texture."""
        noun = f"arrow pointing {WAYS[self.way]}" if self.shape == "arrow" and rng.random() < 0.7 else self.shape
        noun, _, tail = noun.partition(" ")
        looks, more = f"{self.paint} ", ""
        if self.texture != "plain" and rng.random() < 0.85:
            pattern = {"striped": "stripes", "dotted": "dots", "checked": "checks"}[self.texture]
            if self.texture == "dotted":
                looks, more = rng.choice(((looks, f" with {self.second} dots"), (f"{looks}dotted ", "")))
            else:
                both = f"{self.paint} and {self.second}"
                looks, more = rng.choice(((f"{both} {self.texture} ", ""), ("", f" with {both} {pattern}")))
        things = count(n, f"{size + ' ' if size else ''}{looks}{noun}")
        if n > 1 and rng.random() < 0.12:
            word = rng.choice(("", "", *(("several ",) if n > 3 else ()), *(("many ",) if n > 6 else ())))
            things = word + things.partition(" ")[2]
        return f"{things}{' ' + tail if tail else ''}{more}"


def far(one: str, other: str) -> bool:
    """Whether two paints are easily told apart."""
    return math.dist(PAINTS[one], PAINTS[other]) > APART


def another(rng: Random, *names: str) -> str:
    """A paint unlike all of the given ones; the most unlike where all are near one of them."""
    free = [name for name in PAINTS if all(far(name, old) for old in names)]
    return rng.choice(
        free or [max(PAINTS, key=lambda name: min(math.dist(PAINTS[name], PAINTS[old]) for old in names))]
    )


def thing(rng: Random, *unlike: str) -> Thing:
    """A random thing in paints that stand out from those given."""
    shape, paint = rng.choice(list(OUTLINES)), another(rng, *unlike)
    texture = rng.choice(TEXTURES) if rng.random() < 0.3 else "plain"
    second = another(rng, paint, *unlike) if texture != "plain" else ""
    return Thing(shape, paint, texture, second, rng.randrange(4) if shape == "arrow" else 0)


def fill(size: tuple[int, int], texture: str, one: Colour, two: Colour, step: float, turn: float) -> Image.Image:
    """A picture full of stripes, dots or checks; `step` is the period in px, `turn` an angle."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    if texture == "striped":
        on = u % step >= step / 2
    elif texture == "checked":
        on = (u % step >= step / 2) ^ (v % step >= step / 2)
    else:
        on = np.hypot(u % step - step / 2, v % step - step / 2) < 0.31 * step
    return Image.fromarray(np.where(on[:, :, None], np.uint8(two), np.uint8(one)))


def put(c: Canvas, what: Thing, x: float, y: float, r: float, rng: Random) -> None:
    """Draw a thing of radius `r` (in units of the shorter side) around (x, y)."""
    r *= c.unit
    left, top, side = round(x * c.width - r) - 1, round(y * c.height - r) - 1, round(2 * r) + 3
    cx, cy = x * c.width - left, y * c.height - top
    turn = what.way * math.pi / 2 if what.shape == "arrow" else rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(turn), math.sin(turn)
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    pen.polygon([(cx + r * (a * cos - b * sin), cy + r * (a * sin + b * cos)) for a, b in OUTLINES[what.shape]], 255)
    if what.shape == "ring":
        pen.ellipse((cx - 0.55 * r, cy - 0.55 * r, cx + 0.55 * r, cy + 0.55 * r), 0)
    one = tint(PAINTS[what.paint], rng)
    if what.texture == "plain":
        c.image.paste(one, (left, top, left + side, top + side), mask)
        return
    step, angle = r * rng.uniform(0.4, 0.65), rng.choice((0, math.pi / 4, math.pi / 2))
    c.image.paste(fill(mask.size, what.texture, one, tint(PAINTS[what.second], rng), step, angle), (left, top), mask)


def ground(c: Canvas, rng: Random) -> tuple[tuple[str, ...], str]:
    """Paint a background; returns the paints in it, and how it is said."""
    one, kind = rng.choice(list(PAINTS)), rng.random()
    a, two = tint(PAINTS[one], rng), another(rng, one)
    b = tint(PAINTS[two], rng)
    if kind < 0.5:
        c.image.paste(a, (0, 0, c.width, c.height))
        return (one,), rng.choice((f"on a {one} background", f"on a plain {one} background", f"on a {one} wall"))
    if kind < 0.65:
        c.backdrop(a, b)
        return (one, two), f"on a background that fades from {one} to {two}"
    if kind < 0.8:
        c.box(0, 0, 1, 1, a)
        c.box(0, 0.5, 1, 1, b)
        return (one, two), f"on a background that is {one} at the top and {two} at the bottom"
    texture, angle = rng.choice(TEXTURES), rng.choice((0, math.pi / 4, math.pi / 2))
    c.image.paste(fill(c.image.size, texture, a, b, c.unit * rng.uniform(0.12, 0.3), angle))
    if texture == "dotted":
        return (one, two), f"on a {one} background with {two} dots"
    return (one, two), f"on a background of {one} and {two} {'stripes' if texture == 'striped' else 'checks'}"


def cells(c: Canvas, n: int, rng: Random) -> tuple[list[Point], float]:
    """n places scattered over a grid, and the radius that fits into a cell."""
    columns = rng.randint(max(1, math.ceil(math.sqrt(n)) - 1), n if n < 4 else math.ceil(math.sqrt(n)) + 1)
    rows = math.ceil(n / columns)
    free = rng.sample([(i, j) for i in range(columns) for j in range(rows)], n)
    places = [((i + rng.uniform(0.45, 0.55)) / columns, (j + rng.uniform(0.45, 0.55)) / rows) for i, j in free]
    return places, 0.44 * min(c.width / columns, c.height / rows) / c.unit


SIZES: Final = {"small": (0.1, 0.15), "": (0.2, 0.28), "big": (0.34, 0.42)}
PLACES: Final = {
    "in the middle": (0.5, 0.5), "on the left": (0.2, 0.5), "on the right": (0.8, 0.5), "at the top": (0.5, 0.2),
    "at the bottom": (0.5, 0.8), "in the upper left corner": (0.2, 0.2), "in the upper right corner": (0.8, 0.2),
    "in the lower left corner": (0.2, 0.8), "in the lower right corner": (0.8, 0.8),
}  # fmt: skip


def one(c: Canvas, rng: Random) -> Say:
    paints, where = ground(c, rng)
    what, size = thing(rng, *paints), rng.choice(list(SIZES))
    place = rng.choice(list(PLACES)) if size != "big" else "in the middle"
    x, y = PLACES[place]
    put(c, what, x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03), rng.uniform(*SIZES[size]), rng)
    return lambda r: sentence(r, what.say(r, 1, size if r.random() < 0.8 else ""), where, place)


def many(c: Canvas, rng: Random) -> Say:
    paints, where = ground(c, rng)
    what, n = thing(rng, *paints), rng.randint(2, 9)
    layout = rng.choice(("in a row", "in a column", "in a loop", "", "")) if n < 7 else ""
    places, r = cells(c, n, rng)
    if layout == "in a loop" and n > 3:
        angles = [2 * math.pi * (k + rng.uniform(-0.1, 0.1)) / n for k in range(n)]
        places, r = [(0.5 + 0.36 * math.cos(a), 0.5 + 0.36 * math.sin(a)) for a in angles], 0.7 / n
    elif layout in ("in a row", "in a column"):
        line, r = [(k + 0.5) / n for k in range(n)], 0.42 / n
        across = rng.uniform(0.3, 0.7)
        places = [(t, across) if layout == "in a row" else (across, t) for t in line]
    else:
        layout = ""
    r = min(r, 0.3) * rng.uniform(0.75, 1)
    for x, y in places:
        put(c, what, x, y, r * rng.uniform(0.85, 1.05), rng)
    return lambda g: sentence(g, what.say(g, n), where, layout)


def groups(c: Canvas, rng: Random) -> Say:
    """Two or three sorts of things, mixed."""
    paints, where = ground(c, rng)
    sorts: list[tuple[Thing, int]] = []
    for n in rng.choice(((1, 1), (1, 2), (2, 2), (1, 3), (3, 2), (4, 2), (3, 3), (1, 1, 1), (1, 1, 2))):
        others = [old for old, _ in sorts]
        what = thing(rng, *paints, *(old.paint for old in others))
        while any(what.shape == old.shape for old in others):
            what = replace(what, shape=rng.choice(list(OUTLINES)))
        sorts.append((what, n))
    everything = [what for what, n in sorts for _ in range(n)]
    places, r = cells(c, len(everything), rng)
    for what, (x, y) in zip(everything, places, strict=True):
        put(c, what, x, y, min(r, 0.28) * rng.uniform(0.75, 1), rng)
    return lambda g: sentence(g, listed([what.say(g, n) for what, n in g.sample(sorts, len(sorts))]), where)


RELATIONS: Final = {
    "to the left of": ("to the right of", (-0.24, 0)), "to the right of": ("to the left of", (0.24, 0)),
    "above": ("below", (0, -0.24)), "below": ("above", (0, 0.24)), "inside": ("around", (0, 0)),
}  # fmt: skip


def relation(c: Canvas, rng: Random) -> Say:
    paints, where = ground(c, rng)
    first = thing(rng, *paints)
    relates = rng.choice(list(RELATIONS))
    back, (dx, dy) = RELATIONS[relates]
    if relates == "inside":
        outer = Thing(rng.choice(("circle", "square", "hexagon", "diamond")), another(rng, *paints, first.paint))
        put(c, outer, 0.5, 0.5, rng.uniform(0.38, 0.45), rng)
        put(c, first, 0.5, 0.5, rng.uniform(0.13, 0.2), rng)
    else:
        outer = thing(rng, *paints, first.paint)
        for what, sign in ((first, 1), (outer, -1)):
            put(c, what, 0.5 + sign * dx, 0.5 + sign * dy, rng.uniform(0.15, 0.21), rng)

    def say(g: Random) -> str:
        a, b = first.say(g), outer.say(g)
        return sentence(g, f"{a} {relates} {b}" if g.random() < 0.6 else f"{b} {back} {a}", where)

    return say


def bare(c: Canvas, rng: Random) -> Say:
    """A background and nothing else."""
    where = articles(ground(c, rng)[1]).removeprefix("on ")
    return lambda g: g.choice(("{}", "only {}", "nothing but {}", "an empty picture of {}")).format(where)


KINDS: Final[dict[str, Callable[[Canvas, Random], Say]]] = {
    kind.__name__: kind for kind in (one, many, groups, relation, bare)
}


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def sentence(rng: Random, what: str, where: str, place: str = "") -> str:
    """Parts in one of several orders; the background and the place are often left out."""
    place = f" {place}" if place and rng.random() < 0.75 else ""
    where = where if rng.random() < 0.6 else ""
    if where and rng.random() < 0.15:
        return articles(f"{where}, {what}{place}")
    start = rng.choice(
        ("", "", "", "a picture of ", "a drawing of ", "there are " if what[:2] != "a " else "there is ")
    )
    return articles(f"{start}{what}{place}{' ' + where if where else ''}")


def articles(text: str) -> str:
    """`a orange wall` as `an orange wall`."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def draw_objects(kind: str, size: tuple[int, int], rng: Random) -> tuple[Image.Image, Say]:
    """One picture (RGB, width x height) of the kind `kind`, and what may be said of it."""
    canvas = Canvas(size, rng)
    say = KINDS[kind](canvas, rng)
    return canvas.finish(), say
