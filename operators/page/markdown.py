"""page.markdown: a Markdown text's paragraphs and images in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from ...schemas.document import NODE
from ..base import Batch, DocumentExtractor, Values, operator
from ..decode import RowError
from ._parser import PARSER, Page


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
    max_seconds: float = Field(5.0, gt=0, le=600, description="a text that takes more CPU seconds fails as timed_out")

    pace: ClassVar[frozenset[str]] = frozenset({"max_seconds"})
    adds = tuple(NODE)
    takes = ("page_url",)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def uses_up(self) -> tuple[str, ...]:
        return (self.column,)

    def setup(self) -> None:
        PARSER.start()

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Values]:
        there = "page_url" in batch.columns.column_names
        urls = batch.column("page_url").to_pylist() if there else [None] * len(batch)
        texts = [text.encode() for text in batch.column(self.column).to_pylist()]
        fits = [row for row, text in enumerate(texts) if len(text) <= self.max_mb * 1e6]
        pages = [Page(html=texts[row], url=urls[row] or "", content_type=None) for row in fits]
        found = PARSER.parse(pages, task="markdown", opt_outs=(), max_seconds=self.max_seconds)
        answers = dict(zip(fits, found, strict=True))
        parents, rows = list[int](), list[Sequence[object]]()
        for row, text in enumerate(texts):
            answer = answers.get(row, RowError("too_large", f"{len(text):,} bytes; {self.max_mb:g} MB are read"))
            if isinstance(answer, RowError):
                batch.fail(row, answer)
            else:
                rows += answer[1]
                parents += [row] * len(answer[1])
        columns = zip(*rows, strict=True) if rows else [()] * len(self.adds)
        return np.array(parents, np.int64), dict(zip(NODE.names, map(list, columns), strict=True))
