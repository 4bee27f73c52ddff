"""page.pairs: every image with its texts."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.page.pairs import Pairs

PAGE = """<title>Shop</title><nav><img src=/logo.png alt=Logo></nav>
<img src=a.jpg alt=" A red\n bicycle " title="Bike" aria-label="label" width=300 height=50%>
<figure><a href=b><img src=b.jpg alt=""></a><figcaption>A <b>blue</b> boat</figcaption></figure>
<picture><source srcset="c-800.webp 800w, c-1600.webp 1600w"><img src=c.jpg title="A title"></picture>
<img src=d.jpg><img src=data:image/gif;base64,R0lGODlhAQABAAAAACw= alt=dot><img alt="no address">
<img src=/pixel?u=1 width=1 height=1 alt=tracker><div style="display:none"><img src=hidden.jpg alt=hidden></div>"""


def pairs(page: str, **parameters) -> list[dict[str, object]]:
    given = Batch(
        pa.table({"html": pa.array([page.encode()], pa.large_binary()), "page_url": ["http://example.org/s/"]})
    )
    parents, columns = Pairs(**parameters)(given)
    assert not given.failures
    assert set(parents.tolist()) <= {0}
    assert list(columns) == [field.name for field in Pairs.adds]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_each_image_that_shows_is_a_row_with_the_first_text_there_is():
    assert [(pair["image_url"], pair["text"]) for pair in pairs(PAGE)] == [
        ("http://example.org/logo.png", "Logo"),
        ("http://example.org/s/a.jpg", "A red bicycle"),
        ("http://example.org/s/b.jpg", "A blue boat"),
        ("http://example.org/s/c-1600.webp", "A title"),
        ("http://example.org/s/d.jpg", None),
    ]


def test_all_texts_and_sizes_are_told():
    bicycle = pairs(PAGE)[1]
    assert {key: bicycle[key] for key in ("alt_text", "title", "caption", "aria_label")} == {
        "alt_text": "A red bicycle",
        "title": "Bike",
        "caption": None,
        "aria_label": "label",
    }
    assert (bicycle["shown_width_px"], bicycle["shown_height_px"], bicycle["page_title"]) == (300, None, "Shop")


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (["alt_text"], "A red bicycle"),
        (["title", "alt_text"], "Bike"),
        (["caption", "aria_label"], "label"),
        (["caption"], None),
    ],
)
def test_the_recipe_says_where_the_text_comes_from(order, text):
    assert pairs(PAGE, text=order)[1]["text"] == text


@pytest.mark.parametrize("wrong", [[], ["alt"], "alt_text"])
def test_a_text_from_elsewhere_is_refused(wrong):
    with pytest.raises(ValidationError):
        Pairs(text=wrong)
