"""cupel-tiny: captions agree with what is drawn, open_clip loads the files, right captions score above wrong."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "operators/models/cupel_tiny"
ODD = [
    "",
    "a red circle",
    "🙂🚀 ü",
    "красный круг",
    "赤い丸が三つ",
    "word " * 300,
    "<end_of_text>",
    "\x00\n\t",
    "e\u0301ga\u0300",
]


@pytest.fixture(scope="module")
def tiny() -> Iterator[SimpleNamespace]:
    """The modules beside the training script, importable for these tests alone."""
    before = list(sys.path)
    sys.path[:0] = [str(ROOT / "infra/tiny"), str(ROOT / "infra/demo")]
    import evaluate
    import objects
    import pairs
    import train

    yield SimpleNamespace(evaluate=evaluate, objects=objects, pairs=pairs, train=train)
    sys.path[:] = before
    for name in ("draw", "scenes", "objects", "pairs", "evaluate", "train"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def shipped(tiny):
    """Model, transform, tokenizer."""
    return tiny.evaluate.load(FOLDER)


def drawings(tiny, kind: str, n: int) -> Iterator[tuple[np.ndarray, str]]:
    """Canvases before the light and the grain, with a caption each."""
    for i in range(n):
        rng = Random(f"test {kind} {i}")
        canvas = tiny.objects.Canvas((64, 64), rng)
        say = tiny.objects.KINDS[kind](canvas, rng)
        yield np.asarray(canvas.image, float), say(rng)


def near(tiny, image: np.ndarray, paint: str) -> np.ndarray:
    """Where the paint, in one of its tints, is on the canvas."""
    return np.linalg.norm(image - np.array(tiny.objects.PAINTS[paint], float), axis=2) < 40


def phrases(tiny) -> tuple[str, str, str]:
    """Patterns: a paint, plain things in a paint, a plain background."""
    paint = f"({tiny.pairs.PAINT.pattern[3:-3]})"
    number = "|".join(tiny.pairs.NUMBERS[2:])
    return paint, rf"(?:an?|{number}) {paint} (?!ring)\w+", rf"on an? (?:plain )?{paint} (?:background|wall)"


def test_the_colour_named_is_in_the_middle(tiny):
    paint, seen = phrases(tiny)[0], set()
    for image, text in drawings(tiny, "one", 400):
        match = re.search(rf"\ban? big {paint} (?!ring|crescent|and)\w+", text)
        if match:
            assert near(tiny, image[48:80, 48:80], match[1]).mean() > 0.25, text
            seen.add(match[1])
    assert len(seen) > 10


def test_the_number_named_is_drawn(tiny):
    _, thing, ground = phrases(tiny)
    counts = set()
    for image, text in drawings(tiny, "many", 500):
        if match := re.fullmatch(rf"{thing}(?: in a \w+)? {ground}", text):
            _, n = ndimage.label(~near(tiny, image, match[2]), np.ones((3, 3)))
            assert tiny.pairs.NUMBERS[n] == text.split()[0]
            counts.add(n)
    assert counts == set(range(2, 10))


def test_the_place_named_is_drawn(tiny):
    _, thing, ground = phrases(tiny)
    form = rf"{thing} (to the left of|to the right of|above|below) {thing} {ground}"
    seen = set()
    for image, text in drawings(tiny, "relation", 500):
        if match := re.fullmatch(form, text):
            first, relates, second, _ = match.groups()
            (y1, x1), (y2, x2) = (np.argwhere(near(tiny, image, paint)).mean(axis=0) for paint in (first, second))
            holds = {"to the left of": x1 < x2, "to the right of": x1 > x2, "above": y1 < y2, "below": y1 > y2}
            assert holds[relates], text
            seen.add(relates)
    assert len(seen) == 4


@pytest.mark.parametrize("world", ["scenes", "objects"])
def test_pairs_are_a_function_of_their_names(tiny, world):
    pixels, kind, texts = tiny.pairs.training_pair(world, 0, 5, 64)
    again = tiny.pairs.training_pair(world, 0, 5, 64)
    assert (pixels == again[0]).all() and (kind, texts) == again[1:]
    assert pixels.shape == (64, 64, 3) and len(texts) == tiny.pairs.CAPTIONS
    others = [tiny.pairs.training_pair(world, 0, 6, 64), tiny.pairs.training_pair(world, 1, 5, 64)]
    assert all((pixels != other[0]).any() for other in others)


def test_held_out_pictures_are_the_demos_size_and_others_than_the_trained_ones(tiny):
    images, texts, kinds = tiny.pairs.held_out("scenes", 20)
    assert len(images) == len(texts) == len(kinds) == 20
    assert all(256 <= min(image.size) <= 380 for image in images)
    assert tiny.pairs.held_out("scenes", 20)[1] == texts
    trained = {text for i in range(20) for text in tiny.pairs.picture("scenes", f"training 0 {i}", 64)[2]}
    assert len(trained & set(texts)) < 3


def test_wrong_captions_are_wrong(tiny):
    kinds = [*"aabbbbc"] * 20
    anywhere, within = (tiny.pairs.swapped(some, Random(0)) for some in ([""] * 140, kinds))
    for order in (anywhere, within):
        assert sorted(order) == list(range(140))
        assert all(i != j for i, j in enumerate(order))
    assert [kinds[i] for i in within] == kinds
    assert [kinds[i] for i in anywhere] != kinds
    text = "two dark blue kites over nine red houses"
    colours = {tiny.pairs.other_colour(text, Random(i)) for i in range(200)}
    numbers = {tiny.pairs.other_number(text, Random(i)) for i in range(200)}
    assert colours == {text.replace("dark blue", paint) for paint in tiny.objects.PAINTS if paint != "dark blue"}
    assert numbers == {text.replace("two", n) for n in tiny.pairs.NUMBERS[3:]}
    assert tiny.pairs.other_number("a red kite", Random(0)) is None


def test_batches_are_made_of_blocks_of_one_kind(tiny):
    kinds = [*"abcdefghij"] * 100
    batches = tiny.train.blocks(kinds, Random(0))
    for _ in range(9):
        rows = next(batches)
        assert len(set(rows)) == tiny.train.BATCH
        parts = [rows[i : i + tiny.train.BLOCK] for i in range(0, len(rows), tiny.train.BLOCK)]
        assert all(len({kinds[row] for row in part}) == 1 for part in parts)


def test_only_pictures_without_left_and_right_are_mirrored(tiny):
    side = tiny.train.SIDE
    pixels = np.tile(np.arange(side, dtype=np.uint8)[None, None, :, None], (64, side, 1, 3))  # brighter to the right
    for mirror in (False, True):
        x = tiny.train.prepared(pixels, np.full(64, mirror), np.random.default_rng(0))
        assert x.shape == (64, 3, side, side)
        rising = (x[:, 0, 0, -1] > x[:, 0, 0, 0]).float().mean().item()
        assert (0.2 < rising < 0.8) if mirror else rising == 1


def test_the_loss_is_open_clips_and_stray_captions_are_negatives(tiny):
    images, texts, others = (torch.nn.functional.normalize(torch.randn(n, 16), dim=-1) for n in (8, 8, 3))
    scale = torch.tensor(9.0)
    ours = tiny.train.contrastive(images, texts, scale)
    torch.testing.assert_close(ours, open_clip.ClipLoss()(images, texts, scale))
    assert tiny.train.contrastive(images, torch.cat([texts, others]), scale) > ours


def test_the_text_tower_without_padding(tiny, shipped):
    model, _, tokens = shipped
    ids = tokens(["a red circle", *ODD])
    with torch.inference_mode():
        torch.testing.assert_close(tiny.train.encode_text(model, ids), model.encode_text(ids, normalize=True))


def test_stray_captions_are_captions(tiny, shipped):
    tokens = shipped[2]
    ids = tiny.train.stray(tokens, 30, np.random.default_rng(0))
    assert ids.shape == (tiny.train.STRAY, 30)
    assert (ids[:, 0] == tokens.sot_token_id).all()
    assert ((ids == tokens.eot_token_id).sum(dim=1) == 1).all()
    assert all((row[row.argmax() + 1 :] == 0).all() for row in ids)


def test_the_shipped_files_are_small(shipped):
    model, _, tokens = shipped
    config = json.loads((FOLDER / "open_clip_config.json").read_text())
    assert {path.name for path in FOLDER.iterdir()} == {
        "README.md",
        "bpe.txt.gz",
        "model.safetensors",
        "open_clip_config.json",
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
    assert sum(p.numel() for p in model.parameters()) < 4_000_000
    assert tokens.vocab_size == config["model_cfg"]["text_cfg"]["vocab_size"] <= 4000


def test_the_vocabulary_is_the_start_of_open_clips():
    ours = gzip.decompress((FOLDER / "bpe.txt.gz").read_bytes()).decode()
    whole = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).decode()
    assert whole.startswith(ours + "\n")


def test_open_clip_loads_the_folder_by_itself(shipped):
    model, transform, tokens = shipped
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{FOLDER}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}", bpe_path=str(FOLDER / "bpe.txt.gz"))
    image = Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 90).convert("RGB")
    assert torch.equal(preprocess(image), transform(image))
    assert torch.equal(tokenizer(ODD), tokens(ODD))
    with torch.inference_mode():
        x, ids = transform(image)[None], tokens(ODD)
        torch.testing.assert_close(theirs.eval().encode_image(x), model.encode_image(x))
        torch.testing.assert_close(theirs.encode_text(ids), model.encode_text(ids))


def test_any_caption_has_tokens(shipped):
    model, _, tokens = shipped
    ids = tokens(ODD)
    assert ids.shape == (len(ODD), model.context_length)
    assert ids.min() >= 0 and ids.max() < tokens.vocab_size
    assert (ids == tokens.eot_token_id).any(dim=1).all()
    for text in ODD[1:5]:
        assert tokens.decode(tokens.encode(text)).split() == re.findall(r"[^\W\d_]+|[^\w\s]+", text)
    with torch.inference_mode():
        assert torch.isfinite(model.encode_text(ids, normalize=True)).all()


def test_a_moment_of_training_moves_every_matrix(tiny, shipped):
    noise = np.random.default_rng(0).integers(0, 256, (256, 64, 64, 3), np.uint8)
    pairs = tiny.pairs.Pairs(noise, [(f"{i} red circles",) for i in range(256)], [str(i % 8) for i in range(256)])
    torch.manual_seed(0)
    before = dict(open_clip.CLIP(**tiny.train.MODEL).named_parameters())
    after = dict(tiny.train.fit(pairs, shipped[2], minutes=0.02, seed=0).named_parameters())
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not [name for name, value in before.items() if value.ndim > 1 and torch.equal(value, after[name])]


def test_what_is_written_is_read_again(tiny, tmp_path):
    torch.manual_seed(0)
    model = open_clip.CLIP(**tiny.train.MODEL).eval()
    tiny.train.write_tokenizer(tmp_path)
    tiny.train.write(model, tmp_path)
    again, _, _ = tiny.evaluate.load(tmp_path)
    assert (tmp_path / "bpe.txt.gz").read_bytes() == (FOLDER / "bpe.txt.gz").read_bytes()
    assert (tmp_path / "open_clip_config.json").read_bytes() == (FOLDER / "open_clip_config.json").read_bytes()
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert theirs.dtype == ours.dtype, name
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("world", ["scenes", "objects"])
def test_right_captions_score_above_wrong_ones(tiny, world):
    found = tiny.evaluate.evaluate(FOLDER, world, 300, seed=1)
    assert found["swapped"][0] >= {"scenes": 0.97, "objects": 0.9}[world]
    assert found["swapped_in_kind"][0] >= 0.85
    assert found["colour"][1] >= 0.7  # of the rows: 0.5 would be chance


def test_auc_of_a_small_case(tiny):
    assert tiny.evaluate.auc(np.array([3.0, 1.0]), np.array([2.0, 1.0])) == (1 + 1 + 0 + 0.5) / 4
