"""JSONL, CSV and TSV."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupel.operators.source.base import ShardError, SourceError

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | ANY_TEXT
VALUES |= st.lists(st.integers(), max_size=2) | st.dictionaries(ANY_TEXT, st.integers(), max_size=2)


@SLOW
@given(
    st.lists(st.fixed_dictionaries({"text": st.none() | ANY_TEXT, "n": VALUES}), max_size=12),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.integers(1, 2000),
    st.booleans(),
)
def test_jsonl_reads_what_json_reads(tmp_path, read_all, records, newline, shard_rows, bom):
    records *= 60  # several marks
    lines = newline.join(json.dumps(record, ensure_ascii=False) for record in records)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" * bom + lines.encode())
    whole = read_all(shard_rows, table=str(tmp_path / "a.jsonl"))
    assert not whole.errors
    assert len(whole.rows) == len(records)
    if not records:
        return
    assert whole.column("text") == [record["text"] for record in records]
    assert whole.column("key") == [f"a:{i}" for i in range(len(records))]
    got, given_values = whole.column("n"), [record["n"] for record in records]
    if str(whole.schema.field("n").type) != "string":
        assert got == given_values
    else:
        assert got == [v if isinstance(v, str | None) else json.dumps(v, ensure_ascii=False) for v in given_values]


@SLOW
@given(
    st.lists(st.tuples(ANY_TEXT, st.none() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT), max_size=12),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 2000),
)
def test_csv_reads_what_was_written(tmp_path, read_all, pairs, format, newline, shard_rows):
    pairs *= 60
    buffer = io.StringIO()
    # Quotes around all strings: without them Python's writer leaves a lone carriage return bare.
    how = {"delimiter": {"csv": ",", "tsv": "\t"}[format], "lineterminator": newline}
    writer = csv.writer(buffer, **how, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([("caption", "x", "row"), *((text, x, i) for i, (text, x) in enumerate(pairs))])
    (tmp_path / f"a.{format}").write_bytes(buffer.getvalue().encode())
    if not pairs:
        return
    whole = read_all(shard_rows, table=str(tmp_path / f"a.{format}"))
    assert not whole.errors
    assert whole.column("text") == [text or None for text, _ in pairs]
    assert whole.column("row") == list(range(len(pairs)))
    kind = str(whole.schema.field("x").type)
    if kind == "string":
        assert whole.column("x") == [None if x is None or x == "" else str(x) for _, x in pairs]
    elif kind != "bool":
        as_kind = {"int64": int, "double": float}[kind]
        assert whole.column("x") == [None if x is None or x == "" else as_kind(x) for _, x in pairs]


def test_types_are_kept_apart(tmp_path, read_all):
    (tmp_path / "a.csv").write_text("text,article,price,sold,n\na,007,1.5,true,1\nb,8,2,False,\n")
    whole = read_all(table=str(tmp_path / "a.csv"))
    assert {f.name: str(f.type) for f in whole.schema if f.name not in ("key", "text")} == {
        "article": "string", "price": "double", "sold": "bool", "n": "int64",
    }  # fmt: skip
    assert whole.column("article") == ["007", "8"]
    assert whole.column("n") == [1, None]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_caption_of_a_megabyte(tmp_path, read_all, name):
    text = 'long, "quoted"\n' * 70_000
    line = json.dumps({"text": text}) if name == "a.jsonl" else "text\n" + '"' + text.replace('"', '""') + '"'
    (tmp_path / name).write_text(line + "\n")
    assert read_all(table=str(tmp_path / name)).column("text") == [text]


def test_bad_lines_of_jsonl_are_rows_with_errors(tmp_path, read_all):
    good = [b'{"text": "a", "n": 1}', b'{"text": "b", "n": 2}']
    bad = [b"{nonsense", b"[1]", b'"text"', b"[" * 100_000, b'{"text": "cut', b'{"\\ud800": 1}']
    odd = [b'{"text": "\\ud83d", "n": 3}', b'{"text": "\xff\xfe", "n": 4}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good[0], *bad, *odd, b"  ", good[1]]))
    whole = read_all(table=str(tmp_path / "a.jsonl"))
    assert whole.column("text") == ["a", *[None] * 8, "b"]
    assert whole.column("n") == [1, *[None] * 6, 3, 4, 2]
    assert whole.column("key") == [f"a:{i}" for i in range(10)]
    kinds = ["invalid_json"] * 5 + ["invalid_utf8"]
    assert sorted(e for e in whole.errors if e[1] == "n") == [(i, "n", kind) for i, kind in enumerate(kinds, 1)]
    assert sorted(e for e in whole.errors if e[1] == "text") == [
        (i, "text", kind) for i, kind in enumerate([*kinds, "invalid_utf8", "invalid_utf8"], 1)
    ]
    assert {column for _, column, _ in whole.errors} == {"text", "n", "image"}


def test_bad_lines_of_csv_are_rows_with_errors(tmp_path, read_all):
    lines = [
        b"text,n",
        b"a,1",
        b"too,many,fields",
        b"few",
        b'"x"y,2',
        b"\xff,3",
        b"",
        b"b,4",
        b'"never closed,5',
        b"c,6",
    ]
    (tmp_path / "a.csv").write_bytes(b"\r\n".join(lines))
    whole = read_all(table=str(tmp_path / "a.csv"))
    assert whole.column("text") == ["a", None, None, None, None, "b", None]
    assert whole.column("n") == [1, None, None, None, 3, 4, None]
    assert sorted(e for e in whole.errors if e[1] == "text") == [
        (1, "text", "invalid_row"), (2, "text", "invalid_row"), (3, "text", "invalid_row"),
        (4, "text", "invalid_utf8"), (6, "text", "invalid_row"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("a.csv", b"", ShardError, "empty"),
        ("a.csv", b"a,a\n1,2\n", ShardError, "'a'"),
        ("a.csv", b"\xff,b\n1,2\n", ShardError, "header"),
        ("a.csv", "text\nä\n".encode("utf-16"), ShardError, "iconv"),
        ("a.tsv", b"a dog on grass\thttp://x\na cat\thttp://y\n", SourceError, "name them"),
        ("a.jsonl", b'{"a": 1}\n', SourceError, "name them"),
        ("a.jsonl", b'{"captions": [{"en": "a"}]}\n', SourceError, "name them"),
        ("a.jsonl", b"".join(b'{"text": "a", "%d": 1}\n' % i for i in range(1001)), SourceError, "1000 columns"),
        ("a.csv", b"text,caption\na,b\n", None, "the text is taken from 'caption'; leave it out with `drop: [text]`"),
        ("a.jsonl", b'{"text": "a", "image": 5}\n', SourceError, "int64, not bytes, paths"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, read_all, name, data, error, words):
    (tmp_path / name).write_bytes(data)
    read = {} if error else {"text": "caption"}
    with pytest.raises(error or SourceError) as caught:
        read_all(table=str(tmp_path / name), **read)
    assert words.split("; ")[-1] in str(caught.value)
    assert all(part in str(caught.value) for part in words.split("; "))


def test_names_given_win_and_drops_are_left_out(tmp_path, read_all):
    (tmp_path / "a.csv").write_text("id,Caption,title,url,note\n7,a,b,http://x,n\n")
    whole = read_all(table=str(tmp_path / "a.csv"), text="title", drop=("note",))
    assert whole.rows == [{"key": "7", "text": "b", "image_url": "http://x", "Caption": "a", "image": None}]
    assert whole.schema.names == ["key", "text", "image_url", "Caption"]
    with pytest.raises(
        SourceError, match=r"no column 'titel' \(read.text\); did you mean 'title'\?; there are id, Cap"
    ):
        read_all(table=str(tmp_path / "a.csv"), text="titel")


def test_lists_of_captions_share_the_image(tmp_path, read_all, draw):
    image = draw(1)
    (tmp_path / "1.jpg").write_bytes(image)
    captions: list[object] = [["a", "b"], [], None, "c", ["d", None]]
    lines = [json.dumps({"captions": text, "image": "1.jpg", "tags": ["x"]}) for text in captions]
    (tmp_path / "a.jsonl").write_text("\n".join(lines * 200))
    whole = read_all(100, table=str(tmp_path / "a.jsonl"))
    assert whole.column("text") == ["a", "b", None, None, "c", "d", None] * 200
    assert whole.column("tags") == ['["x"]'] * 1400
    assert set(whole.column("image")) == {image}
    assert set(whole.column("key")) == {"1.jpg"}
    assert len(whole.shards) > 1


def test_openstax(shared_data, read_all):
    file = shared_data / "pairs" / "openstax" / "captions.jsonl"
    whole = read_all(500, table=str(file))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert whole.column("text") == [record["caption"] for record in records]
    assert whole.column("key") == [record["file"] for record in records]
    assert whole.column("width") == [record["width"] for record in records]
    assert all(
        row["image"] == (file.parent / record["file"]).read_bytes()
        for row, record in zip(whole.rows, records, strict=True)
    )


def test_coco_has_five_captions_an_image(shared_data, read_all):
    file = shared_data / "pairs" / "coco-mini" / "captions.jsonl"
    whole = read_all(table=str(file))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert whole.column("text") == [caption for record in records for caption in record["captions"]]
    assert len(whole.rows) == 505
    assert all(isinstance(image, bytes) for image in whole.column("image"))
    assert sum(shard.stop - shard.start for shard in whole.shards) == 101


@pytest.mark.parametrize("change", [b'{"text": "other!"}\n', b'{"text": "longer than before"}\n'])
def test_a_changed_file_is_refused(tmp_path, read_all, change):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "before"}\n')
    whole = read_all(table=str(file))
    file.write_bytes(change)
    with pytest.raises(ShardError, match="changed since it was scanned"):
        next(whole.source.rows(whole.shards[0], whole.schema, ["text"]))
    file.unlink()
    with pytest.raises(ShardError, match="gone"):
        next(whole.source.rows(whole.shards[0], whole.schema, ["text"]))
