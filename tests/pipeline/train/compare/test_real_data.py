"""An experiment on files that lie here: without a pool or an oracle; a rate that diverges loses."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawing import encoded, picture, write_folder

from cupel.pipeline.train.compare.claim import BEGUN, CLAIM, begin, claim
from cupel.pipeline.train.compare.experiment import compare
from cupel.pipeline.train.compare.page import render
from cupel.pipeline.train.compare.recipe import CompareRecipe
from cupel.pipeline.train.errors import TrainError

TOWER = {"image_size": 32, "timm_model_name": "test_resnet", "timm_model_pretrained": False}
MODEL = {
    "embed_dim": 16,
    "vision_cfg": TOWER | {"timm_pool": "avg", "timm_proj": "linear"},
    "text_cfg": {"context_length": 16, "vocab_size": 1000, "width": 16, "heads": 1, "layers": 1},
}
KEPT = 20  # of 31 rows left


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Pairs, one of them on a held-out picture; held-out pairs and classes."""
    folder = tmp_path_factory.mktemp("files")
    write_folder(folder / "data", 32, "a picture of number {i} and its colours")
    for i in range(KEPT, 32):
        (folder / "data" / f"p{i:04d}.txt").write_text("short")
    for i in range(8):
        (folder / "pairs").mkdir(exist_ok=True)
        (folder / "pairs" / f"{i}.jpg").write_bytes(encoded(picture(100 + i)))
        (folder / "pairs" / f"{i}.txt").write_text(f"the picture of number {i}")
    (folder / "data" / "p0031.jpg").write_bytes(encoded(picture(100)))
    for i in range(4):
        (folder / "classes" / f"kind{i % 2}").mkdir(parents=True, exist_ok=True)
        (folder / "classes" / f"kind{i % 2}" / f"{i}.jpg").write_bytes(encoded(picture(200 + i)))
    return folder


def recipe(place: Path, **changes: object) -> CompareRecipe:
    given = {
        "name": "real",
        "data": str(place / "data"),
        "evaluation": {"pairs": str(place / "pairs"), "classes": str(place / "classes")},
        "cuts": {"long": {"steps": ["text.length", {"keep": {"words": {"min": 3}}}]}},
        "seeds": 2,
        "budgets": [0.5, 1],
        "learning_rates": [1e38, 1e-3],
        "tuning_samples": 24,
        "train": {"name": "t", "model": {"config": MODEL}, "samples": 32, "batch": 8, "log_steps": 1},
    }
    return CompareRecipe.model_validate({**given, **changes})


@pytest.fixture(scope="module")
def done(ray_session, place, tmp_path_factory):
    out = tmp_path_factory.mktemp("experiment") / "out"
    return out, compare(recipe(place), out, workers=1)


def test_real_files_are_compared_from_end_to_end(done, place):
    out, results = done
    assert (results.rows_in, results.rows_raw, results.synthetic, results.audit) == (32, 31, False, [])
    assert results.arms == ("raw", "random", "long") and results.budgets == (0.5, 1.0)
    rows = {(run.arm, run.n_unique) for run in results.runs}
    assert rows == {("raw", 31), ("random", KEPT), ("long", KEPT)}
    assert {run.samples_seen for run in results.runs if run.budget == 0.5} == {16}
    assert {run.samples_seen for run in results.runs if run.budget == 1} == {32}
    assert set(results.verdict["budgets"]) == {"0.5", "1"}
    text = (out / "real" / "report.html").read_text()
    assert "nobody knows which rows are good" in text and "oracle</th>" not in text
    assert "A filter sees neither" not in text
    assert text == render(results, recipe(place))


def test_a_rate_that_diverges_loses_and_is_shown(done):
    out, results = done
    assert results.lr == 1e-3 and set(results.tried) == {1e-3}
    assert "loss" in results.diverged[1e38]
    assert "diverged: " in (out / "real" / "report.html").read_text()


def test_where_all_rates_diverge_it_is_told(done, place):
    out, _ = done
    with pytest.raises(TrainError, match=r"no learning rate could be trained with; at 1e\+38: the loss"):
        compare(recipe(place, learning_rates=[1e38, 2e38]), out, workers=1)


def test_other_held_out_data_are_judged_anew(done, place):
    out, before = done
    runs = len(list(out.glob("runs/*/judged.json")))
    (place / "pairs" / "3.txt").write_text("another caption")
    after = compare(recipe(place), out, workers=1)
    assert len(list(out.glob("runs/*/judged.json"))) == 2 * runs
    assert [run.loss_last for run in after.runs] == [run.loss_last for run in before.runs], "trained alike"


def test_equal_arms_share_their_runs(done, place, tmp_path):
    everything = {"all": {"steps": ["text.length", {"keep": {"words": {"min": 1}}}]}}
    found = compare(recipe(place, cuts=everything, learning_rates=[], budgets=[1]), tmp_path / "out", workers=1)
    assert len(list(tmp_path.glob("out/runs/*/judged.json"))) == 2  # seeds
    assert len(found.runs) == 3 * 2
    for line in found.lines:
        assert all(each.mean == 0 for each in (*line.to_raw.values(), *line.to_random.values()))


def test_what_cannot_begin_claims_nothing(place, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty.jsonl").write_text('{"image": "none.jpg", "text": "a picture"}\n')
    with pytest.raises((TrainError, ValueError)):
        compare(recipe(place, evaluation={"pairs": str(tmp_path / "empty.jsonl")}), out)
    assert not (out / CLAIM).exists()
    (out / "pool").mkdir()
    begin(recipe(place), out)
    assert not (out / "pool").exists(), "half a pool is drawn again"
    claim(recipe(place), out)
    assert (out / CLAIM).is_file() and not (out / BEGUN).exists()
    with pytest.raises(TrainError, match="other data"):
        begin(recipe(place, data="elsewhere"), out)
