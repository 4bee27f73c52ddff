"""The rows that a report shows: their words, their values and their pictures, within a budget of bytes.

A shard is opened once for all that is shown of it. What cannot be read any more is said, not guessed.
"""

from __future__ import annotations

import base64
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.types as types
from PIL import Image

from ....operators.source.base import ShardError, SourceError
from ....schemas.corpus import row_name
from ....schemas.summary import Example
from ...keep import Mask
from ...plan import DocumentStep, KeepStep, RowStep
from ...scores import versions
from ...shard import ShardView, Walk
from ..opened import OpenedCut
from .sensitive import BLUR, SHOW, Sensitivity
from .thumbnails import NoPicture, Pictures

WORDS: Final = ("text", "caption", "alt_text", "image_url", "page_url")  # what says what a row is: the first it has
SIDES: Final = ((320, 192), (640, 144), (1 << 30, 112))  # up to so many pictures, so many pixels
BLUR_FROM_PX, BLURRED_PX = 96, 8  # of an unsafe picture, which the page stretches
OTHERS: Final = 3  # values of a row, besides the one that mattered
NODES: Final = 14  # of a document's excerpt
_NAME: Final = re.compile(r"^(\d{8,}):(\d{1,9})$")

WHY: Final = {  # there is no picture, by the class of what went wrong
    "no_image": "no picture",
    "blocked": "on a blocklist: never shown",
    "not_image": "not a picture",
    "unreadable_input": "its file cannot be read any more",
}

Address = tuple[int, int, int]  # space, shard, row


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A row as a report shows it."""

    name: str
    key: str | None = None
    words: str | None = None
    kind: str | None = None  # of a node: text or image
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None  # the error's own words
    picture: str | None = None  # a data URI
    no_picture: str | None = None  # why there is none, where there could be one
    blurred: bool = False

    def others(self, told: Sequence[str]) -> list[tuple[str, Any]]:
        """A few of the values, besides those told already."""
        return [(name, v) for name, v in self.values.items() if name not in told and v is not None][:OTHERS]


def address_of(example: Example) -> Address:
    """Names a row among all that are shown."""
    return example.space, example.shard, example.row


def named(name: str, space: int) -> Example | None:
    """The row of a name such as `00000003:17`; None where it is none of this corpus."""
    found = _NAME.match(name)
    return Example(space=space, shard=int(found[1]), row=int(found[2])) if found else None


class Gallery:
    """All rows of a report. Ask for a row's `Shown` by its example, and for a document's nodes by one of them.

    Pictures are made at once, and hung when it is known how much room there is.
    """

    def __init__(
        self,
        cut: OpenedCut,
        wanted: Sequence[Example],
        documents: Sequence[Example] = (),
        failing: Sequence[tuple[Example, str]] = (),
    ) -> None:
        """`wanted` begins with what matters most: the first to get a picture when they are hung.

        `documents` are nodes of the last space whose documents are shown in excerpt; `failing` are rows with the label
        of the step that failed on them, whose error's words are wanted too.
        """
        self._cut, self._sensitivity = cut, Sensitivity(cut)
        self._rows: dict[Address, Shown] = {}
        self._levels: dict[Address, int] = {}
        self._excerpts: dict[Address, list[Example]] = {}
        self.trouble: str | None = None  # why words or pictures are missing
        self._documents = {address_of(node) for node in documents}
        self._failing = {(*address_of(example), label) for example, label in failing}
        shards: dict[int, list[Example]] = defaultdict(list)
        for example in (*wanted, *documents, *(example for example, _ in failing)):
            shards[example.shard].append(example)
        self._read_all(shards)
        nodes = [node for excerpt in self._excerpts.values() for node in excerpt]
        self._asked = [place for place in map(address_of, [*nodes, *wanted]) if self._has_picture(place)]
        side = next(side for most, side in SIDES if len(self._asked) <= most)
        self._pictures = self._made(sorted(set(self._asked)), side)

    def __call__(self, example: Example) -> Shown:
        """The row; its name alone where it could not be read."""
        found = self._rows.get(address_of(example))
        return found or Shown(name=row_name(example.shard, example.row), no_picture=self.trouble)

    def excerpt(self, node: Example) -> list[Example]:
        """The first nodes that are kept of a node's document, in reading order."""
        return self._excerpts.get(address_of(node), [])

    def _read_all(self, shards: Mapping[int, Sequence[Example]]) -> None:
        for shard in self._cut.shards:
            if shard.id not in shards:
                continue
            try:
                self._read(self._cut.lineage(shard), shards[shard.id])
            except (ShardError, SourceError, OSError, pa.ArrowInvalid) as error:
                self.trouble = f"the input cannot be read any more: {error}"

    def _read(self, lineage: Sequence[tuple[ShardView, Walk]], examples: Sequence[Example]) -> None:
        for example in examples:
            if address_of(example) in self._documents:
                view, found = lineage[example.space]
                self._excerpts[address_of(example)] = _excerpt(view, found.alive, example)
        nodes = [n for e in examples for n in self._excerpts.get(address_of(e), ())]
        for space, (view, _) in enumerate(lineage):
            rows = sorted({e.row for e in (*examples, *nodes) if e.space == space and 0 <= e.row < view.shard.rows})
            if not rows:
                continue
            levels = self._sensitivity.of_view(lineage[self._sensitivity.reaches(space)][0], space)
            errors = self._messages(view, space)
            for row, shown in zip(rows, _shown(view, rows), strict=True):
                place = (space, view.shard.id, row)
                self._levels[place] = int(levels[row])
                self._rows[place] = replace(shown, error=errors.get(row))

    def _messages(self, view: ShardView, space: int) -> dict[int, str]:
        """The errors' own words, of the rows whose errors are shown."""
        here, found = (space, view.shard.id), dict[int, str]()
        for step in view.steps():
            asked = {row for *place, row, label in self._failing if (*place, label) == (*here, step.label)}
            if asked and isinstance(step, RowStep) and not isinstance(step, DocumentStep):
                folder, holes = f"errors/{step.folder}", view.scores(step).files
                for table in versions(view.store, folder, view.shard.id, holes=holes):
                    places = view.places[table.column("row").to_numpy()].tolist()
                    words = zip(places, table.column("message").to_pylist(), strict=True)
                    found |= {row: message for row, message in words if row in asked}
        return found

    def hang(self, budget_bytes: int) -> None:
        """Give the most important rows their pictures while there is room, each counted as often as it is shown."""
        for place, times in Counter(self._asked).items():  # in the order of their first
            told = self._pictures[place]
            budget_bytes -= len(told.get("picture") or "") * times
            if budget_bytes < 0 and told.get("picture"):
                told = {"no_picture": "left out, so that the report stays small"}
            self._rows[place] = replace(self._rows[place], blurred=self._levels[place] == BLUR, **told)

    def _made(self, places: Sequence[Address], side: int) -> dict[Address, dict[str, Any]]:
        """Pictures as data URIs, or why there is none; what a blocklist holds is not even asked for."""
        made: dict[Address, dict[str, Any]] = {place: {"no_picture": WHY["blocked"]} for place in places}
        pictures = Pictures(self._cut)
        try:
            for level, px in ((SHOW, side), (BLUR, BLUR_FROM_PX)):
                asked = [place for place in places if self._levels[place] == level]
                for place, found in zip(asked, pictures.thumbnails(asked, px), strict=True):
                    if isinstance(found, NoPicture):
                        made[place] = {"no_picture": WHY.get(found.kind, found.kind.replace("_", " "))}
                    else:
                        data = _blurred(found.data) if level == BLUR else found.data
                        made[place] = {"picture": f"data:{found.media_type};base64,{base64.b64encode(data).decode()}"}
        finally:
            pictures.close()
        return made

    def _has_picture(self, place: Address) -> bool:
        """Can the row have one at all?"""
        return place in self._rows and self._cut.plan.spaces[place[0]].has_images and self._rows[place].kind != "text"


def _blurred(data: bytes) -> bytes:
    """A picture of ours in a few pixels, which a page stretches: what cannot be seen cannot be sharpened."""
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((BLURRED_PX, BLURRED_PX), Image.Resampling.BOX)
        out = io.BytesIO()
        image.save(out, "WEBP", quality=50)
    return out.getvalue()


def _excerpt(view: ShardView, alive: Mask, node: Example) -> list[Example]:
    """The first nodes alive of a node's document."""
    documents = view.documents
    if documents is None or not 0 <= node.row < view.shard.rows:
        return []
    nodes = np.flatnonzero((documents.of == documents.of[node.row]) & alive)[:NODES]
    return [Example(space=node.space, shard=node.shard, row=int(row)) for row in nodes]


def _shown(view: ShardView, rows: Sequence[int]) -> list[Shown]:
    """Rows of one shard in one space, without their pictures."""
    words = [name for known in WORDS for name in dict.fromkeys((view.space.view.get(known, known), known))]
    bounds = [name for step in view.steps() if isinstance(step, KeepStep) for name in step.reads.values()]
    asked = [name for name in dict.fromkeys([*words, "key", "kind", *bounds]) if _can_be_told(view, name)]
    view.read([name for name in asked if name in view.space.schema.names])  # in one pass
    columns = {name: view.take(name, np.array(rows)).to_pylist() for name in asked}
    nothing = [None] * len(rows)
    return [
        Shown(
            name=row_name(view.shard.id, row),
            key=columns.get("key", nothing)[i],
            words=next((str(columns[name][i]) for name in words if name in columns and columns[name][i]), None),
            kind=columns.get("kind", nothing)[i] if view.documents is not None else None,
            values={name: columns[name][i] for name in bounds if name in columns},
        )
        for i, row in enumerate(rows)
    ]


def _can_be_told(view: ShardView, name: str) -> bool:
    """Is there such a column, of neither bytes nor lists?"""
    space = view.space
    column = space.fields.get(name) or (space.schema.field(name) if name in space.schema.names else None)
    return column is not None and not types.is_nested(column.type) and "binary" not in str(column.type)
