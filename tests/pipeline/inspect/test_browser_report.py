"""report.html in a real Chromium, from the disk: whole in itself, and as harmless and usable as the live pages."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from inspected import BLOCKED, UNSAFE, drawn
from PIL import Image

LOADS = "[...document.querySelectorAll('[src], link[href], image, use')].map(e => e.src ?? e.href?.baseVal ?? e.href)"


@pytest.mark.parametrize("name", ["drawn_corpus", "pairs_corpus", "documents_corpus"])
def test_the_report_is_one_file_that_opens_offline(request, window, name):
    for report in request.getfixturevalue(name).glob("cuts/*/report.html"):
        assert report.stat().st_size < 5_000_000
        with window() as visit:
            visit.page.goto(report.as_uri())
            assert visit.page.locator("h1").count() == 1
            assert {each.partition(":")[0] for each in visit.asked} <= {"file", "data"}
            assert sum(each.startswith("file:") for each in visit.asked) == 1
            assert {each.partition(",")[0] for each in visit.page.evaluate(LOADS) if not each.startswith("#")} <= {
                "data:image/jpeg;base64",
                "data:image/webp;base64",
                "data:image/png;base64",
                "data:image/svg+xml;base64",
            }
            assert visit.page.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0
            assert visit.page.pdf().startswith(b"%PDF")
            assert visit.barriers() == []


def test_nothing_hostile_runs_in_it(drawn_corpus, window):
    for report in drawn_corpus.glob("cuts/*/report.html"):
        with window() as visit:
            visit.page.goto(report.as_uri())
            assert visit.page.locator("script, iframe, object, embed, base, form").count() == 0
            names = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).map(a => a.name)"
            assert [each for each in visit.page.evaluate(names) if each.lower().startswith("on")] == []
            leads = visit.page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.protocol)")
            assert set(leads) <= {"file:", "https:", "http:"}
            assert "\u202e" not in visit.page.content()


def test_a_blocked_picture_is_not_in_it_and_an_unsafe_one_is_blurred(drawn_corpus, window):
    """By their pixels: what stands in the report is encoded anew."""
    (report,) = drawn_corpus.glob("cuts/drawn-*/report.html")
    with window() as visit:
        visit.page.goto(report.as_uri())
        shown = visit.page.evaluate("[...document.images].map(i => [i.src, getComputedStyle(i).filter])")
    images = [(Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))), style) for src, style in shown]

    def styles(number: int) -> set[str]:
        return {style for image, style in images if difference(image, drawn(number)) < 8}

    assert styles(BLOCKED) == set()
    assert all("blur" in style for style in styles(UNSAFE))
    assert any(styles(number) == {"none"} for number in range(1, 8)), "others are found this way"


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures' grey levels at a small size."""
    small = [np.asarray(image.convert("RGB").resize((24, 24)), np.float32) for image in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())
