"""Crawled data that would like to run, in a real Chromium: text stays text, and pictures are made by the server."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from browsing import PHONE
from drawing import encoded, picture
from inspected import BACKWARDS, BLOCKED, HOSTILE, LONG, SVG, UNSAFE
from PIL import Image

LISTS = [
    "",
    "/rows",
    "/rows?view=table&show=<i>odd</i>\"'&show=licence",
    "/search?q=picture",
    "/samples",
    "/thresholds",
]
ADDRESSES = "[...document.querySelectorAll('[href], [src]')].map(e => e.href?.baseVal ?? e.href ?? e.src)"
HANDLERS = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => /^on/i.test(a.name)).length"


def assert_all_is_ours(page) -> None:
    """No element runs or loads something, or leads elsewhere."""
    assert page.locator("script:not([src^='/static/']), iframe, object, embed, base, foreignObject, style").count() == 0
    assert page.evaluate(HANDLERS) == 0
    ours = (page.evaluate("location.origin"), "#")
    assert [address for address in page.evaluate(ADDRESSES) if not address.startswith(ours)] == []


@pytest.mark.parametrize("path", LISTS)
def test_nothing_hostile_runs_where_many_rows_are_shown(drawn, window, path):
    drawn.ready(f"{drawn.cut}/rows")
    with window() as visit:
        visit.page.goto(drawn.address)
        visit.page.goto(drawn.origin + drawn.cut + path)
        visit.page.wait_for_load_state("networkidle")
        assert_all_is_ours(visit.page)
        assert visit.overflow_px(PHONE) == 0


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "handler", "quotes", "backwards", "long"])
def test_what_was_crawled_is_shown_as_text(drawn, window, text):
    row = drawn.row("key", f"hostile{HOSTILE.index(text)}")
    with window() as visit:
        visit.page.goto(drawn.address)
        visit.page.goto(f"{drawn.origin}{drawn.cut}/row/{row}")
        shown = " ".join(visit.page.locator("main").inner_text().split())
        wanted = {BACKWARDS: "a picture of [U+202E]gpj.exe some colours", LONG: "many colours aaa"}
        assert wanted.get(text, " ".join(text.split())) in shown
        assert "\u202e" not in visit.page.content()
        for other in ("<b>by</b>", "<i>odd</i>\"'", "<script>alert('column')</script>", "javascript:alert('image')"):
            assert other in shown
        assert_all_is_ours(visit.page)
        assert visit.overflow_px(PHONE) == 0


def test_what_somebody_types_is_shown_as_text(drawn, window):
    drawn.ready(f"{drawn.cut}/rows")
    with window() as visit:
        visit.page.goto(drawn.address)
        for path in ("/search", "/rows"):
            field = {"/search": "#q", "/rows": "input[name=value]"}[path]
            visit.page.goto(drawn.origin + drawn.cut + path)
            visit.page.locator("summary").first.click() if path == "/rows" else None
            if path == "/rows":
                visit.page.locator("select[name=column]").first.select_option("text")
                visit.page.locator("select[name=op]").first.select_option("contains")
            visit.page.locator(field).first.fill("\"'><img src=x onerror=alert(1)>")
            visit.page.keyboard.press("Enter")
            visit.page.wait_for_url("**onerror**")
            assert_all_is_ours(visit.page)


def picture_of(site, row: str, **headers: str):
    return site.ask(f"{site.cut}/picture/{row}", **headers)


def test_pictures_are_made_anew_and_what_is_no_picture_is_a_note(drawn):
    """No byte of a crawled file goes out: neither an SVG with a script, nor a page, nor a picture's metadata."""
    answer = picture_of(drawn, drawn.row("key", "p0001"))
    assert answer.headers["content-type"] in ("image/jpeg", "image/webp")
    assert max(Image.open(io.BytesIO(answer.body)).size) <= 256
    for name in ("script", "page", "cut.jpg"):
        note = picture_of(drawn, drawn.row("key", name))
        assert note.status == 200 and b"alert" not in note.body and b"example.org" not in note.body
        assert b"<script" not in note.body and len(note.body) < 1000 < len(SVG) + 1000
        assert "script-src 'self'" in note.headers["content-security-policy"]


def test_a_blocked_picture_is_nowhere(drawn, window):
    """It is not in the page, and its address gives a note: not a pixel of it."""
    row = drawn.row("key", f"p{BLOCKED:04d}")
    with window() as visit:
        visit.page.goto(drawn.address)
        for path in (f"/row/{row}", "/rows?column=key&op=contains&value=p0008"):
            visit.page.goto(drawn.origin + drawn.cut + path)
            assert visit.page.get_by_text("blocklist").count() > 0
            assert visit.page.locator(f"main img[src*='/picture/{row}']").count() == 0
    for side in (64, 256, 1024, 10**9):
        answer = drawn.ask(f"{drawn.cut}/picture/{row}?side={side}")
        assert answer.headers["content-type"] == "image/svg+xml" and b"blocklist" in answer.body


def test_an_unsafe_picture_is_blurred_until_somebody_wants_to_see_it(drawn, window):
    row = drawn.row("key", f"p{UNSAFE:04d}")
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        for path in (f"/row/{row}", f"/rows?column=key&op=contains&value=p{UNSAFE:04d}"):
            page.goto(drawn.origin + drawn.cut + path)
            image = page.locator(f"main img[src*='/picture/{row}']").first
            blur = "image => getComputedStyle(image).filter"
            assert "blur(" in image.evaluate(blur)
            page.get_by_role("button", name="Show").first.focus()
            page.keyboard.press("Enter")
            page.wait_for_function(f"image => !(({blur})(image)).includes('blur(')", arg=image.element_handle())
            page.get_by_role("button", name="Blur").first.click()
            page.wait_for_function(f"image => (({blur})(image)).includes('blur(')", arg=image.element_handle())
        other = page.locator("main img[src*='/picture/']")
        page.goto(f"{drawn.origin}{drawn.cut}/row/{drawn.row('key', 'p0001')}")
        assert other.first.evaluate("image => getComputedStyle(image).filter") == "none"


def test_links_of_crawled_pages_tell_the_other_side_nothing(documents, window):
    path = documents.kinds()["/cut/row/N/N/N"]
    with window() as visit:
        visit.page.goto(documents.address)
        visit.page.goto(documents.origin + path)
        away = visit.page.locator("a[href]:not([href^='/']):not([href^='?']):not([href^='#'])")
        for link in away.all():
            assert link.get_attribute("href").startswith(("http://", "https://"))
            assert {"noopener", "noreferrer"} <= set((link.get_attribute("rel") or "").split())


def test_the_picture_that_is_searched_with_is_bounded(drawn):
    """Not a picture, an SVG, too many bytes, too many pixels: a refusal in words."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = encoded(picture(1), "PNG")
    bomb = bomb[:12] + header + struct.pack(">I", zlib.crc32(header)) + bomb[33:]
    for body in (b"", b"no picture", SVG, b"\xff" * (40 << 20), bomb):
        answer = drawn.ask(f"{drawn.cut}/search.json", "POST", body=body, Origin=drawn.origin, X_Cupel="search")
        assert 400 <= answer.status < 500, answer.body[:200]
    answer = drawn.ask(
        f"{drawn.cut}/search.json", "POST", body=encoded(picture(1)), Origin=drawn.origin, X_Cupel="search"
    )
    assert answer.status == 200, answer.body[:300]
