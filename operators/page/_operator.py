"""What both operators of this folder share: parameters, pages in, and what a page says of itself out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, Extractor, Values, operator
from ..decode import RowError
from ._parser import PARSER, Page

PAGE_COLUMNS: Final = (
    field("page_title", pa.string(), "the page's title: og:title, else its title element"),
    field("page_language", pa.string(), "the language that the page declares", unit="BCP 47"),
    field("page_published", pa.string(), "when it was published, as the page writes it"),
    field("page_canonical_url", pa.string(), "the page's own address for itself", unit="URL"),
    field("page_opt_out", pa.string(), "the meta tags that reserve the page, as it has them"),
)


@operator
class PageOperator(Extractor):
    """Reads HTML in a process of its own, which a page may kill (`_worker`)."""

    opt_out: tuple[Annotated[str, Field(pattern="^[a-z:_-]+$")], ...] = Field(
        ("noai", "noimageai", "noindex", "noimageindex"),
        description="directives of meta robots, googlebot and cupel that page_opt_out tells",
    )
    tdm_reservation: bool = Field(True, description="page_opt_out tells of TDMRep, too: meta tdm-reservation")
    max_mb: float = Field(10.0, gt=0, le=100, description="larger pages fail as too_large")
    max_seconds: float = Field(5.0, gt=0, le=600, description="a page that takes more CPU seconds fails as timed_out")

    pace: ClassVar[frozenset[str]] = frozenset({"max_seconds"})
    reads = ("html",)
    takes = ("page_url", "final_url", "content_type")
    uses_up = ("html",)

    def setup(self) -> None:
        PARSER.start()

    def read_pages(self, task: str, batch: Batch) -> Iterator[tuple[int, Sequence[object], list[Sequence[Any]]]]:
        """(row, its page columns, what the task finds) of every page that can be read; the others are failed."""
        pages = _pages(batch)
        fits = [row for row, page in enumerate(pages) if len(page.html) <= self.max_mb * 1e6]
        told = [*self.opt_out, *["tdm-reservation"] * self.tdm_reservation]
        found = PARSER.parse([pages[row] for row in fits], task=task, opt_outs=told, max_seconds=self.max_seconds)
        answers = dict(zip(fits, found, strict=True))
        for row, page in enumerate(pages):
            answer = answers.get(row, RowError("too_large", f"{len(page.html):,} bytes; {self.max_mb:g} MB are read"))
            if isinstance(answer, RowError):
                batch.fail(row, answer)
            else:
                yield row, *answer

    def children(self, parents: list[int], rows: list[Sequence[object]]) -> tuple[np.ndarray, Values]:
        """The rows as columns, under the names of `adds`."""
        columns = zip(*rows, strict=True) if rows else [()] * len(self.adds)
        names = (column.name for column in self.adds)
        return np.array(parents, np.int64), dict(zip(names, map(list, columns), strict=True))


def _pages(batch: Batch) -> list[Page]:
    def column(name: str) -> list[Any]:
        there = name in batch.columns.column_names
        return batch.column(name).to_pylist() if there else [None] * len(batch)

    urls = [last or first or "" for first, last in zip(column("page_url"), column("final_url"), strict=True)]
    return [
        Page(html=html, url=url, content_type=sent_type)
        for html, url, sent_type in zip(column("html"), urls, column("content_type"), strict=True)
    ]
