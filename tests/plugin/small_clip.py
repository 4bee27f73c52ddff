"""A CLIP of random weights, small enough to be made where a test needs one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


def make_clip(folder: Path, seed: int = 0, **changes: object) -> Path:
    """A folder with a configuration and weights, as open_clip saves a model."""
    import torch
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    config = {**CONFIG, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING}))
    torch.manual_seed(seed)
    custom = config.pop("custom_text", False)
    kind = CoCa if "multimodal_cfg" in config else CustomTextCLIP if custom else CLIP
    model = kind(**config)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights_of(folder))
    return folder


def weights_of(folder: Path) -> Path:
    return folder / "open_clip_model.safetensors"


def make_head(path: Path, *widths: int, seed: int = 0, prefix: str = "layers.") -> Path:
    """Linear layers of these widths, numbered in steps of two as in a Sequential with dropout between."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tensors = {}
    for i, (inside, outside) in enumerate(itertools.pairwise(widths)):
        tensors[f"{prefix}{2 * i}.weight"] = torch.randn(outside, inside) / inside**0.5
        tensors[f"{prefix}{2 * i}.bias"] = torch.randn(outside)
    save_file(tensors, path)
    return path
