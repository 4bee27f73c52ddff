"""select.near_reference against its definition, from files of every kind, and k-means on clumps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from in_parts import found_by
from safetensors.torch import save_file

from cupel.operators.select.near_reference import NearReference

WIDTH = 12


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clumps(rows: int, centres: list[int], seed: int = 0) -> np.ndarray:
    """Vectors near some of the axes, of any length."""
    random = np.random.default_rng(seed)
    near = np.eye(WIDTH)[random.choice(centres, rows)] + 0.02 * random.standard_normal((rows, WIDTH))
    return (near * random.uniform(0.5, 20, (rows, 1))).astype(np.float32)


def frame(vectors: np.ndarray, kind: pl.DataType | None = None) -> pl.DataFrame:
    rows = pl.DataFrame(
        {"shard": np.arange(len(vectors)) // 7, "row": np.arange(len(vectors)) % 7},
        schema={"shard": pl.Int32, "row": pl.Int32},
    )
    column = pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).cast(kind or pl.List(pl.Float32))
    return rows.with_columns(key=pl.lit("one key"), image_embedding=column)


def save(path: Path, vectors: np.ndarray) -> str:
    if path.suffix == ".npy":
        np.save(path, vectors)
    elif path.suffix == ".safetensors":
        save_file({"vectors": torch.from_numpy(vectors).bfloat16()}, path)
    else:
        frame(vectors).write_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
@pytest.mark.parametrize("kind", [pl.Array(pl.Float16, WIDTH), pl.List(pl.Float64)])
def test_as_defined(tmp_path: Path, monkeypatch, suffix: str, kind: pl.DataType) -> None:
    monkeypatch.setattr("cupel.operators.select._vectors._BLOCK_ROWS", 3)
    random = np.random.default_rng(1)
    vectors = random.standard_normal((200, WIDTH)).astype(np.float16)
    centroids = torch.from_numpy(random.standard_normal((40, WIDTH))).bfloat16().float().numpy()
    reference = torch.from_numpy(random.standard_normal((10, WIDTH))).bfloat16().float().numpy()
    operator = NearReference(
        reference=(save(tmp_path / f"a{suffix}", reference[:7]), save(tmp_path / f"b{suffix}", reference[7:])),
        centroids=save(tmp_path / f"c{suffix}", centroids),
    )
    rows = frame(vectors.astype(np.float32), kind)
    found = found_by(operator, rows.sample(fraction=1, shuffle=True, seed=3), parts=4)
    products = unit(vectors.astype(np.float64)) @ centroids.astype(np.float64).T
    assert found["reference_cluster"].to_list() == products.argmax(axis=1).tolist()
    np.testing.assert_allclose(found["reference_similarity"], products.max(axis=1), atol=1e-5)
    reached = set((unit(reference) @ centroids.T).argmax(axis=1).tolist())
    assert found["near_reference"].to_list() == [cluster in reached for cluster in found["reference_cluster"]]
    assert 0 < found["near_reference"].sum() < 200
    assert dict(found.schema)["reference_cluster"] == pl.Int32


def test_rows_without_a_usable_embedding_get_nothing(tmp_path: Path) -> None:
    vectors = clumps(30, [1, 2])
    vectors[3], vectors[5, 0], vectors[6, 1] = 0, np.nan, np.inf
    rows = frame(vectors).with_columns(
        pl.when(pl.int_range(pl.len()) != 9).then("image_embedding").alias("image_embedding")
    )
    path = save(tmp_path / "reference.npy", clumps(5, [1]))
    found = found_by(NearReference(reference=path, clusters=2), rows)
    assert {7 * shard + row for shard, row, *_ in found.rows()} == set(range(30)) - {3, 5, 6, 9}
    nothing = found_by(NearReference(reference=path), frame(np.zeros((3, WIDTH), np.float32)))
    assert nothing.is_empty()
    assert nothing.schema == found.schema


def test_kmeans_of_the_rows(tmp_path: Path) -> None:
    """Eight clumps; the reference has two of them, and one image that is like none of the rows."""
    rows = frame(clumps(4000, list(range(8))))
    reference = np.concatenate([clumps(600, [2, 5], seed=1), clumps(1, [11])])
    path = save(tmp_path / "reference.npy", reference)
    operator = NearReference(reference=path, clusters=60)
    found = found_by(operator, rows)
    axis = np.abs(np.stack(rows["image_embedding"].to_list())).argmax(axis=1)
    assert found["near_reference"].to_numpy()[np.isin(axis, [2, 5])].mean() > 0.98
    assert found["near_reference"].to_numpy()[~np.isin(axis, [2, 5])].mean() < 0.1, "the cluster where that one falls"
    assert found["reference_cluster"].n_unique() > 40
    assert found_by(operator, rows.sample(fraction=1, shuffle=True, seed=1), parts=5).equals(found)


def test_kmeans_of_a_sample(tmp_path: Path, monkeypatch) -> None:
    """Rows of one key are drawn apart, so a sample is about as large as wanted; it is the same for any parts."""
    monkeypatch.setattr("cupel.operators.models._kmeans.SAMPLES", 20)
    rows = frame(clumps(3000, [0, 1, 2, 3]))
    operator = NearReference(reference=save(tmp_path / "reference.npy", clumps(9, [2])), clusters=4, seed=5)
    found = found_by(operator, rows)
    assert found["reference_similarity"].min() > 0.95
    assert found["near_reference"].mean() == pytest.approx(0.25, abs=0.05)
    assert found_by(operator, rows.sample(fraction=1, shuffle=True, seed=1), parts=5).equals(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((4, WIDTH), np.float32), "4 rows that are null, zero or not finite"),
        (np.ones((4, 5), np.float32), "reference has embeddings of 5 numbers, the centroids 12"),
        (np.ones(4, np.float32), "1 dimensions"),
        (np.ones((4, WIDTH), int), "holds int64, not floating-point numbers"),
        (np.zeros((0, WIDTH), np.float32), "nothing would be near it"),
        (np.array([["a"]], object), "no sound .npy file of numbers"),
        (b"", "no sound .npy file of numbers"),
    ],
)
def test_references_that_will_not_do(tmp_path: Path, content: np.ndarray | bytes, message: str) -> None:
    path = tmp_path / "reference.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        found_by(NearReference(reference=str(path)), frame(clumps(30, [0])))


def test_other_files_that_will_not_do(tmp_path: Path) -> None:
    def run(path: Path) -> None:
        found_by(NearReference(reference=str(path), centroids=str(path)), frame(clumps(3, [0])))

    pl.DataFrame({"image_embedding": ["a"], "vector": [[1.0]]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="holds String, not embeddings"):
        run(tmp_path / "a.parquet")
    pl.DataFrame({"vector": [[1.0]]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="no column 'image_embedding'; it has vector"):
        run(tmp_path / "b.parquet")
    for name in ("c.parquet", "c.safetensors"):
        (tmp_path / name).write_bytes(b"no")
        with pytest.raises(ValueError, match="no readable Parquet file|no sound safetensors file"):
            run(tmp_path / name)
    save_file({"a": torch.ones(2, 2), "b": torch.ones(2, 2)}, tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match=r"holds 2 tensors \(a, b\)"):
        run(tmp_path / "d.safetensors")
    np.save(tmp_path / "e.npy", np.full((2, WIDTH), np.nan, np.float32))
    with pytest.raises(ValueError, match="holds no centroids, or some that are null, zero or not finite"):
        run(tmp_path / "e.npy")


def test_files_enter_the_fingerprint(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, clumps(3, [0])) for name in ("a.npy", "b.npy", "c.npy")]
    operator = NearReference(reference=tuple(paths[:2]), centroids=paths[2])
    assert [str(path) for path in operator.files] == paths
    for wrong in ({"reference": str(tmp_path)}, {"reference": paths[0], "centroids": "nowhere.npy"}):
        with pytest.raises(ValueError, match="which is no .npy, .safetensors or .parquet file"):
            _ = NearReference(**wrong).files
