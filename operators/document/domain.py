"""document.domain: whose page it is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator


@operator
class Domain(RowOperator):
    """The network location of `page_url` in lower case, as in `www.example.org`; the port stays, a login goes.

    OBELICS counts a paragraph's repeats within it (arXiv:2306.16527, appendix A.1.5: `urlparse(url).netloc`), so `www.`
    is a part of it and two hosts of one owner are two. Null where the address has none. Run it on pages, before their
    documents are extracted: nodes inherit it.
    """

    reads = ("page_url",)
    adds = (field("domain", pa.string(), "host of the page, and port where one is given; null without"),)

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        return {"domain": pa.array([_netloc(url) for url in batch.column("page_url").to_pylist()], pa.string())}


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower() or None
    except ValueError:  # half an IPv6 address
        return None
