"""Drawn pictures and captions: sound ones are unlike, every flaw is really there, the odd ones are what they say."""

from __future__ import annotations

import io
from collections import Counter
from itertools import combinations
from pathlib import Path
from random import Random

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

INFRA = Path(__file__).parents[2] / "infra/demo"


@pytest.fixture(scope="module")
def infra(demo_modules):
    with demo_modules(flaws="flaws", pictures="pictures", scenes="scenes") as modules:
        yield modules


@pytest.fixture(scope="module")
def drawn(infra):
    """Makes a picture's file and the phrases for it, by kind and number."""

    def make(kind: str, number: int = 0):
        rng = Random(f"{kind}-{number}")
        scene = list(infra.scenes.SCENES)[number % len(infra.scenes.SCENES)]
        image, phrases = infra.scenes.draw(scene, infra.pictures.size(kind, rng), rng)
        return infra.pictures.picture(image, kind, number, rng)[0], phrases

    return make


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def grey(image: Image.Image) -> np.ndarray:
    """The upright picture in 8-bit grey (Pillow alone would clip 16 bits to white)."""
    if image.mode == "I;16":
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB").convert("L"))


def roughness(image: Image.Image) -> float:
    """Variance of the discrete Laplacian of the grey picture."""
    a = grey(image).astype(float)
    return float((a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] - 4 * a[1:-1, 1:-1]).var())


def test_same_seed_same_bytes(drawn):
    assert drawn("", 3) == drawn("", 3)
    assert drawn("", 3)[0] != drawn("", 3 + 14)[0]


def test_sound_pictures_are_sharp_and_unlike(drawn):
    """Otherwise a deduplication would drop pictures that nobody planted."""
    images = [opened(drawn("", i)[0][1]) for i in range(70)]
    assert all(256 <= min(image.size) <= max(image.size) <= 680 for image in images)
    assert min(roughness(image) for image in images) > 100
    hashes = [imagehash.phash(Image.fromarray(grey(image))) for image in images]
    assert min(a - b for a, b in combinations(hashes, 2)) > 8


def test_captions_say_what_is_drawn_in_many_ways(infra, drawn):
    texts = [infra.scenes.caption(drawn("", i % 28)[1], Random(i)) for i in range(112)]
    assert all(5 <= len(text.split()) <= 30 for text in texts)
    assert Counter(texts).most_common(1)[0][1] < 5


@pytest.mark.parametrize("kind", ["truncated", "html_page", "zero_bytes", "random_bytes"])
def test_broken_images_do_not_open(drawn, kind):
    for number in range(3):
        with pytest.raises(UnidentifiedImageError if kind != "truncated" else OSError):
            opened(drawn(kind, number)[0][1])


def test_the_bomb_is_small_and_promises_much(drawn):
    _, data = drawn("bomb")[0]
    assert len(data) < 1000
    with pytest.raises(Image.DecompressionBombError):
        opened(data)


def test_image_flaws(drawn):
    def all_of(kind: str) -> list[Image.Image]:
        return [opened(drawn(kind, number)[0][1]) for number in range(5)]

    assert all(max(image.size) < 200 for image in all_of("tiny_image"))
    for image in all_of("extreme_aspect"):
        short, long = sorted(image.size)
        assert short >= 200 and long / short > 3
    assert {np.ptp(grey(image)) for image in all_of("blank")} == {0}
    assert max(roughness(image) for image in all_of("blurred")) < 15


@pytest.mark.parametrize("number", range(8))
def test_near_copies_are_near(infra, drawn, number):
    _, data = drawn("", number)[0]
    (_, copy), how = infra.pictures.near_copy(data, number, Random(number))
    assert copy != data and how in ("compressed", "resized", "cropped", "brightened")
    assert min(opened(copy).size) > 200
    assert imagehash.phash(opened(copy)) - imagehash.phash(opened(data)) <= 10


def test_controls_are_what_they_say(drawn):
    modes = {"grayscale": "L", "cmyk": "CMYK", "sixteen_bit": "I;16", "palette": "P"}
    for kind, mode in modes.items():
        assert opened(drawn(kind)[0][1]).mode == mode
    assert opened(drawn("animated")[0][1]).n_frames > 1
    assert {opened(drawn("exif_orientation", n)[0][1]).getexif()[0x0112] for n in range(5)} <= {3, 6, 8}


def test_caption_flaws(infra):
    def some(kind: str) -> list[str | None]:
        return [infra.flaws.flawed_caption(kind, number, Random(number)) for number in range(20)]

    assert set(some("empty_caption")) == {""} and set(some("missing_caption")) == {None}
    assert all(1 <= len(text.split()) <= 2 for text in some("too_short"))
    assert min(Counter(some("boilerplate")).values()) == 10
    assert all(len(set(text.split())) * 5 <= len(text.split()) for text in some("word_repetition"))
    assert not any(character.isalpha() for text in some("symbol_soup") for character in text)
    assert len(set(some("wrong_language"))) == 20
    assert all(set(text) <= set("asdfghjkl ") for text in some("gibberish"))
    with pytest.raises(ValueError, match="no caption is flawed like that"):
        infra.flaws.flawed_caption("blurred", 0, Random(0))


def test_foreign_texts_are_foreign(infra):
    """By fastText's lid.176 itself."""
    import fasttext

    from cupel.operators.text.language import Language

    (path,) = Language().files
    model = fasttext.load_model(str(path))
    names = {"French": "fr", "German": "de", "Spanish": "es", "Russian": "ru", "Chinese": "zh"}
    for language, texts in infra.flaws.FOREIGN.items():
        assert {model.predict(text)[0] for text in texts} == {(f"__label__{names[language]}",)}
