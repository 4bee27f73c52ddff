"""Labelling by key press, in a real Chromium: every key is in the file before the next row comes."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from serving import serving


@pytest.fixture
def labelled(drawn_corpus, tmp_path):
    with serving(drawn_corpus, "--labels", str(tmp_path / "labels.parquet")) as site:
        yield site, tmp_path / "labels.parquet"


def test_keys_write_the_file_of_labels(labelled, window):
    site, file = labelled
    site.ready(f"{site.cut}/label")
    shown = []
    with window() as visit:
        page = visit.page
        page.goto(site.address)
        page.goto(f"{site.origin}{site.cut}/label")
        stage, before = "document.querySelector('[data-part=stage]').innerText", ""
        for key in ["k", "d", "s", "d", "u", "k", ""]:
            page.wait_for_function(f"before => {stage} !== before", arg=before)
            shown.append(before := page.evaluate(stage))
            page.keyboard.press(key) if key else None
        page.get_by_text("3 labelled of").wait_for()
        told = page.locator(".label-row").inner_text()
        assert "dropped" not in told and "kept" not in told, "no verdict sways who labels"
        assert visit.barriers() == []
    labels = pq.read_table(file).to_pylist()
    assert [label["label"] for label in labels] == ["keep", "drop", "keep"]
    assert len({(label["shard"], label["row"]) for label in labels}) == 3
    assert shown[3] == shown[5] != shown[2], "the row whose label was taken back comes again"


def test_labels_come_from_this_page_alone(labelled):
    site, file = labelled
    row = site.ready(f"{site.cut}/label.json").json["row"]
    body = b'{"say": "keep", "shard": %d, "row": %d}' % (row["shard"], row["row"])
    path = f"{site.cut}/label.json"
    assert site.ask(path, "POST", body=body, X_Cupel="label").status == 403, "no Origin"
    assert site.ask(path, "POST", body=body, X_Cupel="label", Origin="http://example.org").status == 403
    assert site.ask(path, "POST", body=body, Origin=site.origin).status == 403, "a form can be sent by any page"
    assert site.ask(path, "POST", body=body, X_Cupel="label", Origin=site.origin, Cookie="").status == 403
    for wrong in (b"", b"[]", b'{"say": "keep", "shard": 99, "row": 0}', b'{"say": "../x"}', b"x" * 10_000):
        answer = site.ask(path, "POST", body=wrong, X_Cupel="label", Origin=site.origin)
        assert 400 <= answer.status < 500
    assert not file.exists() or pq.read_table(file).num_rows == 0
    assert site.ask(path, "POST", body=body, X_Cupel="label", Origin=site.origin).status == 200
    assert pq.read_table(file).num_rows == 1
