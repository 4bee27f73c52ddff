"""For everybody: axe finds nothing against WCAG 2.2 AA, keys reach everything, and a phone is wide enough."""

from __future__ import annotations

FOCUSABLE = """() => {
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
  const open = [...all].filter(e => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}));
  const alone = open.filter(e => e.type !== "radio" || e.checked);
  alone.forEach((e, i) => e.setAttribute("data-number", i));
  return alone.length;
}"""
WATCH = """() => {
  const ringed = s => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none";
  window.reached = {};
  document.addEventListener("focusin", ({ target }) => {
    const shows = [target, target.closest("label, .tile, .doc")].some(e => e !== null && ringed(getComputedStyle(e)));
    window.reached[target.dataset.number] = shows || target.outerHTML;
  });
}"""


def test_nothing_bars_anybody_from_using_the_pages(drawn, window):
    assert barriers(drawn, window, drawn.pages()) == {}


def test_nothing_bars_anybody_from_reading_documents(documents, window):
    kinds = {"/cut/thresholds", "/cut/row/N/N/N", "/cut/documents", "/cut/document/N/N/N"}
    paths = [path for kind, path in documents.kinds().items() if kind in kinds]
    assert len(paths) == len(kinds)
    assert barriers(documents, window, paths) == {}


def barriers(site, window, paths: list[str]) -> dict[str, list[str]]:
    """By page."""
    found = {}
    with window() as visit:
        visit.page.goto(site.address)
        for path in paths:
            site.ready(path)
            visit.page.goto(site.origin + path)
            found[path] = visit.barriers()
    return {path: some for path, some in found.items() if some}


def test_all_that_can_be_used_is_reached_by_tab_and_seen_to_be(drawn, window):
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        for path in drawn.pages():
            page.goto(drawn.origin + path)
            page.wait_for_load_state("networkidle")
            count = page.evaluate(FOCUSABLE)
            page.evaluate(WATCH)
            reached: dict[str, bool | str] = {}
            for _ in range(3):  # rows come while one goes on
                if not reached.keys() >= set(map(str, range(count))):
                    for _ in range(count + 1):
                        page.keyboard.press("Tab")
                    reached = page.evaluate("() => window.reached")
            assert reached.keys() >= set(map(str, range(count))), path
            assert [html for html in reached.values() if html is not True] == [], f"{path}: focus does not show"


def test_without_scripts_pages_have_their_rows(drawn, window):
    drawn.ready(f"{drawn.cut}/rows")
    with window(scripts=False) as visit:
        visit.page.goto(drawn.address)
        for path in ("/rows", "/rows?view=table", "/samples", "/search?q=picture"):
            visit.page.goto(drawn.origin + drawn.cut + path)
            assert visit.page.get_by_text("a picture of number").count() > 0, path
