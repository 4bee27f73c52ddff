"""What is said of a drawn scene: in English by templates and synonyms, in three other languages, and empty phrases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from .drawn import COLOURS, GROUNDS, PLACES, RELATIONS, SHAPES, SLOTS, WORLDS, Scenes, World

SYNONYMS: Final = {
    "circle": ("disc",), "square": ("box",), "diamond": ("rhombus",), "cross": ("plus sign",), "ring": ("hoop",),
    "crescent": ("moon",), "red": ("crimson",), "blue": ("navy blue",), "yellow": ("golden",), "purple": ("violet",),
    "brown": ("chocolate brown",), "grey": ("gray",), "black": ("dark",), "upper left": ("top left",),
    "upper right": ("top right",), "lower left": ("bottom left",), "lower right": ("bottom right",),
    "left of": ("to the left of",), "right of": ("to the right of",), "above": ("over",), "below": ("under",),
}  # fmt: skip
PLURALS: Final = {"cross": "crosses", "box": "boxes"}
NUMBERS: Final = ("no", "one", "two", "three", "four")
TEMPLATES: Final = (
    "a picture of {thing} {where} on a {ground} background",
    "{thing} {where} over a {ground} background",
    "we see {thing} {where} and the background is {ground}",
    "this image shows {thing} {where} on {ground}",
    "a drawing with {thing} {where} in front of a {ground} wall",
)
BOILERPLATE: Final = (
    "click here to enlarge the image", "image not available", "buy now with free shipping on all orders",
    "sign up for our newsletter", "share this picture with your friends", "all rights reserved",
    "the best prices of the season are in our shop", "photo of the day", "read more about this on our blog",
    "please enable cookies to see this content", "download this stock photo now", "home page banner",
)  # fmt: skip
# Shapes, colours, grounds and places in the order of the English tables.
FOREIGN: Final = (
    (
        "ein Bild mit einem Motiv in der Form {shape} und der Farbe {colour}, {where} auf dem Hintergrund in {ground}",
        ("Kreis", "Quadrat", "Dreieck", "Raute", "Kreuz", "Ring", "Stern", "Sichel"),
        ("Rot", "Grün", "Blau", "Gelb", "Orange", "Lila", "Rosa", "Braun"),
        ("Weiß", "Schwarz", "Grau", "Petrol"),
        ("oben links", "oben rechts", "unten links", "unten rechts"),
    ),
    (
        "une image avec une forme de {shape} de couleur {colour} {where} sur un fond {ground}",
        ("cercle", "carré", "triangle", "losange", "croix", "anneau", "étoile", "croissant"),
        ("rouge", "verte", "bleue", "jaune", "orange", "violette", "rose", "marron"),
        ("blanc", "noir", "gris", "bleu canard"),
        ("en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite"),
    ),
    (
        "una imagen con una figura de {shape} de color {colour} {where} sobre un fondo {ground}",
        ("círculo", "cuadrado", "triángulo", "rombo", "cruz", "anillo", "estrella", "media luna"),
        ("rojo", "verde", "azul", "amarillo", "naranja", "morado", "rosa", "marrón"),
        ("blanco", "negro", "gris", "azul verdoso"),
        ("arriba a la izquierda", "arriba a la derecha", "abajo a la izquierda", "abajo a la derecha"),
    ),
)  # fmt: skip


def captions(scenes: Scenes, rng: np.random.Generator) -> list[str]:
    """An English caption of each scene, template and synonyms drawn."""
    draws = rng.random((len(scenes), 8)).tolist()
    said = _words(scenes)
    return [_caption(*each, own) for each, own in zip(said, draws, strict=True)]


def foreign_captions(scenes: Scenes, rng: np.random.Generator) -> list[str]:
    """A caption of each scene in German, French or Spanish: of one thing, the first."""
    which = rng.integers(len(FOREIGN), size=len(scenes)).tolist()
    parts = (scenes.shape.tolist(), scenes.colour.tolist(), scenes.ground.tolist(), scenes.place.tolist())
    found = []
    for language, shape, colour, ground, place in zip(which, *parts, strict=True):
        text, shapes, colours, grounds, places = FOREIGN[language]
        found.append(
            text.format(shape=shapes[shape], colour=colours[colour], ground=grounds[ground], where=places[place])
        )
    return found


def stories(scenes: Scenes) -> np.ndarray:
    """What is told of each scene without synonyms or template, as strings (n,): equal where captions mean the same."""
    return np.array([_caption(*each, [0.0, *[1.0] * 7]) for each in _words(scenes)])


def different_stories(worlds: Iterable[World]) -> int:
    """How many scenes of these worlds are told differently."""
    things = len(SHAPES) * len(COLOURS)
    others = len(SHAPES) * (len(COLOURS) - 1) * len(RELATIONS)
    ways = {"one": things * len(PLACES), "many": things * (SLOTS - 1), "two": things * others}
    return len(GROUNDS) * sum(ways[world] for world in set(worlds))


def boilerplate(n: int, rng: np.random.Generator) -> list[str]:
    """Phrases that say nothing of the picture, the first ones most often."""
    weights = 1 / np.arange(1, len(BOILERPLATE) + 1)
    return [BOILERPLATE[i] for i in rng.choice(len(BOILERPLATE), n, p=weights / weights.sum())]


def class_name(shape: str, colour: str) -> str:
    """How zero-shot classification calls a thing: `red circle`."""
    return f"{colour} {shape}"


def _words(scenes: Scenes) -> list[tuple[str, str, str, str, str, int, str, str, str]]:
    """world, shape, colour, ground, place, count, other shape, other colour, relation of each scene."""
    tables = (tuple(SHAPES), tuple(COLOURS), tuple(GROUNDS), PLACES)
    columns = (scenes.shape, scenes.colour, scenes.ground, scenes.place)
    first = [np.array(table)[column].tolist() for table, column in zip(tables, columns, strict=True)]
    others = ((SHAPES, scenes.other_shape), (tuple(COLOURS), scenes.other_colour), (RELATIONS, scenes.relation))
    second = [np.array(table)[column].tolist() for table, column in others]
    return list(zip(np.array(WORLDS)[scenes.world].tolist(), *first, scenes.count.tolist(), *second, strict=True))


def _caption(
    world: str,
    shape: str,
    colour: str,
    ground: str,
    place: str,
    count: int,
    other_shape: str,
    other_colour: str,
    relation: str,
    draws: list[float],
) -> str:
    form, *rest = draws

    def say(word: str, draw: int) -> str:
        others = SYNONYMS.get(word, ())
        return others[0] if others and rest[draw] < 0.4 else word

    thing, where = f"a {say(colour, 0)} {say(shape, 1)}", ""
    if world == "one":
        where = f"in the {say(place, 2)}"
    elif world == "many":
        name = say(shape, 1)
        thing = f"{NUMBERS[count]} {say(colour, 0)} {PLURALS.get(name, f'{name}s')}"
    else:
        where = f"{say(relation, 2)} a {say(other_colour, 3)} {say(other_shape, 4)}"
    text = TEMPLATES[int(form * len(TEMPLATES))].format(thing=thing, where=where, ground=say(ground, 5))
    return " ".join(text.replace("a orange", "an orange").split())
