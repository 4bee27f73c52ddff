"""Every page in a real Chromium, on drawn and on real corpora. `window` fails when a page misbehaves."""

from __future__ import annotations

import pytest

PAGES = {"/", "/cut", "/cut/rows", "/cut/row/N/N/N"}


@pytest.mark.parametrize("name", ["drawn", "pairs", "documents"])
def test_all_pages_load_in_silence_and_ask_nobody_else(request, window, name):
    site = request.getfixturevalue(name)
    assert site.kinds().keys() >= PAGES
    with window() as visit:
        visit.page.goto(site.address)
        for path in site.pages():
            visit.page.goto(site.origin + path)
            assert visit.page.locator("h1").count() == 1, path
            assert visit.page.title().endswith("Cupel")
            broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
            assert visit.page.evaluate(broken) == [], path
        assert {site.origin} == {"/".join(address.split("/")[:3]) for address in visit.asked}


def test_the_token_leaves_the_address_and_lets_in_this_browser_alone(drawn, window):
    with window() as visit:
        visit.page.goto(drawn.address)
        assert "token" not in visit.page.url
        visit.page.goto(drawn.origin + drawn.cut)
        assert drawn.cut.rpartition("/")[2] in visit.page.title()
        assert "cupel-" not in visit.page.evaluate("document.cookie"), "no script reads it"
    with window() as visit:
        assert visit.page.goto(drawn.origin + drawn.cut).status == 403
        visit.faults.clear()


def test_a_row_is_found_from_the_funnel_with_keys_alone(drawn, window):
    """Tab to the link of what `words` dropped, Enter; then to a row, Enter."""
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        page.goto(drawn.origin + drawn.cut)
        link = page.get_by_role("row").filter(has_text="keep words").get_by_role("link").last
        tab_to(page, link)
        page.keyboard.press("Enter")
        page.wait_for_url("**/rows?**")
        assert page.get_by_role("heading", level=1).inner_text().startswith("8 ")
        tab_to(page, page.locator("main a[href*='/row/']").first)
        page.keyboard.press("Enter")
        page.wait_for_url("**/row/**")
        assert "number 0" in page.locator("main").inner_text()


def tab_to(page, link) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            return
    raise AssertionError("Tab does not lead there")


@pytest.mark.parametrize(
    "html, noticed",
    [
        ("<img src=http://example.org/a.png>", "GET http://example.org/a.png"),
        ("<script>navigator.sendBeacon('http://example.org/b', '1')</script>", "POST http://example.org/b"),
        ("<script>alert('hello')</script>", "alert: hello"),
        ("<script>null.x</script>", "script: Cannot read"),
        ("<script>console.error('oh')</script>", "console: oh"),
    ],
)
def test_the_window_notices_what_a_page_should_not_do(window, html, noticed):
    with pytest.raises(AssertionError, match=noticed), window() as visit:
        visit.page.goto(f"data:text/html,{html}")
        visit.page.wait_for_load_state("networkidle")
