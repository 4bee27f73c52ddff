"""Write a model as ARPA, bucket by bucket. A comment above it states how it was made, its normaliser first."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import polars as pl

from .count import FIRST, SPECIAL, vocabulary
from .estimate import names
from .spill import merge


def write_segment(scratch: Path, order: int, bucket: int, paths: Sequence[Path], highest: bool) -> Path:
    """The lines of one bucket's n-grams, sorted by word ids, with their backoffs unless the order is the highest."""
    words = names(order)
    rows = merge(paths, bucket, lambda part: part)
    if not highest:
        gammas = pl.read_parquet(scratch / f"gamma{order + 1}" / f"{bucket:06d}.parquet")
        rows = rows.join(gammas, on=words, how="left", maintain_order="left")
    rows = rows.sort(words)
    spelled = _spelled(scratch)
    line = [_decimals("p"), pl.concat_str([pl.col(word).replace_strict(*spelled) for word in words], separator=" ")]
    return _lines(rows, line if highest else [*line, _decimals("gamma")], scratch / f"arpa{order}" / f"{bucket:06d}")


def write_unigrams(scratch: Path, buckets: int) -> tuple[Path, int]:
    """The lines of <unk>, <s>, </s> and the words, and how many. <unk> and </s> are no contexts: they back off to 1."""
    p = np.load(scratch / "unigrams.npy")
    rows = pl.DataFrame({"w1": np.arange(len(p), dtype=np.uint32), "p": p}).filter(pl.col("p").is_not_nan())
    gammas = pl.concat([pl.read_parquet(scratch / "gamma2" / f"{b:06d}.parquet") for b in range(buckets)])
    rows = rows.join(gammas, on="w1", how="left", maintain_order="left")
    line = [_decimals("p"), pl.col("w1").replace_strict(*_spelled(scratch)), _decimals("gamma")]
    return _lines(rows, line, scratch / "arpa1" / "000000"), rows.height


def _spelled(scratch: Path) -> tuple[pl.Series, pl.Series]:
    """Ids and words."""
    known = vocabulary(scratch / "vocabulary.parquet")
    special = pl.DataFrame({"word": SPECIAL, "id": np.arange(FIRST, dtype=np.uint32)})
    whole = pl.concat([special, known])
    return whole["id"], whole["word"]


def _decimals(column: str) -> pl.Expr:
    """log10 with six decimals; a probability's is never above 0, and nothing is below -99, ARPA's sign for p = 0."""
    logged = pl.col(column).fill_null(1.0).log(10).round(6)
    bounded = logged.clip(-99.0, 0.0) if column == "p" else logged.clip(-99.0)
    return (bounded + 0.0).cast(pl.String).str.strip_suffix(".0")


def _lines(rows: pl.DataFrame, parts: Sequence[pl.Expr], path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    lines = rows.select(pl.concat_str(parts, separator="\t"))
    lines.write_csv(path, include_header=False, quote_style="never")
    return path


@contextmanager
def _created(out: Path) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all; gzip by its name, without a time in it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if out.suffix == ".gz":
                with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield file
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def assemble(out: Path, notes: Mapping[str, object], counts: Sequence[int], segments: Sequence[Sequence[Path]]) -> None:
    """Put the header and all segments together. `counts`: n-grams of each order; `segments`: their files, in order."""
    with _created(out) as file:
        file.write(f"# cupel lm: {' '.join(f'{key}={value}' for key, value in notes.items())}\n".encode())
        file.write(b"\\data\\\n")
        file.write("".join(f"ngram {order}={count}\n" for order, count in enumerate(counts, 1)).encode())
        for order, paths in enumerate(segments, 1):
            file.write(f"\n\\{order}-grams:\n".encode())
            for path in paths:
                with path.open("rb") as lines:
                    shutil.copyfileobj(lines, file)
        file.write(b"\n\\end\\\n")
