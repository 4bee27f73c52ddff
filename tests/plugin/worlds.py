"""Small corpora for what is decided without a run: pairs, documents and words, each with all kinds of keeps."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types
from drawing import encoded, picture, write_jsonl

from cupel import Recipe, run
from cupel.pipeline.inspect.opened import OpenedCut, open_cut
from cupel.pipeline.inspect.rows import CutRows, load_rows
from cupel.pipeline.inspect.thresholds.changes import Change, changed_recipe
from cupel.pipeline.inspect.thresholds.whatif import WhatIf
from cupel.pipeline.plan import KeepStep
from cupel.pipeline.recipe_file import parse_recipe


def pairs(folder: Path) -> Path:
    """150 pictures in 3 files: broken ones, copies, captions of 0 to 11 words, numbers with ties, NaN and nulls."""
    random = np.random.default_rng(1)
    folder = folder / "in"
    folder.mkdir()
    for part in range(3):
        count = 50
        images = []
        for i in range(count):
            seed = int(random.integers(100))
            side = int(random.integers(20, 90))
            data = encoded(picture(seed, side, 50), quality=int(random.integers(70, 95)))
            images.append(b"broken" if i % 11 == 5 else data)
        score = [None if random.random() < 0.1 else round(float(x), 2) for x in random.random(count)]
        score[7] = math.nan
        columns = {
            "key": [f"k{int(x):02}" for x in random.integers(40, size=count)],
            "text": ["word " * int(x) for x in random.integers(12, size=count)],
            "image": pa.array(images, pa.large_binary()),
            "score": pa.array(score, pa.float32()),
            "votes": pa.array([None if x == 0 else int(x) - 5 for x in random.integers(9, size=count)], pa.int8()),
            "language": [[None, "en", "de", "fr"][x] for x in random.integers(4, size=count)],
        }
        pq.write_table(pa.table(columns), folder / f"{part}.parquet")
    return folder


PAIRS = [
    {"keep": {"score": {"min": 0.2, "null": "keep"}}},
    "text.length",
    {"keep": {"words": {"min": 3, "max": 9}}},
    "image.size",
    {"keep": {"any": [{"width_px": {"min": 40}, "aspect_ratio": {"max": 1.7}}, {"score": {"min": 0.8}}]}},
    {"keep": {"votes": {"top": {"share": 0.8, "by": "language"}, "null": "keep"}, "language": {"not_in": ["fr"]}}},
    {"keep": {"characters": {"max": 44}}},
]
COPIES = [
    *PAIRS[:4],
    {"keep": {"width_px": {"min": 24}}},
    "image.phash",
    "dedup.near_images",
    {"keep": {"near_image_of": None}},
    {"keep": {"votes": {"bottom": 0.9}, "score": {"top": 0.9, "null": "keep"}}},
    {"keep": {"characters": {"max": 44}}},
]
PAGES = [
    "|".join(
        f"IMG:{'gone' * (i % 3 == 0)}{(i + j) % 40}"
        if (i + j) % 3 == 0
        else f"{'w ' * ((i * 5 + j) % 9)}{'x' if j % 2 else i % 7}"
        for j in range(i % 8)
    )
    for i in range(90)
]
DOCUMENTS = [
    {"keep": {"rating": {"min": 2}}},
    "test.page",
    "text.length",
    {"keep": {"words": {"min": 3}}},
    "test.longest",
    {"keep": {"longest": {"max": 15}}},
    {"keep": {"characters": {"max": 13}, "on": "document"}},
    {"text.length": {"on": "document", "as": "whole"}},
    {"keep": {"whole_words": {"min": 6}}},
    {"keep": {"whole_words": {"top": {"share": 0.8, "by": "rating"}}}},
]
EXACT = [
    *DOCUMENTS[:4],
    *(
        "text.characters",
        {"keep": {"letter_ratio": {"min": 0.45}}},
        {"keep": {"characters": {"min": 5}, "on": "document"}},
    ),
    {"dedup.exact": {"columns": ["text"], "on": "document"}},
    {"keep": {"exact_of": None}},
    {"keep": {"characters": {"top": 0.9}}},
    {"keep": {"characters": {"max": 16}}},
]
WORDS = [
    {"keep": {"rating": {"min": 2}}},
    {"dedup.exact": {"columns": ["text"]}},
    "test.words",
    {"keep": {"exact_of": None}},
    {"text.length": {"as": "own"}},
    {"keep": {"nth": {"max": 6}, "own_characters": {"min": 2}}},
    "test.draws",
    "image.size",
    {"keep": {"width_px": {"max": 9}}},
    {"keep": {"rating": {"bottom": 0.7}}},
]
FETCHED = [
    *("test.page", "text.length", {"keep": {"rating": {"min": 2}}}),
    {"keep": {"any": [{"more": None}, {"rating": {"min": 4}, "words": {"min": 3}}]}},
    {"keep": {"rating": {"max": 4}, "lists": None}},
    "test.brings",
    {"keep": {"any": [{"brought": {"in": ["gone"], "null": "keep"}}, {"words": {"max": 5}, "rating": {"max": 4}}]}},
    {"keep": {"any": [{"brought": {"in": ["gone"]}}, {"image_url": {"not_in": ["7"]}}]}},
    {"keep": {"words": {"max": 7}}},
]

TWO_GROUPS = [
    {"keep": {"rating": {"min": 2}}},
    "text.length",
    {"keep": {"words": {"min": 3}}},
    {"keep": {"score": {"adaptive": True, "null": "keep"}}},
    "text.characters",
    {"keep": {"letter_ratio": {"min": 0.47}}},
    {"keep": {"any": [{"second": {"adaptive": True, "min": 0.1}}, {"rating": {"top": 0.3}}], "rating": {"max": 6}}},
    {"keep": {"characters": {"max": 44}}},
]


def scored(folder: Path) -> Path:
    """2,000 texts with two scores, each of which has two groups; the groups of the second depend on a rating."""
    random = np.random.default_rng(2)
    rating = random.integers(7, size=2000)
    low = random.random((2, 2000)) < np.stack([np.full(2000, 0.4), rating / 12])
    score, second = np.where(low, random.normal(0.1, 0.04, (2, 2000)), random.normal(0.35, 0.07, (2, 2000)))
    columns = {
        "key": [f"k{i}" for i in range(2000)],
        "text": [" ".join(f"{'ab' * (j % 3)}{x}" for j in range(x)) for x in random.integers(10, size=2000).tolist()],
        "rating": rating,
        "score": pa.array([None if i % 40 == 3 else x for i, x in enumerate(score.tolist())], pa.float32()),
        "second": second,
    }
    pq.write_table(pa.table(columns), folder / "in.parquet", row_group_size=700)
    return folder / "in.parquet"


def pages(folder: Path) -> Path:
    """With two columns of lists, which are not held in memory."""
    columns = {"key": [f"k{i}" for i in range(90)], "text": PAGES, "rating": [(i * 7) % 6 for i in range(90)]}
    for name, every in (("lists", 4), ("more", 3)):
        columns[name] = [[i] if i % every == 1 else None for i in range(90)]
    pq.write_table(pa.table(columns), folder / "in.parquet")
    return folder / "in.parquet"


def sentences(folder: Path) -> Path:
    texts = [" ".join("word" * (j % 3) + str((i * j) % 5) for j in range(i % 9)) for i in range(80)]
    return write_jsonl(folder / "in.jsonl", texts, rating=[(i * 7) % 6 for i in range(80)])


WORLDS = {
    "pairs": (pairs, PAIRS),
    "copies": (pairs, COPIES),
    "documents": (pages, DOCUMENTS),
    "exact": (pages, EXACT),
    "words": (sentences, WORDS),
    "fetched": (pages, FETCHED),
    "two_groups": (scored, TWO_GROUPS),
}


@dataclass
class World:
    """A cut and the rows that were known when it was made."""

    corpus: Path
    source: Path
    cut: OpenedCut
    whatif: WhatIf

    def really(self, changes: list[Change], number: int) -> CutRows:
        """The rows of the cut that the changed recipe makes of the same corpus."""
        recipe = parse_recipe(changed_recipe(self.cut, changes, f"other{number}").encode(), "other.yaml")
        return load_rows(open_cut(run(recipe, out=self.corpus, write=False).cut))


def make(name: str, folder: Path) -> World:
    draw, steps = WORLDS[name]
    source = draw(folder)
    corpus = folder / "c"
    result = run(Recipe.model_validate({"name": name, "steps": steps}), source, out=corpus, write=False)
    cut = open_cut(result.cut)
    return World(corpus, source, cut, WhatIf(load_rows(cut)))


def paths(rows: CutRows, mask: np.ndarray) -> set[tuple[int, ...]]:
    """Which rows of the last space they are, in words that hold in every cut: row, child, child of that."""
    chosen = np.flatnonzero(mask)
    names: list[list[int]] = []
    for space in reversed(rows.spaces):
        if space.parents is None:
            names.append(chosen.tolist())
        else:
            names.append((chosen - np.searchsorted(space.parents, space.parents[chosen])).tolist())
            chosen = space.parents[chosen]
    return set(zip(*reversed(names), strict=True))


def bounds_of(world: World) -> Iterator[tuple[Change, np.ndarray]]:
    """Every side of every bound that could be changed, and the values there are."""
    for step in world.cut.plan.steps:
        if not isinstance(step, KeepStep):
            continue
        rows = world.whatif.rows.spaces[world.whatif.space_of(step.index)]
        for option, group in enumerate([step.keep.bounds, *step.keep.any], -1):
            for column, bound in group.items():
                version = step.reads[column]
                if version not in rows.columns.names or types.is_string(rows.columns.field(version).type):
                    continue
                values = rows.column(version)
                place = functools.partial(Change, step=step.index, column=column, option=None if option < 0 else option)
                numbers = np.unique(values.drop_null().to_numpy(zero_copy_only=False))
                for side in ("min", "max"):
                    yield place(side=side, value=getattr(bound, side)), numbers[~np.isnan(numbers)]
                for side in ("top", "bottom"):
                    if ranked := getattr(bound, side):
                        yield place(side=side, value=ranked.share), np.linspace(0.1, 1, 10).round(2)


def drawn(world: World, random: np.random.Generator) -> list[Change]:
    """One to three changes: values there are, or a bound taken away."""
    known = list(bounds_of(world))
    found = []
    for i in random.choice(len(known), int(random.choice([1, 1, 2, 3])), replace=False):
        change, values = known[i]
        if change.value is None and random.random() < 0.6:
            continue
        value = None if random.random() < 0.15 else random.choice(values).item()
        found.append(Change(**{**vars(change), "value": value}))
    return found or drawn(world, random)
