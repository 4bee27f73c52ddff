"""Drawn shapes, in folders by class and with captions, whose names and captions cupel-tiny can read."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from drawing import encoded
from PIL import Image, ImageDraw

COLOURS = {"red": (210, 40, 40), "blue": (40, 70, 210), "green": (40, 150, 60), "yellow": (235, 205, 40)}
SHAPES = ("circle", "square", "triangle")


def shape(canvas: ImageDraw.ImageDraw, kind: str, colour: str, x: float, y: float, r: float) -> None:
    if kind == "circle":
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[colour])
    elif kind == "square":
        canvas.rectangle((x - 0.8 * r, y - 0.8 * r, x + 0.8 * r, y + 0.8 * r), fill=COLOURS[colour])
    else:
        canvas.polygon([(x, y - r), (x + r, y + 0.8 * r), (x - r, y + 0.8 * r)], fill=COLOURS[colour])


def canvas_of(rng: Random, side: int = 96) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    light = rng.randint(225, 255)
    image = Image.new("RGB", (side, side), (light, light, light))
    return image, ImageDraw.Draw(image)


@pytest.fixture(scope="session")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes, 8 pictures each: red_circle/0.png and so on."""
    folder = tmp_path_factory.mktemp("classes")
    rng = Random(0)
    for colour in COLOURS:
        for kind in SHAPES:
            (folder / f"{colour}_{kind}").mkdir()
            for i in range(8):
                image, canvas = canvas_of(rng)
                shape(canvas, kind, colour, *(rng.uniform(36, 60) for _ in "xy"), rng.uniform(18, 32))
                (folder / f"{colour}_{kind}" / f"{i}.png").write_bytes(encoded(image, "PNG"))
    return folder


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.jsonl and 40 pictures of one shape above another, two captions each in `captions`, in images/."""
    folder = tmp_path_factory.mktemp("captioned")
    (folder / "images").mkdir()
    rng, lines = Random(1), []
    both = [(a, b) for a in COLOURS for b in COLOURS if a != b]
    for i in range(40):
        image, canvas = canvas_of(rng)
        (one, other), kinds = both[i % len(both)], rng.sample(SHAPES, 2)
        shape(canvas, kinds[0], one, rng.uniform(30, 66), 26, 18)
        shape(canvas, kinds[1], other, rng.uniform(30, 66), 70, 18)
        (folder / "images" / f"{i:02}.png").write_bytes(encoded(image, "PNG"))
        texts = [f"a {one} {kinds[0]} above a {other} {kinds[1]}", f"a {other} {kinds[1]} below a {one} {kinds[0]}"]
        lines.append(json.dumps({"file": f"images/{i:02}.png", "captions": texts}) + "\n")
    (folder / "captions.jsonl").write_text("".join(lines))
    return folder
