"""page.markdown: what becomes a node, and where images lead."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.base import Batch
from cupel.operators.page.markdown import Markdown
from cupel.schemas.document import NODE

URL = "https://h.example/r/blob/README.md"


def nodes_of(*texts, url=URL, **parameters):
    """(parent, kind, tag, text or address) of each node, and the classes of failures."""
    columns = {parameters.get("column", "text"): texts, **({"page_url": [url] * len(texts)} if url else {})}
    batch = Batch(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}))
    operator = Markdown(**parameters)
    operator.setup()
    parents, found = operator(batch)
    assert list(found) == NODE.names
    rows = zip(parents, found["kind"], found["tag"], found["text"], found["image_url"], strict=True)
    told = [(int(parent), kind, tag, url if text is None else text) for parent, kind, tag, text, url in rows]
    return told, {row: error.kind for row, error in batch.failures.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A *head*", [("text", "h1", "A head")]),
        ("Head\n----\ntext", [("text", "h2", "Head"), ("text", "p", "text")]),
        ("one\ntwo\n\nthree", [("text", "p", "one two"), ("text", "p", "three")]),
        ("one  \ntwo", [("text", "p", "one\ntwo")]),
        ("`a` [b](c) ~~d~~ &amp; **e**", [("text", "p", "a b d & e")]),
        ("- one\n- two", [("text", "li", "one"), ("text", "li", "two")]),
        ("```py\nx =  1\n  y\n```", [("text", "pre", "x =  1\n  y")]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", [("text", "tr", "a | b"), ("text", "tr", "1 | 2")]),
        ("![](a.png)", [("image", "img", "https://h.example/r/blob/a.png")]),
        ("![x](/a.png)", [("image", "img", "https://h.example/a.png")]),
        ("![x][1]\n\n[1]: https://i.example/a.png", [("image", "img", "https://i.example/a.png")]),
        ("[![x](https://i.example/a.png)](https://l.example)", [("image", "img", "https://i.example/a.png")]),
        ("one ![x](a.png) two", [("text", "p", "one two"), ("image", "img", "https://h.example/r/blob/a.png")]),
        ('<p align=center><img src="a.png">Words</p>', [("image", "img", "https://h.example/r/blob/a.png")] * 1
         + [("text", "p", "Words")]),
        ("<!-- a remark -->", []),
        ("<script>alert(1)</script>\n\nx", [("text", "p", "x")]),
        # Addresses that the parser takes for no link stay text; those that lead to no web address are left out.
        ("![x](javascript:alert(1))", [("text", "p", "![x](javascript:alert(1))")]),
        ("![y](ftp://a.example/b.png)", []),
        ("---\ntitle: x\n---\ntext", [("text", "p", "text")]),
        ("+++\ntitle = 1\n+++\ntext", [("text", "p", "text")]),
        ("---\n\ntext", [("text", "p", "text")]),
        ("", []),
    ],
)  # fmt: skip
def test_nodes(text, expected):
    assert nodes_of(text) == ([(0, *node) for node in expected], {})


def test_what_an_image_says():
    figure = "<figure><img src=b.png width=300 height=20px><figcaption>Cap</figcaption></figure>"
    text = f'![alt *text*](a.png "a title")\n\n{figure}'
    batch = Batch(pa.table({"text": [text], "page_url": [URL]}))
    found = Markdown()(batch)[1]
    assert found["alt_text"] == ["alt text", None]
    assert found["caption"] == [None, "Cap"]
    assert found["shown_width_px"] == [None, 300]
    assert found["shown_height_px"] == [None, 20]


def test_without_an_address_of_the_page():
    text = "![x](a.png) ![y](https://i.example/b.png)"
    assert nodes_of(text, url=None)[0] == [(0, "image", "img", "https://i.example/b.png")]


def test_another_column_and_several_texts():
    found, failed = nodes_of("a", "", "x" * 3000, "b", column="readme", max_mb=0.002)
    assert found == [(0, "text", "p", "a"), (3, "text", "p", "b")]
    assert failed == {2: "too_large"}
    operator = Markdown(column="readme")
    assert operator.reads == operator.uses_up == ("readme",)


@pytest.mark.parametrize("text", ["<div>" * 2000, "<div>\n\n" * 600])
def test_too_deep(text):
    assert nodes_of(text)[1] == {0: "too_deep"}


@pytest.mark.parametrize("text", [">" * 5000 + "a", "- " * 3000 + "a", "*a **b " * 3000, "[" * 5000, "![](" * 5000])
def test_nested_without_end(text):
    assert nodes_of(text)[1] == {}


@given(st.text("ab*_`[]()!<>#|-\n \"'&;~:/\\=", max_size=200))
def test_anything_goes(text):
    found, failed = nodes_of(text)
    assert not failed
    assert all(kind == "text" or node.startswith("http") for _, kind, _, node in found)


def test_readmes_of_the_real_data(shared_data):
    """Every description of a data set there: no image is there, and no word is lost."""
    texts = [path.read_text() for path in sorted(shared_data.glob("*/SOURCE.md"))]
    found, failed = nodes_of(*texts)
    assert not failed
    assert {parent for parent, *_ in found} == set(range(len(texts)))
    for number, text in enumerate(texts):
        heading = text.lstrip("# ").split("\n")[0].replace("`", "")
        assert found[[parent for parent, *_ in found].index(number)][3] == heading
