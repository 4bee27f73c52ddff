"""Which files an existing corpus is made of."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from in_parts import found_by

from cupel.operators.dedup._against import bytes_of, files_of, known
from cupel.operators.dedup.near_images import NearImages
from cupel.operators.dedup.near_text import NearText
from cupel.operators.dedup.semantic import Semantic
from cupel.operators.frames import InMemory
from cupel.operators.select.concept_quota import ConceptQuota

HASHES = pl.DataFrame({"key": ["a", None, "c"], "phash": pl.Series([1, 2, 3], dtype=pl.UInt64)})


def cut(folder: Path, *parts: str) -> str:
    for part in parts:
        (folder / part).mkdir(parents=True)
        HASHES.write_parquet(folder / part / "00000000.parquet", row_group_size=2)
    HASHES.write_parquet(folder / "files.parquet")
    (folder / "manifest.json").write_text("{}")
    return str(folder)


def test_of_a_cut_what_it_wrote_for_training(tmp_path: Path) -> None:
    place = cut(tmp_path / "curated" / "r-1", "kept", "dropped", "curated")  # a cut below a folder of that name
    rows = known(InMemory(), place, "phash").collect()
    assert rows.rows() == [("a", 1), ("00000000.parquet:1", 2), ("c", 3)]
    assert files_of(place, "phash") == (Path(place) / "manifest.json",)
    assert bytes_of(place, "phash") > 3 * 8
    assert bytes_of(None, "phash") == 0


def test_a_cut_without_rows_is_refused(tmp_path: Path) -> None:
    place = cut(tmp_path / "r-1", "kept", "dropped")
    with pytest.raises(ValueError, match="made with --no-write"):
        files_of(place, "phash")


def test_a_corpus_of_several_cuts_is_refused(tmp_path: Path) -> None:
    cut(tmp_path / "cuts" / "r-1", "curated")
    with pytest.raises(ValueError, match="name one of the folders in its cuts/"):
        files_of(str(tmp_path), "phash")


def test_a_missing_column_is_told_before_anything_runs(tmp_path: Path) -> None:
    place = cut(tmp_path / "r-1", "curated")
    with pytest.raises(ValueError, match="no column 'minhash'; it has key, phash"):
        _ = NearText(against=place).files


INTERNAL = (
    "value",
    "name",
    "node",
    "label",
    "digest",
    "hash",
    "keeper",
    "place",
    "vector",
    "cluster",
    "of",
    "group",
    "rank",
)


@pytest.mark.parametrize("column", INTERNAL)
def test_columns_may_be_called_what_operators_call_theirs(column: str) -> None:
    """The row with the highest value is kept, whatever that column's name."""
    rows = pl.DataFrame(
        {
            "shard": pl.Series([0] * 4, dtype=pl.Int32),
            "row": pl.Series(range(4), dtype=pl.Int32),
            "key": ["a", "b", "c", "d"],
            "phash": pl.Series([7] * 4, dtype=pl.UInt64),
            "minhash": pl.Series([[7, 7]] * 4, dtype=pl.Array(pl.UInt64, 2)),
            "image_embedding": pl.Series([[1.0, 0.5]] * 4, dtype=pl.Array(pl.Float32, 2)),
            "kind": ["x"] * 4,
            column: [1.0, 9.0, float("nan"), None],
        }
    )
    prefer = {"highest": column}
    for operator in (NearImages(prefer=prefer), NearText(prefer=prefer), Semantic(prefer=prefer, clusters=1)):
        found = found_by(operator, rows)
        of = next(name for name in found.columns if name.endswith("_of"))
        assert set(found[of].drop_nulls()) == {"00000000:1"}
        assert found[of].count() == 3
    ranks = found_by(ConceptQuota(column="kind", prefer=prefer), rows)
    assert ranks["concept_rank"].to_list() == [2, 1, 3, 4]
