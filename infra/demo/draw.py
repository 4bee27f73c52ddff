"""What scenes are drawn with: colours, a canvas with smooth edges, and the light and grain of a photograph.

Uneven light and grain come last: they give flat shapes the contrast, the entropy and the differing perceptual hashes
that photographs have.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SCALE: Final = 2  # drawn so many times larger, then reduced: smooth edges
COLOURS: Final[dict[str, Colour]] = {
    "red": (204, 52, 48), "orange": (232, 131, 42), "yellow": (240, 200, 60), "green": (82, 150, 72),
    "blue": (52, 104, 196), "purple": (128, 80, 160), "pink": (230, 140, 170), "white": (244, 242, 236),
    "brown": (122, 82, 52), "turquoise": (64, 176, 170), "dark blue": (34, 52, 104), "dark green": (36, 84, 52),
}  # fmt: skip


class Canvas:
    """Places are fractions of width and height; lengths are fractions of the shorter side: circles are round."""

    def __init__(self, size: tuple[int, int], rng: Random) -> None:
        self.width, self.height = size[0] * SCALE, size[1] * SCALE
        self.unit = min(self.width, self.height)
        self.rng = rng
        self.image = Image.new("RGB", (self.width, self.height))
        self.pen = ImageDraw.Draw(self.image)

    def backdrop(self, top: Colour, bottom: Colour, until: float = 1.0) -> None:
        """A soft vertical gradient from the upper edge down to the height `until`, with drifts like clouds."""
        drifts = np.array([[self.rng.gauss(0, 16) for _ in range(6)] for _ in range(8)])
        ramp = np.linspace(top, bottom, 8)[:, None, :] + drifts[:, :, None]
        small = Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))
        width, height = self.width // SCALE, max(1, round(until * self.height / SCALE))
        smooth = small.resize((width, height), Image.Resampling.BICUBIC)
        self.image.paste(smooth.resize((width * SCALE, height * SCALE), Image.Resampling.NEAREST))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        w, h = self.width, self.height
        self.pen.rectangle((left * w, top * h, max(left, right) * w, max(top, bottom) * h), fill=colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        cx, cy, rx, ry = x * self.width, y * self.height, rx * self.unit, ry * self.unit
        self.pen.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)

    def figure(self, x: float, y: float, points: Sequence[Point], colour: Colour) -> None:
        """A polygon around (x, y); its points are offsets in units of the shorter side."""
        cx, cy = x * self.width, y * self.height
        self.pen.polygon([(cx + dx * self.unit, cy + dy * self.unit) for dx, dy in points], fill=colour)

    def block(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A rectangle that stands on (x, y)."""
        half = width / 2
        self.figure(x, y, [(-half, 0), (half, 0), (half, -height), (-half, -height)], colour)

    def ridge(self, base: float, rough: float, colour: Colour, points: int = 9) -> None:
        """A range of hills across the picture, filled down to the lower edge."""
        tops = [(i / (points - 1), base + self.rng.uniform(-rough, rough)) for i in range(points)]
        outline = [(x * self.width, y * self.height) for x, y in tops]
        self.pen.polygon([*outline, (self.width, self.height), (0, self.height)], fill=colour)

    def finish(self) -> Image.Image:
        """Back to the size asked for, with uneven light and grain."""
        image = self.image.reduce(SCALE)
        light = np.array([[self.rng.gauss(128, 18) for _ in range(5)] for _ in range(5)], np.float32)
        lights = np.asarray(Image.fromarray(light).resize(image.size, Image.Resampling.BICUBIC))
        noise = np.random.default_rng(self.rng.getrandbits(64))
        grain = noise.standard_normal(lights.shape, np.float32) * np.float32(self.rng.uniform(4, 9))
        shift = Image.fromarray(np.clip(lights + grain, 0, 255).astype(np.uint8))
        return ImageChops.add(image, Image.merge("RGB", (shift, shift, shift)), 1, -128)


def tint(colour: Colour, rng: Random, by: int = 14) -> Colour:
    """A colour near the given one."""
    shift = rng.randint(-by, by)
    r, g, b = (min(255, max(0, part + shift + rng.randint(-6, 6))) for part in colour)
    return r, g, b


def some(rng: Random, *names: str) -> tuple[str, Colour]:
    """A colour by name, of all or of those given."""
    name = rng.choice(names or tuple(COLOURS))
    return name, tint(COLOURS[name], rng)


def spread(n: int, rng: Random) -> list[float]:
    """n places from left to right, none too near the next."""
    return [(i + rng.uniform(0.25, 0.75)) / n for i in range(n)]
