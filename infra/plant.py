"""Draw a folder of pictures with captions and plant known flaws in it; `truth.csv` says in which file which flaw is.

Everything is a function of the seed and of the versions of Pillow and NumPy, so two runs give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from flaws import BOILERPLATE, FOREIGN, SHORT, mash, page, repeat_words, soup
from PIL import Image, ImageEnhance, ImageFilter
from scenes import SCENES, Phrases, caption, draw

FLAWS: Final = {
    "exact_duplicate": 24, "near_duplicate": 30, "tiny_image": 14, "extreme_aspect": 12, "blurred": 14, "blank": 8,
    "wrong_language": 20, "too_short": 12, "boilerplate": 24, "word_repetition": 10, "symbol_soup": 12,
    "gibberish": 12, "wrong_caption": 24,
    "empty_caption": 6, "missing_caption": 6, "truncated": 6, "html_page": 4, "zero_bytes": 3, "random_bytes": 3,
    "bomb": 1,
}  # fmt: skip
CONTROLS: Final = {"exif_orientation": 8, "grayscale": 6, "cmyk": 5, "sixteen_bit": 5, "palette": 5, "animated": 4}
HEAD_ROWS: Final = 60  # the first rows are clean, so that every duplicate finds an original before it
ROWS: Final = 1200
SEED: Final = 7

Encoded = tuple[str, bytes]  # suffix, file


@dataclass(frozen=True)
class Planted:
    """One line of truth.csv. `flaw` is empty for a clean row; a control's `detail` begins with `control`."""

    file: str
    flaw: str
    detail: str

    @property
    def key(self) -> str:
        """The row's key: the path relative to the folder without its suffix."""
        return self.file.rpartition(".")[0]

    @property
    def original(self) -> str:
        """The key of the picture that a duplicate was made of."""
        return self.detail.rpartition(" ")[2].rpartition(".")[0] if self.flaw.endswith("_duplicate") else ""


def plant(out: Path, rows: int = ROWS, seed: int = SEED) -> tuple[list[Planted], bool]:
    """Draw `out`/photos and `out`/truth.csv, unless the same ones are there; returns the truth, and whether it was new.

    Raises FileExistsError rather than touch a folder that was not drawn by this program.
    """
    mark, truth = out / "drawn.json", out / "truth.csv"
    kinds = _kinds(rows, seed)
    versions = {name: version(name) for name in ("pillow", "numpy")}
    made_by = {"rows": rows, "seed": seed, "versions": versions, "code": _code()}
    if mark.is_file() and json.loads(mark.read_text()) == {**made_by, "complete": True}:
        return read_truth(truth), False
    for old in (out / "photos", out / "corpus"):  # scores of other pictures are of no use
        if old.exists() and not mark.is_file():
            raise FileExistsError(f"{old} is there and was not made by the demo; choose another folder with --out")
        shutil.rmtree(old, ignore_errors=True)
    (out / "photos").mkdir(parents=True)
    mark.write_text(json.dumps({**made_by, "complete": False}))
    lines = list(_draw_rows(out / "photos", kinds, seed))
    with truth.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in fields(Planted))
        writer.writerows(astuple(line) for line in lines)
    mark.write_text(json.dumps({**made_by, "complete": True}))
    return lines, True


def read_truth(path: Path) -> list[Planted]:
    """truth.csv as records."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Planted(**line) for line in csv.DictReader(file)]


def _code() -> str:
    """A digest of the drawing programs: another version of them draws other pictures."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in SOURCES)).hexdigest()


SOURCES: Final = ("draw.py", "scenes.py", "flaws.py", "plant.py")


def _kinds(rows: int, seed: int) -> list[str]:
    """For every row its flaw, its control, or nothing."""
    special = [kind for kinds in (FLAWS, CONTROLS) for kind, n in kinds.items() for _ in range(n)]
    clean = rows - HEAD_ROWS - len(special)
    if clean < 0:
        raise ValueError(f"{rows} rows are too few; {HEAD_ROWS + len(special)} hold every flaw and control")
    rest = [*special, *[""] * clean]
    Random(f"{seed}").shuffle(rest)
    return [*[""] * HEAD_ROWS, *rest]


def _draw_rows(photos: Path, kinds: Sequence[str], seed: int) -> Iterator[Planted]:
    """Write the files row by row."""
    originals: list[tuple[str, Phrases]] = []  # clean pictures of which no copy was made yet
    seen = dict.fromkeys(kinds, 0)
    for i, kind in enumerate(kinds):
        rng, number = Random(f"{seed}-{i}"), seen[kind]
        seen[kind] += 1
        if kind.endswith("_duplicate"):
            original, phrases = originals.pop(rng.randrange(len(originals)))
            scene = Path(original).stem.partition("-")[2]
            (suffix, data), detail = _duplicate(photos / original, kind, number, rng)
        else:
            original, scene = "", rng.choice(list(SCENES))
            image, phrases = draw(scene, _size(kind, rng), rng)
            (suffix, data), detail = _picture(image, kind, number, rng)
        if kind == "wrong_caption":  # of a picture of another kind
            other = rng.choice([name for name in SCENES if name != scene])
            _, phrases = draw(other, (32, 32), rng)
            detail = f"the caption of {other}"
        file = f"{i:04d}-{scene}{suffix}"
        (photos / file).write_bytes(data)
        text, note = _text(caption(phrases, rng), kind, number, rng)
        if kind == "exact_duplicate":
            text = (photos / original).with_suffix(".txt").read_text(encoding="utf-8")
        if text is not None:
            (photos / file).with_suffix(".txt").write_text(text, encoding="utf-8")
        if not kind:
            originals.append((file, phrases))
        yield Planted(file, kind if kind in FLAWS else "", f"control: {kind}" if kind in CONTROLS else detail or note)


def _size(kind: str, rng: Random) -> tuple[int, int]:
    """Width and height in px: 256 to 640, unless the size is the flaw."""
    if kind == "tiny_image":
        return rng.randint(60, 190), rng.randint(60, 190)
    short, ratio = rng.randint(256, 380), rng.choice((1.0, 1.25, 4 / 3, 1.5, 16 / 9))
    if kind == "extreme_aspect":
        short, ratio = rng.randint(205, 220), rng.uniform(3.4, 4.6)
    sides = short, round(short * ratio)
    return sides if rng.random() < 0.35 else sides[::-1]


def _picture(image: Image.Image, kind: str, number: int, rng: Random) -> tuple[Encoded, str]:
    """The file of a drawn picture, with the flaw or the oddity of its kind, and a note on it."""
    size = f"{image.width} x {image.height} px"
    if kind == "blurred":
        radius = min(image.size) * rng.uniform(0.02, 0.035)
        return _encode(image.filter(ImageFilter.GaussianBlur(radius)), rng), f"radius {radius:.1f} px"
    if kind == "blank":
        colour = rng.choice(("white", "black", "#808080", "#c0d8f0", "#f4e8d0"))
        return _encode(Image.new("RGB", image.size, colour), rng), f"all {colour}"
    if kind in BROKEN:
        return BROKEN[kind](image, number, rng), f"number {number}"
    if kind in ODD:
        return ODD[kind](image, rng), kind
    return _encode(image, rng), size if kind in ("tiny_image", "extreme_aspect") else ""


def _text(text: str, kind: str, number: int, rng: Random) -> tuple[str | None, str]:
    """The caption for a row of this kind (None: there is no file), and a note on it."""
    match kind:
        case "wrong_language":
            language, sentences = list(FOREIGN.items())[number % len(FOREIGN)]
            return sentences[number // len(FOREIGN) % len(sentences)], language
        case "too_short":
            return SHORT[number % len(SHORT)], "one or two words"
        case "boilerplate":
            return BOILERPLATE[number % len(BOILERPLATE)], BOILERPLATE[number % len(BOILERPLATE)]
        case "word_repetition":
            return repeat_words(rng), "the same words again and again"
        case "symbol_soup":
            return soup(rng), "symbols and digits"
        case "gibberish":
            return mash(rng), "keys of a keyboard"
        case "empty_caption":
            return "", "the file is empty"
        case "missing_caption":
            return None, "there is no .txt"
        case "grayscale" | "sixteen_bit":
            return f"black and white: {text}", ""
        case _:
            return text, ""


def _duplicate(original: Path, kind: str, number: int, rng: Random) -> tuple[Encoded, str]:
    """A copy of a file, or the picture changed a little, and a note that ends in the original's name."""
    if kind == "exact_duplicate":
        return (original.suffix, original.read_bytes()), f"copy of {original.name}"
    image = Image.open(original).convert("RGB")
    width, height = image.size
    how = ("compressed", "resized", "cropped", "brightened")[number % 4]
    if how == "resized":
        share = rng.uniform(0.8, 0.9)  # stays above the 200 px of the rule on sizes
        image = image.resize((round(width * share), round(height * share)), Image.Resampling.LANCZOS)
    elif how == "cropped":
        dx, dy = (round(side * rng.uniform(0.01, 0.03)) for side in image.size)
        image = image.crop((dx, dy, width - dx, height - dy))
    elif how == "brightened":
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(1.06, 1.14))
    return _jpeg(image, quality=rng.randint(50, 75)), f"{how} copy of {original.name}"


def _encode(image: Image.Image, rng: Random) -> Encoded:
    """Mostly JPEG, some PNG and WebP."""
    kind = rng.random()
    if kind < 0.05:
        return _png(image)
    if kind < 0.10:
        return ".webp", _save(image, "WEBP", quality=80, method=0)
    return _jpeg(image, quality=rng.randint(78, 94))


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image, quality: int = 88) -> Encoded:
    return ".jpg", _save(image, "JPEG", quality=quality)


def _png(image: Image.Image) -> Encoded:
    return ".png", _save(image, "PNG", compress_level=1)


def _truncated(image: Image.Image, _number: int, rng: Random) -> Encoded:
    data = _jpeg(image)[1]
    return ".jpg", data[: round(len(data) * rng.uniform(0.3, 0.6))]


def _bomb(_image: Image.Image, _number: int, _rng: Random) -> Encoded:
    """A PNG of a hundred bytes whose header promises 400 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return ".png", data


def _exif(image: Image.Image, rng: Random) -> Encoded:
    """Stored turned, with the tag that says how to turn it back."""
    turns = ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270))
    orientation, turn = rng.choice(turns)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return ".jpg", _save(image.transpose(turn), "JPEG", quality=88, exif=exif)


def _sixteen_bit(image: Image.Image, _rng: Random) -> Encoded:
    return _png(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257))


def _animated(image: Image.Image, _rng: Random) -> Encoded:
    frames = [image.rotate(angle) for angle in (3, 6)]
    return ".webp", _save(image, "WEBP", save_all=True, append_images=frames, duration=200, quality=70, method=0)


BROKEN: Final[dict[str, Callable[[Image.Image, int, Random], Encoded]]] = {
    "truncated": _truncated,
    "html_page": lambda _image, number, _rng: (".jpg", page(number).encode()),
    "zero_bytes": lambda _image, _number, _rng: (".jpg", b""),
    "random_bytes": lambda _image, _number, rng: (".jpg", b"\x00" + rng.randbytes(rng.randint(2000, 9000))),
    "bomb": _bomb,
}
ODD: Final[dict[str, Callable[[Image.Image, Random], Encoded]]] = {
    "exif_orientation": _exif,
    "grayscale": lambda image, _rng: _jpeg(image.convert("L")),
    "cmyk": lambda image, _rng: _jpeg(image.convert("CMYK")),
    "sixteen_bit": _sixteen_bit,
    "palette": lambda image, _rng: _png(image.quantize(96)),
    "animated": _animated,
}
