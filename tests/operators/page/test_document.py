"""page.document: what of a page becomes a node, and what does not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.page.document import Document

SENTENCE = "The harbour was built in 1842, long before the railway came, and it still holds a fleet of forty boats. "
PAGE = f"""<!doctype html><html lang=en-GB><head><title>A harbour | Example News</title>
<meta property="og:title" content="A harbour"><link rel=canonical href="/news/1">
<meta property="article:published_time" content="2024-05-01T10:00:00Z"></head><body>
<header class="site-header"><nav><a href=/>Home</a> <a href=/news>News</a><img src=/logo.png></nav></header>
<div class="cookie-banner"><p>{"We use cookies, and our partners do, too. " * 3}</p></div>
<main><article><h1>A harbour</h1><div class=byline>By A. Writer, 1 May 2024</div>
<p>{SENTENCE * 2}</p>
<figure><img src=/boats.jpg alt="Boats at low tide" width=640 height="480px">
<figcaption>Boats in May</figcaption></figure>
<p>{SENTENCE} <img src="amid.png"> It goes on.</p>
<h2>The railway</h2><p>{SENTENCE}<br>Line two<br><br>{SENTENCE}</p>
<ul><li>One thing that matters, and why it does</li><li>Another thing</li></ul>
<table><tr><th>Year<th>Boats</tr><tr><td>1842<td>12</tr><tr><td>1900<td>40</tr></table>
<pre>x =  1
  y</pre>
<blockquote><p>{SENTENCE}</p></blockquote>
<div class="share-bar"><a href=x>Share</a> <a href=y>Post</a></div>
<div class="related"><h3>Related stories</h3><a href=1><img src=r.jpg>
Other news that you may like to read, too</a></div>
</article></main><section id=comments><p>{"I was there, and it is all wrong. " * 4}</p></section>
<footer><p>Copyright Example News, all rights reserved, wherever you are.</p></footer></body></html>"""


def batch(*pages: str | bytes, **columns: list[str | None]) -> Batch:
    htmls = [page.encode() if isinstance(page, str) else page for page in pages]
    urls = {"page_url": ["https://news.example.org/2024/harbour.html"] * len(pages)}
    return Batch(pa.table({"html": pa.array(htmls, pa.large_binary())} | urls | columns))


def nodes(page: str | bytes, **parameters) -> list[dict[str, object]]:
    given = batch(page)
    _, columns = Document(**parameters)(given)
    assert not given.failures
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def texts(page: str | bytes, **parameters) -> list[object]:
    return [node["text"] for node in nodes(page, **parameters) if node["kind"] == "text"]


def test_a_page_becomes_paragraphs_and_images_in_reading_order():
    one = SENTENCE.strip()
    assert [(node["tag"], node["text"] or node["image_url"]) for node in nodes(PAGE)] == [
        ("p", f"{one} {one}"),
        ("img", "https://news.example.org/boats.jpg"),
        ("p", f"{one} It goes on."),
        ("img", "https://news.example.org/2024/amid.png"),
        ("h2", "The railway"),
        ("p", f"{one}\nLine two"),
        ("p", one),
        ("li", "One thing that matters, and why it does"),
        ("li", "Another thing"),
        ("tr", "Year | Boats"),
        ("tr", "1842 | 12"),
        ("tr", "1900 | 40"),
        ("pre", "x =  1\n  y"),
        ("p", one),
    ]


def test_an_image_has_its_texts_and_sizes():
    image = next(node for node in nodes(PAGE) if node["kind"] == "image")
    assert image["text"] is None
    assert (image["alt_text"], image["caption"]) == ("Boats at low tide", "Boats in May")
    assert (image["shown_width_px"], image["shown_height_px"]) == (640, 480)


def test_every_node_knows_its_page():
    about = {key: value for key, value in nodes(PAGE)[0].items() if key.startswith("page_")}
    assert about == {
        "page_title": "A harbour",
        "page_language": "en-GB",
        "page_published": "2024-05-01T10:00:00Z",
        "page_canonical_url": "https://news.example.org/news/1",
        "page_opt_out": None,
    }


def test_columns_have_the_types_they_declare():
    _, columns = Document()(batch(PAGE))
    assert list(columns) == [field.name for field in Document.adds]
    for field in Document.adds:
        pa.array(columns[field.name], field.type)


def test_texts_are_the_same_without_images():
    assert texts(PAGE, images=False) == texts(PAGE)
    assert all(node["kind"] == "text" for node in nodes(PAGE, images=False))


def test_texts_are_the_same_without_images_on_real_pages(shared_data):
    pages = sorted((shared_data / "pages" / "readability").glob("*/source.html"))[::4]
    given = [page.read_bytes() for page in pages]
    _, both = Document()(batch(*given))
    parents, only = Document(images=False)(batch(*given))
    assert len(set(parents.tolist())) > 0.8 * len(pages)
    assert only["text"] == [text for text in both["text"] if text is not None]


@pytest.mark.parametrize(
    ("around", "kept"),
    [
        ("<div>{}</div>", True),
        ("<div class=article-body>{}</div>", True),
        ("<div class='elementor-widget'>{}</div>", True),  # a name counts for nothing against much prose
        ("<nav>{}</nav>", False),
        ("<footer>{}</footer>", False),
        ("<div hidden>{}</div>", False),
        ("<div style='color: red; display: none'>{}</div>", False),
        ("<div aria-hidden=true>{}</div>", False),
        ("<div class=sr-only>{}</div>", False),
        ("<template>{}</template>", False),
        ("<script>{}</script>", False),
        ("<noscript>{}</noscript>", False),
    ],
)
def test_what_shows_is_kept(around, kept):
    page = f"<title>x</title><main>{around.format(f'<p>{SENTENCE * 3}</p>')}<p>Else.</p></main>"
    assert any(SENTENCE.strip() in str(text) for text in texts(page)) is kept


@pytest.mark.parametrize(
    "name", ["cookie-consent", "share", "newsletter-signup", "related-links", "breadcrumb", "tags"]
)
def test_boilerplate_inside_the_content_is_left_out(name):
    inside = f'<div class="{name}"><p>{"Not what the page is about, but longer than a label is. "}</p></div>'
    page = f"<article><p>{SENTENCE * 3}</p>{inside}<p>{SENTENCE * 3}</p></article>"
    assert len(texts(page)) == 2


def test_a_list_of_links_is_no_content_but_a_link_in_a_sentence_is():
    links = "<ul>" + "<li><a href=x>Another story that you will like a lot</a></li>" * 9 + "</ul>"
    page = f"<article><p>{SENTENCE * 3}</p><p>{SENTENCE}<a href=y>read on</a></p>{links}</article>"
    assert len(texts(page)) == 2


@pytest.mark.parametrize(
    ("columns", "url"),
    [
        ({}, "https://news.example.org/2024/a.jpg"),
        ({"final_url": ["https://cdn.example.org/x/y"]}, "https://cdn.example.org/x/a.jpg"),
        ({"final_url": [None]}, "https://news.example.org/2024/a.jpg"),
        ({"page_url": [None]}, None),  # nothing to be relative to
    ],
)
def test_urls_are_relative_to_where_redirects_led(columns, url):
    _, found = Document()(batch(f"<p>{SENTENCE}</p><img src=a.jpg>", **columns))
    assert [one for one in found["image_url"] if one] == ([url] if url else [])


def test_rows_that_fail_make_no_nodes_and_the_others_do():
    given = batch(PAGE, "<p>" + "x" * 2_000_000, PAGE, b"")
    parents, _ = Document(max_mb=1)(given)
    assert sorted(set(parents.tolist())) == [0, 2]
    assert {row: error.kind for row, error in given.failures.items()} == {1: "too_large"}


def test_an_empty_batch_has_no_nodes():
    parents, columns = Document()(batch())
    assert len(parents) == 0
    assert {len(values) for values in columns.values()} == {0}


@pytest.mark.parametrize("wrong", [{"max_mb": 0}, {"max_seconds": 0}, {"opt_out": ["No AI"]}, {"depth": 3}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Document(**wrong)
