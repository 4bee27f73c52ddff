"""The corpus of `inspector.py`: a million captions and drawn pictures with twelve scores, curated by the real engine.

A row has one of a few hundred small drawn pictures and a caption that begins with what it shows, then words, numbers
and capitals at random, so that each score is spread and each bound drops some rows. All rows are measured before the
first bound on a score, so that every threshold can be moved either way. The folder is made once and then used again.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE_ROWS = 50_000
PICTURES = 400
HOSTS = 3000
BOUNDS: dict[str, dict[str, float]] = {  # the twelve scores
    "words": {"min": 4, "max": 28},
    "characters": {"min": 30},
    "letter_ratio": {"min": 0.68},
    "digit_ratio": {"max": 0.1},
    "punctuation_ratio": {"max": 0.05},
    "uppercase_ratio": {"max": 0.12},
    "character_repetition": {"max": 0.1},
    "stop_word_ratio": {"min": 0.08},
    "min_side_px": {"min": 46},
    "aspect_ratio": {"max": 2.2},
    "pixels": {"min": 2600},
    "image_bytes": {"min": 1050},
}
STEPS = [
    *("text.length", "text.characters", "text.repetition", "text.words", "image.size"),
    *({"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}),
    *({"keep": {column: bound}} for column, bound in BOUNDS.items()),
    {"keep": {"any": [{"clip_similarity": {"min": 0.2}}, {"aesthetic": {"min": 6.5}}]}},
    {"keep": {"clip_similarity": {"top": 0.8}}},
]


def scored_corpus(folder: Path, rows: int) -> Path:
    """The corpus of so many rows in this folder; made where it is not there yet: 2 minutes and 2 GB a million."""
    place = folder / f"{rows}"
    made = place / "corpus"
    if not (made / "cuts" / "bench.json").is_file():
        shutil.rmtree(place, ignore_errors=True)
        write_input(place / "in", rows)
    recipe = place / "bench.yaml"
    recipe.write_text(yaml.safe_dump({"name": "bench", "steps": STEPS}, sort_keys=False))
    command = [sys.executable, "-m", "cupel", "run", recipe, place / "in", "--out", made, "--no-write"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # a finished cut is done in a moment
    return made


def write_input(folder: Path, rows: int) -> None:
    """Parquet files of FILE_ROWS rows: key, text, image, image_url, clip_similarity, aesthetic."""
    folder.mkdir(parents=True)
    pictures, shown = drawn_pictures()
    words = some_words()
    random = np.random.default_rng(11)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        which = random.integers(0, PICTURES, count)
        hosts = (HOSTS * random.random(count) ** 3).astype(int)
        names = np.arange(start, start + count)
        table = pa.table(
            {
                "key": [f"{name:08}" for name in names],
                "text": captions(random, [shown[i] for i in which], words),
                "image": pictures.take(pa.array(which)),
                "image_url": [f"https://host{h}.example/{n}.jpg" for h, n in zip(hosts, names, strict=True)],
                "clip_similarity": random.normal(0.27, 0.05, count).astype(np.float32),
                "aesthetic": random.normal(5.2, 0.9, count).astype(np.float32),
            }
        )
        options = {"compression": "none", "use_dictionary": ["text"], "write_page_checksum": True}
        pq.write_table(table, folder / f"{number:05}.parquet", row_group_size=5000, **options)


def drawn_pictures() -> tuple[pa.LargeBinaryArray, list[str]]:
    """JPEGs of 40 to 160 px a side, and what they show."""
    sys.path.append(str(ROOT / "infra" / "demo"))
    from scenes import SCENES, caption, draw

    pictures, shown = [], []
    for number in range(PICTURES):
        rng = Random(number)
        size = rng.randint(40, 110), rng.randint(40, 110)
        image, phrases = draw(sorted(SCENES)[number % len(SCENES)], size, rng)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(30, 80))
        pictures.append(file.getvalue())
        shown.append(caption(phrases, rng))
    return pa.array(pictures, pa.large_binary()), shown


def some_words() -> list[str]:
    """What stands behind a caption: words, names of files, capitals, marks; early ones come often."""
    rng = Random(5)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "an", "er", "or")]
    plain = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(6000)]
    odd = ["SALE", "IMG_2041", "|", "...", "100%", "4K", "the", "of", "and", "in", "NEW!!!", "(2019)", "photo", "photo"]
    return [rng.choice(odd) if rng.random() < 0.2 else word for word in plain]


def captions(random: np.random.Generator, shown: list[str], words: list[str]) -> list[str]:
    """What each row's picture shows, its first words or all, and up to twenty words; one in forty has only that."""
    count = len(shown)
    drawn = (len(words) * random.random((count, 20)) ** 4).astype(int).tolist()
    more = np.where(random.random(count) < 0.025, 0, random.geometric(0.15, count).clip(0, 20)).tolist()
    first = random.integers(2, 20, count).tolist()
    rows = zip(shown, drawn, more, first, strict=True)
    return [" ".join([*text.split()[:n], *(words[i] for i in line[:extra])]) for text, line, extra, n in rows]
