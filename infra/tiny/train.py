"""Train cupel-tiny, the CLIP of the demo and of the tests, on pictures that this project draws.

    python infra/tiny/train.py [--minutes 15] [--pairs 60000] [--seed 0] [--out operators/models/cupel_tiny]

Writes the folder that open_clip loads as `local-dir:...`: config, weights in fp16, BPE merges. The README beside them
is written by hand from what is printed here. Two CPU cores are enough.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from evaluate import FOLDER, report
from pairs import Pairs, training_pairs
from safetensors.torch import save_file

SIDE: Final = 64
CONTEXT: Final = 48
MERGES: Final = 3486  # and 512 bytes and 2 marks: 4,000 tokens
MODEL: Final[dict[str, Any]] = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": MERGES + 514, "width": 128, "heads": 2, "layers": 2},
}
HALF: Final = [0.5, 0.5, 0.5]
PICTURE: Final = {
    "size": [SIDE, SIDE], "mean": HALF, "std": HALF, "interpolation": "bicubic", "resize_mode": "squash",
}  # fmt: skip
BATCH: Final = 256
BLOCK: Final = 32  # pairs of one kind that stand together in a batch: the captions there differ in a colour or a number
STRAY: Final = 16  # captions of random tokens in a batch, which no picture matches


def write_tokenizer(out: Path) -> open_clip.SimpleTokenizer:
    """The first merges of open_clip's own vocabulary file, as the tokenizer of the new model."""
    lines = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).decode().split("\n")
    text = "\n".join(lines[: MERGES + 1])  # no newline at the end: it would become an empty token
    (out / "bpe.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return open_clip.SimpleTokenizer(str(out / "bpe.txt.gz"), context_length=CONTEXT)


def blocks(kinds: list[str], rng: Random) -> Iterator[list[int]]:
    """Batches of row numbers, without end: every batch is made of blocks of one kind each."""
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    while True:
        cut = []
        for some in rows.values():
            rng.shuffle(some)
            cut += [some[i : i + BLOCK] for i in range(0, len(some) - BLOCK + 1, BLOCK)]
        rng.shuffle(cut)
        size = BATCH // BLOCK
        for i in range(0, len(cut) - size + 1, size):
            yield [row for block in cut[i : i + size] for row in block]


def prepared(pixels: np.ndarray, mirror: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Float images (n, 3, side, side) moved by up to 3 px each way; of those in `mirror` half are flipped."""
    wide = np.pad(pixels, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    moved = np.empty_like(pixels)
    for row, (i, j) in enumerate(rng.integers(0, 7, (len(pixels), 2))):
        view = wide[row, i : i + SIDE, j : j + SIDE]
        moved[row] = view[:, ::-1] if mirror[row] and rng.random() < 0.5 else view
    return torch.from_numpy(moved).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def stray(tokens: open_clip.SimpleTokenizer, length: int, rng: np.random.Generator) -> torch.Tensor:
    """Captions of random tokens (STRAY, length): what says nothing that can be seen should be like no picture."""
    ids = rng.integers(0, tokens.sot_token_id, (STRAY, length))
    ids[::2] = rng.integers(512, tokens.sot_token_id, (len(ids[::2]), length))  # words and parts, no single bytes
    ids[:, 0] = tokens.sot_token_id
    for row, end in enumerate(rng.integers(2, length, STRAY)):
        ids[row, end], ids[row, end + 1 :] = tokens.eot_token_id, 0
    return torch.from_numpy(ids)


def encode_text(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Unit vectors, as `model.encode_text` gives them; short captions stand together and need no padding."""
    ends = ids.argmax(dim=-1)
    order = ends.argsort()
    found = []
    for rows in order.chunk(4):
        length, last = int(ends[rows[-1]]) + 1, ends[rows]
        x = model.token_embedding(ids[rows, :length]) + model.positional_embedding[:length]
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
        found.append(model.ln_final(x[torch.arange(len(rows)), last]) @ model.text_projection)
    return F.normalize(torch.cat(found)[order.argsort()], dim=-1)


def contrastive(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """open_clip's ClipLoss for (n, d) images and (n + m, d) texts, of which the last m match no image."""
    logits = scale * images @ texts.T
    target = torch.arange(len(images))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : len(images)].T, target)) / 2


def optimizer(model: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW; only matrices and filters decay."""
    parts = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parts if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in parts if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )


def fit(pairs: Pairs, tokens: open_clip.SimpleTokenizer, minutes: float, seed: int, rate: float = 1e-3) -> Any:
    """Train for so many minutes; the learning rate rises for a twentieth of them and falls along a cosine."""
    torch.manual_seed(seed)
    rng, noise = Random(seed), np.random.default_rng(seed)
    model = open_clip.CLIP(**MODEL)
    model.visual.to(memory_format=torch.channels_last)
    ids = torch.stack([tokens(list(texts)).to(torch.int16) for texts in pairs.texts])
    sided = np.array([any("left" in text or "right" in text for text in texts) for texts in pairs.texts])
    steps, start = optimizer(model, rate), time.monotonic()
    for step, rows in enumerate(blocks(pairs.kinds, rng)):
        done = (time.monotonic() - start) / (60 * minutes)
        if done >= 1:
            break
        for group in steps.param_groups:
            group["lr"] = rate * min(done / 0.05, (1 + math.cos(math.pi * done)) / 2)
        x = prepared(pairs.pixels[rows], ~sided[rows], noise).contiguous(memory_format=torch.channels_last)
        said = ids[rows, [rng.randrange(ids.shape[1]) for _ in rows]].long()
        length = int(said.argmax(dim=-1).max()) + 1
        with torch.autocast("cpu", torch.bfloat16):
            texts = encode_text(model, torch.cat([said[:, :length], stray(tokens, length, noise)]))
            images = model.encode_image(x, normalize=True)
        loss = contrastive(images.float(), texts.float(), model.logit_scale.exp())
        steps.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steps.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if step % 100 == 0:
            print(
                f"{done:4.0%} step {step} loss {loss.item():.3f} scale {model.logit_scale.exp().item():.1f}", flush=True
            )
    print(f"{step} steps of {BATCH} pairs in {time.monotonic() - start:.0f} s")
    return model.eval()


def write(model: Any, out: Path) -> None:
    """open_clip's config and the weights in fp16."""
    config = {"model_cfg": MODEL, "preprocess_cfg": PICTURE}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, out / "model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    torch.set_num_threads(2)
    given.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    pairs = training_pairs(dict.fromkeys(("scenes", "objects"), given.pairs // 2), given.seed, SIDE)
    print(f"drew {len(pairs.kinds)} pictures in {time.monotonic() - start:.0f} s", flush=True)
    model = fit(pairs, write_tokenizer(given.out), given.minutes, given.seed)
    write(model, given.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters\n\n{report(given.out, 2000, 0)}")


if __name__ == "__main__":
    main()
