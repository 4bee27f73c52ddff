"""Pictures and small inputs drawn for tests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 240, height: int = 220) -> Image.Image:
    """A picture of its own for every seed: smooth random colours, so that its pHash differs from the others'."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def write_jsonl(path: Path, texts: list[str | None], **columns: list[object]) -> Path:
    """A table of texts with keys k0, k1, ..."""
    rows = [
        {"key": f"k{i}", "text": text, **{name: values[i] for name, values in columns.items()}}
        for i, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_folder(folder: Path, count: int, text: str = "a picture of number {i} and its colours") -> Path:
    """A folder of pictures with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"p{i:04d}.jpg").write_bytes(encoded(picture(i)))
        (folder / f"p{i:04d}.txt").write_text(text.format(i=i))
    return folder
