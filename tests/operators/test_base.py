"""Batches: one operator for pairs and for the nodes of documents; nothing is decoded twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from drawing import encoded, picture
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators import images
from cupel.operators.base import Batch, Resources, nest
from cupel.operators.decode import Pixels, RowError
from cupel.operators.image.size import Size
from cupel.operators.images import ImageStore
from cupel.operators.text.length import Length
from cupel.schemas.document import DOCUMENT

PNG = encoded(picture(1, 40, 30), "PNG")


def text(words: str | None) -> dict[str, object]:
    return {"kind": "text", "text": words, "image_url": None, "image": None}


def image(data: bytes | None, alt: str | None = None) -> dict[str, object]:
    return {"kind": "image", "text": alt, "image_url": "https://example.org/x.png", "image": data}


def documents(*nodes: list[dict[str, object] | None] | None) -> pa.Table:
    return pa.Table.from_pylist([{"key": str(i), "nodes": each} for i, each in enumerate(nodes)], DOCUMENT)


def on_nodes(operator, table: pa.Table, reads: str) -> dict[str, list[list[object]]]:
    """What an operator finds, under the documents; null for nodes that lack what it reads."""
    batch, offsets = Batch.of_nodes(table)
    ready = np.flatnonzero(batch.column(reads).is_valid())
    found = operator(batch.take(ready))
    place = np.full(len(batch), -1)
    place[ready] = np.arange(len(ready))
    take = pa.array(place, mask=place < 0)
    return {
        added.name: nest(offsets, pa.array(found[added.name], added.type).take(take)).to_pylist()
        for added in operator.adds
    }


def test_one_operator_serves_captions_and_paragraphs():
    table = documents([text("one two"), image(PNG, "alt"), text("three")], [], [text(None)], [text("")])
    assert on_nodes(Length(), table, "text") == {
        "characters": [[7, 3, 5], [], [None], [0]],
        "words": [[2, 1, 1], [], [None], [0]],
    }
    found = on_nodes(Size(), table, "image")
    assert found["width_px"] == [[None, 40, None], [], [None], [None]]
    assert found["image_format"] == [[None, "png", None], [], [None], [None]]


def test_null_nodes_and_documents_without_nodes_keep_their_places():
    table = documents([None, text("a")], None, [text("b c")])
    assert on_nodes(Length(), table, "text")["words"] == [[None, 1], [], [2]]


def test_what_lies_under_a_null_node_does_not_show():
    """Arrow lets a null struct have children with values."""
    nodes = pa.StructArray.from_arrays(
        [pa.array(["text", "text"]), pa.array(["seen", "hidden"])], ["kind", "text"], mask=pa.array([False, True])
    )
    table = pa.table({"nodes": pa.ListArray.from_arrays([0, 2], nodes)})
    assert on_nodes(Length(), table, "text")["words"] == [[1, None]]


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=6), st.integers(0, 3))
def test_nest_undoes_of_nodes_also_for_slices_and_chunks(texts, cut):
    table = documents(*([text(each) for each in nodes] for nodes in texts))
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    for part, expected in ((chunked, texts), (table.slice(cut), texts[cut:])):
        batch, offsets = Batch.of_nodes(part)
        assert nest(offsets, batch.column("text")).to_pylist() == expected


def test_of_nodes_copies_no_text():
    table = documents([text("a"), text("b")], [text("c")])
    flat = Batch.of_nodes(table)[0].column("text")
    whole = table.column("nodes").chunk(0).values.field("text")
    assert flat.buffers()[2].address == whole.buffers()[2].address


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
