"""page.document on real pages, by the measures of infra/bench/extraction.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[3] / "infra" / "bench" / "extraction.py"
    spec = importlib.util.spec_from_file_location("bench_extraction", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_texts_of_articles(bench, shared_data):
    sources = bench.articles(shared_data / "pages" / "article-extraction-benchmark")
    f1, precision, recall = bench.text_scores(sources, bench.ours(sources))
    assert f1 >= 0.95
    assert precision >= 0.92
    assert recall >= 0.97


def test_the_images_of_readabilitys_pages(bench, shared_data):
    sources = bench.readability(shared_data / "pages" / "readability")
    recall, precision, in_order = bench.image_scores(sources, bench.ours(sources))
    assert recall >= 0.95
    assert precision >= 0.95
    assert in_order >= 0.98


def test_the_measures_on_cases_done_by_hand(bench):
    pages = [bench.Source(b"", "", "a b c d e", [{"1"}, {"2", "2b"}, {"3"}])]
    found = [bench.Found("a b c d x", ["2b", "1", "4"])]
    assert bench.text_scores(pages, found) == (0.5, 0.5, 0.5)  # abcd of abcd, bcde; of abcd, bcdx
    assert bench.image_scores(pages, found) == (2 / 3, 2 / 3, 0.0)
