from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cupel.operators.base import Batch
from cupel.operators.document.url_rules import LISTS, UrlRules


def measured(operator: UrlRules, *urls: str) -> list[tuple[str | None, str]]:
    found = operator(Batch(pa.table({"image_url": pa.array(urls, pa.string())})))
    return list(zip(found["url_rule"], found["url_suffix"], strict=True))


@pytest.mark.parametrize(
    ("published", "url", "rule"),
    [
        ("obelics", "https://a.org/cat.jpg", None),
        ("obelics", "https://a.org/logo.png", "logo"),
        ("obelics", "https://a.org/LOGO.png", None),  # its code looks at case
        ("obelics", "https://catalogoffers.org/a.jpg", "logo"),
        ("obelics", "https://middlesex.org/a.jpg", "sex"),
        ("obelics", "https://a.org/favicon.ico", "icon"),
        ("obelics", "https://a.org/wp-content/plugins/x/icon.png", "icon"),  # the first of the list, not of the address
        ("obelics", "https://a.org/avatar.png", None),
        ("mmc4", "https://a.org/xxx.png", None),
        ("mmc4", "https://a.org/button.png", "button"),
        ("mint", "https://a.org/avatar/1.png", "avatar"),
        ("mint", "https://a.org/icon.png", None),
    ],
)
def test_published_lists(published, url, rule):
    assert measured(UrlRules(substrings=published), url)[0][0] == rule


def test_the_lists_are_those_published():
    assert [len(LISTS[name]) for name in ("obelics", "mmc4", "mint")] == [8, 5, 4]


@pytest.mark.parametrize(
    ("url", "suffix"),
    [
        ("https://a.org/b.JPG?c=d.png", "jpg"),
        ("https://a.org/b.jpeg#x.gif", "jpeg"),
        ("https://a.org/b", ""),
        ("https://a.org", ""),
        ("https://a.org/b.c/d", ""),
        ("https://a.org/b%2Epng", "png"),
        ("http://[::1/b.png", ""),
        ("", ""),
    ],
)
def test_suffixes(url, suffix):
    assert measured(UrlRules(substrings="mmc4"), url)[0][1] == suffix


@given(url=st.text(st.sampled_from("aAbB/.")), ignore_case=st.booleans())
def test_own_substrings(url, ignore_case):
    operator = UrlRules(substrings=("aB", "b/"), ignore_case=ignore_case)
    text, wanted = (url.lower(), ("ab", "b/")) if ignore_case else (url, ("aB", "b/"))
    hits = [name for name, part in zip(("aB", "b/"), wanted, strict=True) if part in text]
    assert measured(operator, url)[0][0] == (hits[0] if hits else None)


@pytest.mark.parametrize("substrings", [(), ("logo", ""), "laion"])
def test_what_would_match_nothing_or_all_is_refused(substrings):
    with pytest.raises(ValidationError):
        UrlRules(substrings=substrings)
