"""Parquet in all the shapes that people have."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupel.operators.source.base import ShardError, SourceError

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CAPTIONS = st.lists(st.none() | st.lists(st.none() | st.text("aé ", max_size=3), max_size=3), min_size=1, max_size=40)


def write(path, columns, **how):
    pq.write_table(pa.table(columns), path, **how)
    return str(path)


@SLOW
@given(CAPTIONS, st.sampled_from([3, 100, 256, 300, 700]), st.integers(100, 900), st.booleans())
def test_any_cut_gives_the_same_rows(tmp_path, read_all, captions, group_rows, shard_rows, checksums):
    captions = (captions * 700)[:700]
    images = [None if i % 7 == 0 else b"%d" % i * 50 for i in range(700)]
    columns = {"jpg": images, "caption": pa.array(captions, pa.list_(pa.string())), "n": range(700)}
    file = write(tmp_path / "a.parquet", columns, row_group_size=group_rows, write_page_checksum=checksums)
    whole = read_all(shard_rows, table=file)
    expected = [(i, text) for i, texts in enumerate(captions) for text in (texts or [None])]
    assert [(row["n"], row["text"], row["image"]) for row in whole.rows] == [(i, t, images[i]) for i, t in expected]
    assert whole.column("key") == [f"a:{i}" for i, _ in expected]


def test_what_img2dataset_writes(tmp_path, read_all, draw):
    images = [draw(i) if i % 5 else None for i in range(450)]
    columns = {
        "caption": [f"text {i}" for i in range(450)],
        "url": [f"http://x/{i}" for i in range(450)],
        "key": [f"{i:09d}" for i in range(450)],
        "status": ["success" if image else "failed_to_download" for image in images],
        "width": pa.array([8 if image else None for image in images], pa.int32()),
        "exif": pa.array([None] * 450, pa.null()),
        "jpg": images,
    }
    write(tmp_path / "00000.parquet", columns, row_group_size=100)
    (tmp_path / "00000_stats.json").write_text("{}")
    whole = read_all(100, input=str(tmp_path))
    assert whole.schema.names == ["key", "text", "image_url", "image", "status", "width", "exif"]
    assert whole.column("image") == images
    assert whole.column("key") == columns["key"]
    assert whole.column("width") == columns["width"].to_pylist()
    assert [shard.rows for shard in whole.shards] == [100, 100, 100, 100, 50]


def test_hugging_face_images(tmp_path, read_all, draw):
    (tmp_path / "1.jpg").write_bytes(draw(1))
    images = [
        {"bytes": draw(0), "path": "0.jpg"},
        {"bytes": None, "path": "1.jpg"},
        None,
        {"bytes": None, "path": None},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    file = write(tmp_path / "a.parquet", {"image": pa.array(images, kind), "text": list("abcd")})
    whole = read_all(table=file)
    assert whole.column("image") == [draw(0), draw(1), None, None]
    assert whole.column("key") == ["0.jpg", "1.jpg", "a:2", "a:3"]


def test_real_alt_texts(shared_data, read_all):
    file = shared_data / "url_lists" / "laion-sample" / "test_10000.parquet"
    whole = read_all(1000, table=str(file))
    table = pq.read_table(file)
    urls, texts = table.column("URL").to_pylist(), table.column("TEXT").to_pylist()
    assert whole.schema.names[:3] == ["key", "text", "image_url"]
    assert (whole.column("image_url"), whole.column("text")) == (urls, texts)
    expected = [
        hashlib.blake2b(f"{u}\n{t or ''}".encode(), digest_size=16).hexdigest()
        for u, t in zip(urls, texts, strict=True)
    ]
    assert whole.column("key") == expected
    assert read_all(1000, columns=["key"], table=str(file)).column("key") == expected


def test_all_kinds_of_columns_travel(tmp_path, read_all):
    columns = {
        "id": pa.array([1, 2]),
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "scores": pa.array([[0.5], None]),
        "meta": pa.array([{"a": {"b": 1}}, {"a": None}]),
        "kind": pa.array(["x", None]).dictionary_encode(),
        "when": pa.array([1, 2], pa.timestamp("ms", "UTC")),
        "tags": pa.array([["p"], []], pa.large_list(pa.string())),
        "title": pa.array(["s", "t"], pa.large_string()),
    }
    whole = read_all(table=write(tmp_path / "a.parquet", columns))
    assert whole.schema.names == ["key", "text", "scores", "meta", "kind", "when", "tags", "title"]
    assert str(whole.schema.field("kind").type) == "string"
    for name in columns.keys() - {"id"}:
        assert whole.column(name) == columns[name].to_pylist()
    assert whole.column("key") == ["1", "2"]


def test_bad_utf8_is_an_error_of_its_row(tmp_path, read_all):
    bad = b"caf\xe9"
    tags = pa.array([b"p", bad, *[b"q"] * 4] * 300).view(pa.string())
    columns = {
        "text": pa.array([b"a", bad, None] * 300).view(pa.string()),
        "note": pa.array([bad, b"n", b"n"] * 300).view(pa.string()),
        "tags": pa.ListArray.from_arrays(pa.array(range(0, 1801, 2), pa.int32()), tags),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", use_dictionary=False)
    whole = read_all(table=str(tmp_path / "a.parquet"))
    assert whole.column("text") == ["a", None, None] * 300
    assert whole.column("note") == [None, "n", "n"] * 300
    assert whole.column("tags") == [None, ["q", "q"], ["q", "q"]] * 300
    assert sorted(whole.errors) == sorted(
        [(i, "text", "invalid_utf8") for i in range(1, 900, 3)]
        + [(i, name, "invalid_utf8") for i in range(0, 900, 3) for name in ("note", "tags")]
    )


def test_bad_utf8_in_one_of_several_captions(tmp_path, read_all):
    flat = pa.array([b"a", b"\xff", b"b"]).view(pa.string())
    text = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), flat)
    pq.write_table(pa.table({"captions": text}), tmp_path / "a.parquet", use_dictionary=False)
    whole = read_all(table=str(tmp_path / "a.parquet"))
    assert whole.column("text") == ["a", None, "b"]
    assert whole.errors == [(1, "text", "invalid_utf8")]


@pytest.mark.parametrize("group_rows", [50, 2000])
def test_images_in_any_order(tmp_path, read_all, group_rows):
    images = [b"%d" % i * 3000 for i in range(2000)]
    file = write(tmp_path / "a.parquet", {"png": images, "text": ["t"] * 2000}, row_group_size=group_rows)
    whole = read_all(700, images=False, table=file)
    order = np.random.default_rng(0)
    for shard in whole.shards:
        for rows in whole.source.rows(shard, whole.schema, []):
            first = shard.start + rows.first
            for slots in (order.permutation(rows.slots)[:40], np.sort(order.choice(rows.slots, 5)), rows.slots[:3]):
                at = [first + rows.slots.tolist().index(slot) for slot in slots.tolist()]
                assert rows.images.load(slots.tolist()) == [images[i] for i in at]


def test_batches_are_bounded(tmp_path, read_all, monkeypatch):
    monkeypatch.setattr("cupel.operators.source.parquet.BATCH_BYTES", 1 << 20)
    monkeypatch.setattr("cupel.operators.source.shape.BATCH_BYTES", 1 << 20)
    texts = [str(i) * 5000 if i % 50 else [str(i)] * 3 for i in range(1000)]
    texts = [text if isinstance(text, list) else [text] for text in texts]
    file = write(tmp_path / "a.parquet", {"text": pa.array(texts), "x": ["x" * 1000] * 1000})
    whole = read_all(5000, images=False, table=file)
    assert whole.column("text") == [text for some in texts for text in some]
    (shard,) = whole.shards
    sizes = [rows.table.nbytes for rows in whole.source.rows(shard, whole.schema, ["text", "x"])]
    assert max(sizes) < 3 << 20
    assert len(sizes) > 8


def test_a_flipped_bit_is_found(tmp_path, read_all, draw):
    images = [draw(i, side=64) for i in range(40)]
    columns = {"jpg": images, "text": ["t"] * 40}
    file = tmp_path / "a.parquet"
    write(file, columns, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(file.read_bytes())
    data[data.index(images[20]) + 100] ^= 1
    file.write_bytes(data)
    whole = read_all(images=False, table=str(file))
    assert whole.column("text") == ["t"] * 40
    rows = next(whole.source.rows(whole.shards[0], whole.schema, ["text"]))
    with pytest.raises(ShardError, match="CRC"):
        rows.images.load([0])


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: b"", lambda data: b"PAR1"])
def test_damaged_files_are_refused(tmp_path, read_all, damage):
    file = tmp_path / "a.parquet"
    write(file, {"text": ["a"] * 100})
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ShardError) as caught:
        read_all(table=str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "read", "words"),
    [
        ({"text": ["a"], "u": pa.array([b"1" * 16], pa.uuid())}, {}, "'u' has the extension type"),
        ({"a": ["x"], "b": [1]}, {}, "'a', 'b'; name them"),
        ({"text": [1]}, {}, "int64, not strings"),
        ({"text": ["a"], "image": [1]}, {}, "drop: \\[image\\]"),
        ({"text": ["a"], "picture": [1]}, {"image": "picture"}, "holds int64; it must hold bytes"),
        ({"text": ["a"], "caption": ["b"]}, {"text": "caption"}, "the text is taken from 'caption'"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, read_all, columns, read, words):
    file = write(tmp_path / "a.parquet", columns)
    with pytest.raises(SourceError, match=words):
        read_all(table=file, **read)


def test_dropping_what_is_in_the_way(tmp_path, read_all):
    file = write(tmp_path / "a.parquet", {"text": ["a"], "image": [1], "u": pa.array([b"1" * 16], pa.uuid())})
    assert read_all(table=file, drop=("image", "u")).rows == [{"key": "a:0", "text": "a", "image": None}]


def test_columns_named_alike_are_refused(tmp_path, read_all):
    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), tmp_path / "a.parquet"
    )
    with pytest.raises(SourceError, match="more than one column is called 'text'"):
        read_all(table=str(tmp_path / "a.parquet"))


def test_files_with_other_columns_give_nulls(tmp_path, read_all):
    write(tmp_path / "a.parquet", {"caption": ["a"], "n": [1], "note": ["x"]})
    write(tmp_path / "b.parquet", {"text": ["b"], "n": [0.5], "caption": ["extra"]})
    whole = read_all(table=str(tmp_path))
    assert whole.schema.names == ["key", "text", "n", "note", "caption"]
    assert [tuple(row.values())[1:5] for row in whole.rows] == [("a", 1.0, "x", None), ("b", 0.5, None, "extra")]
