"""The drawn corpus: the same bytes every time, every flaw really there, and a fair count of what was found."""

from __future__ import annotations

import hashlib
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

INFRA = Path(__file__).parents[2] / "infra"
ROWS = 346  # just enough for every flaw and control


@pytest.fixture(scope="module")
def infra() -> Iterator[None]:
    """The demo's modules lie side by side and are no package; they are importable for these tests alone."""
    names = ("draw", "scenes", "flaws", "plant", "demo")
    sys.path.insert(0, str(INFRA))
    yield
    sys.path.remove(str(INFRA))
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def plant(infra) -> ModuleType:
    import plant

    return plant


@pytest.fixture(scope="module")
def demo(infra) -> ModuleType:
    import demo

    return demo


@pytest.fixture(scope="module")
def drawn(plant, tmp_path_factory):
    """The folder and its truth."""
    out = tmp_path_factory.mktemp("demo")
    truth, new = plant.plant(out, rows=ROWS)
    assert new
    return out, truth


def caption(out: Path, row) -> str | None:
    path = (out / "photos" / row.file).with_suffix(".txt")
    return path.read_text(encoding="utf-8") if path.exists() else None


def opened(out: Path, row) -> Image.Image:
    image = Image.open(io.BytesIO((out / "photos" / row.file).read_bytes()))
    image.load()
    return image


def of(truth, flaw: str) -> list:
    rows = [row for row in truth if row.flaw == flaw]
    assert rows
    return rows


def control(truth, kind: str) -> list:
    rows = [row for row in truth if row.detail == f"control: {kind}"]
    assert rows
    return rows


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_same_bytes(plant, drawn, tmp_path):
    out, truth = drawn
    again, new = plant.plant(tmp_path, rows=ROWS)
    assert new and again == truth
    assert digest(tmp_path) == digest(out)


def test_another_seed_draws_others(plant, drawn, tmp_path):
    out, _ = drawn
    plant.plant(tmp_path, rows=ROWS, seed=plant.SEED + 1)
    assert not set(digest(tmp_path / "photos").values()) & {
        value for name, value in digest(out / "photos").items() if name.startswith("000") and not name.endswith(".txt")
    }


def test_truth_is_complete(plant, drawn):
    out, truth = drawn
    assert len({row.key for row in truth}) == len(truth) == ROWS
    assert {path.name for path in (out / "photos").iterdir() if path.suffix != ".txt"} == {row.file for row in truth}
    assert Counter(row.flaw for row in truth if row.flaw) == plant.FLAWS
    assert Counter(row.detail for row in truth if row.detail.startswith("control")) == {
        f"control: {kind}": n for kind, n in plant.CONTROLS.items()
    }
    assert plant.read_truth(out / "truth.csv") == truth
    assert 0.15 <= sum(plant.FLAWS.values()) / plant.ROWS <= 0.25


def test_what_is_there_is_reused_and_what_is_not_ours_is_left_alone(plant, drawn, tmp_path):
    out, truth = drawn
    assert plant.plant(out, rows=ROWS) == (truth, False)
    (tmp_path / "corpus").mkdir()
    with pytest.raises(FileExistsError, match="not made by the demo"):
        plant.plant(tmp_path, rows=ROWS)
    assert (tmp_path / "corpus").is_dir()
    with pytest.raises(ValueError, match="too few"):
        plant.plant(tmp_path / "small", rows=100)
    assert not (tmp_path / "small").exists()


def test_an_interrupted_drawing_is_done_again(plant, drawn, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(plant, "caption", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            plant.plant(tmp_path, rows=ROWS)
    assert plant.plant(tmp_path, rows=ROWS)[1]
    assert digest(tmp_path) == digest(drawn[0])


def test_clean_rows_open_and_have_a_caption_of_their_own(drawn):
    out, truth = drawn
    texts = Counter()
    for row in (row for row in truth if not row.flaw):
        image, text = opened(out, row), caption(out, row)
        assert 256 <= min(image.size) <= max(image.size) <= 680
        assert 5 <= len(text.split()) <= 30
        texts[text] += 1
    assert texts.most_common(1)[0][1] < 5


def test_clean_pictures_are_unlike(drawn):
    """Otherwise a deduplication would drop pictures that nobody planted."""
    out, truth = drawn
    rows = [row for row in truth if not row.flaw]
    hashes = np.array([imagehash.phash(Image.fromarray(grey(opened(out, row)))).hash.ravel() for row in rows])
    apart = (hashes[:, None] != hashes[None]).sum(axis=2) + 64 * np.eye(len(rows), dtype=int)
    assert apart.min() > 8


def test_duplicates(drawn):
    out, truth = drawn
    photos = {row.key: row for row in truth}
    for row in of(truth, "exact_duplicate"):
        original = photos[row.original]
        assert not original.flaw and original.key < row.key
        assert (out / "photos" / row.file).read_bytes() == (out / "photos" / original.file).read_bytes()
        assert caption(out, row) == caption(out, original)
    for row in of(truth, "near_duplicate"):
        original = photos[row.original]
        assert (out / "photos" / row.file).read_bytes() != (out / "photos" / original.file).read_bytes()
        assert imagehash.phash(opened(out, row)) - imagehash.phash(opened(out, original)) <= 10


@pytest.mark.parametrize("flaw", ["truncated", "html_page", "zero_bytes", "random_bytes"])
def test_broken_images_do_not_open(drawn, flaw):
    out, truth = drawn
    for row in of(truth, flaw):
        with pytest.raises(UnidentifiedImageError if flaw != "truncated" else OSError):
            opened(out, row)


def test_the_bomb_is_small_and_promises_much(drawn):
    out, truth = drawn
    for row in of(truth, "bomb"):
        assert (out / "photos" / row.file).stat().st_size < 1000
        with pytest.raises(Image.DecompressionBombError):
            opened(out, row)


def test_image_flaws(drawn):
    out, truth = drawn
    assert all(max(opened(out, row).size) < 200 for row in of(truth, "tiny_image"))
    for row in of(truth, "extreme_aspect"):
        short, long = sorted(opened(out, row).size)
        assert short >= 200 and long / short > 3
    assert {np.ptp(grey(opened(out, row))) for row in of(truth, "blank")} == {0}
    assert max(roughness(opened(out, row)) for row in of(truth, "blurred")) < 15
    assert min(roughness(opened(out, row)) for row in of(truth, "")) > 100


def grey(image: Image.Image) -> np.ndarray:
    """The upright picture in 8-bit grey (Pillow alone would clip 16 bits to white)."""
    if image.mode == "I;16":
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB").convert("L"))


def roughness(image: Image.Image) -> float:
    """Variance of the discrete Laplacian of the grey picture."""
    a = grey(image).astype(float)
    return float((a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] - 4 * a[1:-1, 1:-1]).var())


def test_caption_flaws(drawn, plant):
    out, truth = drawn
    texts = {flaw: [caption(out, row) for row in of(truth, flaw)] for flaw in plant.FLAWS}
    assert set(texts["empty_caption"]) == {""} and set(texts["missing_caption"]) == {None}
    assert all(1 <= len(text.split()) <= 2 for text in texts["too_short"])
    assert min(Counter(texts["boilerplate"]).values()) > 10
    assert all(len(set(text.split())) * 5 <= len(text.split()) for text in texts["word_repetition"])
    assert not any(character.isalpha() for text in texts["symbol_soup"] for character in text)
    assert len(set(texts["wrong_language"])) == 20
    assert all(set(text) <= set("asdfghjkl ") for text in texts["gibberish"])


def test_wrong_captions_are_of_another_kind_of_scene(drawn):
    """They have words that no caption of the picture's own kind has."""
    out, truth = drawn
    for row in of(truth, "wrong_caption"):
        scene = row.file.removesuffix(Path(row.file).suffix).partition("-")[2]
        assert row.detail.removeprefix("the caption of ") != scene
        own = [caption(out, other) for other in truth if not other.flaw and f"-{scene}." in other.file]
        assert own
        assert set(caption(out, row).lower().split()) - set(" ".join(own).lower().split())


def test_auc_by_hand(demo):
    """Of six pairs four are in order and one is a tie."""
    assert demo.auc(np.array([3.0, 1.0]), np.array([0.0, 1.0, 2.0])) == 4.5 / 6


def test_foreign_captions_are_foreign(drawn):
    """By fastText's lid.176 itself."""
    import fasttext

    from cupel.operators.text.language import Language

    (path,) = Language().files
    model = fasttext.load_model(str(path))
    names = {"French": "fr", "German": "de", "Spanish": "es", "Russian": "ru", "Chinese": "zh"}
    out, truth = drawn
    for row in of(truth, "wrong_language"):
        assert model.predict(caption(out, row))[0] == (f"__label__{names[row.detail]}",)


def test_controls_are_what_they_say(drawn):
    out, truth = drawn
    modes = {"grayscale": "L", "cmyk": "CMYK", "sixteen_bit": "I;16", "palette": "P"}
    for kind, mode in modes.items():
        assert {opened(out, row).mode for row in control(truth, kind)} == {mode}
    assert all(opened(out, row).n_frames > 1 for row in control(truth, "animated"))
    assert {opened(out, row).getexif()[0x0112] for row in control(truth, "exif_orientation")} <= {3, 6, 8}


def test_scores_and_mistakes(demo, plant):
    """A tiny truth: a found flaw, a missed one, a duplicate whose original went instead, and a clean row dropped."""
    rows = [
        plant.Planted("0-a.jpg", "", ""),
        plant.Planted("1-b.jpg", "", ""),
        plant.Planted("2-a.jpg", "exact_duplicate", "copy of 0-a.jpg"),
        plant.Planted("3-c.jpg", "blank", "all white"),
        plant.Planted("4-d.jpg", "blank", "all black"),
    ]
    drop = demo.Drop("entropy", "min 3", "0.0")
    dropped = {"0-a": demo.Drop("exact_of", "null", "00000000:2"), "1-b": drop, "3-c": drop}
    scores = {score.kind: score for score in demo.scores(rows, dropped)}
    assert (scores["exact_duplicate"].found, scores["blank"].found) == (1, 1)
    assert scores["blank"].missed == ["4-d.jpg"] and scores["blank"].mostly == "entropy min 3 (1)"
    assert [row.file for row, _ in demo.mistakes(rows, dropped)] == ["1-b.jpg"]
    assert len(demo.mistakes(rows, {**dropped, "2-a": drop})) == 2


def test_the_recipe_is_valid():
    from cupel.pipeline.recipe_file import load_recipe

    assert load_recipe(INFRA / "demo.yaml").recipe.name == "demo"
