"""The URL of an image, as browsers and lazy-loading scripts would have it."""

from __future__ import annotations

import pytest

from cupel.operators.page._page import pairs
from cupel.operators.page._pictures import MAX_DATA_URI, base_of, length_px

URL = "https://example.org/a/page.html"
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def urls(html: str, url: str = URL) -> list[str]:
    return [pair.image_url for pair in pairs(html.encode(), url)[1]]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<img src=b.jpg>", "https://example.org/a/b.jpg"),
        ("<img src=/b.jpg>", "https://example.org/b.jpg"),
        ("<img src=//cdn.example.net/b.jpg>", "https://cdn.example.net/b.jpg"),
        ("<img src=../../../b.jpg?x=1#y>", "https://example.org/b.jpg?x=1#y"),
        ("<img src=' b c.jpg\n'>", "https://example.org/a/b%20c.jpg"),
        ("<img src=b.jpg srcset='s.jpg 320w, l.jpg 1280w, m.jpg 640w'>", "https://example.org/a/l.jpg"),
        ("<img src=b.jpg srcset='b.jpg, b2.jpg 2x, b15.jpg 1.5x'>", "https://example.org/a/b2.jpg"),
        ("<img src=b.jpg srcset='b2.jpg'>", "https://example.org/a/b.jpg"),
        ("<img srcset='a,b.jpg 1x,https://cdn.example.net/w_9,h_9/c.jpg 2x'>", "https://cdn.example.net/w_9,h_9/c.jpg"),
        ("<img srcset='a 2x, b 3x,, c'>", "https://example.org/a/b"),
        ("<img srcset=' , x 2w\t,'>", "https://example.org/a/x"),
        (r"<img src='img\b.jpg'>", "https://example.org/a/img/b.jpg"),
        (r"<img src='\img\b.jpg?c=d\e'>", r"https://example.org/img/b.jpg?c=d\e"),
        (r"<img src='..\b.jpg#c\?d\e'>", r"https://example.org/b.jpg#c\?d\e"),
        (r"<img src='\\cdn.example.net\b.jpg'>", "https://cdn.example.net/b.jpg"),
        (r"<base href='img\x'><img src=b.jpg>", "https://example.org/a/img/b.jpg"),
        ("<img srcset='only.jpg'>", "https://example.org/a/only.jpg"),
        (f"<img src='{DOT}' data-src=late.jpg>", "https://example.org/a/late.jpg"),
        ("<img src=/img/spacer.gif data-original=late.jpg>", "https://example.org/a/late.jpg"),
        ("<img src=sudoku-gray.png data-zoom=late.jpg>", "https://example.org/a/sudoku-gray.png"),
        ("<img src=low.jpg data-src=high.jpg>", "https://example.org/a/high.jpg"),
        (f"<img src='{DOT}' data-srcset='s.jpg 1x, l.jpg 2x'>", "https://example.org/a/l.jpg"),
        (f"<img src='{DOT}' data-some-plugin=late.webp?v=2>", "https://example.org/a/late.webp?v=2"),
        ("<picture><source srcset='w.webp 900w'><img src=b.jpg></picture>", "https://example.org/a/w.webp"),
        ("<picture><source srcset=w.webp><img src=b.jpg></picture>", "https://example.org/a/b.jpg"),
        ("<picture><source type=image/svg+xml srcset='v 2x'><img src=b.jpg></picture>", "https://example.org/a/b.jpg"),
        ("<picture><source srcset='w.webp 900w'></picture><img src=b.jpg>", "https://example.org/a/b.jpg"),
        ("<amp-img src=b.jpg></amp-img>", "https://example.org/a/b.jpg"),
        ("<button><img src=b.jpg>Zoom</button>", "https://example.org/a/b.jpg"),
        ("<base href=/other/><img src=b.jpg>", "https://example.org/other/b.jpg"),
        ("<base href=https://cdn.example.net><img src=b.jpg>", "https://cdn.example.net/b.jpg"),
        ("<base href=file:///etc/><img src=b.jpg>", "https://example.org/a/b.jpg"),
        ("<img src=share-icon.png width=16 height=16>", "https://example.org/a/share-icon.png"),
        ("<img src=wide.png width=600 height=1>", "https://example.org/a/wide.png"),
    ],
)
def test_the_address_that_a_reader_sees(html, expected):
    assert urls(html) == [expected]


@pytest.mark.parametrize(
    "html",
    [
        "<img>",
        "<img src=''>",
        f"<img src='{DOT}'>",
        "<img src=blank.gif>",
        "<img src=javascript:alert(1)>",
        "<img src=file:///etc/passwd>",
        "<img src=ftp://example.org/b.jpg>",
        "<img src='http://[broken'>",
        "<img src='https:///b.jpg' width=1 height=1>",
        f"<img src=https://example.org/{'x' * 5000}.jpg>",
        f"<img src='data:image/png;base64,{'A' * MAX_DATA_URI}'>",
        f"<img src='data:text/html;base64,{'A' * 600}'>",
        "<img src=t.gif width=1 height=1>",
        "<img src=t.gif width=0 height=0>",
    ],
)
def test_what_leads_to_no_image_is_left_out(html):
    assert urls(html) == []


def test_a_small_image_in_the_page_itself_is_kept():
    inline = f"data:image/png;base64,{'A' * 600}"
    assert urls(f"<img src='{inline}'>") == [inline]
    assert urls(f"<img src='{inline}' data-src=late.jpg>") == ["https://example.org/a/late.jpg"]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f"<img src='{DOT}' class=lazy><noscript><img src=b.jpg></noscript>", ["b.jpg"]),
        ("<img data-src=b.jpg><noscript><img src=b.jpg></noscript>", ["b.jpg"]),
        ("<img data-src=b.jpg?w=900><noscript><img src=b.jpg?w=300></noscript>", ["b.jpg?w=900"]),
        ("<img src=b.jpg><noscript><img src=c.jpg></noscript>", ["b.jpg", "c.jpg"]),
    ],
)
def test_an_image_for_browsers_without_scripts_is_taken_once(html, expected):
    assert urls(html) == [f"https://example.org/a/{name}" for name in expected]


@pytest.mark.parametrize(("value", "pixels"), [("640", 640), (" 640px ", 640), ("640.5", 640)])
def test_lengths(value, pixels):
    assert length_px(value) == pixels


@pytest.mark.parametrize("value", ["50%", "auto", "", None, "-3", "9" * 30, "20em"])
def test_what_is_no_length_in_pixels(value):
    assert length_px(value) is None


def test_a_base_that_leads_nowhere_is_not_taken():
    assert base_of(URL, "http://[") == base_of(URL, "javascript:0") == base_of(URL, None) == URL
