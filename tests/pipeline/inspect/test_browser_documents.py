"""Real documents in a real Chromium: in reading order, with the dropped nodes greyed."""

from __future__ import annotations

import pyarrow.parquet as pq


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_document_is_read_in_order_with_what_was_dropped_greyed(documents, window):
    """What stands there as kept is what curated/ has, node by node."""
    curated = [
        row for file in (documents.newest / "curated").glob("*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    listed = documents.ready(f"{documents.cut}/documents.json?fate=kept").json
    assert listed["documents"] == len(curated)
    mixed = next(each for each in listed["shown"] if each["kept_images"] and each["kept"] < each["nodes"])
    place = "{space}/{shard}/{row}".format(**mixed["source"])
    with window() as visit:
        page = visit.page
        page.goto(documents.address)
        page.goto(f"{documents.origin}{documents.cut}/document/{place}")
        nodes = page.locator(".paper .node")
        assert nodes.count() == mixed["nodes"]
        kept = page.locator(".paper .node:not(.dropped)")
        texts = [squeezed(text) for text in kept.locator("> p bdi").all_inner_texts()]
        images = kept.locator("img").count()
        assert images == mixed["kept_images"]
        stored = [
            [squeezed(node["text"]) for node in row["nodes"] if node["text"] is not None]
            for row in curated
            if len(row["nodes"]) == mixed["kept"]
        ]
        assert texts in stored
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function("() => [...document.images].every(image => image.complete && image.naturalWidth)")
        shade = "node => getComputedStyle(node).opacity + getComputedStyle(node).color"
        gone = page.locator(".paper .node.text.dropped > p").first
        assert gone.evaluate(shade) != kept.locator("> p:not(.aside)").first.evaluate(shade)
        assert page.locator(".paper .node.dropped").first.get_by_text("dropped").count() == 1, "not by colour alone"
