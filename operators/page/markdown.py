"""page.markdown: a Markdown text's paragraphs and images in reading order."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from ...schemas.document import NODE
from ..base import Batch, DocumentExtractor, Values, operator
from ..decode import RowError
from ._markdown import _markdown, markdown_nodes


@operator
class Markdown(DocumentExtractor):
    """Reads Markdown, and gives its paragraphs, headings, list entries, code and images in reading order.

    CommonMark, with GitHub's tables and struck-out text; nodes are what `page.document` makes of the same content in
    HTML, with nothing left out: a row of a table is one text (` | ` between its cells), an image amid a sentence comes
    behind it. HTML inside is read as HTML. YAML or TOML front matter is skipped. Relative addresses of images are
    resolved against `page_url`; without one such images are left out, as nobody could fetch them.

    Quotes and lists more than 50 deep are left out. A text fails as `too_large`, or as `too_deep` where its HTML has
    more than 512 elements one in another.
    """

    column: str = Field("text", description="the column that holds the Markdown")
    max_mb: float = Field(1.0, gt=0, le=100, description="longer texts fail as too_large")

    adds = tuple(NODE)
    takes = ("page_url",)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def uses_up(self) -> tuple[str, ...]:  # type: ignore[override]  # a parameter decides it
        return (self.column,)

    def setup(self) -> None:
        _markdown()

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Values]:
        there = "page_url" in batch.columns.column_names
        urls = batch.column("page_url").to_pylist() if there else [None] * len(batch)
        parents, rows = list[int](), list[tuple[object, ...]]()
        for row, (text, url) in enumerate(zip(batch.column(self.column).to_pylist(), urls, strict=True)):
            try:
                if len(text) > self.max_mb * 1e6:
                    raise RowError("too_large", f"{len(text):,} characters; {self.max_mb:g} million are read")
                found = markdown_nodes(text, url or "")
            except RowError as error:
                batch.fail(row, error)
                continue
            rows += found
            parents += [row] * len(found)
        columns = zip(*rows, strict=True) if rows else [()] * len(self.adds)
        return np.array(parents, np.int64), dict(zip(NODE.names, map(list, columns), strict=True))
