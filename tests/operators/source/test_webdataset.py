"""WebDataset tars."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupel.operators.source.base import ShardError, SourceError

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def write_tar(path, members, format=tarfile.PAX_FORMAT):
    """(name, bytes) or TarInfo -> a tar at `path`."""
    with tarfile.open(path, "w", format=format) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return str(path)


@SLOW
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "jpg": st.binary(max_size=20),
                "txt": st.text("aé \n", max_size=5).map(str.encode),
                "json": st.dictionaries(st.sampled_from(["n", "url", "caption"]), st.sampled_from(["x", "y", None])),
                "cls": st.just(b"3"),
            },
        ),
        max_size=8,
    ),
    st.sampled_from(FORMATS),
    st.integers(1, 900),
)
def test_any_cut_gives_the_same_rows(tmp_path, read_all, samples, format, shard_rows):
    samples = [sample for sample in samples if sample.keys() - {"cls"}] * 70
    members = [
        (f"d{i % 3}/{i:04d}.{suffix}", json.dumps(data).encode() if suffix == "json" else data)
        for i, sample in enumerate(samples)
        for suffix, data in sample.items()
    ]
    whole = read_all(shard_rows, webdataset=write_tar(tmp_path / "a.tar", members, format))
    assert not whole.errors
    assert len(whole.rows) == len(samples)
    for i, (row, sample) in enumerate(zip(whole.rows, samples, strict=True)):
        record = sample.get("json", {})
        assert row["key"] == f"d{i % 3}/{i:04d}"
        assert row["image"] == sample.get("jpg")
        assert row.get("text") == (sample["txt"].decode().strip() if "txt" in sample else record.get("caption"))
        assert row.get("image_url") == record.get("url")
        assert row.get("n") == record.get("n")


def test_what_img2dataset_writes(tmp_path, read_all, draw):
    members = []
    for i in range(300):
        record = {
            "key": f"{i:09d}",
            "url": f"http://x/{i}",
            "caption": f"c{i}",
            "status": "success",
            "width": 8,
            "exif": "{}",
        }
        members += [
            (f"{i:09d}.jpg", draw(i)),
            (f"{i:09d}.json", json.dumps(record).encode()),
            (f"{i:09d}.txt", record["caption"].encode()),
        ]
    write_tar(tmp_path / "00000.tar", members)
    for other in ("00000.parquet", "00000_stats.json"):
        (tmp_path / other).write_bytes(b"not looked at")
    whole = read_all(256, input=str(tmp_path))
    assert whole.schema.names == ["key", "text", "image_url", "image", "status", "width", "exif"]
    assert whole.column("text") == [f"c{i}" for i in range(300)]
    assert whole.column("image") == [draw(i) for i in range(300)]
    assert whole.column("width") == [8] * 300
    assert [len(shard.members) for shard in whole.shards] == [256, 44]


def test_lists_of_captions_in_json(tmp_path, read_all, draw):
    members = []
    for i in range(300):
        members += [
            (f"{i}.png", draw(i, "PNG")),
            (f"{i}.json", json.dumps({"caption": ["a", "b"] if i % 2 else []}).encode()),
        ]
    members += [("t.txt", b" from the file \n"), ("t.json", b'{"caption": ["c", "d"]}')]
    whole = read_all(100, webdataset=write_tar(tmp_path / "a.tar", members))
    assert whole.column("text") == [None, "a", "b"] * 150 + ["from the file"]
    named = read_all(100, webdataset=str(tmp_path / "a.tar"), text="caption")
    assert named.column("text") == [None, "a", "b"] * 150 + ["c", "d"]


def test_bad_texts_are_errors_of_their_rows(tmp_path, read_all, monkeypatch):
    monkeypatch.setattr("cupel.operators.source.samples.MAX_TEXT_BYTES", 1000)
    members = [
        ("a.txt", b"good"), ("a.json", b'{"n": 1}'),
        ("b.txt", b"caf\xe9"), ("b.json", b"{broken"),
        ("c.txt", b"x" * 2000), ("c.json", b"[1]"),
        ("d.json", b'{"caption": "\\ud83d", "n": 2}'),
    ]  # fmt: skip
    whole = read_all(webdataset=write_tar(tmp_path / "a.tar", members))
    assert whole.column("text") == ["good", None, None, None]
    assert whole.column("n") == [1, None, None, 2]
    assert whole.column("key") == list("abcd")
    assert sorted(whole.errors) == [
        (1, "n", "invalid_json"), (1, "text", "invalid_utf8"),
        (2, "n", "invalid_json"), (2, "text", "too_large"), (3, "text", "invalid_utf8"),
    ]  # fmt: skip


def test_images_that_are_too_large(tmp_path, read_all, monkeypatch):
    monkeypatch.setattr("cupel.operators.source.images.MAX_IMAGE_BYTES", 1000)
    file = write_tar(tmp_path / "a.tar", [("a.jpg", b"x" * 1001), ("b.jpg", b"y" * 1000), ("c.jpg", b"")])
    assert read_all(webdataset=file).column("image") == ["too_large", b"y" * 1000, b""]


def test_hostile_and_odd_members(tmp_path, read_all):
    def special(name, type, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type, target
        return info

    members = [
        ("../../etc/up.jpg", b"1"), ("/abs/olute.jpg", b"2"), ("._a.jpg", b"skip"), ("d.v1/b.jpg", b"3"),
        special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), special("dev.jpg", tarfile.CHRTYPE),
        special("hard.jpg", tarfile.LNKTYPE, "d.v1/b.jpg"), special("dir.jpg", tarfile.DIRTYPE),
        ("n" * 300 + ".jpg", b"4"), ("é\u4e2d.WEBP", b"5"), ("e.jpeg", b"6"), ("e.jpg", b"7"), ("e.npy", b""),
        ("e.jpg", b"8"), ("readme", b""),
    ]  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    whole = read_all(webdataset=write_tar(tmp_path / "a.tar", members))
    assert whole.column("image") == [b"1", b"2", b"3", b"4", b"5", b"7", b"8"]
    assert whole.column("key") == ["../../etc/up", "/abs/olute", "d.v1/b", "n" * 300, "é\u4e2d", "e", "e"]
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "a.tar"]


def damaged():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(10):
            info = tarfile.TarInfo(f"{i}.jpg")
            info.size = 700
            tar.addfile(info, io.BytesIO(b"x" * 700))
    data = buffer.getvalue()
    member = 512 + 1024
    pax = tarfile.TarInfo("x")
    pax.type, pax.size = tarfile.XHDTYPE, 8 << 30
    negative = bytearray(tarfile.TarInfo("x.jpg").tobuf())
    negative[124:136] = b"\xff" * 11 + b"\x00"
    negative[148:156] = b"%06o\0 " % (256 + sum(negative[:148]) + sum(negative[156:]))
    return [
        (data[: 5 * member + 600], 4, "cut in a member"),
        (data[: 5 * member + 100], 4, "cut in a header"),
        (data[: 5 * member], 4, "cut between members"),
        (data[: 5 * member] + b"garbage!" * 64 + data[5 * member + 512 :], 4, "no header"),
        (data + data, 9, "two tars in a row"),
        (data[: 3 * member] + pax.tobuf() + data[3 * member :], 2, "a header of 8 GiB"),
        (data[: 3 * member] + bytes(negative) + data[3 * member :], 2, "a negative size"),
        (b"", 0, "empty"),
        (b"\x1f\x8b" + b"\0" * 2000, None, "compressed"),
    ]


@pytest.mark.parametrize(
    ("data", "samples", "what"), damaged(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_damaged_tars_are_refused(tmp_path, read_all, data, samples, what):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ShardError) as caught:
        read_all(webdataset=str(tmp_path / "a.tar"))
    assert "a.tar" in str(caught.value)
    said = "unpack it first" if samples is None else "samples could be read before"
    assert said in str(caught.value), what
    if samples is not None:
        assert any(f"; {n} samples" in str(caught.value) for n in (samples, samples + 1)), what


def test_names_that_make_no_samples(tmp_path, read_all):
    file = write_tar(tmp_path / "a.tar", [("x.v1.jpg", b"1"), ("y.npy", b"2")])
    with pytest.raises(ShardError, match=r"2 members, such as 'y.npy', but no sample"):
        read_all(webdataset=file)


def test_compressed_tars_are_refused(tmp_path, read_all):
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="unpack them first"):
        read_all(webdataset=str(tmp_path / "*.tar.gz"))
    with pytest.raises(SourceError, match="unpack them first"):
        read_all(input=str(tmp_path))


def test_texts_are_not_read_when_nobody_asks(tmp_path, read_all, draw):
    members = [(f"{i}.{suffix}", data) for i in range(9) for suffix, data in (("jpg", draw(i)), ("json", b'{"n": 1}'))]
    whole = read_all(columns=["key"], webdataset=write_tar(tmp_path / "a.tar", members))
    assert whole.column("key") == [str(i) for i in range(9)]
    assert read_all(columns=[], webdataset=str(tmp_path / "a.tar")).column("image") == [draw(i) for i in range(9)]
