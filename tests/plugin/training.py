"""Small datasets and recipes for tests of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from drawing import encoded
from PIL import Image

from cupel.schemas.train import TrainRecipe

COLOURS = {"red": (200, 30, 30), "green": (30, 170, 50), "blue": (40, 60, 210), "yellow": (230, 210, 40)}
TEXT = {"context_length": 16, "vocab_size": 1000, "width": 32, "heads": 2, "layers": 1}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": TEXT,
}
COCA = {
    **VIT,
    "custom_text": True,
    "vision_cfg": {
        **VIT["vision_cfg"],
        "attentional_pool": True,
        "output_tokens": True,
        "attn_pooler_queries": 4,
        "attn_pooler_heads": 2,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 16, "vocab_size": 1000, "width": 32, "heads": 2, "layers": 1},
}


def pairs(folder: Path, rows: int = 48, group_rows: int = 8, files: int = 2) -> Path:
    """Parquet files of two-coloured pictures and captions that say so."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(COLOURS)
    made = []
    for i in range(rows):
        above, below = names[i % 4], names[(i // 4 + 1) % 4]
        image = Image.new("RGB", (24, 24), COLOURS[above])
        image.paste(COLOURS[below], (0, 12 + i % 3, 24, 24))
        made.append({"key": f"k{i}", "text": f"a {above} sky above a {below} field", "image": encoded(image)})
    size = -(-rows // files)
    for number in range(files):
        table = pa.Table.from_pylist(made[number * size : (number + 1) * size])
        pq.write_table(table, folder / f"{number:08d}.parquet", row_group_size=group_rows)
    return folder


def recipe(**changes: Any) -> TrainRecipe:
    """A run of twelve steps of eight pairs."""
    given: dict[str, Any] = {"name": "tiny", "model": {"config": VIT}, "samples": 96, "batch": 8, "log_steps": 1}
    given |= {"checkpoint_steps": 4, "optimizer": {"lr": 3e-3, "warmup": 0.2}}
    return TrainRecipe.model_validate(given | changes)
