"""Curated documents as other corpora have them: OBELICS's parallel lists, MMC4's lines, WebDataset samples.

Each function takes a batch of a curated file, whose rows are documents with a list of nodes, and knows nothing of
files: `cupel export` brings the batches and puts what comes back in its place. The same documents give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ..operators.text._sentences import sentences
from ..schemas.fields import field
from .members import add, plain, suffix_of
from .read import CorpusError

Row = Mapping[str, Any]  # as pyarrow gives it
JOINT: Final = "\n\n"  # between paragraphs that follow each other

OBELICS: Final = pa.schema(
    [
        field("images", pa.list_(pa.string()), "address of the image, null where a text stands", unit="URL"),
        field("metadata", pa.string(), "JSON: a list of what is known of each image, null where a text stands"),
        field("general_metadata", pa.string(), "JSON: where the page comes from"),
        field("texts", pa.list_(pa.string()), "text, null where an image stands", unit="Unicode"),
    ]
)
# OBELICS's names for what is known of an image and of a page, and ours in the order in which they are looked for.
_OF_IMAGE: Final = {
    "unformatted_src": ("image_url",),
    "src": ("image_url",),
    "alt_text": ("alt_text",),
    "rendered_width": ("shown_width_px",),
    "rendered_height": ("shown_height_px",),
    "original_width": ("original_width_px", "width_px"),
    "original_height": ("original_height_px", "height_px"),
    "format": ("image_format",),
}
_OF_PAGE: Final = {
    "url": ("page_url",),
    "warc_filename": ("warc_file",),
    "warc_record_offset": ("warc_offset",),
    "warc_record_length": ("warc_length",),
}


def check_documents(schema: pa.Schema) -> None:
    """CorpusError where the rows are no documents."""
    if "nodes" not in schema.names:
        raise CorpusError("the cut holds rows that are no documents; page.document in the recipe makes some")


def check_matched(schema: pa.Schema) -> None:
    """CorpusError where nobody has said which sentence each image goes with."""
    check_documents(schema)
    nodes = schema.field("nodes").type.value_type
    missing = [name for name in ("node_position", "matched_node", "matched_sentence", "matched_similarity")
               if nodes.get_field_index(name) < 0]  # fmt: skip
    if missing:
        raise CorpusError(f"the documents have no {', '.join(missing)}; document.image_text_assignment adds them")


# OBELICS


def as_obelics(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Four columns: lists of one length, of which exactly one has a value at each place, and two of JSON.

    Texts without an image between them are one, as in OBELICS. Images are named by their addresses alone.
    """
    documents = [_obelics(row) for row in batch.to_pylist()]
    columns = [pa.array([row[column.name] for row in documents], column.type) for column in OBELICS]
    return pa.RecordBatch.from_arrays(columns, schema=OBELICS)


def _obelics(row: Row) -> dict[str, object]:
    texts: list[str | None] = []
    images: list[str | None] = []
    metadata: list[dict[str, object] | None] = []
    for node in row["nodes"]:
        if node["kind"] == "image":
            texts.append(None)
            images.append(node["image_url"])
            metadata.append({"document_url": row.get("page_url"), **_named(node, _OF_IMAGE)})
        elif node["text"] is None:  # a step that makes another version of it failed
            continue
        elif texts and texts[-1] is not None:
            texts[-1] += JOINT + node["text"]
        else:
            texts.append(node["text"])
            images.append(None)
            metadata.append(None)
    about = {**dict.fromkeys(_OF_PAGE), **_named(row, _OF_PAGE)}
    return {"texts": texts, "images": images, "metadata": _json(metadata), "general_metadata": _json(about)}


def _named(row: Row, names: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    """What is known, under the other corpus' names."""
    found = {name: next((row[n] for n in ours if row.get(n) is not None), None) for name, ours in names.items()}
    return {name: value for name, value in found.items() if value is not None}


# MMC4


@dataclass(frozen=True, kw_only=True)
class Mmc4Document:
    """A line of MMC4's JSON, the images that it names, and how many it had to leave out."""

    line: bytes
    images: Mapping[str, bytes]
    unmatched: int


def as_mmc4(batch: pa.RecordBatch) -> Iterator[Mmc4Document]:
    """A document each: its sentences (or paragraphs, where images were matched with those), and its matched images.

    MMC4 has a sentence for every image: images without one are left out, and those whose text was dropped after it was
    matched. `similarity_matrix` is there where all similarities were kept, of the images and texts that are left;
    `face_detections` where faces were looked for. An image's name is a digest of its bytes, or of its address where it
    was not fetched.
    """
    for row in batch.to_pylist():
        yield _mmc4(row)


def _mmc4(row: Row) -> Mmc4Document:
    texts, where = _text_list(row["nodes"])
    pictures = [node for node in row["nodes"] if node["kind"] == "image"]
    matched = [node for node in pictures if node["matched_node"] in where]
    found, images = [], {}
    for node in matched:
        name = _image_name(node)
        found.append(_image_info(node, name, where))
        if node.get("image") is not None:
            images[name] = node["image"]
    document = {"url": row.get("page_url"), "text_list": texts, "image_info": found}
    if (matrix := _matrix(matched, where)) is not None:
        document["similarity_matrix"] = matrix
    line = _json({**document, "could_have_url_duplicate": 0}).encode() + b"\n"
    return Mmc4Document(line=line, images=images, unmatched=len(pictures) - len(matched))


def _text_list(nodes: Iterable[Row]) -> tuple[list[str], dict[int | None, range]]:
    """The texts that images were matched with, and where among them those of each node stand."""
    nodes = list(nodes)
    whole = any(node["matched_node"] is not None and node["matched_sentence"] is None for node in nodes)
    texts: list[str] = []
    where: dict[int | None, range] = {}
    for node in nodes:
        if node["kind"] == "text":
            parts = [node["text"] or ""] if whole else sentences(node["text"] or "")
            where[node["node_position"]] = range(len(texts), len(texts) + len(parts))
            texts += parts
    return texts, where


def _image_info(node: Row, name: str, where: Mapping[int | None, range]) -> dict[str, object]:
    info = {
        "image_name": name,
        "raw_url": node["image_url"],
        "matched_text_index": where[node["matched_node"]].start + (node["matched_sentence"] or 0),
        "matched_sim": node["matched_similarity"],
    }
    if "face_boxes" in node:
        info["face_detections"] = node["face_boxes"] or None
    return info


def _image_name(node: Row) -> str:
    image = node.get("image")
    if image is None:
        return hashlib.sha256((node["image_url"] or "").encode("utf-8", "replace")).hexdigest()[:32] + ".bin"
    return f"{hashlib.sha256(image).hexdigest()[:32]}.{suffix_of(image)}"


def _matrix(matched: Iterable[Row], where: Mapping[int | None, range]) -> list[list[float]] | None:
    """A row an image, a column a text that is left; None where that was not kept, or a text has other sentences now."""
    matrix: list[list[float]] = []
    for node in matched:
        kept = dict(enumerate(node.get("similarities") or ()))
        parts = [kept.get(place, []) if place is not None else [] for place in where]
        if [len(part) for part in parts] != [len(texts) for texts in where.values()]:
            return None
        matrix.append([value for part in parts for value in part])
    return matrix or None


# WebDataset


def add_samples(tar: tarfile.TarFile, batch: pa.RecordBatch, name: str, first: int) -> Counter[str]:
    """A sample for each document: NAME-ROW.json, and its images as NAME-ROW.0.jpg, NAME-ROW.1.png, ...

    The JSON has `texts` and `images` of one length, of which exactly one has a value at each place: a text, or the
    suffix of the image's member (`0.jpg`; null where it was not fetched). `nodes` has what else is known of each node,
    and beside it stands what is known of the document. Returns counts of rows, images, and images without a picture.
    """
    counts: Counter[str] = Counter(rows=0, images=0, without_image=0)
    for row in batch.to_pylist():
        key = f"{name}-{first + counts['rows']:06d}"
        images = [node.get("image") for node in row["nodes"] if node["kind"] == "image"]
        members = [f"{i}.{suffix_of(image)}" if image else None for i, image in enumerate(images)]
        add(tar, f"{key}.json", _json(_sample(row, members)).encode())
        for member, image in zip(members, images, strict=True):
            if member and image:
                add(tar, f"{key}.{member}", image)
        counts.update(rows=1, images=len(images), without_image=members.count(None))
    return counts


def _sample(row: Row, members: Iterable[str | None]) -> dict[str, object]:
    left = iter(members)
    nodes = row["nodes"]
    return {
        **{name: value for name, value in row.items() if name != "nodes"},
        "texts": [node["text"] if node["kind"] == "text" else None for node in nodes],
        "images": [next(left) if node["kind"] == "image" else None for node in nodes],
        "nodes": [{name: value for name, value in node.items() if name not in ("text", "image")} for node in nodes],
    }


def _json(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=False)
