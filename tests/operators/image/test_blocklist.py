from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cupel import Recipe, RecipeError, run
from cupel.operators.base import Batch
from cupel.operators.decode import RowError
from cupel.operators.image import _digest_lists
from cupel.operators.image.blocklist import Blocklist
from cupel.operators.images import ImageStore

ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
IMAGES = [b"first", b"second", b"third\0", b"", b"\0"]


def digest(data: bytes, algorithm: str = "md5") -> str:
    return hashlib.new(algorithm, data).hexdigest()


def write(path: Path, *lines: str, end: str = "\n") -> str:
    path.write_bytes(end.join([*lines, ""]).encode())
    return str(path)


def blocked_by(*lists: str, images: list[bytes | RowError] = IMAGES, **parameters: object) -> list[str | None]:
    batch = Batch(pa.table({"row": range(len(images))}), ImageStore(dict(enumerate(images))))
    found = Blocklist(lists=lists, **parameters)(batch)
    by = found["blocked_by"].to_pylist()
    checked = [row not in batch.failures for row in range(len(images))]
    assert found["blocked"].to_pylist() == [
        name is not None if ok else None for name, ok in zip(by, checked, strict=True)
    ]
    return by


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("wanted", range(len(IMAGES)))
def test_each_kind_of_digest(tmp_path, algorithm, wanted):
    name = write(tmp_path / "a.txt", digest(b"other", algorithm), digest(IMAGES[wanted], algorithm))
    assert blocked_by(name) == [f"a.txt ({algorithm})" if row == wanted else None for row in range(len(IMAGES))]


def test_the_first_list_that_holds_it_is_named(tmp_path):
    one = write(tmp_path / "one.txt", digest(b"first"), digest(b"second", "sha1"))
    two = write(tmp_path / "two.txt", digest(b"first", "sha512"), digest(b"third\0"), digest(b"second"))
    expected = ["one.txt (md5)", "one.txt (sha1)", "two.txt (md5)", None, None]
    assert blocked_by(one, two) == expected
    assert blocked_by(two, one) == ["two.txt (sha512)", "two.txt (md5)", "two.txt (md5)", None, None]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize(
    "line",
    ["{}", "  {}\t", "{}  image name.jpg", "{} *binary.jpg", "{},2021-01-01,category", "{};x", "\ufeff{}"],
)
def test_what_may_stand_around_a_digest(tmp_path, line, end):
    head = [] if line.startswith("\ufeff") else ["# MD5 of what is forbidden", "", "   # and a remark"]
    name = write(tmp_path / "a.txt", *head, line.format(digest(b"first").upper()), digest(b"second"), end=end)
    assert blocked_by(name) == ["a.txt (md5)", "a.txt (md5)", None, None, None]


def test_what_coreutils_write_is_a_list(tmp_path, shared_data):
    paths = sorted((shared_data / "neardup/pdq").rglob("*.jpg"))
    lines = subprocess.run(["sha256sum", *paths[::2]], capture_output=True, text=True, check=True).stdout.splitlines()
    images, listed = [path.read_bytes() for path in paths], {path.read_bytes() for path in paths[::2]}
    found = blocked_by(write(tmp_path / "sums", *lines), images=images)
    assert found == ["sums (sha256)" if image in listed else None for image in images]


@given(
    listed=st.sets(st.integers(0, 60)),
    asked=st.lists(st.integers(0, 60), max_size=20),
    kinds=st.lists(st.sampled_from(ALGORITHMS), min_size=61, max_size=61),
    notes=st.lists(st.sampled_from(["", " a note", "\n\n# remark"]), min_size=61, max_size=61),
    piece=st.integers(1, 400),
)
def test_a_list_is_a_set_however_it_is_cut(tmp_path_factory, listed, asked, kinds, notes, piece):
    name = tmp_path_factory.mktemp("list") / "a.txt"
    lines = [digest(str(i).encode(), kinds[i]) + notes[i] for i in sorted(listed)]
    name.write_text("\n".join([digest(b"not asked for"), *lines]))
    images = [str(i).encode() for i in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_digest_lists, "PIECE_BYTES", piece)
        assert blocked_by(str(name), images=images) == [f"a.txt ({kinds[i]})" if i in listed else None for i in asked]


def test_many_digests_with_the_same_beginning(tmp_path):
    wanted = bytes.fromhex(digest(b"first"))
    others = [wanted[:15] + bytes([last]) for last in range(256)]
    name = write(tmp_path / "a.txt", *(other.hex() for other in others if other != wanted))
    assert blocked_by(name)[0] is None
    assert blocked_by(write(tmp_path / "b.txt", *(other.hex() for other in others)))[0] == "b.txt (md5)"


def test_links_are_looked_up_without_images(tmp_path):
    links = ["https://example.org/a.jpg", "https://example.org/A.jpg", "https://example.org/ü", ""]
    name = write(tmp_path / "links.txt", digest(links[0].encode()), digest(links[2].encode(), "sha256"))
    operator = Blocklist(lists=(name,), column="image_url")
    assert operator.reads == ("image_url",)
    found = operator(Batch(pa.table({"image_url": links})))
    assert found["blocked"].to_pylist() == [True, False, True, False]
    assert found["blocked_by"].to_pylist() == ["links.txt (md5)", None, "links.txt (sha256)", None]


def test_a_row_that_cannot_be_checked_is_neither_blocked_nor_free(tmp_path):
    name = write(tmp_path / "a.txt", digest(b"first"))
    assert blocked_by(name, images=[RowError("missing_file", "gone"), b"first", b"<html>"]) == [
        None,
        "a.txt (md5)",
        None,
    ]


@pytest.mark.parametrize(
    "line",
    [
        *(digest(b"x")[:-1], digest(b"x") + "0", digest(b"x")[:-1] + "g", "md5,category", f",{digest(b'x')}", "0x12"),
        *("https://example.org/a.jpg", f'"{digest(b"x")}"', "x" * 5000, "日本", "\udcff"),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_a_malformed_line_is_told_with_its_number(tmp_path, line, before, monkeypatch):
    monkeypatch.setattr(_digest_lists, "PIECE_BYTES", 50)
    path = tmp_path / "a.txt"
    lines = [*(["# head", digest(b"x"), ""][:before]), line, digest(b"x")]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=rf"a\.txt:{before + 1}: '.*' does not begin with a digest of 32 \(md5\), 40"):
        _ = Blocklist(lists=(str(path),)).files


def test_what_is_no_list(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nothing would be blocked"):
        _ = Blocklist(lists=(write(tmp_path / "empty.txt", "# nothing yet"),)).files
    with pytest.raises(FileNotFoundError, match="gone"):
        _ = Blocklist(lists=(str(tmp_path / "gone.txt"),)).files
    with pytest.raises(ValidationError, match="lists"):
        Blocklist(lists=())
    monkeypatch.setattr(_digest_lists, "LINE_BYTES", 100)
    monkeypatch.setattr(_digest_lists, "PIECE_BYTES", 60)
    with pytest.raises(ValueError, match="a line of more than 100 bytes"):
        _ = Blocklist(lists=(write(tmp_path / "long.txt", "a" * 300),)).files


def test_a_list_that_changed_is_read_again(tmp_path):
    name = write(tmp_path / "a.txt", digest(b"first"))
    assert Blocklist(lists=(name,)).files == (Path(name),)
    write(Path(name), "no digest")
    os.utime(name, ns=(0, 1))
    with pytest.raises(ValueError, match=r"a.txt:1: 'no digest'"):
        _ = Blocklist(lists=(name,)).files


def test_digests_are_sorted_bytes(tmp_path):
    made = [digest(str(i).encode(), "sha1") for i in range(300)]
    found = _digest_lists.read_digests(Path(write(tmp_path / "a.txt", *made)))
    assert list(found) == ["sha1"]
    assert found["sha1"].dtype == np.dtype("S20")
    assert found["sha1"].tobytes().hex() == "".join(sorted(made))


@pytest.mark.usefixtures("ray_session")
def test_in_a_run(tmp_path):
    """A malformed list stops the run before it starts; a longer one is looked at again."""
    table = tmp_path / "t.jsonl"
    table.write_text(
        "".join(f'{{"text": "t", "image_url": "https://example.org/{i}"}}\n' for i in range(5)) + '{"text": "t"}\n'
    )
    lists = tmp_path / "links.txt"

    def kept(*lines: str) -> list[str]:
        write(lists, *lines)
        steps = [
            {"image.blocklist": {"lists": [str(lists)], "column": "image_url"}},
            {"keep": {"blocked": {"in": [False]}}},
        ]
        result = run(Recipe(name="r", steps=steps), table, out=tmp_path / "c")
        return [row["image_url"] for row in pa.parquet.read_table(f"{result.cut}/curated").to_pylist()]

    assert kept(digest(b"https://example.org/1")) == [f"https://example.org/{i}" for i in (0, 2, 3, 4)]
    more = kept(digest(b"https://example.org/1"), digest(b"https://example.org/4", "sha512"))
    assert more == [f"https://example.org/{i}" for i in (0, 2, 3)]
    with pytest.raises(RecipeError, match=r"links.txt:2: 'oops' does not begin with a digest"):
        kept(digest(b"x"), "oops")
