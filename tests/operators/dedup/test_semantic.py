"""dedup.semantic against brute force, and against SemDeDup's rule as its paper states it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from in_parts import found_by
from pydantic import ValidationError

from cupel.operators.dedup.semantic import Semantic
from cupel.schemas.corpus import row_name

OUT = {
    "shard": pl.Int32,
    "row": pl.Int32,
    "semantic_of": pl.String,
    "semantic_similarity": pl.Float32,
    "semantic_cluster": pl.Int32,
}


def vectors(rows: int = 600, width: int = 32, groups: int = 60, noise: float = 0.25, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, width))
    return (centres[rng.integers(0, groups, rows)] + noise * rng.normal(size=(rows, width))).astype(np.float16)


def frame(embeddings: np.ndarray, kind: pl.DataType | None = None) -> pl.DataFrame:
    rows = np.arange(len(embeddings))
    kind = kind or pl.Array(pl.Float16, embeddings.shape[1])
    return pl.DataFrame(
        {
            "shard": pl.Series(rows // 50, dtype=pl.Int32),
            "row": pl.Series(rows % 50, dtype=pl.Int32),
            "key": [f"k{row % 97}" for row in rows],
            "score": (rows * 7919 % 101).astype(np.float64),
            "image_embedding": pl.Series(embeddings.tolist(), dtype=kind),
        }
    )


def cosines(embeddings: np.ndarray) -> np.ndarray:
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


def greedily(
    embeddings: np.ndarray, order: list[int], cluster: list[int], eps: float, chains: bool = False
) -> dict[int, int]:
    """One by one against the keepers so far (in chains: all rows so far), in one cluster."""
    cosine, earlier, of = cosines(embeddings), [], {}
    for row in order:
        first = next((k for k in earlier if cluster[k] == cluster[row] and cosine[row, k] > 1 - eps), None)
        if first is None or chains:
            earlier.append(row)
        if first is not None:
            of[row] = first
    return of


def by_row(found: pl.DataFrame) -> dict[int, int]:
    number = {row_name(i // 50, i % 50): i for i in range(2000)}
    return {50 * s + r: number[of] for s, r, of in found.select("shard", "row", "semantic_of").rows() if of is not None}


@pytest.mark.parametrize("chains", [False, True])
@pytest.mark.parametrize("clusters", [1, 7])
@pytest.mark.parametrize("size", [(1, 1 << 27), (4, 9000)])
def test_greedy_in_the_preferred_order(clusters: int, size: tuple[int, int], chains: bool) -> None:
    embeddings = vectors()
    table = frame(embeddings)
    found = found_by(Semantic(clusters=clusters, chains=chains, prefer={"highest": "score"}), table, *size)
    assert dict(found.schema) == OUT
    cluster = found["semantic_cluster"].to_list()
    assert len(set(cluster)) == clusters
    order = sorted(range(600), key=lambda i: (-table["score"][i], table["key"][i], i))
    expected = greedily(embeddings, order, cluster, 0.05, chains)
    assert by_row(found) == expected
    assert 50 < len(expected) < 550
    cosine = cosines(embeddings)
    near = [cosine[row, of] for row, of in sorted(expected.items())]
    np.testing.assert_allclose(found["semantic_similarity"].drop_nulls().to_numpy(), near, atol=1e-6)


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_the_published_rule(keep: str) -> None:
    """arXiv:2303.09540: sort by distance to the centroid, remove row j if max(triu(S, 1)[:, j]) > 1 - eps."""
    embeddings = vectors(noise=0.3)
    found = found_by(Semantic(clusters=5, keep=keep, chains=True, eps=0.07), frame(embeddings))
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cluster = found["semantic_cluster"].to_numpy()
    removed = set()
    for c in range(5):
        rows = np.flatnonzero(cluster == c)
        centroid = unit[rows].mean(axis=0)
        distance = 1 - unit[rows] @ (centroid / np.linalg.norm(centroid))
        rows = rows[np.argsort(-distance if keep == "hard" else distance, kind="stable")]
        highest = np.triu(unit[rows] @ unit[rows].T, 1).max(axis=0)
        removed |= set(rows[highest > 1 - 0.07].tolist())
    found_rows = set(by_row(found))
    # k-means may stop a step before its centroids are the means, so rows as far as each other may change places.
    assert len(found_rows ^ removed) <= 0.02 * len(removed)
    assert len(removed) > 100


def test_more_is_removed_with_a_larger_eps() -> None:
    table = frame(vectors(noise=0.4))
    counts = [
        found_by(Semantic(clusters=4, eps=eps), table)["semantic_of"].null_count() for eps in (0.02, 0.1, 0.2, 0.4)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_parts_and_order_make_no_difference(keep: str) -> None:
    table = frame(vectors())
    whole = found_by(Semantic(keep=keep), table)
    for seed, parts, size in ((1, 1, 1 << 27), (2, 5, 5000), (3, 2, 60_000)):
        shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
        assert found_by(Semantic(keep=keep), shuffled, parts, size).equals(whole)


def test_one_huge_cluster_of_equal_rows_goes_through_in_blocks() -> None:
    table = frame(np.repeat(vectors(1), 3000, axis=0))
    found = found_by(Semantic(clusters=1, keep="random"), table, 3, 20_000)
    assert found["semantic_of"].null_count() == 1
    assert found["semantic_of"].n_unique() == 2
    assert found["semantic_similarity"].min() == pytest.approx(1)


def test_rows_without_a_usable_embedding() -> None:
    kind = pl.List(pl.Float32)
    table = (
        frame(vectors(4))
        .with_columns(image_embedding=pl.Series([[1.0, 0.0], None, [0.0, 0.0], [float("nan"), 1.0]], dtype=kind))
        .head(4)
    )
    found = found_by(Semantic(), table)
    assert found.rows() == [(0, 0, None, None, 0)]
    assert found_by(Semantic(), table[1:]).is_empty()


def test_rows_of_an_existing_corpus_are_keepers(tmp_path: Path) -> None:
    old, new = vectors(40, seed=5), vectors(200, seed=5)
    frame(old).with_columns(key=pl.format("old{}", "row")).write_parquet(tmp_path / "old.parquet")
    operator = Semantic(clusters=1, prefer={"highest": "score"}, against=str(tmp_path / "old.parquet"))
    found = found_by(operator, frame(new), 2, 4000)
    near = (cosines(np.concatenate([old, new]))[40:, :40] > 0.95).any(axis=1)
    assert found["semantic_of"].str.starts_with("old").fill_null(value=False).to_list() == near.tolist()
    assert 0 < near.sum() < 200


def test_a_chain_that_begins_in_an_existing_corpus(tmp_path: Path) -> None:
    """At 0, 10 and 20 degrees: the last is near the second, which is near the old one."""
    angles = np.radians([0, 10, 20])
    three = frame(np.stack([np.cos(angles), np.sin(angles)], axis=1), pl.Array(pl.Float64, 2))
    three[:1].with_columns(key=pl.lit("old")).write_parquet(tmp_path / "old.parquet")
    against = str(tmp_path / "old.parquet")
    of = {
        chains: found_by(Semantic(clusters=1, eps=0.03, chains=chains, against=against), three[1:])[
            "semantic_of"
        ].to_list()
        for chains in (False, True)
    }
    assert of[False] == ["old", None]
    assert of[True][0] == "old"
    assert of[True][1] == row_name(0, 1)


def test_very_long_and_very_short_vectors() -> None:
    table = frame(np.array([[3e-30, 4e-30], [3e25, 4e25], [4.0, -3.0]]), pl.Array(pl.Float64, 2))
    table = table.with_columns(pl.col("image_embedding").cast(pl.Array(pl.Float32, 2)))
    found = found_by(Semantic(clusters=1, prefer={"highest": "score"}), table)
    assert found["semantic_of"].count() == 1
    assert found["semantic_similarity"].drop_nulls().to_list() == [pytest.approx(1, abs=1e-6)]


def test_an_existing_corpus_of_another_model(tmp_path: Path) -> None:
    frame(vectors(3, 16)).write_parquet(tmp_path / "old.parquet")
    with pytest.raises(ValueError, match="32 numbers, those of `against` 16: they are not of the same model"):
        found_by(Semantic(clusters=1, against=str(tmp_path / "old.parquet")), frame(vectors(9, 32)))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([["a"]] * 3), "not embeddings"),
        (pl.Series([[1.0], [1.0, 2.0], [1.0]]), "lists of 1 to 2 numbers"),
        (pl.Series(["x"] * 3), "not embeddings"),
    ],
)
def test_refuses_other_columns(column: pl.Series, message: str) -> None:
    table = frame(vectors(3)).with_columns(image_embedding=column)
    with pytest.raises(ValueError, match=message):
        found_by(Semantic(), table)


@pytest.mark.parametrize("wrong", [{"eps": 0}, {"clusters": 0}, {"keep": "best"}, {"prefer": {}}])
def test_refuses_parameters(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Semantic(**wrong)
