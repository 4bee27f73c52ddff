"""Document recipes: each bound of OBELICS and MMC4 at its edge with values reckoned by hand, then whole runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import encoded, picture
from in_parts import found_by
from PIL import Image
from pydantic import TypeAdapter
from recipe_files import write_recipe_files

from cupel import Recipe, run
from cupel.operators import registry
from cupel.operators.base import Batch, CorpusOperator, DocumentOperator, Operator
from cupel.operators.images import ImageStore
from cupel.pipeline.columns import columns_of
from cupel.pipeline.export_documents import as_mmc4, as_obelics
from cupel.pipeline.funnel import Funnel
from cupel.pipeline.recipe_file import load_recipe
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.recipe import Bound, Keep, Step

SMALL = ("model", "pretrained", "path")  # of models, which a single bound is tried without


def rule(recipe: str, column: str) -> tuple[Operator, str, Bound]:
    """The step of a recipe that adds a column, the column's own name there, and what the recipe asks of it."""
    steps = load_recipe(recipe).recipe.steps
    at = next(i for i, step in enumerate(steps) if isinstance(step, Keep) and column in bounds_of(step))
    for step in reversed(steps[:at]):
        if isinstance(step, Step):
            params = {name: value for name, value in step.params.items() if name not in SMALL}
            operator = TypeAdapter(registry.find(step.operator)).validate_python(params)
            for added in columns_of(operator):
                renamed = step.rename
                name = (
                    renamed.get(added.name, added.name) if isinstance(renamed, Mapping) else f"{renamed}_{added.name}"
                )
                if name == column:
                    return operator, added.name, bounds_of(steps[at])[column]
    raise AssertionError(f"no step of {recipe} adds {column}")


def bounds_of(keep: Step | Keep) -> dict[str, Bound]:
    assert isinstance(keep, Keep)
    return {**keep.bounds, **{name: bound for option in keep.any for name, bound in option.items()}}


def holds(bound: Bound, value: object) -> bool:
    """What the recipe says, in plain Python."""
    if bound.null == "only" or value is None:
        return value is None and bound.null != "drop"
    checks = [
        bound.min is None or value >= bound.min,
        bound.max is None or value <= bound.max,
        bound.in_ is None or value in bound.in_,
        bound.not_in is None or value not in bound.not_in,
    ]
    return all(checks)


def words(count: int, *others: str) -> str:
    """So many words of letters, all different, the others among them."""
    letters = "abcdefghijklmnopqrst"
    made = [f"{letters[i // 400]}{letters[i // 20 % 20]}{letters[i % 20]}zq" for i in range(count - len(others))]
    return " ".join([*others, *made])


def image(width: int, height: int, format: str = "PNG") -> bytes:
    return encoded(Image.new("L", (width, height)), format)


def documents(*nodes: str) -> tuple[Batch, list[int]]:
    urls = [node[4:] if node.startswith("img:") else None for node in nodes]
    texts = [None if url else node for node, url in zip(nodes, urls, strict=True)]
    kinds = ["image" if url else "text" for url in urls]
    table = pa.table({"kind": kinds, "text": pa.array(texts, pa.string()), "image_url": pa.array(urls, pa.string())})
    return Batch(table), [0, len(nodes)]


def measured(operator: Operator, column: str, given: object) -> object:
    """The last row's value: of a text, an image's bytes, an address, a document (a tuple), or a column (a list)."""
    import numpy as np

    if isinstance(operator, DocumentOperator):
        nodes, starts = documents(*given)
        found = operator(nodes, np.array(starts))[column]
    elif isinstance(operator, CorpusOperator):
        frame = pl.DataFrame(given).with_columns(shard=pl.lit(0, pl.Int32), key=pl.lit("k"))
        found = found_by(operator, frame.with_row_index("row").with_columns(pl.col("row").cast(pl.Int32)))[column]
    elif isinstance(given, bytes):
        found = operator(Batch(pa.table({"row": [0]}), ImageStore({0: given})))[column]
    else:
        found = operator(Batch(pa.table({operator.reads[0]: pa.array([given], pa.string())})))[column]
    return (found if isinstance(found, list) else found.to_list() if isinstance(found, pl.Series) else
            found.to_pylist() if isinstance(found, pa.Array) else found.tolist())[-1]  # fmt: skip


STOPS = ("the", "of", "and", "is", "was", "to", "in")
FIRST = "abcdefghij"

# recipe, column, what is measured, the value by hand, whether it stays
OBELICS = [
    ("letter_words", "The cat sat", 3, False),
    ("letter_words", "The cat sat 42 times & more - 7", 5, True),
    ("letter_words", "Cats like it here", 4, True),
    ("letter_words", words(1000), 1000, True),
    ("letter_words", words(1001), 1001, False),
    ("character_repetition", FIRST + "klmnopqrs" + FIRST, 2 / 20, True),  # 29 letters, 20 windows, one of them twice
    ("character_repetition", FIRST + "klmnopqr" + FIRST, 2 / 19, False),
    ("word_repetition", f"{words(5)} {words(19)[30:]} {words(5)}", 2 / 20, True),  # 24 words, 20 windows
    ("word_repetition", f"{words(5)} {words(18)[30:]} {words(5)}", 2 / 19, False),
    ("special_ratio", "ab cd ef g", 3 / 10, True),
    ("special_ratio", "ab cd, ef g", 4 / 11, False),
    ("stop_word_ratio", words(10, *STOPS[:3]), 0.3, True),
    ("stop_word_ratio", words(10, *STOPS[:2]), 0.2, False),
    ("flagged_word_ratio", words(100, "porn"), 0.01, True),
    ("flagged_word_ratio", words(99, "porn"), 1 / 99, False),
    ("sentence_mark_ratio", words(11), None, True),
    ("sentence_mark_ratio", words(12), 0.0, False),
    ("sentence_mark_ratio", words(999) + ".", 0.001, True),
    ("sentence_mark_ratio", words(1000) + ".", 1 / 1001, False),
    ("spam_word_ratio", words(25, "share", "tweet", "post"), 0.12, False),
    ("spam_word_ratio", words(92, *["share"] * 11), 11 / 92, True),
    ("common_word_ratio", words(6, "the", "cat", "sat"), 0.5, True),
    ("common_word_ratio", words(7, "the", "cat", "sat"), 3 / 7, False),
    ("document_common_word_ratio", words(5, "the", "cat", "sat", "down"), 0.8, True),
    ("document_common_word_ratio", words(9, "the", "cat", "sat", "down", "on", "a", "mat"), 7 / 9, False),
    ("domain_repeats", {"domain": ["a"] * 2 + ["b"], "text": ["x"] * 3}, 1, True),
    ("domain_repeats", {"domain": ["b", "a", "a"], "text": ["x"] * 3}, 2, True),
    ("domain_repeats", {"domain": ["a"] * 3, "text": ["x"] * 3}, 3, False),
    ("url_rule", "https://a.org/my-logo.png", "logo", False),
    ("url_rule", "https://a.org/cat.png", None, True),
    ("url_repeats", {"image_url": ["u"] * 10}, 10, True),
    ("url_repeats", {"image_url": ["u"] * 11}, 11, False),
    ("document_letter_words", words(9), 9, False),
    ("document_letter_words", words(10), 10, True),
    ("document_letter_words", words(2000), 2000, True),
    ("document_letter_words", words(2001), 2001, False),
    ("document_word_repetition", f"{words(5)} {words(9)[30:]} {words(5)}", 2 / 10, True),
    ("document_word_repetition", f"{words(5)} {words(8)[30:]} {words(5)}", 2 / 9, False),
    ("document_special_ratio", "a" * 29 + "." * 11, 11 / 40, True),
    ("document_special_ratio", "a" * 28 + "." * 11, 11 / 39, False),
    ("document_stop_word_ratio", words(20, *STOPS), 0.35, True),
    ("document_stop_word_ratio", words(20, *STOPS[:6]), 0.3, False),
    ("document_sentence_mark_ratio", words(97) + ". ! ?", 0.03, True),
    ("document_sentence_mark_ratio", words(98) + ". ! ?", 3 / 101, False),
    ("width_px", image(150, 1), 150, True),
    ("width_px", image(149, 1), 149, False),
    ("height_px", image(1, 20_000), 20_000, True),
    ("height_px", image(1, 20_001), 20_001, False),
    ("aspect_ratio", image(300, 150), 2.0, True),
    ("aspect_ratio", image(150, 301), 301 / 150, False),
    ("image_format", image(9, 9, "WEBP"), "webp", True),
    ("image_format", image(9, 9, "GIF"), "gif", False),
    ("images", ("a",), 0, False),
    ("images", ("a", "img:u"), 1, True),
    ("final_images", tuple(f"img:{i}" for i in range(30)), 30, True),
    ("final_images", tuple(f"img:{i}" for i in range(31)), 31, False),
    ("final_paragraphs", ("img:u",), 0, False),
    ("repeats_image", ("img:u", "a", "img:u"), 0, False),
    ("repeats_image", ("img:u", "a", "img:v"), None, True),
]
MMC4 = [
    ("url_rule", "https://a.org/button-7.png", "button", False),
    ("url_rule", "https://a.org/xxx.png", None, True),
    ("url_suffix", "https://a.org/a.JPG?b=1", "jpg", True),
    ("url_suffix", "https://a.org/a.webp", "webp", False),
    ("url_suffix", "https://a.org/a", "", False),
    ("ends_sentence", "It ends here.", True, True),
    ("ends_sentence", "He said “no!”", True, True),
    ("ends_sentence", "Read more", False, False),
    ("words", "One two three four.", 4, False),
    ("words", "One two three four five.", 5, True),
    ("document_sentences", "One. Two.", 2, False),
    ("document_sentences", "One. Two.\n\nThree", 3, True),
    ("flagged_word_ratio", words(1000, "porn"), 0.001, False),
    ("flagged_word_ratio", words(1000), 0.0, True),
    ("min_side_px", image(150, 200), 150, True),
    ("min_side_px", image(200, 149), 149, False),
    ("aspect_ratio", image(150, 300), 2.0, True),
    ("aspect_ratio", image(301, 150), 301 / 150, False),
    ("image_repeats", {"phash": [7] * 10}, 10, True),
    ("image_repeats", {"phash": [7] * 11}, 11, False),
    ("images", ("a",), 0, False),
    ("final_images", ("a", "img:u"), 1, True),
]
CORE = [
    ("images", ("a", "img:u"), 1, False),
    ("images", ("a", "img:u", "img:v"), 2, True),
    ("final_images", tuple(f"img:{i}" for i in range(15)), 15, True),
    ("final_images", tuple(f"img:{i}" for i in range(16)), 16, False),
    ("document_sentences", "One. Two. Three.", 3, False),
    ("document_sentences", "One. Two. Three. Four.", 4, True),
    ("document_sentences", "It ends. " * 40, 40, True),
    ("document_sentences", "It ends. " * 41, 41, False),
]
CASES = [(name, *case) for name, cases in (("obelics", OBELICS), ("mmc4", MMC4), ("mmc4_core", CORE)) for case in cases]


@pytest.mark.parametrize(("recipe", "column", "given", "value", "stays"), CASES)
def test_at_the_edge_of_each_bound(recipe, column, given, value, stays):
    operator, name, bound = rule(recipe, column)
    found = measured(operator, name, given)
    assert found == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value)
    assert holds(bound, found) == stays


@pytest.mark.parametrize(
    ("recipe", "column", "value", "stays"),
    [
        ("mmc4", "best_similarity", 0.15, True),
        ("mmc4", "best_similarity", 0.1499, False),
        ("mmc4", "nsfw", 0.1, True),
        ("mmc4", "nsfw", 0.1001, False),
        ("mmc4_core", "well_matched_share", 0.75, True),
        ("mmc4_core", "well_matched_share", 0.7499, False),
        ("obelics", "language_confidence", 0.8, True),
        ("obelics", "language_confidence", 0.7999, False),
        ("mmc4", "language_confidence", 0.7999, False),
        ("obelics", "shown_width_px", 150, True),
        ("obelics", "shown_width_px", 149, False),
        ("obelics", "shown_height_px", 20_001, False),
        ("obelics", "shown_height_px", None, True),
    ],
)
def test_bounds_on_what_models_and_pages_say(recipe, column, value, stays):
    (bound,) = {bounds_of(step)[column] for step in load_recipe(recipe).recipe.steps
                if isinstance(step, Keep) and column in bounds_of(step)}  # fmt: skip
    assert holds(bound, value) == stays


# A small web in an archive

SITE = "https://www.garden.example/"
PARAGRAPHS = [
    "The garden behind the old house was full of flowers in the spring, and the bees came from all over the valley.",
    "When the rain stopped, the children ran out of the kitchen and looked for snails under the leaves of the hedge.",
    "My grandmother had planted the apple tree on the day that her first son was born, and it still gives good fruit.",
    "In the evening the neighbours sat on the bench by the gate, and they talked about the weather and the harvest.",
    "The road to the village is narrow, so the bus has to wait for the tractors when they come back from the fields.",
    "A cat sleeps on the wall of the church, and nobody knows to whom it belongs or how old it may be by now.",
    "They built the bridge over the river with stones from the quarry, which had been closed for more than a century.",
    "At the market you can buy bread and cheese from the farms around, but you should be there before nine o'clock.",
    "The library opens on three days of the week, and the woman at the desk knows every book that is on its shelves.",
    "Nobody could say why the clock had stopped at noon, but all of them were sure that it had been a quiet day.",
]
EVERYWHERE = (
    "This page belongs to the garden club, and all of the pictures in it were taken by the members of the club."
)
SPAM = "Share this post, follow us on facebook and twitter, or sign up for the mailing list and contact us about it."
IMAGES = {
    "big.jpg": encoded(picture(1, 300, 200), "JPEG", quality=100),  # more than 5 KB
    "tall.png": encoded(picture(2, 200, 390), "PNG"),
    "small.jpg": encoded(picture(3, 149, 200), "JPEG"),
    "wide.jpg": encoded(picture(4, 500, 180), "JPEG"),
    "moving.gif": encoded(picture(5, 300, 200), "GIF"),
    "logo.jpg": encoded(picture(6, 300, 200), "JPEG"),
    "broken.jpg": encoded(picture(7, 300, 200), "JPEG")[:200],
    "other.jpg": encoded(picture(8, 320, 240), "JPEG", quality=100),
    "third.jpg": encoded(picture(9, 320, 240), "JPEG"),
}


def page(*nodes: str, title: str = "A page") -> bytes:
    """A text is a paragraph, what has a suffix is an image."""
    body = "".join(
        f'<p><img src="/{node}" alt="a picture"></p>' if "." in node[-5:-1] else f"<p>{node}</p>" for node in nodes
    )
    return f"<html><head><title>{title}</title></head><body><article>{body}</article></body></html>".encode()


def record(url: str, body: bytes, kind: str, status: int = 200, day: int = 1, headers: str = "") -> bytes:
    headers += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    answer = f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode() + body
    about = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-{day:02d}T00:00:00Z\r\n"
    about += f"WARC-Record-ID: <urn:uuid:{url}-{day}>\r\nContent-Type: application/http; msgtype=response\r\n"
    return about.encode() + f"Content-Length: {len(answer)}\r\n\r\n".encode() + answer + b"\r\n\r\n"


P = PARAGRAPHS
PAGES = [
    ("a", 2, 200, page(P[0], "big.jpg", P[1], SPAM, "Read more", "logo.jpg", P[2], "small.jpg", "big.jpg", EVERYWHERE)),
    ("a", 1, 200, page("An older copy of the same page, which is not the one that we want to have.", "big.jpg")),
    ("b", 1, 200, page(P[3], "tall.png", "wide.jpg", P[4], "moving.gif", "gone.jpg", P[5], "broken.jpg", EVERYWHERE)),
    ("c", 1, 200, page(P[6], P[7], P[8], EVERYWHERE)),  # no image
    ("d", 1, 200, page(*["Der Garten hinter dem alten Haus war im Frühling voller Blumen und Bienen."] * 3, "big.jpg")),
    ("e", 1, 404, page(P[6], P[7], "other.jpg")),
    ("f", 1, 200, page(P[6], "other.jpg", P[7], P[8])),  # the same image as g, and older
    ("g", 2, 200, page(P[9], "other.jpg", P[5].replace("cat", "dog"), EVERYWHERE)),
    ("h", 1, 200, page(P[0], P[1], "third.jpg", P[2])),  # nearly the text of a, and older
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("web") / "web.warc"
    pages = [record(SITE + name, body, "text/html", status, day) for name, day, status, body in PAGES]
    images = [record(SITE + name, data, "image/jpeg") for name, data in IMAGES.items()]
    file.write_bytes(b"".join([*pages, *images]))
    return file


def curate(name: str, archive: Path, folder: Path, **changed: dict[str, object]) -> Funnel:
    """A shipped recipe with the archive for the web and the small model for the named one."""
    steps: list[Step | Keep] = []
    for step in load_recipe(name).recipe.steps:
        if isinstance(step, Step):
            params = {**step.params, **changed.get(step.operator, {})}
            if step.operator == "crawl.images":
                params = {"source": "archive", **params}
            if "model" in params:
                params |= {"model": "cupel-tiny"}
            if "path" in params:
                params["path"] = str(write_recipe_files(folder) / str(params["path"]))
            step = step.model_copy(update={"params": params})
        steps.append(step)
    result = run(Recipe(name=name, steps=steps), archive, out=folder / "c")
    assert verify_corpus(result.corpus).faults == []
    return result


def documents_in(cut: str) -> dict[str, list[str]]:
    """page -> its nodes: texts, and names of images."""
    rows = [row for path in sorted(Path(cut, "curated").iterdir()) for row in pq.read_table(path).to_pylist()]
    return {
        row["page_url"].removeprefix(SITE): [
            node["text"] or node["image_url"].removeprefix(SITE) for node in row["nodes"]
        ]
        for row in rows
    }


def batches(cut: str) -> list[pa.RecordBatch]:
    return [batch for path in sorted(Path(cut, "curated").iterdir()) for batch in pq.read_table(path).to_batches()]


@pytest.mark.usefixtures("ray_session")
def test_obelics_finds_every_planted_flaw(archive, tmp_path):
    result = curate("obelics", archive, tmp_path)
    assert documents_in(result.cut) == {
        "a": [P[0], "big.jpg", P[1], P[2]],
        "b": [P[3], "tall.png", P[4], P[5]],
        "g": [P[9], "other.jpg", P[5].replace("cat", "dog")],
    }
    assert result.dropped["keep domain_repeats"] == 3, "all copies go"
    by = {line.step: line.dropped for line in result.steps if line.dropped}
    assert (by["keep http_status"], by["keep same_page_of"]) == (1, 1)
    assert (by["keep spam_word_ratio"], by["keep url_rule"], by["keep image_status"]) == (1, 1, 1)
    assert (by["keep near_text_of"], by["keep same_images_of"]) == (4, 4), "documents h and f, node by node"
    (obelics,) = [as_obelics(batch) for batch in batches(result.cut)]
    first = obelics.to_pylist()[0]
    assert first["texts"] == [P[0], None, P[1] + "\n\n" + P[2]]
    assert first["images"] == [None, SITE + "big.jpg", None]
    assert json.loads(first["metadata"])[1]["original_width"] == 300
    assert json.loads(first["general_metadata"])["warc_record_offset"] == 0


@pytest.mark.parametrize("name", ["alt_text", "obelics", "mmc4", "mmc4_core", "mint"])
@pytest.mark.parametrize("column", ["opt_out", "page_opt_out"])
def test_pages_that_reserve_themselves_are_dropped(name, column):
    keeps = [bounds_of(step) for step in load_recipe(name).recipe.steps if isinstance(step, Keep)]
    (bound,) = [bounds[column] for bounds in keeps if column in bounds]
    assert [holds(bound, value) for value in (None, "X-Robots-Tag: noai")] == [True, False]


@pytest.mark.usefixtures("ray_session")
def test_a_page_whose_newest_copy_is_reserved_by_a_header_is_no_document(archive, tmp_path):
    reserved = archive.parent / "reserved.warc"
    body = next(body for name, *_, body in PAGES if name == "b")
    newest = record(SITE + "b", body, "text/html", day=9, headers="X-Robots-Tag: nofollow\r\nX-Robots-Tag: noai\r\n")
    reserved.write_bytes(archive.read_bytes() + newest)
    kept = [documents_in(curate("mint", file, tmp_path / file.stem).cut) for file in (archive, reserved)]
    assert {*kept[0]} - {*kept[1]} == {"b"}


@pytest.mark.usefixtures("ray_session")
def test_mmc4_assigns_every_image_that_it_keeps(archive, tmp_path):
    any_similarity = {"document.image_text_assignment": {"min_similarity": -1.0}}
    result = curate("mmc4", archive, tmp_path, **any_similarity)
    kept = documents_in(result.cut)
    assert set(kept) <= {"a", "b", "f", "g", "h"}
    assert kept
    for batch in batches(result.cut):
        for row, found in zip(batch.to_pylist(), as_mmc4(batch), strict=True):
            document = json.loads(found.line)
            pictures = [node for node in row["nodes"] if node["kind"] == "image"]
            assert 1 <= len(pictures) == len(document["image_info"]) == len(found.images)
            assert found.unmatched == 0
            assert len(document["text_list"]) == sum(node["kind"] == "text" for node in row["nodes"]) >= 3
            rows = document["similarity_matrix"]
            for node, info, similarities in zip(pictures, document["image_info"], rows, strict=True):
                assert len(similarities) == len(document["text_list"])
                assert node["nsfw"] <= 0.1
                assert node["best_similarity"] >= 0.15
                text = document["text_list"][info["matched_text_index"]]
                assert text in kept[row["page_url"].removeprefix(SITE)]
                assert similarities[info["matched_text_index"]] == info["matched_sim"]


@pytest.mark.usefixtures("ray_session")
def test_alt_text_makes_pairs_of_what_the_archive_holds(archive, tmp_path):
    described = archive.parent / "described.warc"
    texts = {
        "big.jpg": "A dog on the grass behind the house",
        "logo.jpg": "The sign of the garden club of our town",
        "tall.png": "A tree",
        "small.jpg": "A cat that sleeps on the wall of the church",
        "gone.jpg": "A bridge over the wide river",
        "other.jpg": "A bench under the old apple tree",
    }
    tags = "".join(f'<p><img src="{name}" alt="{text}"></p>' for name, text in texts.items())
    body = f"<html><body><article>{tags}</article></body></html>".encode()
    described.write_bytes(archive.read_bytes() + record(SITE + "described", body, "text/html"))
    result = curate("alt_text", described, tmp_path)
    rows = [row for batch in batches(result.cut) for row in batch.to_pylist()]
    kept = {name: texts[name] for name in ("big.jpg", "other.jpg")}
    assert {row["image_url"].removeprefix(SITE): row["text"] for row in rows} == kept


@pytest.fixture
def server() -> Iterator[str]:
    """The small web on loopback: a first page links to a, b, c, to h, which robots may not see, and to what is gone."""
    found = {"/" + name: ("text/html", body) for name, day, _, body in PAGES if day == 2 or name in "bch"}
    found |= {"/" + name: ("image/jpeg", data) for name, data in IMAGES.items()}
    links = "".join(f'<a href="/{name}">{name}</a> ' for name in "abchx")
    found["/"] = (
        "text/html",
        f"<html><body><article><p>{P[9]}</p><p>{P[8]}</p>{links}</article></body></html>".encode(),
    )
    found["/robots.txt"] = ("text/plain", b"User-agent: *\nDisallow: /h\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = found.get(self.path, ("text/html", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.mark.usefixtures("ray_session")
def test_a_site_becomes_documents(server, tmp_path):
    (tmp_path / "urls.txt").write_text(server + "\n")
    allowed = {"allow_hosts": [server.split("/")[2]], "delay_s": 0.0}
    changed = {"crawl.site": allowed, "crawl.images": {**allowed, "source": "web"}}
    result = curate("site", tmp_path / "urls.txt", tmp_path, **changed)
    kept = {url.removeprefix(server): nodes for url, nodes in documents_in(result.cut).items()}
    kept = {url: [node.removeprefix(server) for node in nodes] for url, nodes in kept.items()}
    assert set(kept) == {"", "a", "b", "c"}, "h is not for robots, x is not there"
    assert kept["a"] == [P[0], "big.jpg", P[1], SPAM, "Read more", P[2], "small.jpg"]
    assert kept["b"] == [P[3], "tall.png", "wide.jpg", P[4], "moving.gif", P[5]]
    assert kept["c"] == [P[6], P[7], P[8]]
    assert result.errors == {"http_4xx": 1, "truncated": 1}, "gone.jpg and broken.jpg"
