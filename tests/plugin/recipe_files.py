"""The files that shipped recipes want in the folder where they run, small ones in place of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

ENTRIES = ("the", "in", "of", "a", "an", "on", "and", "with", "to", "is", "star", "cell", "sky", "people", "map")


def write_recipe_files(folder: Path, width: int = 192) -> Path:
    """Entries, embeddings of `width` numbers, a head for them, hashes of an evaluation set; returns the folder."""
    (folder / "metadata.txt").write_text("".join(f"{entry}\n" for entry in ENTRIES))
    rng = np.random.default_rng(0)
    np.save(folder / "in1k_clip_vit_l14.npy", rng.normal(size=(20, width)).astype(np.float32))
    np.save(folder / "centroids.npy", rng.normal(size=(30, width)).astype(np.float32))
    head = {"0.weight": rng.normal(size=(1, width)).astype(np.float32), "0.bias": np.full(1, -2.2, np.float32)}
    save_file(head, folder / "nsfw_clip_vit_l14.safetensors")  # half of the images are above 0.1 after the sigmoid
    pl.DataFrame({"phash": [1, 2]}, schema={"phash": pl.UInt64}).write_parquet(folder / "evaluation_sets.parquet")
    return folder
