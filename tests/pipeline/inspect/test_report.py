"""report.html: what it says, what it holds back, how large it gets. (In a browser: test_browser_report.py.)"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawing import encoded, write_folder
from inspected import BLOCKED, HOSTILE, UNSAFE
from markupsafe import escape
from PIL import Image

from cupel import Recipe, run
from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.pictures.gallery import Gallery, named
from cupel.pipeline.inspect.report.report import brief, render_report, write_report
from cupel.schemas.summary import Example

LIMIT_BYTES = 5_000_000


class Read(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._in_style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text.append(data)

    def of(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def drawn_report(drawn_corpus) -> str:
    return render_report(open_cut(str(drawn_corpus)))


def copied(corpus: Path, to: Path) -> Path:
    """A corpus of one's own, to be damaged; its latest cut's folder."""
    shutil.copytree(corpus, to)
    (cut,) = (to / "cuts").glob("drawn-*")
    return cut


def example_of(corpus: Path, name: str) -> Example:
    """The row of an image file."""
    (cut,) = (corpus / "cuts").glob("drawn-*")
    rows = pq.read_table(cut / "files.parquet").column("path").to_pylist()
    for path in (path for path in rows if path.startswith(("kept/", "dropped/"))):
        table = pq.read_table(cut / path)
        for row, key in zip(table.column("row").to_pylist(), table.column("key").to_pylist(), strict=True):
            if key.endswith(name):
                return Example(space=0, shard=int(Path(path).stem), row=row)
    raise AssertionError(f"no {name}")


def test_nothing_in_it_acts_or_leads_elsewhere(drawn_report):
    page = Read(drawn_report)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "form", "base", "image", "use"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert all(source.startswith("data:image/webp;base64,") for source in page.of("src"))
    assert page.of("src"), "it has pictures"
    ids = page.of("id")
    assert len(ids) == len(set(ids))
    assert {link for link in page.of("href") if not link.startswith("#")} == set()
    assert {link[1:] for link in page.of("href")} <= set(ids), "every link leads somewhere"
    (policy,) = [value for value in page.of("content") if "default-src" in value]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    assert not re.search(
        r"url\((?!#hatch-)|@import|https?://", "".join(re.findall(r"<style>.*?</style>", drawn_report, re.S))
    )


def test_words_of_strangers_are_text(drawn_report):
    page = Read(drawn_report)
    shown = [text for text in HOSTILE if " ".join(text.split())[:40] in page.words]
    assert len(shown) >= 2
    assert "\u202e" not in drawn_report and "[U+202E]" in drawn_report
    assert "a" * 400 not in drawn_report, "long captions are cut"


def test_it_says_what_the_manifest_says(drawn_corpus, drawn_report):
    manifest, words = open_cut(str(drawn_corpus)).manifest, Read(drawn_report).words
    assert (
        f"{manifest.rows_in} rows in: {manifest.kept} kept ({manifest.kept / manifest.rows_in:.1%}".replace("%", " %")
        in words
    )
    for line in manifest.steps:
        for rule, rows in line.rules.items():
            column, text = rule.split(" ", 1)
            assert re.search(rf"{re.escape(column)} {re.escape(text)} .{{0,40}}\b{rows}\b", words) or not rows, rule
    assert all(f"{kind} " in words for kind in manifest.errors)


def test_the_same_cut_gives_the_same_bytes(drawn_corpus, drawn_report):
    assert render_report(open_cut(str(drawn_corpus))) == drawn_report


def test_it_is_written_into_the_cut_in_place_of_an_older_one(drawn_corpus, tmp_path, drawn_report):
    cut = copied(drawn_corpus, tmp_path / "c")
    (cut / "report.html").write_text("old")
    assert write_report(str(tmp_path / "c")) == str(cut / "report.html") == write_report(str(cut))
    assert (cut / "report.html").read_text() == drawn_report


def test_unsafe_pictures_are_a_few_pixels_and_blocked_ones_none(drawn_corpus):
    unsafe, blocked = (example_of(drawn_corpus, f"p{i:04d}.jpg") for i in (UNSAFE, BLOCKED))
    other = example_of(drawn_corpus, "p0013.jpg")
    gallery = Gallery(open_cut(str(drawn_corpus)), [unsafe, blocked, other])
    gallery.hang(100_000)
    sizes = {}
    for example in (unsafe, other):
        data = base64.b64decode(gallery(example).picture.removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            sizes[example.row] = max(image.size)
    assert sizes[unsafe.row] <= 8 and gallery(unsafe).blurred
    assert sizes[other.row] > 100 and not gallery(other).blurred
    assert gallery(blocked).picture is None and gallery(blocked).no_picture == "on a blocklist: never shown"


def test_a_cut_without_a_summary_tells_its_counts(drawn_corpus, tmp_path):
    cut = copied(drawn_corpus, tmp_path / "c")
    (cut / "summary.json").unlink()
    words = Read(render_report(open_cut(str(tmp_path / "c")))).words
    assert "This cut has no summary" in words and "58 rows in: 40 kept" in words and "truncated" in words


def test_an_incomplete_cut_says_so(drawn_corpus, tmp_path):
    cut = copied(drawn_corpus, tmp_path / "c")
    manifest = json.loads((cut / "manifest.json").read_text())
    manifest["unreadable"] = {"/in/<b>bad</b>.tar": "cut off"}
    (cut / "manifest.json").write_text(json.dumps(manifest))
    words = Read(render_report(open_cut(str(tmp_path / "c")))).words
    assert "This cut is incomplete" in words and "/in/<b>bad</b>.tar : cut off" in words


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("gone", ["images", "all"])
def test_where_the_input_is_gone_it_says_so(tmp_path, gone):
    write_folder(tmp_path / "in", 6)
    steps = ["image.size", {"keep": {"width_px": {"min": 1}}}, "text.length", {"keep": {"words": {"min": 9}}}]
    run(Recipe(name="r", steps=steps), tmp_path / "in", out=tmp_path / "c")
    for file in (tmp_path / "in").glob("*.jpg" if gone == "images" else "*"):
        file.unlink()
    words = Read(render_report(open_cut(str(tmp_path / "c")))).words
    assert "cannot be read any more" in words and "00000000:" in words


def write_noise(folder: Path, rows: int, columns: int) -> Path:
    """Pictures that no encoder makes small, captions without end, many numbers, of which each drops six rows."""
    random, lines = np.random.default_rng(3), []
    (folder / "images").mkdir(parents=True)
    for i in range(rows):
        noise = Image.fromarray(random.integers(0, 256, (200, 200, 3), dtype=np.uint8))
        (folder / "images" / f"{i}.jpg").write_bytes(encoded(noise, quality=80))
        scores = random.uniform(0.1, 0.9, columns)
        scores[i % columns] = 0.01 if i < 5 * columns else 0.995 if i < 6 * columns else 0.5
        numbers = {f"score_with_a_long_name_{k}": float(score) for k, score in enumerate(scores)}
        words = {"key": f"{i}" * 100, "image": f"images/{i}.jpg", "text": "<b>\u202e& 語" * 200}
        lines.append(json.dumps(words | numbers) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines))
    return folder / "rows.jsonl"


@pytest.mark.usefixtures("ray_session")
def test_forty_rules_and_captions_without_end_stay_below_the_limit(tmp_path):
    columns = 40
    table = write_noise(tmp_path / "in", 320, columns)
    steps = [{"keep": {f"score_with_a_long_name_{i}": {"min": 0.02, "max": 0.99}}} for i in range(columns)]
    names = [f"{'n' * 60}{i}" for i in range(500)]
    steps += ["text.characters", {"keep": {"text": {"not_in": names}}}]
    result = run(Recipe(name="r" * 80, steps=steps), table, out=tmp_path / "c")
    assert [line.dropped for line in result.steps[:columns]] == [6] * columns
    report = render_report(open_cut(result.cut))
    assert 4_500_000 < len(report.encode()) < LIMIT_BYTES
    assert Read(report).words.count("left out, so that the report stays small") > 20, "the budget was spent"
    bounds = re.findall(r'id="bound-\d+-0".*?</article>', report, re.S)[:columns]
    assert len(bounds) == columns
    assert all("data:image" in bound for bound in bounds), "none without a picture before all have some"


def test_documents_are_shown_in_reading_order(documents_corpus):
    opened = open_cut(str(documents_corpus))
    gallery = Gallery(opened, [], opened.summary.kept)
    gallery.hang(10_000_000)
    curated = [pq.read_table(path).to_pylist() for path in (Path(opened.uri) / "curated").glob("*.parquet")]
    whole = [[node["text"] for node in row["nodes"]] for table in curated for row in table]
    seen = 0
    for node in opened.summary.kept:
        excerpt = [gallery(each) for each in gallery.excerpt(node)]
        texts = [shown.words if shown.kind == "text" else None for shown in excerpt]
        assert any(texts == document[: len(texts)] for document in whole)
        assert all(shown.picture for shown in excerpt if shown.kind == "image")
        seen += len(texts)
    assert seen > 20
    report = render_report(opened)
    assert "Documents that stayed" in report and f"in {opened.manifest.documents} documents" in report


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("short", "short"),
        ("a" * 11, "a" * 10 + "…"),
        ("語" * 10, "語" * 10),
        ("\u202e" * 10, "[U+202E][U+202E][U+202E][U+202…"),
        ("&" * 10, "&" * 6 + "…"),
        ("", ""),
    ],
)
def test_a_text_takes_up_a_bounded_room(text, told):
    assert brief(text, 10) == told
    assert len(escape(told).encode()) <= 3 * 10 + len("…".encode())


@pytest.mark.parametrize(("name", "row"), [("00000003:17", (3, 17)), ("../x", None), ("3:1", None), ("", None)])
def test_rows_are_named(name, row):
    found = named(name, 1)
    assert (found and (found.shard, found.row)) == row
