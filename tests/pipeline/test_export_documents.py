"""What other programs read, from documents made by hand: the schemas as OBELICS and MMC4 have published them."""

from __future__ import annotations

import copy
import gc
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from drawing import encoded, picture
from PIL import Image

from cupel.pipeline.export_documents import (
    OBELICS,
    add_samples,
    as_mmc4,
    as_obelics,
    check_documents,
    check_matched,
)
from cupel.pipeline.read import CorpusError

JPEG, PNG = encoded(picture(1), "JPEG"), encoded(picture(2), "PNG")
NODE = {
    "kind": "text",
    "text": None,
    "tag": "p",
    "image_url": None,
    "alt_text": None,
    "shown_width_px": None,
    "image": None,
    "width_px": None,
    "height_px": None,
    "image_format": None,
    "node_position": None,
    "matched_node": None,
    "matched_sentence": None,
    "matched_similarity": None,
    "similarities": None,
}


def text(position: int, words: str) -> dict[str, object]:
    return NODE | {"text": words, "node_position": position}


def image(
    position: int, url: str, data: bytes | None, node: int | None, sentence: int | None, similarity: float | None
):
    found = {"width_px": 240, "height_px": 220, "image_format": "jpeg"} if data else {}
    matched = {"matched_node": node, "matched_sentence": sentence, "matched_similarity": similarity}
    own = {"kind": "image", "tag": "img", "image_url": url, "image": data, "node_position": position}
    return NODE | own | found | matched


URL = "https://example.org/"
ROWS = [
    {
        "key": "k0",
        "page_url": URL,
        "warc_file": "a.warc.gz",
        "warc_offset": 17,
        "warc_length": 400,
        "nodes": [
            text(0, "One. Two."),
            text(1, "Three ☃"),
            image(2, URL + "a.jpg", JPEG, 0, 1, 0.5) | {"similarities": [[0.25, 0.5], [0.0]]},
            image(3, URL + "b.png", PNG, 1, 0, 0.25) | {"similarities": [[0.125, 0.5], [0.25]]},
            image(4, URL + "c.png", None, None, None, None),
        ],
        "score": float("nan"),
    },
    {
        "key": "k1",
        "page_url": None,
        "warc_file": None,
        "warc_offset": None,
        "warc_length": None,
        "nodes": [
            image(0, URL + "a.jpg", JPEG, 2, 0, 0.75) | {"alt_text": "a", "similarities": [[], [0.25, 0.5], [0.75]]},
            text(2, "Words"),
        ],
        "score": 0.5,
    },
]


def batch_of(rows: list[dict[str, object]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(copy.deepcopy(rows))


def test_obelics(tmp_path: Path):
    pq.write_table(pa.Table.from_batches([as_obelics(batch_of(ROWS))]), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["images", "metadata", "general_metadata", "texts"] == OBELICS.names
    first, second = table.to_pylist()
    assert first["texts"] == ["One. Two.\n\nThree ☃", None, None, None]
    assert first["images"] == [None, URL + "a.jpg", URL + "b.png", URL + "c.png"]
    about = json.loads(first["metadata"])
    assert about[0] is None
    assert about[1] == {
        "document_url": URL,
        "unformatted_src": URL + "a.jpg",
        "src": URL + "a.jpg",
        "original_width": 240,
        "original_height": 220,
        "format": "jpeg",
    }
    expected = {"url": URL, "warc_filename": "a.warc.gz", "warc_record_offset": 17, "warc_record_length": 400}
    assert json.loads(first["general_metadata"]) == expected
    assert json.loads(second["metadata"])[0]["alt_text"] == "a"
    for row in (first, second):
        lists = row["texts"], row["images"], json.loads(row["metadata"])
        for words, url, known in zip(*lists, strict=True):
            assert (words is None) != (url is None)
            assert (known is None) == (url is None)


def test_mmc4():
    first, second = as_mmc4(batch_of(ROWS))
    assert first.line.endswith(b"}\n")
    document = json.loads(first.line)
    assert document["text_list"] == ["One.", "Two.", "Three ☃"]
    assert document["could_have_url_duplicate"] == 0
    names = [info.pop("image_name") for info in document["image_info"]]
    assert [name.split(".")[1] for name in names] == ["jpg", "png"]
    assert document["image_info"] == [
        {"raw_url": URL + "a.jpg", "matched_text_index": 1, "matched_sim": 0.5},
        {"raw_url": URL + "b.png", "matched_text_index": 2, "matched_sim": 0.25},
    ]
    assert document["similarity_matrix"] == [[0.25, 0.5, 0.0], [0.125, 0.5, 0.25]]
    assert first.images == dict(zip(names, [JPEG, PNG], strict=True))
    assert (first.unmatched, second.unmatched) == (1, 0)
    document = json.loads(second.line)
    assert (document["url"], document["text_list"]) == (None, ["Words"])
    assert document["image_info"][0]["matched_text_index"] == 0, "the text stood third when it was matched"
    assert document["similarity_matrix"] == [[0.75]], "a text has gone since, and its sentences with it"


@pytest.mark.parametrize(
    ("changed", "matrix"),
    [
        ({}, [[0.25, 0.5, 0.0], [0.125, 0.5, 0.25]]),
        ({2: None}, [[0.125, 0.5, 0.25]]),
        ({4: None}, [[0.25, 0.5, 0.0], [0.125, 0.5, 0.25]]),
        ({1: None}, [[0.25, 0.5]]),
        ({0: None}, [[0.25]]),
        ({0: {"text": "One. Two. And one more."}}, None),
        ({2: {"similarities": None}}, None),
        ({2: {"similarities": [[0.25, 0.5]]}}, None),
        ({2: None, 3: None}, None),
    ],
)
def test_mmc4_has_the_similarities_of_what_is_left(changed, matrix):
    nodes = [
        node | (changed.get(i) or {}) for i, node in enumerate(ROWS[0]["nodes"]) if changed.get(i, True) is not None
    ]
    (found,) = as_mmc4(batch_of([ROWS[0] | {"nodes": nodes}]))
    document = json.loads(found.line)
    assert document.get("similarity_matrix") == matrix
    for info, row in zip(document["image_info"], matrix or (), strict=matrix is not None):
        assert row[info["matched_text_index"]] == info["matched_sim"]


def test_mmc4_with_paragraphs_and_with_a_text_that_has_gone():
    nodes = [text(0, "One. Two."), image(1, URL, JPEG, 0, None, 0.5), image(2, URL, PNG, 7, None, 0.5)]
    (found,) = as_mmc4(batch_of([ROWS[0] | {"nodes": nodes}]))
    document = json.loads(found.line)
    assert document["text_list"] == ["One. Two."]
    assert [info["matched_text_index"] for info in document["image_info"]] == [0]
    assert found.unmatched == 1


def test_mmc4_tells_faces_where_they_were_looked_for():
    nodes = [text(0, "A."), *(image(i, URL, JPEG, 0, 0, 0.5) | {"face_boxes": boxes} for i, boxes in
                              ((1, [[0.0, 0.0, 0.5, 0.5]]), (2, [])))]  # fmt: skip
    nodes[0]["face_boxes"] = None
    (found,) = as_mmc4(batch_of([ROWS[0] | {"nodes": nodes}]))
    faces = [info["face_detections"] for info in json.loads(found.line)["image_info"]]
    assert faces == [[[0.0, 0.0, 0.5, 0.5]], None]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_samples(tmp_path: Path):
    with tarfile.open(tmp_path / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        counts = add_samples(tar, batch_of(ROWS[:1]), "00000", 0)
        counts += add_samples(tar, batch_of(ROWS[1:]), "00000", 1)
    assert dict(counts) == {"rows": 2, "images": 4, "without_image": 1}
    first, second = webdataset.WebDataset(str(tmp_path / "00000.tar"), shardshuffle=False, empty_check=False)
    gc.collect()  # it leaves files open: the warnings belong to this test
    assert (first["__key__"], second["__key__"]) == ("00000-000000", "00000-000001")
    assert (first["0.jpg"], first["1.png"], second["0.jpg"]) == (JPEG, PNG, JPEG)
    about = json.loads(first["json"], parse_constant=pytest.fail)
    assert about["texts"] == ["One. Two.", "Three ☃", None, None, None]
    assert about["images"] == [None, None, "0.jpg", "1.png", None]
    assert (about["page_url"], about["score"], about["warc_offset"]) == (URL, None, 17)
    assert [node["kind"] for node in about["nodes"]] == ["text", "text", "image", "image", "image"]
    assert about["nodes"][2]["width_px"] == Image.open(io.BytesIO(first["0.jpg"])).width


def test_the_same_documents_give_the_same_bytes():
    def tar() -> bytes:
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as made:
            add_samples(made, batch_of(ROWS), "00000", 0)
        return held.getvalue()

    assert tar() == tar()
    assert [found.line for found in as_mmc4(batch_of(ROWS))] == [found.line for found in as_mmc4(batch_of(ROWS))]


def test_rows_that_cannot_be_exported_are_refused():
    plain = pa.schema([("key", pa.string()), ("text", pa.string())])
    with pytest.raises(CorpusError, match=r"page\.document"):
        check_documents(plain)
    check_documents(batch_of(ROWS).schema)
    check_matched(batch_of(ROWS).schema)
    bare = [{"kind": "text", "text": "a", "image_url": None}]
    with pytest.raises(CorpusError, match=r"document\.image_text_assignment"):
        check_matched(batch_of([{"key": "k", "nodes": bare}]).schema)
