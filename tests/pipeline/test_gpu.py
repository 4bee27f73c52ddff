"""GPU workers, on the pretended GPU of the test's Ray: the same scores as without, one network, calls put together."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from drawing import encoded, picture
from small_clip import make_clip, make_head, weights_of

from cupel import Recipe, run
from cupel.operators.base import Batch, Model
from cupel.pipeline.gpu import TOGETHER, GpuWorker
from cupel.pipeline.read import RunError

BATCHES: list[int] = []


@dataclass(frozen=True)
class Double(Model):
    """Twice the number; notes the rows of each call."""

    fails: bool = False
    reads = "text"
    width = 1

    def setup(self) -> None:
        BATCHES.clear()

    def ready(self) -> None:
        raise AssertionError("not here")

    def prepare(self, batch: Batch) -> np.ndarray:
        raise AssertionError("not here")

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        BATCHES.append(len(prepared))
        if self.fails:
            raise ValueError("no")
        return prepared * 2


def many_calls(model: Model, sizes: list[int]) -> list[object]:
    """Calls from as many threads, computed when all are there."""
    worker, found = GpuWorker(), [None] * len(sizes)
    worker.load(model)
    for _ in range(2):
        worker._places.acquire()

    def call(i: int) -> None:
        try:
            found[i] = worker.run(model, np.full((sizes[i], 1), i, np.float32))
        except ValueError as error:
            found[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(sizes))]
    for thread in threads:
        thread.start()
    while len(worker._waiting) < len(sizes):
        time.sleep(0.01)
    worker._places.release(2)
    for thread in threads:
        thread.join()
    return found


def test_calls_that_wait_are_computed_together():
    sizes = [3, 5, *[TOGETHER // 4] * 6, TOGETHER * 2]
    found = many_calls(Double(), sizes)
    for i, size in enumerate(sizes):
        np.testing.assert_array_equal(found[i], np.full((size, 1), 2 * i))
    assert sum(BATCHES) == sum(sizes)
    assert len(BATCHES) < len(sizes)
    assert all(rows <= TOGETHER or rows == TOGETHER * 2 for rows in BATCHES)


def test_an_error_is_told_to_every_call_of_the_batch():
    found = many_calls(Double(fails=True), [2, 2, 2, 2, 2])
    assert all(isinstance(error, ValueError) for error in found)


@pytest.fixture
def pairs(tmp_path):
    """40 rows in pairs that share an image, one of them damaged."""
    images = [encoded(picture(i)) for i in range(20)]
    images[7] = images[7][:500]
    rows = {
        "image": [images[i // 2] for i in range(40)],
        "text": [f"picture {i} with {'very ' * i} long words" for i in range(40)],
    }
    pq.write_table(pa.table({"key": [f"k{i:02}" for i in range(40)], **rows}), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def scores(corpus) -> dict[str, pa.Table]:
    return {
        folder.name: pa.concat_tables(pq.read_table(p) for p in sorted(folder.iterdir()))
        for folder in sorted(corpus.glob("scores/*"))
    }


def recipe(small_clip, tmp_path) -> Recipe:
    model = {"model": str(small_clip)}
    head = str(make_head(tmp_path / "head.safetensors", 256, 1))
    steps = [
        {"pair.clip_similarity": {**model, "embeddings": True}},
        {"image.zero_shot": {**model, "labels": ["a cat", "a dog"]}},
        {"pair.label_agreement": {**model, "labels": ["picture", "word"]}},
        {"image.head": {**model, "path": head}},
        {"image.head": {**model, "path": head, "column": "image_embedding", "as": {"head_score": "kept_score"}}},
    ]
    return Recipe.model_validate({"name": "scores", "steps": steps})


def test_scored_in_an_actor_as_in_the_worker_itself(ray_session, small_clip, pairs, tmp_path, monkeypatch):
    made = recipe(small_clip, tmp_path)
    funnel = run(made, pairs, out=tmp_path / "gpu")
    assert funnel.errors == {"truncated": 2}
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "memory": 4 * 2.0**30})
    run(made, pairs, out=tmp_path / "cpu")
    found, expected = scores(tmp_path / "gpu"), scores(tmp_path / "cpu")
    assert found.keys() == expected.keys()
    assert len(found) == 5
    for step, table in expected.items():
        for name in table.column_names:
            ours, theirs = found[step][name].to_pylist(), table[name].to_pylist()
            if pa.types.is_floating(table.schema.field(name).type):
                np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), atol=1e-5)
            elif not pa.types.is_nested(table.schema.field(name).type):
                assert ours == theirs, (step, name)


def test_a_worker_that_loses_its_gpu_is_replaced(ray_session, pairs, tmp_path):
    step = {"test.cuda_error": {"mark": str(tmp_path / "lost")}}
    funnel = run(Recipe.model_validate({"name": "lost", "steps": [step]}), pairs, out=tmp_path / "c")
    assert (tmp_path / "lost").exists()
    assert funnel.errors == {}, "no row did it"
    assert sum(len(table) for table in scores(tmp_path / "c").values()) == 40


def test_a_model_that_cannot_be_loaded_ends_the_run_in_words(ray_session, small_clip, pairs, tmp_path, monkeypatch):
    broken = make_clip(tmp_path / "broken", embed_dim=32)
    weights_of(broken).write_bytes(weights_of(small_clip).read_bytes())
    made = Recipe.model_validate({"name": "b", "steps": [{"pair.clip_similarity": {"model": str(broken)}}]})
    with pytest.raises(RunError, match="cannot be loaded as local-dir"):
        run(made, pairs, out=tmp_path / "gpu")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "memory": 4 * 2.0**30})
    with pytest.raises(RunError, match="pair.clip_similarity: the weights .* cannot be loaded as local-dir"):
        run(made, pairs, out=tmp_path / "cpu")
