"""Batches: nothing is decoded twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from drawing import encoded, picture

from cupel.operators import images
from cupel.operators.base import Batch, Resources
from cupel.operators.decode import Pixels, RowError
from cupel.operators.images import ImageStore

PNG = encoded(picture(1, 40, 30), "PNG")


def test_an_image_is_decoded_once_for_all_who_ask_alike(monkeypatch):
    calls = []
    monkeypatch.setattr(images, "decode", lambda *args: calls.append(args) or images.Image)
    monkeypatch.setattr(images, "Image", object(), raising=False)
    batch = Batch(pa.table({"text": ["a", "b", "c"]}), ImageStore({0: PNG, 1: PNG}), np.array([0, 0, 1]))
    for request in (Pixels(), Pixels(), Pixels(mode="L")):
        assert [row for row, _ in batch.take(np.array([0, 1, 2])).images(request)] == [0, 1, 2]
    assert len(calls) == 4, "two slots, two requests; captions share a slot"


def test_a_broken_image_is_parsed_once_and_fails_every_row_that_shows_it(monkeypatch):
    calls = []
    parse = images.read_header
    monkeypatch.setattr(images, "read_header", lambda data: calls.append(data) or parse(data))
    store = ImageStore({0: b"", 1: PNG, 2: RowError("missing_file", "gone"), 3: None})
    batch = Batch(pa.table({"row": range(5)}), store, np.array([0, 0, 1, 2, 3]))
    for _ in range(2):
        assert [(row, header.width_px) for row, header in batch.headers()] == [(2, 40)]
    kinds = {row: error.kind for row, error in batch.failures.items()}
    assert kinds == {0: "empty", 1: "empty", 3: "missing_file", 4: "missing_file"}
    assert len(calls) == 2
    assert [store.has(slot) for slot in range(4)] == [True, True, True, False]


def test_the_first_failure_of_a_row_is_kept():
    batch = Batch(pa.table({"row": [0]}))
    batch.fail(0, RowError("first", ""))
    batch.fail(0, RowError("second", ""))
    assert batch.failures[0].kind == "first"


def test_resources_have_sensible_defaults():
    assert (Resources().cpus, Resources().gpus) == (1.0, 0.0)
    with pytest.raises(AttributeError):
        Resources().gpus = 1
