"""How well cupel-tiny tells right captions from wrong ones, on pictures that no training run has drawn.

python infra/tiny/evaluate.py [--folder operators/models/cupel_tiny] [--rows 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from pairs import held_out, other_colour, other_number, swapped
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import mannwhitneyu

FOLDER: Final = Path(__file__).parents[2] / "operators/models/cupel_tiny"


def load(folder: Path) -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor], open_clip.SimpleTokenizer]:
    """The model in fp32, its transform and its tokenizer, made by open_clip's own classes."""
    config: dict[str, Any] = json.loads((folder / "open_clip_config.json").read_text())
    model = open_clip.CLIP(**config["model_cfg"]).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    transform = image_transform_v2(PreprocessCfg(**config["preprocess_cfg"]), is_train=False)
    context = config["model_cfg"]["text_cfg"]["context_length"]
    return model, transform, open_clip.SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=context)


@torch.inference_mode()
def embed(folder: Path, images: Sequence[Image.Image], *captions: Sequence[str]) -> list[np.ndarray]:
    """Unit vectors of the images and of every list of captions."""
    model, transform, tokens = load(folder)
    pictures = [
        model.encode_image(torch.stack([transform(image) for image in images[i : i + 250]]), normalize=True).numpy()
        for i in range(0, len(images), 250)
    ]
    texts = [model.encode_text(tokens(list(some)), normalize=True).numpy() for some in captions]
    return [np.concatenate(pictures), *texts]


def auc(right: np.ndarray, wrong: np.ndarray) -> float:
    """The share of all (right, wrong) in which the right score is the greater one."""
    return float(mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong)))


def evaluate(folder: Path, world: str, rows: int, seed: int = 0) -> dict[str, tuple[float, float, int]]:
    """For every sort of wrong caption: the AUC, the share of rows whose right caption wins, and the rows.

    `swapped`: another row's; `swapped_in_kind`: that of a row of the same kind; `colour`, `number`: the right caption
    with one word changed. A row whose wrong caption is its right one, or for which there is none, does not count.
    """
    images, right, kinds = held_out(world, rows, seed)
    rng = Random(seed)
    wrong: dict[str, list[str]] = {
        "swapped": [right[i] for i in swapped([""] * rows, rng)],
        "swapped_in_kind": [right[i] for i in swapped(kinds, rng)],
        "colour": [other_colour(text, rng) or text for text in right],
        "number": [other_number(text, rng) or text for text in right],
    }
    pictures, own, *others = embed(folder, images, right, *wrong.values())
    score = (pictures * own).sum(axis=1)
    found = {}
    for (name, texts), vectors in zip(wrong.items(), others, strict=True):
        rest = np.array([a != b for a, b in zip(texts, right, strict=True)])
        against = (pictures * vectors).sum(axis=1)
        found[name] = auc(score[rest], against[rest]), float((score > against)[rest].mean()), int(rest.sum())
    return found


def report(folder: Path, rows: int, seed: int) -> str:
    """The figures as a table in Markdown."""
    lines = ["| pictures | wrong captions | rows | AUC | right one wins |", "|---|---|---|---|---|"]
    for world in ("scenes", "objects"):
        for name, (area, wins, n) in evaluate(folder, world, rows, seed).items():
            lines.append(f"| {world} | {name.replace('_', ' ')} | {n} | {area:.3f} | {wins:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(2)
    print(report(given.folder, given.rows, given.seed))


if __name__ == "__main__":
    main()
