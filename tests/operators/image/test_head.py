from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from drawing import encoded, picture
from safetensors.torch import load_file
from small_clip import make_head

from cupel.operators.base import Batch
from cupel.operators.image.head import Head
from cupel.operators.images import ImageStore
from cupel.operators.models.weights import ModelError
from cupel.operators.pair.clip_similarity import ClipSimilarity

IMAGES = [encoded(picture(seed)) for seed in range(5)]


def batch():
    return Batch(pa.table({"text": [""] * len(IMAGES)}), ImageStore(dict(enumerate(IMAGES))))


def sequential(path, activation, last):
    """The same head as torch runs it."""
    tensors = load_file(path)
    layers = []
    for i in range(len(tensors) // 2):
        weight = tensors[f"layers.{2 * i}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": tensors[f"layers.{2 * i}.bias"]})
        layers += [activation(), layer] if i else [layer]
    return torch.nn.Sequential(*layers, last)


@pytest.mark.parametrize(
    ("widths", "settings", "activation", "last"),
    [
        ((256, 1), {}, torch.nn.Identity, torch.nn.Identity()),
        ((256, 64, 16, 1), {"activation": "relu", "output": "sigmoid"}, torch.nn.ReLU, torch.nn.Sigmoid()),
        ((256, 64, 3), {"activation": "gelu", "output": "softmax", "index": 2}, torch.nn.GELU, torch.nn.Softmax(dim=1)),
        (tuple([256] + [32] * 11 + [1]), {}, torch.nn.Identity, torch.nn.Identity()),  # layer 10 comes after layer 2
    ],
)
def test_equal_to_torch(small_clip, tmp_path, widths, settings, activation, last):
    path = make_head(tmp_path / "head.safetensors", *widths)
    rows = batch()
    vectors = ClipSimilarity(model=str(small_clip)).image_tower
    with torch.inference_mode():
        expected = sequential(path, activation, last)(torch.from_numpy(rows.run(vectors)))
    step = Head(model=str(small_clip), path=str(path), **settings)
    step.setup()
    found = step(rows)["head_score"]
    np.testing.assert_allclose(found, expected[:, settings.get("index", 0)], rtol=1e-4, atol=1e-5)


def test_a_torch_file_is_read_too(small_clip, tmp_path):
    path = make_head(tmp_path / "head.safetensors", 256, 8, 1)
    torch.save({"state_dict": load_file(path)}, tmp_path / "head.pth")
    one, other = (
        Head(model=str(small_clip), path=str(p))(batch())["head_score"] for p in (path, tmp_path / "head.pth")
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: make_head(path, 512, 1), "layer 0 takes 512 numbers, and .* has 256"),
        (lambda path: make_head(path, 256, 8, 1).write_bytes(b"not safetensors"), "cannot be read"),
        (lambda path: make_head(path, 256), "holds no weights"),
    ],
)
def test_a_head_that_does_not_fit(small_clip, tmp_path, make, said):
    make(tmp_path / "head.safetensors")
    with pytest.raises(ModelError, match=said):
        Head(model=str(small_clip), path=str(tmp_path / "head.safetensors")).setup()


def test_an_index_beyond_the_last_layer_and_a_missing_file(small_clip, tmp_path):
    path = make_head(tmp_path / "head.safetensors", 256, 2)
    with pytest.raises(ModelError, match="gives 2 numbers, so there is no index 2"):
        Head(model=str(small_clip), path=str(path), index=2).setup()
    with pytest.raises(ModelError, match="there is no head"):
        _ = Head(model=str(small_clip), path=str(tmp_path / "gone.pth")).files


def test_files_that_are_no_tensors_by_name(small_clip, tmp_path):
    for name, value in (("empty.pth", None), ("list.pth", [torch.zeros(2)]), ("tensor.pth", torch.zeros(2))):
        path = tmp_path / name
        path.write_bytes(b"") if value is None else torch.save(value, path)
        with pytest.raises(ModelError, match=f"the head .*{name} cannot be read: ."):
            Head(model=str(small_clip), path=str(path)).setup()


def test_a_pickle_with_code_in_it_is_refused(small_clip, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        Head(model=str(small_clip), path=str(tmp_path / "evil.pth")).setup()
    assert not (tmp_path / "ran").exists()
