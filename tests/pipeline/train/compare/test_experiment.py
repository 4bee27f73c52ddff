"""A whole experiment, as small as can be: what is planted, cut, trained and told must agree with each other."""

from __future__ import annotations

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cupel.pipeline.progress import Silent
from cupel.pipeline.recipe_file import RecipeError
from cupel.pipeline.train.build import build
from cupel.pipeline.train.compare.arms import Chooser
from cupel.pipeline.train.compare.captions import BOILERPLATE
from cupel.pipeline.train.compare.curation import Curation
from cupel.pipeline.train.compare.experiment import compare
from cupel.pipeline.train.compare.recipe import CompareRecipe, Cut
from cupel.pipeline.train.errors import TrainError
from cupel.pipeline.train.reader import open_dataset
from cupel.schemas.train import TrainRecipe

TOWER = {"image_size": 32, "timm_model_name": "test_resnet", "timm_model_pretrained": False}
MODEL = {
    "embed_dim": 16,
    "vision_cfg": TOWER | {"timm_pool": "avg", "timm_proj": "linear"},
    "text_cfg": {"context_length": 16, "vocab_size": 1000, "width": 16, "heads": 1, "layers": 1},
}
SCORED = {"pair.clip_similarity": {"model": "learned"}}
RECIPE = CompareRecipe.model_validate(
    {
        "name": "tiny",
        "pool": {
            "rows": 300,
            "faults": {"shuffled": 0.3, "near_duplicate": 0.2, "boilerplate": 0.2},
            "sources": 4,
            "evaluation_rows": 64,
        },
        "cuts": {
            "rules": {
                "steps": [
                    "image.phash",
                    "dedup.near_images",
                    {"keep": {"near_image_of": None}},
                    {"select.frequency": {"column": "text"}},
                    {"keep": {"frequency": {"max": 2}}},
                ]
            },
            "chain": {
                "after": "rules",
                "steps": [SCORED, {"keep": {"clip_similarity": {"top": 0.5}}}],
            },
        },
        "arms": ["raw", "random", "rules", "chain", "oracle", "raw and filter budget"],
        "seeds": 2,
        "learning_rates": [1e-3, 1e-2],
        "tuning_samples": 64,
        "train": {"name": "t", "model": {"config": MODEL}, "samples": 128, "batch": 32},
    }
)


class Quiet(Silent):
    """Counts the runs that were asked for."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def begin(self, stage: str, count: int, unit: str = "rows") -> None:
        self.stages.append(stage)


@pytest.fixture(scope="module")
def done(ray_session, tmp_path_factory):
    out = tmp_path_factory.mktemp("experiment") / "out"
    return out, compare(RECIPE, out, workers=1)


def rows_of(out: Path, results, arm: str) -> list[int]:
    return [run.n_unique for run in results.runs if run.arm == arm]


def test_arms_have_the_sizes_that_the_truth_and_the_recipe_say(done):
    out, results = done
    fault = pq.read_table(out / "truth.parquet").column("fault").to_pylist()
    assert results.rows_in == 300 and 298 <= results.rows_raw <= 300
    assert rows_of(out, results, "raw") == [results.rows_raw] * 2
    assert rows_of(out, results, "random") == rows_of(out, results, "chain")
    assert rows_of(out, results, "oracle")[0] <= fault.count("clean") <= rows_of(out, results, "oracle")[0] + 2
    (rules,) = set(rows_of(out, results, "rules"))
    assert 300 - 60 - 60 - 5 <= rules <= 300 - 60 - 60 + 15, "near duplicates and boiler-plate are gone"
    assert rows_of(out, results, "chain") == [(rules + 1) // 2] * 2


def test_every_arm_saw_as_many_samples_and_paid_for_its_filter(done):
    _, results = done
    for run in results.runs:
        if run.arm == "raw and filter budget":
            chain = next(other for other in results.runs if (other.arm, other.seed) == ("chain", run.seed))
            per_sample = run.train_flops / run.samples_seen
            assert run.samples_seen == pytest.approx(128 + chain.filter_flops / per_sample, abs=33)
            continue
        assert run.samples_seen == 128
        assert run.epochs == pytest.approx(128 / run.n_unique)
        assert (run.filter_flops > 0) == (run.arm == "chain")
    scored = {run.n_unique for run in results.runs if run.arm == "rules"}.pop()
    chain = next(run for run in results.runs if run.arm == "chain")
    assert chain.filter_flops == pytest.approx(chain.train_flops * (128 + scored / 3) / 128, rel=0.2)


def test_seeds_are_paired_and_differ(done):
    out, _ = done
    recipes = [json.loads(path.read_text())["recipe"] for path in (out / "runs").glob("*/run.json")]
    assert {recipe["seed"] for recipe in recipes} == {0, 1}
    scorers = [json.loads(path.read_text())["recipe"]["seed"] for path in (out / "scores").glob("*/run.json")]
    assert len(scorers) == 2 and not set(scorers) & {0, 1}


def runs_of(out: Path) -> list[dict]:
    """What each run in runs/ was told."""
    return [json.loads(path.read_text()) for path in (out / "runs").glob("*/run.json")]


def test_the_learning_rate_is_chosen_on_raw_rows(done):
    out, results = done
    raw = open_dataset(str(next((out / "corpus" / "cuts").glob("raw-*"))))
    everything = raw.take(np.arange(results.rows_raw)).digest
    tuning = [run for run in runs_of(out) if run["recipe"]["samples"] == RECIPE.tuning_samples]
    assert {run["recipe"]["optimizer"]["lr"] for run in tuning} == set(RECIPE.learning_rates)
    assert {run["digest"] for run in tuning} == {everything}
    assert len({run["digest"] for run in runs_of(out)}) > 4, "the arms' rows are others"


def test_arms_of_a_seed_begin_with_the_same_weights(done):
    out, _ = done
    first: dict[int, list[dict]] = {0: [], 1: []}
    for run in runs_of(out):
        found = build(TrainRecipe.model_validate(run["recipe"])).model.state_dict()
        first[run["recipe"]["seed"]].append({name: value.numpy() for name, value in found.items()})
    for seed, others in first.items():
        assert len(others) >= 6
        for other in others:
            assert all(np.array_equal(other[name], value) for name, value in first[seed][0].items())
    assert any(not np.array_equal(first[1][0][name], value) for name, value in first[0][0].items())


def test_the_learning_rate_is_the_raw_arms_best(done):
    _, results = done
    names = ("zs_top1", "i2t_R@1", "t2i_R@1")
    score = {lr: np.mean([metrics[name] for name in names]) for lr, metrics in results.tried.items()}
    assert set(score) == {1e-3, 1e-2} and score[results.lr] == max(score.values())
    assert {run.lr for run in results.runs} == {results.lr}


def test_the_audit_adds_up(done):
    out, results = done
    fault = pq.read_table(out / "truth.parquet").column("fault").to_pylist()
    kept = {(line["arm"], line["fault"]): line["kept"] for line in results.audit}
    assert kept["oracle", "clean"] == rows_of(out, results, "oracle")[0]
    assert all(kept["oracle", name] == 0 for name in set(fault) - {"clean"})
    assert kept["rules", "boilerplate"] <= 2 * len(BOILERPLATE) and kept["rules", "near_duplicate"] <= 5
    for arm in ("raw", "random", "rules", "chain"):
        assert sum(kept[arm, name] for name in set(fault)) == np.mean(rows_of(out, results, arm))
    assert all(line["kept"] + line["dropped"] == line["rows"] for line in results.audit)


def test_files_say_what_was_found(done):
    out, results = done
    told = json.loads((out / "tiny" / "results.json").read_text())
    assert told == json.loads(json.dumps(results.as_dict()))
    lines = list(csv.DictReader((out / "tiny" / "results.csv").read_text().splitlines()))
    assert len(lines) == len(results.runs) == 12
    assert {line["arm"] for line in lines} == set(RECIPE.arms)
    wanted = {"pool_hash", "filter_recipe_hash", "filter_FLOPs", "n_unique", "samples_seen", "epochs", "train_FLOPs"}
    assert wanted | {"seed", "zs_top1", "i2t_R@1", "t2i_R@10", "wall_s"} <= set(lines[0])
    chain = next(line for line in told["arms"] if line["arm"] == "chain")
    by_hand = [float(line["zs_top1"]) for line in lines if line["arm"] == "chain"]
    assert chain["metrics"]["zs_top1"]["mean"] == pytest.approx(np.mean(by_hand))
    raw = [float(line["zs_top1"]) for line in lines if line["arm"] == "raw"]
    assert chain["minus_raw"]["zs_top1"]["mean"] == pytest.approx(np.mean(np.subtract(by_hand, raw)))


class Page(HTMLParser):
    """Whether all that was opened is closed, and what is asked of elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.links = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "style") and value]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(done):
    out, _ = done
    text = (out / "tiny" / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert not {"script", "img", "link", "iframe"} & page.tags
    assert all(re.fullmatch(r"width: [\d.]+em", link) for link in page.links)
    assert "url(" not in text and "@import" not in text
    assert all(arm in text for arm in RECIPE.arms)
    assert "no claim about web data" in text
    drawing = ET.fromstring((out / "tiny" / "plot.svg").read_text())
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"


def test_what_is_done_is_not_done_again_and_more_seeds_cost_what_they_add(done):
    out, results = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/judged.json")}
    assert len(before) == 12 + 2 + 2  # arms, learned scores, learning rates
    again = compare(RECIPE, out, workers=1)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/judged.json")} == before
    assert again.runs == results.runs and again.audit == results.audit


def test_a_moved_experiment_goes_on(done, tmp_path):
    out, results = done
    shutil.copytree(out, tmp_path / "moved")
    again = compare(RECIPE, tmp_path / "moved", workers=1)
    assert {path.relative_to(tmp_path / "moved") for path in tmp_path.glob("moved/*/*/judged.json")} == {
        path.relative_to(out) for path in out.glob("*/*/judged.json")
    }
    assert [run.metrics for run in again.runs] == [run.metrics for run in results.runs]


def test_a_folder_of_other_data_is_refused(done, tmp_path):
    out, _ = done
    other = RECIPE.model_copy(update={"pool": RECIPE.pool.model_copy(update={"seed": 9})})
    with pytest.raises(TrainError, match="other data"):
        compare(other, out)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TrainError, match="not empty"):
        compare(RECIPE, tmp_path)


def test_a_mistake_behind_a_learned_score_is_told_before_anything_is_trained(ray_session, tmp_path):
    mistyped = Cut.model_validate({"after": "rules", "steps": [SCORED, {"keep": {"clip_similarty": {"top": 0.5}}}]})
    recipe, heard = RECIPE.model_copy(update={"cuts": RECIPE.cuts | {"chain": mistyped}}), Quiet()
    with pytest.raises(RecipeError, match=r"^cut chain: keep\.clip_similarty: .*did you mean 'clip_similarity'"):
        compare(recipe, tmp_path / "out", workers=1, progress=heard)
    assert heard.stages == ["draw", "cut raw"]


def test_curation_is_blind(done, tmp_path):
    """The cuts are the same where no truth exists: they can have read none."""
    out, results = done
    places = tmp_path / "pool"
    places.mkdir()
    for file in (out / "pool").iterdir():
        (places / file.name).write_bytes(file.read_bytes())
    hashes = tmp_path / "phash.parquet"
    (made,) = (out / "evaluation").glob("phash-*.parquet")
    hashes.write_bytes(made.read_bytes())
    recipe = RECIPE.model_copy(update={"arms": ("raw", "random", "rules"), "headline": "rules"})
    chooser = Chooser(recipe, lambda: Curation(str(places), tmp_path / "corpus", hashes, Silent()))
    arms = chooser.arms(chooser.begin(), {}, None)
    saved = {path.read_bytes() for path in (out / "rows").iterdir()}
    for arm in arms:
        np.save(tmp_path / "arm.npy", arm.rows)
        assert arm.name == "random" or (tmp_path / "arm.npy").read_bytes() in saved
    assert len(next(arm for arm in arms if arm.name == "rules").rows) == rows_of(out, results, "rules")[0]
