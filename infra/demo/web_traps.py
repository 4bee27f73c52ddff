"""Addresses that lead nowhere, or to something else than they say: of pages, and of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from web import Answer, moved
from web_plan import Figure

SVG: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300"><circle cx="200" cy="150" r="90"/></svg>'
)
PDF: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
LONG: Final = b"<!DOCTYPE html><title>long</title><p>" + b"This page goes on and on. " * 400
INSIDE: Final = (
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/admin",
    "file:///etc/passwd",
    "http://[::1]:22/",
)
# Where a picture is said to be; empty: on the server for media, which sends the crawler on to a cloud's secrets.
MISPLACED: Final = (
    "",
    "http://10.11.12.13/picture.jpg",
    "http://169.254.169.254/latest/user-data.jpg",
    "http://[::ffff:10.0.0.1]/a.jpg",
)
HOPS: Final = 9  # of a chain that is too long

PageTrap = tuple[str, str, Answer | None, str]  # site, path, answer (None: 404), what is wrong


def page_traps() -> Iterator[PageTrap]:
    """Pages that cannot be had, or must not, with the site that links to them."""
    for i, site in enumerate(("harbour", "gardens", "summits", "villages", "museum", "offers", "mirror", "pictures")):
        yield site, f"/lost/{i}.html", None, "dead_page"
    for i, site in enumerate(("harbour", "gardens", "summits")):
        yield site, f"/error/{i}.html", Answer(b"oops", status=500), "server_error"
        yield site, f"/members/{i}.html", Answer(b"members only", status=403), "forbidden_page"
    for i, site in enumerate(("villages", "museum")):
        yield site, f"/gone/{i}.html", Answer(b"gone", status=410), "gone_page"
        yield site, f"/loop/{i}.html", moved(f"/loop/{i}.html"), "looping_page"
        yield site, f"/cut/{i}.html", Answer(LONG, how="cut"), "cut_page"
        yield site, f"/reset/{i}.html", Answer(how="reset"), "reset_page"
    yield "villages", "/slow.html", Answer(LONG, how="drip"), "dripping_page"
    yield "museum", "/silent.html", Answer(how="silent"), "silent_page"
    yield "harbour", "/endless.html", Answer(LONG, how="endless"), "endless_page"
    for i, (content_type, body) in enumerate(FILES.items()):
        yield "offers", f"/files/{i}", Answer(body, content_type), "no_page"
    for i, place in enumerate(INSIDE):
        yield "offers", f"/go/{i}", moved(place, 302), "forbidden_redirect"
    yield "offers", "/chain/0", moved("/chain/1"), "long_chain"


FILES: Final = {
    "application/pdf": PDF,
    "application/zip": b"PK\x05\x06" + bytes(18),
    "application/json": b"{}",
    "text/plain": b"hello",
}


def chain() -> Iterator[tuple[str, Answer]]:
    """The further hops of the chain, which ends well, but late."""
    for hop in range(1, HOPS):
        yield f"/chain/{hop}", moved(f"/chain/{hop + 1}")
    yield f"/chain/{HOPS}", Answer(b"<!DOCTYPE html><title>here</title><p>Here it is.</p>")


Served = dict[str, Answer]


def _as(how: str) -> Callable[[Figure, str, Answer, Served], None]:
    """The picture, sent in this way."""

    def put(_figure: Figure, path: str, plain: Answer, served: Served) -> None:
        served[path] = Answer(plain.body, plain.content_type, how=how)  # type: ignore[arg-type]

    return put


def _dead(figure: Figure, path: str, _plain: Answer, served: Served) -> None:
    if figure.number % 2:
        served[path] = Answer(b"gone", "text/plain", status=410)


def _looping(_figure: Figure, path: str, _plain: Answer, served: Served) -> None:
    served[path] = moved(path + "?again")
    served[path + "?again"] = moved(path)


def _moved(_figure: Figure, path: str, plain: Answer, served: Served) -> None:
    served[path] = moved(f"/moved{path}")
    served[f"/moved{path}"] = plain


def _noai(figure: Figure, path: str, plain: Answer, served: Served) -> None:
    headers = (("X-Robots-Tag", "noai"), ("X-Robots-Tag", "noimageai, nofollow"), ("tdm-reservation", "1"))
    served[path] = Answer(plain.body, plain.content_type, headers=(headers[figure.number % 3],))


def _wrong_type(figure: Figure, path: str, plain: Answer, served: Served) -> None:
    served[path] = Answer(plain.body, ("application/octet-stream", "image/gif", "")[figure.number % 3])


def _svg(figure: Figure, path: str, _plain: Answer, served: Served) -> None:
    figure.url = figure.url.rpartition(".")[0] + ".svg"
    served[path.rpartition(".")[0] + ".svg"] = Answer(SVG, "image/svg+xml")


IMAGE_TRAPS: Final[dict[str, Callable[[Figure, str, Answer, Served], None]]] = {
    "dead_image": _dead, "looping_image": _looping, "moved_image": _moved, "noai_image": _noai, "svg": _svg,
    "wrong_type": _wrong_type, "dripping_image": _as("drip"), "silent_image": _as("silent"),
    "endless_image": _as("endless"), "cut_image": _as("cut"), "short_image": _as("short"), "reset_image": _as("reset"),
    "flaky_image": _as("flaky"),
}  # fmt: skip
