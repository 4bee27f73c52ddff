"""PAGE: a page as it was fetched, from an archive or by crawling; operators make pairs or documents of it."""

from __future__ import annotations

import pyarrow as pa

from .fields import field
from .pair import PAIR

PAGE = pa.schema(
    [
        PAIR.field("key").with_metadata({"doc": "the record's id, or FILE:OFFSET where it has none"}),
        PAIR.field("page_url").with_metadata({"doc": "the address that the record is the answer of", "unit": "URL"}),
        field("html", pa.large_binary(), "the page without transfer and content codings", unit="bytes"),
        field("content_type", pa.string(), "media type as it was sent, empty if none"),
        field("http_status", pa.int32(), "status of the answer; null where the record is no HTTP", range="100 to 999"),
        field("opt_out", pa.string(), "the header that reserves it: X-Robots-Tag or TDM-Reservation; null if none"),
        field("warc_type", pa.string(), "kind of record: response, resource, revisit; empty where it is damaged"),
        field("warc_date", pa.timestamp("ms", "UTC"), "when it was captured"),
        field("warc_truncated", pa.string(), "why the crawler stored only the beginning (length, time, ...)"),
        field("payload_digest", pa.string(), "of the body, as the archive states it"),
        field("digest_ok", pa.bool_(), "the body has that digest; null where there is none to compare"),
        field("warc_file", pa.string(), "the archive that the record lies in"),
        field("warc_offset", pa.int64(), "where the record's gzip member, or the record itself, begins", unit="bytes"),
        field("warc_length", pa.int64(), "its length there; 0 where a member holds several records", unit="bytes"),
    ]
)
