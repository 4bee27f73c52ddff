"""crawl.pages: the web pages that rows name by their URL."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..base import Batch, FetchOperator, Values, operator
from ._columns import COMMON, told
from ._outcome import Outcome
from ._page_crawler import CONTENT_TYPE, HTML, PageCrawler, page_columns


@operator
class Pages(PageCrawler, FetchOperator):
    """The page that `page_url` leads to, and how the fetching ended: `crawl_status` is `ok` or one of the reasons.

    Hosts are asked as `crawl.images` asks them: each URL once a shard, within budgets by registered domain that hold
    for the whole cluster, with respect for robots.txt and opt-outs (meta tags too), at public addresses only. A page is
    what is declared as HTML, or begins as such. gzip, deflate, brotli and zstd are undone, to `max_bytes` at most.
    """

    reads = ("page_url",)
    adds = (HTML, CONTENT_TYPE, *COMMON)

    def __call__(self, batch: Batch) -> Iterator[tuple[np.ndarray, Values]]:
        for chunk in self.fetch(batch.column("page_url").to_pylist(), batch):
            outcomes: list[Outcome] = []
            rows: list[int] = []
            for places, outcome in chunk:
                self.looked_at(outcome)
                for row in places:
                    told(batch, row, outcome)
                rows += places
                outcomes += [outcome] * len(places)
            yield np.array(rows, np.int64), page_columns(outcomes)
