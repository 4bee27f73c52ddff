"""Captions that a curated corpus should not hold, and a web page where an image should be."""

from __future__ import annotations

from random import Random
from typing import Final

FOREIGN: Final[dict[str, tuple[str, ...]]] = {
    "French": (
        "Un petit bateau rouge navigue tranquillement sur la mer devant le coucher du soleil",
        "Trois maisons blanches se trouvent au bord d'une rivière dans la vallée",
        "Les enfants jouent dans le jardin pendant que leur grand-mère prépare le repas",
        "Une vieille voiture bleue est garée devant la boulangerie du village",
    ),
    "German": (
        "Ein kleines rotes Segelboot fährt bei Sonnenuntergang über das ruhige Meer",
        "Drei weiße Häuser stehen am Ufer eines Flusses mitten im grünen Tal",
        "Die Kinder spielen im Garten, während ihre Großmutter das Essen kocht",
        "Ein altes blaues Auto steht vor der Bäckerei in unserem Dorf",
    ),
    "Spanish": (
        "Un pequeño barco rojo navega tranquilamente por el mar al atardecer",
        "Tres casas blancas están junto a un río en medio del valle verde",
        "Los niños juegan en el jardín mientras su abuela prepara la comida",
        "Un viejo coche azul está aparcado delante de la panadería del pueblo",
    ),
    "Russian": (
        "Маленькая красная лодка плывёт по спокойному морю на закате солнца",
        "Три белых дома стоят на берегу реки посреди зелёной долины",
        "Дети играют в саду, пока их бабушка готовит обед на кухне",
        "Старая синяя машина стоит перед булочной в нашей деревне",
    ),
    # Written without spaces: a count of words by white space takes each sentence for one or two words.
    "Chinese": (
        "夕阳下，一艘红色的小帆船在平静的海面上慢慢航行",
        "绿色的山谷里，三座白色的房子坐落在河边",
        "奶奶在厨房做饭的时候，孩子们在花园里玩耍",
        "村子里的面包店门前停着一辆旧的蓝色汽车",
    ),
}
SHORT: Final = (
    *("sunset", "IMG 2043", "photo", "nice view", "untitled", "my house", "DSC_0117.JPG", "holiday 2019"),
    *("boats", "wow", "new upload", "the mountains"),
)
BOILERPLATE: Final = ("click to enlarge the picture", "image not available")
WORDS: Final = ("cheap", "hats", "buy", "shoes", "sale", "online", "best", "price", "free", "shop", "deal", "watch")
SYMBOLS: Final = "#$%&*@!/|<>~^_=+0123456789-:;()"


def repeat_words(rng: Random) -> str:
    """`buy cheap hats online buy cheap hats online ...`, as shops stuff their alt texts."""
    words = rng.sample(WORDS, rng.randint(2, 4))
    return " ".join(words * rng.randint(5, 8))


def soup(rng: Random) -> str:
    """Groups of symbols and digits, with hardly a letter."""
    groups = ("".join(rng.choices(SYMBOLS, k=rng.randint(2, 9))) for _ in range(rng.randint(5, 9)))
    return " ".join(groups)


def mash(rng: Random) -> str:
    """What fingers leave on the home row of a keyboard when a form insists on a text."""
    return " ".join("".join(rng.choices("asdfghjkl", k=rng.randint(3, 8))) for _ in range(rng.randint(5, 9)))


def page(number: int) -> str:
    """What a server sends under the name of a picture that is gone."""
    return (
        "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
        f"<body><h1>Not Found</h1><p>The picture /images/{number:04d}.jpg has moved.</p></body></html>\n"
    )


def flawed_caption(kind: str, number: int, rng: Random) -> str | None:
    """A caption of this kind; None where a page says nothing at all."""
    match kind:
        case "wrong_language":
            sentences = list(FOREIGN.values())[number % len(FOREIGN)]
            return sentences[number // len(FOREIGN) % len(sentences)]
        case "too_short":
            return SHORT[number % len(SHORT)]
        case "boilerplate":
            return BOILERPLATE[number % len(BOILERPLATE)]
        case "word_repetition":
            return repeat_words(rng)
        case "symbol_soup":
            return soup(rng)
        case "gibberish":
            return mash(rng)
        case "empty_caption":
            return ""
        case "missing_caption":
            return None
    raise ValueError(f"no caption is flawed like that: {kind}")
