"""A drawn pool on disk: Parquet that anything may read, and apart from it the truth, which curation must not see.

The evaluation set comes of another stream of random numbers; pictures of the pool that come near one of it are for
`select.decontaminate` to find, as on real data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from ....schemas.fields import field
from ....schemas.recipe import Strict
from .captions import TEMPLATES, captions, class_name, different_stories, stories
from .corrupt import CLEAN, FAULTS, Fault, encoded, plan_faults, show, tell
from .drawn import COLOURS, GROUNDS, PLACES, SHAPES, Scenes, World, draw_scenes, paint

POOL: Final = pa.schema(
    [
        field("key", pa.string(), "name of the row"),
        field("image", pa.large_binary(), "JPEG"),
        field("text", pa.string(), "caption"),
    ]
)
TRUTH: Final = pa.schema(
    [
        field("key", pa.string(), "name of the row in the pool"),
        field("fault", pa.string(), "what is wrong with the row, or clean"),
        field("copy_of", pa.string(), "key of the clean row that a near duplicate shows; null for others"),
    ]
)
FILE_ROWS: Final = 50_000
GROUP_ROWS: Final = 1024
# Captions always say where and before what; a class is the mean over all of that.
PROMPTS: Final = tuple(
    template.format(thing="a {}", where=f"in the {place}", ground=ground)
    for template, place in zip(TEMPLATES, (*PLACES, PLACES[0]), strict=True)
    for ground in GROUNDS
)

PlantedShare = Annotated[float, Field(ge=0, le=1)]


class Pool(Strict):
    """What is drawn: how many pairs, how large, and what is wrong with them."""

    rows: int = Field(ge=100, description="pairs")
    side_px: int = Field(32, ge=16, le=512, description="side of the pictures")
    seed: int = Field(0, ge=0)
    worlds: tuple[World, ...] = Field(("one",), strict=False, min_length=1, description="things a picture shows")
    faults: dict[Fault, PlantedShare] = Field(description="share of the rows with each fault; the rest is clean")
    sources: int = Field(40, ge=1, description="clean rows that near duplicates copy")
    evaluation_rows: int = Field(1000, ge=64, description="held-out pairs for retrieval and for zero-shot")

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        planted = sum(self.faults.values())
        if planted > 1:
            raise ValueError(f"faults add up to {planted:g}, more than all rows")
        if round(self.rows * (1 - planted)) < 1:
            raise ValueError("faults leave no clean row, which near duplicates copy and the oracle keeps")
        if self.evaluation_rows > (most := different_stories(self.worlds)):
            raise ValueError(
                f"evaluation_rows is {self.evaluation_rows:,}, and the worlds {', '.join(self.worlds)} have {most:,} "
                "different scenes: two held-out captions that mean the same would both be right"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Where a drawn pool lies. `truth` is no part of `pool` and is read by the oracle and the audit alone."""

    pool: Path
    truth: Path
    pairs: Path
    classes: Path


def draw_pool(pool: Pool, out: Path) -> Drawn:
    """Write OUT/pool/*.parquet, OUT/truth.parquet, OUT/evaluation/pairs.parquet and OUT/evaluation/classes/NAME/.

    The same settings give the same bytes. What is there already is left alone; the truth is written last.
    """
    places = Drawn(
        pool=out / "pool",
        truth=out / "truth.parquet",
        pairs=out / "evaluation" / "pairs.parquet",
        classes=out / "evaluation" / "classes",
    )
    if places.truth.is_file():
        return places
    rng = np.random.default_rng([pool.seed, 1])
    plan = plan_faults(draw_scenes(pool.rows, pool.worlds, rng), dict(pool.faults), pool.sources, rng)
    keys = np.char.zfill(np.arange(pool.rows).astype(str), 8).tolist()
    table = pa.table([keys, show(plan, pool.side_px, pool.seed), tell(plan, rng)], schema=POOL)
    places.pool.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, pool.rows, FILE_ROWS)):
        _write(table.slice(start, FILE_ROWS), places.pool / f"{number:05d}.parquet")
    _write_evaluation(pool, places)
    kinds = np.array([*FAULTS, CLEAN])[plan.fault]  # -1 is the last one
    copies = [keys[scene] if scene != row else None for row, scene in enumerate(plan.scene.tolist())]
    _write(pa.table([keys, kinds, copies], schema=TRUTH), places.truth)
    return places


def _write_evaluation(pool: Pool, places: Drawn) -> None:
    """Pairs of all worlds for retrieval; a folder of pictures of one thing for each colour and shape for zero-shot."""
    rng = np.random.default_rng([pool.seed, 2])
    places.classes.mkdir(parents=True, exist_ok=True)
    scenes = _distinct(draw_scenes(50 * pool.evaluation_rows, pool.worlds, rng), pool.evaluation_rows)
    images = [encoded(pixels) for pixels in paint(scenes, pool.side_px)]
    keys = [f"held-out-{i:06d}" for i in range(len(scenes))]
    _write(pa.table([keys, images, captions(scenes, rng)], schema=POOL), places.pairs)
    single = draw_scenes(pool.evaluation_rows, ("one",), rng)
    for number, pixels in enumerate(paint(single, pool.side_px)):
        name = class_name(SHAPES[single.shape[number]], tuple(COLOURS)[single.colour[number]])
        (places.classes / name).mkdir(exist_ok=True)
        (places.classes / name / f"{number:06d}.jpg").write_bytes(encoded(pixels))


def _distinct(scenes: Scenes, n: int) -> Scenes:
    """The first n scenes of which no two are told alike: two right answers would cap recall. ValueError if too few."""
    _, first = np.unique(stories(scenes), return_index=True)
    if len(first) < n:
        raise ValueError(f"evaluation_rows is {n}, and these worlds have about {len(first)} different scenes")
    return scenes.take(np.sort(first)[:n])


def _write(table: pa.Table, path: Path) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    pq.write_table(
        table,
        part,
        row_group_size=GROUP_ROWS,
        compression={"image": "none"} if "image" in table.column_names else "zstd",
    )
    part.replace(path)
