"""The whole way with cupel-tiny on drawn pictures, and on real ones where they are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from training import pairs

from cupel.operators.models.weights import SHIPPED
from cupel.pipeline.progress import Silent
from cupel.pipeline.read import CorpusError
from cupel.pipeline.train.evaluate.data import open_data
from cupel.pipeline.train.evaluate.encoder import ClipEncoder, open_encoder
from cupel.pipeline.train.evaluate.evaluate import _trained_on, encode_images, evaluate, save
from cupel.pipeline.train.evaluate.zero_shot import class_vectors, zero_shot_accuracy
from cupel.pipeline.train.reader import open_dataset


@pytest.fixture(scope="module")
def on_both(class_folder: Path, captioned: Path) -> tuple[dict, dict]:
    found = evaluate("cupel-tiny", [str(class_folder), str(captioned)])
    assert json.loads(json.dumps(found)) == found
    return found["on"][str(class_folder)], found["on"][str(captioned)]


def test_tells_drawn_classes(on_both: tuple[dict, dict]) -> None:
    found, _ = on_both
    assert (found["kind"], found["images"], found["classes"], found["bad_images"]) == ("classes", 96, 12, {})
    zero_shot = found["zero_shot"]
    assert zero_shot["top1"]["low"] > 3 * zero_shot["top1"]["chance"]
    assert zero_shot["top1"]["value"] == pytest.approx(zero_shot["mean_per_class"]["value"])  # 8 of each
    assert found["linear_probe"]["top1"]["low"] > 0.5
    assert list(found["k_shot"]["shots"]) == ["1", "2"]
    matched = found["k_shot"]["shots_to_match_zero_shot"]
    there = found["k_shot"]["zero_shot_there"]
    assert matched == next((int(k) for k, s in found["k_shot"]["shots"].items() if s["value"] >= there), None)


def test_finds_drawn_captions(on_both: tuple[dict, dict]) -> None:
    _, found = on_both
    assert (found["kind"], found["images"], found["captions"], found["left_out"]) == ("pairs", 40, 80, {})
    for way in ("image_to_text", "text_to_image"):
        assert found["retrieval"][way]["R@10"]["low"] > found["retrieval"][way]["R@10"]["chance"]
        assert found["retrieval"][way]["R@1"]["value"] <= found["retrieval"][way]["R@5"]["value"]
    score = found["clip_score"]
    assert score["scorer"] == "the model itself"
    assert score["low"] > score["shuffled"]
    assert [found["compositional"][kind]["items"] for kind in ("attribute", "relation", "counting")] == [80, 80, 0]


def test_another_scorer_judges_and_retrieval_stays(captioned: Path, tmp_path: Path, on_both: tuple[dict, dict]) -> None:
    """The same model in another folder as scorer: all figures are the same, and it is named."""
    shutil.copytree(SHIPPED["cupel-tiny"], tmp_path / "other")
    found = evaluate("cupel-tiny", [str(captioned)], scorer=str(tmp_path / "other"))["on"][str(captioned)]
    assert found["clip_score"].pop("scorer") == str(tmp_path / "other")
    assert found["clip_score"] == pytest.approx({k: v for k, v in on_both[1]["clip_score"].items() if k != "scorer"})
    assert found["retrieval"] == on_both[1]["retrieval"]


def test_broken_images_are_told_and_left_out(class_folder: Path, captioned: Path, tmp_path: Path) -> None:
    classes, pairs = tmp_path / "classes", tmp_path / "pairs"
    for name in ("red_circle", "blue_square"):
        shutil.copytree(class_folder / name, classes / name)
    (classes / "red_circle/0.png").write_bytes(b"<html>not found</html>")
    (classes / "red_circle/1.png").write_bytes((class_folder / "red_circle/1.png").read_bytes()[:200])
    shutil.copytree(captioned, pairs)
    (pairs / "images/07.png").unlink()
    found = evaluate("cupel-tiny", [str(classes), str(pairs)])["on"]
    assert found[str(classes)]["bad_images"] == {"html": 1, "truncated": 1}
    assert (found[str(classes)]["images"], found[str(classes)]["zero_shot"]["images"]) == (14, 14)
    assert found[str(pairs)]["bad_images"] == {"missing_file": 1}
    assert (found[str(pairs)]["images"], found[str(pairs)]["captions"]) == (39, 78)


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    with pytest.raises(CorpusError, match="none of 2 images can be read \\(2 empty\\)"):
        evaluate("cupel-tiny", [str(tmp_path)])


def test_given_parts_are_kept_to(class_folder: Path, tmp_path: Path) -> None:
    """Zero-shot is tested on test/ alone, and nothing of it is trained on."""
    for name in ("red_circle", "blue_square", "green_triangle"):
        for i in range(8):
            to = tmp_path / ("train" if i < 6 else "val") / name
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(class_folder / name / f"{i}.png", to)
    found = evaluate("cupel-tiny", [str(tmp_path)])["on"][str(tmp_path)]
    assert (found["images"], found["zero_shot"]["images"], found["linear_probe"]["images"]) == (24, 6, 6)
    assert found["linear_probe"]["trained_on"] == 18


def test_classes_and_templates_are_what_prompts_say(class_folder: Path, tmp_path: Path) -> None:
    """Wrong names for the right folders: accuracy falls to what it must."""
    names = {
        name: f"{name.split('_')[0]} {kind}" for name, kind in (("red_circle", "square"), ("red_square", "circle"))
    }
    for name in names:
        shutil.copytree(class_folder / name, tmp_path / "in" / name)
    (tmp_path / "names.yaml").write_text(json.dumps(names))
    place = str(tmp_path / "in")
    right = evaluate("cupel-tiny", [place], templates=["a {}"])["on"][place]["zero_shot"]
    wrong = evaluate("cupel-tiny", [place], templates=["a {}"], classes=tmp_path / "names.yaml")["on"][place][
        "zero_shot"
    ]
    assert right["templates"] == ["a {}"]
    assert wrong["top1"]["value"] == pytest.approx(1 - right["top1"]["value"])
    assert right["top1"]["value"] > 0.7


def test_kept_beside_the_model_while_it_stays_the_same(class_folder: Path, captioned: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(SHIPPED["cupel-tiny"], run / "model")
    (run / "result.json").write_text(json.dumps({"dataset": str(captioned)}))
    few = tmp_path / "few"
    for name in ("red_circle", "blue_square"):
        shutil.copytree(class_folder / name, few / name)
    first = evaluate(str(run), [str(few)])
    save(first, run)
    second = evaluate(str(run), [str(captioned)])
    kept = json.loads(save(second, run).read_text())
    assert kept["on"] == {**first["on"], **second["on"]}
    assert kept["on"][str(captioned)]["is_training_data"] is True
    assert kept["on"][str(few)]["is_training_data"] is False
    config = run / "model/open_clip_config.json"
    config.write_text(config.read_text() + "\n")  # another model now
    again = evaluate(str(run), [str(few)])
    assert list(json.loads(save(again, run).read_text())["on"]) == [str(few)]
    assert sorted(path.name for path in run.iterdir()) == ["evaluation.json", "model", "result.json"]


def test_training_data_are_known_wherever_they_lie(tmp_path: Path) -> None:
    data = pairs(tmp_path / "in")
    digest = open_dataset(str(data)).digest
    (tmp_path / "run").mkdir()
    (tmp_path / "run/result.json").write_text(json.dumps({"dataset": "in", "digest": digest}))
    data.rename(tmp_path / "moved")
    assert _trained_on(str(tmp_path / "run"), str(tmp_path / "moved")) == {"is_training_data": True}
    others = pairs(tmp_path / "in", rows=16)
    assert _trained_on(str(tmp_path / "run"), str(others)) == {"is_training_data": False}
    assert _trained_on("cupel-tiny", str(others)) == {}


def test_images_are_encoded_alike_however_many_at_once(class_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, data = open_encoder("cupel-tiny"), open_data(str(class_folder))
    images = list(data.images())
    numbers, (vectors,), bad = encode_images(images, [encoder], Silent())
    assert numbers.tolist() == list(range(96))
    assert not bad
    Random(0).shuffle(images)
    monkeypatch.setattr("cupel.pipeline.train.evaluate.evaluate.AT_ONCE", 7)
    others, (shuffled,), _ = encode_images(images, [encoder], Silent())
    monkeypatch.setattr(ClipEncoder, "device", "cuda")  # decoded ahead, as for a GPU
    ahead, (again,), _ = encode_images(images, [encoder], Silent())
    assert (ahead == others).all() and (again == shuffled).all()
    assert np.abs(shuffled - vectors[others]).max() < 1e-5
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(96), abs=1e-5)


def test_real_classes(shared_data: Path) -> None:
    """cupel-tiny knows drawings, not photos: it need not be good at 16 classes, and must not be perfect."""
    data = open_data(str(shared_data / "classes/caltech101-16"))
    assert (len(data.files), len(data.names), "grand piano" in data.names) == (832, 16, True)
    encoder = open_encoder("cupel-tiny")
    numbers, (vectors,), bad = encode_images(list(data.images())[::8], [encoder], Silent())
    assert (len(numbers), bad) == (104, {})
    found = zero_shot_accuracy(vectors, class_vectors(encoder, data.names), data.labels[numbers])
    assert 0 < found.top1 < 0.5
    assert found.top1 < found.top5
