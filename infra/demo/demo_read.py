"""What became of the rows of a cut: the reason for each page, pair or node of the demo's web, by its address."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from demo_score import KEPT

from cupel import load_recipe
from cupel.pipeline.plan import ExtractStep
from cupel.pipeline.planner import make_plan
from cupel.pipeline.read import known_shards
from cupel.pipeline.store import open_store

VERDICTS: Final = ("crawl_status", "image_status", "language")  # their values say more than the rule that they broke
CRAWL: Final = "crawl.site"

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A pair or a node; `why` is KEPT, or what took it away, `whole` if with its whole document."""

    page_url: str
    image_url: str | None
    text: str | None
    why: str
    whole: bool


@dataclass(frozen=True)
class _Made:
    """A row that an extractor made: its line in the file, and what stands there."""

    number: int
    page_url: str
    content: Line


class Cut:
    """A cut of a recipe that crawls sites, and makes rows out of their pages by `extractor`."""

    def __init__(self, corpus: Path, cut: Path, extractor: str) -> None:
        self.corpus, self.cut, self.extractor = corpus, cut, extractor
        store = open_store(corpus)
        shards = known_shards(store)
        assert shards is not None
        steps = make_plan(load_recipe(cut / "recipe.yaml"), shards.schema).steps
        self._made_in = {step.label: step.record for step in steps if isinstance(step, ExtractStep)}
        labels = [step.label for step in steps]
        self._of_pages = frozenset(labels[: labels.index(extractor)])
        self._shards = sorted(path.name for path in (cut / "kept").glob("*.parquet"))

    @cached_property
    def pages(self) -> dict[str, str]:
        """URL -> KEPT if the page came and was looked into, else why not."""
        fates = {}
        for shard in self._shards:
            pages = self._pages(shard)
            for line in self._dropped(shard, of_pages=True):
                fates[pages[line["row"]].page_url] = reason(line)
            for line in self._used_up(shard, self.extractor):
                failed = line["state"].startswith("failed")
                fates[pages[line["row"]].page_url] = f"{self.extractor} failed" if failed else KEPT
        return fates

    @cached_property
    def rows(self) -> list[Row]:
        """Every row that was made of a page."""
        found = []
        for shard in self._shards:
            rows = self._children(shard, self.extractor, self._pages(shard), ["image_url", "text"])
            fates = {line["row"]: (KEPT, False) for line in self._table("kept", shard)}
            dropped = self._dropped(shard, of_pages=False)
            fates |= {line["row"]: (reason(line), line["node"] is None) for line in dropped}
            found += [
                Row(row.page_url, row.content["image_url"], row.content["text"], *fates[i])
                for i, row in enumerate(rows)
            ]
        return found

    @cached_property
    def documents(self) -> dict[str, str]:
        """URL -> KEPT if any node of the page stayed, else what took the document, or most of its nodes."""
        nodes = defaultdict[str, list[Row]](list)
        for row in self.rows:
            nodes[row.page_url].append(row)
        return {url: _of_document(rows) for url, rows in nodes.items()}

    def _pages(self, shard: str) -> list[_Made]:
        """The pages of the sites, in the order of their rows."""
        sites = [_Made(line["row"], "", {}) for line in self._used_up(shard, CRAWL)]
        return self._children(shard, CRAWL, sites, ["page_url"])

    def _children(self, shard: str, extractor: str, parents: list[_Made], columns: list[str]) -> list[_Made]:
        """What an extractor made of those of the parents that reached it, in the order of the rows."""
        made = defaultdict[int, list[tuple[int, Line]]](list)
        lines = pq.read_table(
            self.corpus / self._made_in[extractor] / shard, columns=["parent", "child", *columns]
        ).to_pylist()
        for number, line in enumerate(lines):
            if line["child"] is not None:
                made[line["parent"]].append((number, line))
        used = [parents[line["row"]] for line in self._used_up(shard, extractor)]
        return [
            _Made(number, line.get("page_url", parent.page_url), line)
            for parent in used
            for number, line in made[parent.number]
        ]

    def _used_up(self, shard: str, extractor: str) -> list[Line]:
        return [line for line in self._table("parents", shard) if line["extracted_by"] == extractor]

    def _dropped(self, shard: str, *, of_pages: bool) -> list[Line]:
        return [line for line in self._table("dropped", shard) if (line["dropped_by"] in self._of_pages) == of_pages]

    def _table(self, folder: str, shard: str) -> list[Line]:
        return list(pq.read_table(self.cut / folder / shard).to_pylist())


def reason(line: Line) -> str:
    """`status: http_4xx`, `near_image_of`, `min_side_px min 200`, or `no words` where there was no value."""
    column, rule, value = line["column"], line["rule"], line["value"]
    if column in VERDICTS and value is not None:
        return f"{column.rpartition('_')[2]}: {value}"
    if value is None:
        return f"no {column}"
    return column if rule == "null" else f"{column} {rule}"


def _of_document(rows: Iterable[Row]) -> str:
    rows = list(rows)
    if any(row.why == KEPT for row in rows):
        return KEPT
    whole = [row.why for row in rows if row.whole]
    return Counter(whole or [row.why for row in rows]).most_common(1)[0][0]
