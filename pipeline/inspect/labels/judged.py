"""Labels of rows from a file, and what became of each labelled row in a cut.

A label names its row by `shard` and `path` (or `row`, with `space` where it is not the source's), or by `key`. A key
means the row of the source that has it, or the first rows below that do; one that several such rows share means none of
them. What became of a row that others were made of is what became of the last of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from ...read import CorpusError
from ..fates import Fates, each, path_columns
from ..opened import OpenedCut

_WORDS: Final = {"keep": False, "true": False, "1": False, "drop": True, "false": True, "0": True}  # -> is it bad?
_OPTIONAL: Final = {
    "key": pl.String,
    "cut": pl.String,
    "space": pl.Int64,
    "shard": pl.Int64,
    "row": pl.Int64,
    "path": pl.String,
    "frame": pl.String,
    "stratum": pl.String,
    "stratum_rows": pl.Int64,
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Labels with the fates of their rows.

    `rows`: label (its line), name, space, left (index of the exit that the row left by, or their number where it
    stayed), bad (should it go?), frame, stratum, stratum_rows.
    """

    rows: pl.DataFrame
    unlabelled: int  # lines without a label
    unmatched: Sequence[str]  # names and keys that no row has
    ambiguous: Sequence[str]  # keys that several rows share
    contradicted: Sequence[str]  # rows that have both labels


def read_labels(path: str) -> pl.DataFrame:
    """A file of labels: `label` (its line), `bad` (null: no label), `name` and the optional columns.

    Raises CorpusError where it is no Parquet or CSV file, or its columns do not say which rows are meant.
    """
    if not Path(path).is_file():
        raise CorpusError(f"{path}: there is no such file")
    try:
        table = pl.read_csv(path, infer_schema=False) if path.lower().endswith(".csv") else pl.read_parquet(path)
        found = table.select(
            pl.col("label").cast(pl.String).str.strip_chars().str.to_lowercase().alias("said"),
            *(_column(table, name, kind) for name, kind in _OPTIONAL.items()),
        ).with_row_index("label")
    except PolarsError as error:
        raise CorpusError(f"{path} is no file of labels (Parquet or CSV with `label`): {_first_line(error)}") from error
    odd = found.filter(~pl.col("said").is_in([*_WORDS, ""]))["said"]
    if len(odd):
        raise CorpusError(f"{path}: a label is keep or drop (or true or false), not {odd[0]!r}")
    if not {"key"} & set(table.columns) and not {"shard", "row"} <= set(table.columns):
        raise CorpusError(f"{path} does not say which rows it means: it needs `key`, or `shard` and `row`")
    return found.with_columns(bad=pl.col("said").replace_strict(_WORDS, default=None), name=_name()).drop("said")


def _column(table: pl.DataFrame, name: str, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    if name not in table.columns:
        return pl.lit(None, kind).alias(name)
    found = pl.col(name).cast(kind)
    return pl.when(found != "").then(found).alias(name) if kind is pl.String else found.alias(name)


def _name() -> pl.Expr:
    """What to call the row: its key, else its place."""
    shard, row = pl.col("shard").cast(pl.String).str.zfill(8), pl.coalesce("path", pl.col("row").cast(pl.String))
    return pl.coalesce("key", pl.format("{}:{}", shard, row))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def judged_in(cut: OpenedCut, labels: pl.DataFrame) -> Judged:
    """What became of the labelled rows in a cut."""
    labelled = labels.filter(pl.col("bad").is_not_null())
    asked = _Asked(cut, labelled)
    parts = list(each(asked.shards, asked.in_shard))
    schema = {"label": pl.UInt32, "space": pl.Int64, "shard": pl.Int64, "row": pl.Int64, "left": pl.Int64}
    found = pl.concat([pl.DataFrame(schema=schema), *parts])
    found = found.filter(pl.col("space") == pl.col("space").min().over("label"))
    alone = found.filter(pl.len().over("label") == 1)
    several = found.filter(pl.len().over("label") > 1)["label"].unique()
    rows = labelled.drop("space", "shard", "row").join(alone, on="label", maintain_order="left")
    rows, contradicted = _agreeing(rows)
    return Judged(
        rows=rows.select("label", "name", "space", "left", "bad", "frame", "stratum", "stratum_rows"),
        unlabelled=labels.height - labelled.height,
        unmatched=labelled.filter(~pl.col("label").is_in(found["label"].implode()))["name"].to_list(),
        ambiguous=labelled.filter(pl.col("label").is_in(several.implode()))["name"].to_list(),
        contradicted=contradicted,
    )


def _agreeing(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """A label for each row and frame, and the names of the rows that have both labels there."""
    place = ("frame", "space", "shard", "row")
    both = rows.filter(pl.col("bad").n_unique().over(place) > 1)
    agreed = rows.filter(pl.col("bad").n_unique().over(place) == 1)
    return agreed.unique(place, keep="first", maintain_order=True), both["name"].unique(maintain_order=True).to_list()


class _Asked:
    """Labels by the way in which they name their rows; looked up a shard at a time."""

    def __init__(self, cut: OpenedCut, labels: pl.DataFrame) -> None:
        self.fates = Fates(cut)
        placed = pl.col("shard").is_not_null() & (pl.col("path").is_not_null() | pl.col("row").is_not_null())
        depth = pl.col("path").str.count_matches("/", literal=True).cast(pl.Int64)
        self.placed = labels.filter(placed).with_columns(space=pl.coalesce(depth, "space", pl.lit(0, pl.Int64)))
        self.keyed = labels.filter(~placed).select("label", "key", pl.col("space").alias("only"))
        _refuse_numbers_of_others(cut, self.placed)
        named = set(self.placed["shard"].to_list())
        self.shards = [shard.id for shard in cut.shards if self.keyed.height or shard.id in named]

    def in_shard(self, shard: int) -> pl.DataFrame:
        """label, space, shard, row and left of the labelled rows of a shard."""
        frames = with_left(self.fates.shard(shard, ["key"] if self.keyed.height else []), len(self.fates.exits))
        parts = [self._in_space(shard, space, rows) for space, rows in enumerate(frames)]
        return pl.concat(parts)

    def _in_space(self, shard: int, space: int, rows: pl.DataFrame) -> pl.DataFrame:
        here = self.placed.filter((pl.col("shard") == shard) & (pl.col("space") == space))
        by_row = here.filter(pl.col("path").is_null()).select("label", "row").join(rows, on="row")
        by_path = here.filter(pl.col("path").is_not_null()).select("label", *_levels(space))
        found = [by_row, by_path.join(rows, on=path_columns(rows))]
        if self.keyed.height:
            keyed = self.keyed.filter(pl.col("only").is_null() | (pl.col("only") == space))
            found.append(keyed.join(rows, on="key"))
        place = (pl.lit(space, pl.Int64).alias("space"), pl.lit(shard, pl.Int64).alias("shard"))
        return pl.concat([part.select("label", *place, "row", "left") for part in found])


def _levels(space: int) -> list[pl.Expr]:
    """A path's numbers as columns."""
    numbers = pl.col("path").str.split("/").list
    return [
        numbers.get(level, null_on_oob=True).cast(pl.Int64, strict=False).alias(f"n{level}")
        for level in range(space + 1)
    ]


def _refuse_numbers_of_others(cut: OpenedCut, placed: pl.DataFrame) -> None:
    """Rows that an extractor made have other numbers in another cut."""
    titles = pl.col("cut").str.strip_prefix("cuts/")
    other = placed.filter(
        pl.col("path").is_null() & (pl.col("space") > 0) & titles.is_not_null() & (titles != cut.title)
    )
    if other.height:
        raise CorpusError(
            f"labels of {other['cut'][0]} number rows that an extractor made, and in {cut.title} these have other "
            "numbers; give the column `path`, or the cut that they are of"
        )


def with_left(rows: Sequence[pl.DataFrame], stayed: int) -> list[pl.DataFrame]:
    """A shard's rows with `left`: the exit by which a row went, or the last of those made of it; else `stayed`."""
    found: list[pl.DataFrame] = []
    for frame in reversed(rows):
        own = pl.when(pl.col("fate") >= 0).then("fate").otherwise(stayed).cast(pl.Int64).alias("left")
        if found:
            path = path_columns(frame)
            below = found[0].group_by(path).agg(pl.col("left").max().alias("below"))
            frame = frame.join(below, on=path, how="left", maintain_order="left")
            own = pl.when(pl.col("fate") >= 0).then("fate").otherwise("below").cast(pl.Int64).alias("left")
        found.insert(0, frame.with_columns(own))
    return found
