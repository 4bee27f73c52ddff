"""Sliders in a real Chromium: by mouse and by keys they change the yield, and the recipe keeps what they showed."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cupel import run

SHOWN = "document.querySelector('[data-part=kept]').innerText"


def opened(visit, site):
    """The page of sliders, at rest."""
    visit.page.goto(site.address)
    site.ready(f"{site.cut}/thresholds")
    visit.page.goto(f"{site.origin}{site.cut}/thresholds")
    visit.page.wait_for_load_state("networkidle")
    return visit.page


def kept(page) -> list[int]:
    """How many rows the page says would be kept; two numbers where it only knows between which."""
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", page.evaluate(SHOWN))]


def other_yield(page, site, before: str) -> list[int]:
    """The yield after a move: another than before, and the one that the address stands for."""
    page.wait_for_function(f"before => {SHOWN} !== before", arg=before)
    for _ in range(100):
        told = site.ask(f"{site.cut}/thresholds.json{page.evaluate('location.search')}").json["kept"]
        if (found := kept(page)) == sorted({told["at_least"], told["at_most"]}):
            page.wait_for_load_state("networkidle")
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"{page.url} shows {found}, not {told}")


def side(page, name: str):
    """The slider and field of one side of a bound: `contrast.min`."""
    return page.locator(f"[data-side$='.{name}']")


def kept_by_run(recipe: Path, corpus: Path, copy: Path) -> int:
    """What a real run of the saved recipe keeps, in a copy of the corpus."""
    shutil.copytree(corpus, copy)
    with ThreadPoolExecutor(1) as pool:  # the browser's loop runs in this thread
        return pool.submit(run, recipe, out=copy, write=False).result().kept


def test_the_mouse_moves_a_bound(pairs, window):
    with window() as visit:
        page = opened(visit, pairs)
        before = page.evaluate(SHOWN)
        slider = side(page, "contrast.min").locator("input[type=range]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 2, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
        page.mouse.up()
        (now,) = other_yield(page, pairs, before)
        assert now < pairs.manifest["kept"]
        assert page.locator("[data-part=why]").inner_text().startswith("Exact")
        going = page.get_by_role("heading", name=re.compile("^Go out"))
        assert int(re.sub(r"\D", "", going.inner_text())) == pairs.manifest["kept"] - now
        page.reload()
        page.wait_for_load_state("networkidle")
        assert kept(page) == [now], "the address holds what was moved"
        page.get_by_role("link", name="Reset all").click()
        assert other_yield(page, pairs, f"{now:,}") == [pairs.manifest["kept"]]


def test_keys_move_a_bound_and_the_recipe_keeps_exactly_what_was_shown(pairs, window, tmp_path):
    with window() as visit:
        page = opened(visit, pairs)
        before = page.evaluate(SHOWN)
        slider = side(page, "contrast.min").locator("input[type=range]")
        slider.focus()
        for key in ("PageUp", "ArrowRight", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
        other_yield(page, pairs, before)
        share = side(page, "sharpness.top").get_by_role("spinbutton")
        share.fill("0.55")
        (now,) = other_yield(page, pairs, page.evaluate(SHOWN))
        assert page.locator("[data-part=why]").inner_text().startswith("Exact")
        page.locator("#name").fill("moved")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == "moved.yaml"
        download.value.save_as(tmp_path / "moved.yaml")
        visit.downloads.clear()
    assert "share: 0.55" in (tmp_path / "moved.yaml").read_text()
    assert kept_by_run(tmp_path / "moved.yaml", pairs.corpus, tmp_path / "copy") == now


@pytest.mark.parametrize("bound, value", [("min_side_px.min", 60), ("words.min", 12)])
def test_what_is_not_known_is_told_as_bounds(pairs, window, tmp_path, bound, value):
    """A barrier follows these: a run is needed, and it keeps as many as the page said at least and at most."""
    with window() as visit:
        page = opened(visit, pairs)
        before = page.evaluate(SHOWN)
        side(page, bound).get_by_role("spinbutton").fill(f"{value}")
        found = other_yield(page, pairs, before)
        assert "a run is needed" in page.locator("[data-part=why]").inner_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        download.value.save_as(tmp_path / "moved.yaml")
        visit.downloads.clear()
    least, most = found
    assert least <= kept_by_run(tmp_path / "moved.yaml", pairs.corpus, tmp_path / "copy") <= most


def test_sliders_of_documents(documents, window):
    """A bound on nodes and one on documents; both are told in nodes and in documents."""
    with window() as visit:
        page = opened(visit, documents)
        before = page.evaluate(SHOWN)
        side(page, "document_letter_ratio.min").get_by_role("spinbutton").fill("0.79")
        other_yield(page, documents, before)
        assert re.search(r"of [\d,]+ documents", page.locator("[data-part=unit]").inner_text())
        assert page.locator("[data-part=why]").inner_text().startswith("Exact")


def test_without_scripts_the_form_answers(pairs, window):
    """The same numbers, by the address alone."""
    with window(scripts=False) as visit:
        page = visit.page
        page.goto(pairs.address)
        pairs.ready(f"{pairs.cut}/thresholds")
        page.goto(f"{pairs.origin}{pairs.cut}/thresholds")
        side(page, "contrast.min").get_by_role("spinbutton").fill("60")
        page.get_by_role("button", name="Work it out").click()
        told = int(page.locator("[data-part=kept]").inner_text().replace(",", ""))
    bound = next(b for b in pairs.ready(f"{pairs.cut}/thresholds.json").json["bounds"] if b["column"] == "contrast")
    asked = pairs.ask(f"{pairs.cut}/thresholds.json?c={bound['id']}.min=60").json
    assert told == asked["kept"]["at_least"] == asked["kept"]["at_most"] < pairs.manifest["kept"]
