"""Web archives as the web: the same outcomes, with redirects followed inside the archive and no request sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yarl import URL

from ..decode import RowError
from ._addresses import check_domain, parse_url
from ._archive import Archive, ArchivedResponse
from ._fetch import CHUNK_BYTES, MAX_REDIRECTS, REDIRECTS, FetchSettings
from ._opt_out import of_headers
from ._outcome import Outcome, of_data_url, refused_outcome
from ._reasons import FetchError, Reason, http_reason

Found = tuple[list[int], Outcome]
_OF_ARCHIVE = {"too_large": Reason.TOO_LARGE, "truncated": Reason.TRUNCATED}


def find_all(
    urls: Sequence[str], warc_files: Sequence[str | None], files: Sequence[str], settings: FetchSettings
) -> Iterator[list[Found]]:
    """(places, outcome) of the URLs, in chunks; one that stands twice with the same file is looked up once."""
    archive = Archive(files, settings.max_bytes)
    places: dict[tuple[str, str | None], list[int]] = {}
    for place, asked in enumerate(zip(urls, warc_files, strict=True)):
        places.setdefault(asked, []).append(place)
    chunk: list[Found] = []
    size = 0
    for index, ((url, warc_file), rows) in enumerate(places.items()):
        outcome = _find(index, url, warc_file, archive, settings)
        chunk.append((rows, outcome))
        size += len(outcome.body)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _find(index: int, text: str, warc_file: str | None, archive: Archive, settings: FetchSettings) -> Outcome:
    url: URL | None = None
    try:
        if text[:5].lower() == "data:":
            return of_data_url(index, text, settings.max_bytes)
        url = parse_url(text)
        for _ in range(MAX_REDIRECTS + 1):
            check_domain(url, settings.blocked_domains)
            response = archive.find(str(url), warc_file)
            if response is None:
                raise FetchError(Reason.NOT_ARCHIVED, f"no response for {str(url)[:200]}")
            to = response.headers.get("location") if response.status in REDIRECTS else None
            if to is None:
                return _outcome(index, url, response, settings)
            url = parse_url(to, url)
        raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}")
    except RowError as error:
        reason = _OF_ARCHIVE.get(error.kind, Reason.ARCHIVE_DAMAGED)
        return refused_outcome(index, FetchError(reason, f"{error.kind}: {error.message}"), url)
    except FetchError as error:
        return refused_outcome(index, error, url)


def _outcome(index: int, url: URL, response: ArchivedResponse, settings: FetchSettings) -> Outcome:
    headers = response.headers
    reason = http_reason(response.status, "retry-after" in headers)
    if reason is not Reason.OK:
        raise FetchError(reason, f"status {response.status}", http_status=response.status)
    reserved = response.reservations if settings.tdmrep else ()
    if found := of_headers(response.tags, reserved, settings.token, settings.refused_directives):
        raise FetchError(Reason.OPTED_OUT, found, http_status=response.status)
    if len(response.body) > settings.max_bytes:
        raise FetchError(Reason.TOO_LARGE, f"{len(response.body):,} bytes", http_status=response.status)
    return Outcome(
        index=index,
        reason=Reason.OK,
        http_status=response.status,
        final_url=str(url),
        body=response.body,
        fetched_bytes=len(response.body),
        content_type=headers.get("content-type", "")[:200],
    )
