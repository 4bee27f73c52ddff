"""What the log says of the hardware: operations by hand, peaks by the names that drivers give."""

from __future__ import annotations

import pytest
import torch
from training import VIT, recipe

from cupel.pipeline.train.build import build
from cupel.pipeline.train.log import forward_flops, peak_flops
from cupel.pipeline.train.objectives import Towers


def of_layer(tokens: int, width: int) -> int:
    """Of a transformer's layer: attention with its projections, an MLP four times as wide."""
    projections, attention, mlp = 4 * width * width, 2 * tokens * width, 8 * width * width
    return 2 * tokens * (projections + attention + mlp)


def test_operations_are_those_of_the_closed_form():
    width, side, patch = 32, VIT["vision_cfg"]["image_size"], VIT["vision_cfg"]["patch_size"]
    patches = (side // patch) ** 2
    image = 2 * patches * 3 * patch**2 * width + of_layer(patches + 1, width)
    wanted = image + of_layer(16, width) + 2 * 2 * width * VIT["embed_dim"]
    towers = Towers(build(recipe()).model).train()
    found = forward_flops(towers, torch.zeros(1, 3, side, side), torch.full((1, 16), 999))
    assert found == wanted and towers.training
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_peaks_go_by_the_names_of_devices(name, peak):
    assert peak_flops(name) == peak
