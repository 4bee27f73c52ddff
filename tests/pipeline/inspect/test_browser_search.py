"""Search and comparison in a real Chromium, against a plain loop over the captions and the files of two cuts."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
from drawing import encoded
from inspected import drawn as drawn_picture


def captions(site) -> list[str]:
    lines = (site.corpus.parent / "in" / "captions.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_words_are_found_as_a_plain_loop_finds_them(drawn, window):
    drawn.ready(f"{drawn.cut}/search")
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        page.goto(f"{drawn.origin}{drawn.cut}/search")
        for asked, words in {
            "SCRIPT": r"\bscript",
            '"its colours"': r"\bits colours",
            "picture -its": r"^(?=.*\bpicture)(?!.*\bits)",
            "zyzzyva": "zyzzyva",
        }.items():
            wanted = sum(re.search(words, text) is not None for text in captions(drawn))
            page.get_by_role("searchbox").fill(asked)
            page.keyboard.press("Enter")
            page.get_by_role("heading", level=1).get_by_text(f"{wanted} row").wait_for()
            assert page.locator("main article.tile").count() == min(wanted, 48)


def test_a_picture_finds_itself(drawn, window, tmp_path):
    (tmp_path / "p.jpg").write_bytes(encoded(drawn_picture(5)))
    drawn.ready(f"{drawn.cut}/search")
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        page.goto(f"{drawn.origin}{drawn.cut}/search")
        page.locator("#picture").set_input_files(tmp_path / "p.jpg")
        page.get_by_role("heading", name="to your picture").wait_for(timeout=120_000)  # torch is imported
        assert "number 5 " in page.locator("main article.tile").first.inner_text()


def kept(site, name: str) -> set[str]:
    (folder,) = (site.corpus / "cuts").glob(f"{name}-*")
    return {
        key for file in (folder / "kept").glob("*") for key in pq.read_table(file, columns=["key"])["key"].to_pylist()
    }


def test_two_cuts_side_by_side(drawn, window):
    mine, other = kept(drawn, "drawn"), kept(drawn, "strict")
    with window() as visit:
        page = visit.page
        page.goto(drawn.address)
        page.goto(f"{drawn.origin}{drawn.cut}/compare")
        page.get_by_role("link", name="strict").click()
        page.locator(".stat.only-a a").wait_for()
        assert page.locator(".stat.only-a a").inner_text() == str(len(mine - other)) != "0"
        assert page.locator(".stat.only-b a").inner_text() == str(len(other - mine)) == "0"
        assert str(len(mine & other)) in page.get_by_text("in both").first.locator("..").inner_text()
