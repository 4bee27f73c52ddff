"""What `read: {input: ...}` makes of a place; whole sources on S3."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel.operators.source import detect, open_source
from cupel.operators.source.base import SourceError
from cupel.operators.source.folder import Folder
from cupel.operators.source.table import Table
from cupel.operators.source.webdataset import WebDataset
from cupel.schemas.recipe import Read


@pytest.mark.parametrize(
    ("names", "place", "expected"),
    [
        (["0.tar", "0.parquet", "0_stats.json"], "", WebDataset),
        (["0.parquet", "0_stats.json"], "", Table),
        (["x/0.parquet", "README.md"], "", Table),
        (["a.csv"], "", Table),
        (["a.jpg", "a.txt", "b/c.PNG"], "", Folder),
        (["a.jsonl", "b.jpg"], "/a.jsonl", Table),
        (["a.tar", "b.jpg"], "/*.tar", WebDataset),
        (["a.tar", "b.jpg"], "", "1 files for `folder` and 1 files for `webdataset`; give the"),
        (["a.parquet", "b.jpg"], "", "say which"),
        (["a.md", "b"], "", "nothing to read in .*: it holds .md, b; these are read: .tar, .parquet"),
        ([".a.jpg"], "", "no files in"),
        (["a.md"], "/a.md", "neither its name nor its first bytes"),
    ],
)
def test_what_is_there(tmp_path, names, place, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"xyz")
    if isinstance(expected, str):
        with pytest.raises(SourceError, match=expected):
            open_source(Read(input=f"{tmp_path}{place}"))
    else:
        assert type(open_source(Read(input=f"{tmp_path}{place}"))) is expected


def test_told_by_their_first_bytes(tmp_path, read_all):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "p")
    for name, data in (("j", '{"text": "a"}'), ("c", "text,n\na,1"), ("t", "text\tn\na\t1")):
        (tmp_path / name).write_text(data)
    for name in "pjct":
        assert detect(str(tmp_path / name)) == "table"
        assert read_all(table=str(tmp_path / name)).column("text") == ["a"]


def test_relative_places_are_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("text\na\n")
    monkeypatch.chdir(tmp_path)
    assert open_source(Read(table="a.csv", root=".")).files() == [str(tmp_path / "a.csv")]


def test_tables_of_two_formats_or_packed(tmp_path):
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(SourceError, match="holds csv and jsonl files; say which"):
        open_source(Read(table=str(tmp_path))).files()
    (tmp_path / "c.csv.gz").write_text("")
    with pytest.raises(SourceError, match=r"c.csv.gz: compressed tables cannot be read in parts; unpack them first"):
        open_source(Read(table=f"{tmp_path}/*.gz")).files()
    with pytest.raises(SourceError, match=r"read.image names a column of a table"):
        open_source(Read(folder=str(tmp_path), image="x"))


def test_paths_relative_to_a_root(tmp_path, read_all, draw):
    (tmp_path / "tables").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(draw(0))
    rows = [{"file_name": name, "text": "t"} for name in ("a.jpg", "none.jpg", "../tables/a.jsonl", None)]
    (tmp_path / "tables/a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    whole = read_all(table=f"{tmp_path}/tables/a.jsonl", root=f"{tmp_path}/photos")
    assert whole.column("image") == [draw(0), "missing_file", "outside_root", None]
    assert whole.column("key") == ["a.jpg", "none.jpg", "../tables/a.jsonl", "a:3"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "tar", "folder"])
def test_on_s3_as_on_disk(tmp_path, s3, read_all, draw, kind):
    import tarfile

    (tmp_path / "in").mkdir()
    texts = [f"caption {i}" for i in range(300)]
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts, "jpg": [draw(i) for i in range(300)]}), tmp_path / "in/a.parquet")
    else:
        for i in range(0, 300, 1 if kind == "tar" else 10):
            (tmp_path / f"in/{i:03d}.jpg").write_bytes(draw(i))
            (tmp_path / f"in/{i:03d}.json").write_text(json.dumps({"caption": texts[i], "n": i}))
    if kind == "jsonl":
        lines = [json.dumps({"text": text, "file": f"{i:03d}.jpg"}) for i, text in enumerate(texts)]
        (tmp_path / "in/a.jsonl").write_text("\n".join(lines))
    if kind == "tar":
        with tarfile.open(tmp_path / "in/a.tar", "w") as tar:
            for file in sorted((tmp_path / "in").glob("*.j*")):
                tar.add(file, file.name)
    wanted = {"parquet": ("table", "*.parquet"), "jsonl": ("table", "*.jsonl"), "tar": ("webdataset", "*.tar")}
    place, pattern = wanted.get(kind, ("folder", ""))
    for file in (tmp_path / "in").iterdir():
        if kind != "tar" or file.suffix == ".tar":
            s3.put_object(Bucket="corpus", Key=f"in/{file.name}", Body=file.read_bytes())
    local = read_all(256, **{place: f"{tmp_path}/in/{pattern}"})
    remote = read_all(256, **{place: f"s3://corpus/in/{pattern}"})
    assert remote.rows == local.rows
    assert remote.schema == local.schema
    assert [scan.digest for scan in remote.scans] == [scan.digest for scan in local.scans]
    assert {type(image) for image in local.column("image")} <= {bytes, str}
