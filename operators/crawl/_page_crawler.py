"""What `crawl.pages` and `crawl.site` share: what a page is, and its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import operator
from ..decode import RowError, read_header
from ._columns import bytes_column, common_columns
from ._crawler import Crawler
from ._opt_out import of_page
from ._outcome import Outcome
from ._reasons import Reason

HTML = field("html", pa.large_binary(), "the page, its content coding undone", unit="bytes")
CONTENT_TYPE = field("content_type", pa.string(), "media type as it was sent, empty if none")
_DECLARED = ("text/html", "application/xhtml+xml")


@operator
class PageCrawler(Crawler):
    """A crawler of pages."""

    max_bytes: int = Field(10_000_000, ge=1, le=1 << 30, description="of a page, as sent and as decoded")

    accept: ClassVar[str] = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1"
    codings: ClassVar[str] = "gzip, deflate, br"

    @property
    def most_bytes(self) -> int:
        return self.max_bytes

    def looked_at(self, outcome: Outcome) -> Outcome:
        """The same, refused where it is no page, or where its meta tags reserve it."""
        if outcome.reason is Reason.OK and not is_page(outcome.body, outcome.content_type):
            outcome.reason = Reason.EMPTY if not outcome.body else Reason.NOT_HTML
            outcome.message = f"{outcome.content_type[:100]!r}, begins {outcome.body[:24]!r}"
        elif outcome.reason is Reason.OK:
            settings = self.settings
            found = of_page(outcome.body, settings.token, settings.refused_directives, settings.tdmrep)
            if found is not None:
                outcome.reason, outcome.message, outcome.opt_out = Reason.OPTED_OUT, found, found
        return outcome


def page_columns(outcomes: Sequence[Outcome]) -> dict[str, pa.Array]:
    """The columns of pages."""
    return {
        "html": bytes_column([each.body if each.reason is Reason.OK else None for each in outcomes]),
        "content_type": pa.array([each.content_type for each in outcomes], pa.string()),
        **common_columns(outcomes),
    }


def is_page(body: bytes, content_type: str) -> bool:
    """Declared as a page and not plainly something else, or beginning as one."""
    declared = content_type.partition(";")[0].strip().lower() in _DECLARED
    try:
        read_header(body[:4096])
    except RowError as error:
        return error.kind == "html" or (declared and error.kind == "not_an_image")
    return False
