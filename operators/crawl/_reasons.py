"""How the fetching of a URL ended: a closed list, each reason with what it means and whether a retry may help."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ..decode import RowError


class Reason(StrEnum):
    """`crawl_status` of pages, `image_status` of images: `ok`, or why there are no bytes. The docs stand in `MEANS`."""

    OK = "ok"
    INVALID_URL = "invalid_url"
    REFUSED_URL = "refused_url"
    BLOCKED_ADDRESS = "blocked_address"
    BLOCKED_DOMAIN = "blocked_domain"
    ROBOTS_DISALLOWED = "robots_disallowed"
    ROBOTS_UNREACHABLE = "robots_unreachable"
    OPTED_OUT = "opted_out"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    BAD_RESPONSE = "bad_response"
    BAD_ENCODING = "bad_encoding"
    TOO_LARGE = "too_large"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    RATE_LIMITED = "rate_limited"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"
    HOST_DOWN = "host_down"
    NOT_REACHED = "not_reached"
    NOT_ARCHIVED = "not_archived"
    ARCHIVE_DAMAGED = "archive_damaged"
    EMPTY = "empty"
    NOT_IMAGE_HTML = "not_image_html"
    NOT_IMAGE_SVG = "not_image_svg"
    NOT_IMAGE = "not_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    DECODE_FAILED = "decode_failed"
    NOT_HTML = "not_html"


MEANS: Final = {
    Reason.OK: "fetched",
    Reason.INVALID_URL: "the URL, or one that it redirects to, cannot be parsed, or is longer than 8,192 characters",
    Reason.REFUSED_URL: "not http or https, user and password in the URL, a port outside the list, a `data:` too large",
    Reason.BLOCKED_ADDRESS: "leads to a private, loopback, link-local, metadata or other non-global address",
    Reason.BLOCKED_DOMAIN: "its domain is on the blocklist",
    Reason.ROBOTS_DISALLOWED: "the host's robots.txt disallows it",
    Reason.ROBOTS_UNREACHABLE: "robots.txt could not be had (5xx, time-out): that disallows all (RFC 9309)",
    Reason.OPTED_OUT: "a header, a meta tag or TDMRep reserves it from text and data mining",
    Reason.DNS_FAILED: "the host's name has no address",
    Reason.CONNECT_FAILED: "nobody takes the connection",
    Reason.CONNECT_TIMEOUT: "no connection, or no TLS session, within `connect_timeout_s`",
    Reason.TLS_FAILED: "no TLS session: certificate expired, self-signed or another host's, or no common cipher",
    Reason.TIMEOUT: "no byte for `read_timeout_s`, or not done within `timeout_s`",
    Reason.TRUNCATED: "the connection ended before the body did",
    Reason.BAD_RESPONSE: "not HTTP, or headers beyond the limits",
    Reason.BAD_ENCODING: "a damaged or unknown Content-Encoding",
    Reason.TOO_LARGE: "more bytes than `max_bytes`, sent or decoded, or decoded to more than 200 times as many",
    Reason.TOO_MANY_REDIRECTS: "more than 5 redirects",
    Reason.RATE_LIMITED: "429, or 503 with Retry-After, to the last attempt",
    Reason.HTTP_4XX: "another client error, as `http_status` says",
    Reason.HTTP_5XX: "a server error, as `http_status` says",
    Reason.HTTP_OTHER: "another status without a body",
    Reason.HOST_DOWN: "not asked: the last 10 requests to its domain found nobody, or were told to slow down",
    Reason.NOT_REACHED: "not asked: its shard's time was over (`shard_timeout_s`)",
    Reason.NOT_ARCHIVED: "the archive has no response for it",
    Reason.ARCHIVE_DAMAGED: "the archive's record is damaged, or its file cannot be read",
    Reason.EMPTY: "zero bytes",
    Reason.NOT_IMAGE_HTML: "a web page where an image should be",
    Reason.NOT_IMAGE_SVG: "a vector image",
    Reason.NOT_IMAGE: "no known image format",
    Reason.UNSUPPORTED_FORMAT: "an image, but not JPEG, PNG, WebP, GIF or AVIF",
    Reason.TOO_MANY_PIXELS: "the image's header says more pixels than are decoded",
    Reason.DECODE_FAILED: "an image whose header, or pixels where it is resized, cannot be read",
    Reason.NOT_HTML: "neither declared nor beginning as a web page",
}
assert set(MEANS) == set(Reason)

TRANSIENT: Final = frozenset({
    *(Reason.ROBOTS_UNREACHABLE, Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.TIMEOUT, Reason.TRUNCATED),
    *(Reason.RATE_LIMITED, Reason.HTTP_5XX, Reason.HOST_DOWN, Reason.NOT_REACHED),
})  # fmt: skip
# Worth another attempt at once. A host that was silent is not asked three times in a row.
RETRIED: Final = frozenset({
    *(Reason.CONNECT_TIMEOUT, Reason.TIMEOUT, Reason.TRUNCATED, Reason.RATE_LIMITED, Reason.HTTP_5XX),
})  # fmt: skip

_OF_DECODER: Final = {
    "empty": Reason.EMPTY,
    "html": Reason.NOT_IMAGE_HTML,
    "svg": Reason.NOT_IMAGE_SVG,
    "unsupported_format": Reason.UNSUPPORTED_FORMAT,
    "not_an_image": Reason.NOT_IMAGE,
    "too_large": Reason.TOO_MANY_PIXELS,
}


class FetchError(Exception):
    """A URL is not fetched, or not to its end. No OSError: HTTP libraries would take that for a fault of their own."""

    def __init__(
        self, reason: Reason, message: str, *, transient: bool | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(reason, message)
        self.http_status = http_status
        self.reason = reason
        self.message = message
        self.transient = reason in TRANSIENT if transient is None else transient

    def again(self) -> FetchError:
        """The same without a traceback, to be raised for another row."""
        return FetchError(self.reason, self.message, transient=self.transient, http_status=self.http_status)


def of_decoder(error: RowError) -> Reason:
    """The reason for what the image decoder says."""
    return _OF_DECODER.get(error.kind, Reason.DECODE_FAILED)


def http_reason(status: int, retry_after: bool) -> Reason:
    """The reason of a final status; redirects are followed before."""
    if status == 200:
        return Reason.OK
    if status == 429 or (status == 503 and retry_after):
        return Reason.RATE_LIMITED
    return Reason.HTTP_4XX if 400 <= status < 500 else Reason.HTTP_5XX if status >= 500 else Reason.HTTP_OTHER
