from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.document.structure import Structure

NODES = st.sampled_from(["", "one", "two words", "three more words\nhere", "img:a", "img:b", "img:https://x/é?a,b"])


def by_hand(document: list[str]) -> dict[str, object]:
    """One document, node by node."""
    urls = [node[4:] for node in document if node.startswith("img:")]
    texts = [node for node in document if not node.startswith("img:")]
    stretches, before = [0], None
    for node in document:
        if node.startswith("img:"):
            before = stretches[0] if before is None else before
            stretches.append(0)
        else:
            stretches[-1] += len(node.split())
    words = sum(stretches)
    digest = hashlib.sha256("\n".join(sorted(set(urls))).encode()).hexdigest()
    return {
        "total_nodes": len(document),
        "images": len(urls),
        "distinct_images": len(set(urls)),
        "paragraphs": len(texts),
        "total_words": words,
        "total_characters": sum(map(len, texts)),
        "words_per_image": words / len(urls) if urls else None,
        "words_before_image": before,
        "share_before_image": before / words if urls and words else None,
        "longest_gap_words": max(stretches),
        "image_set": digest if urls else None,
    }


@given(documents=st.lists(st.lists(NODES, max_size=9), max_size=6))
def test_any_documents(measure_in, documents):
    found = measure_in(Structure(), documents)
    expected = [by_hand(document) for document in documents]
    assert found == {name: [values[name] for values in expected] for name in found}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (["a b", "img:1", "c d e", "img:2"], {"images": 2, "words_before_image": 2, "longest_gap_words": 3}),
        (["img:1", "a"], {"words_before_image": 0, "share_before_image": 0.0, "words_per_image": 1.0}),
        (["a b c"], {"words_before_image": None, "longest_gap_words": 3, "image_set": None}),
        (["img:1", "img:1"], {"images": 2, "distinct_images": 1, "share_before_image": None}),
    ],
)
def test_by_example(measure_in, document, expected):
    found = measure_in(Structure(), [document])
    assert {name: found[name][0] for name in expected} == expected


def test_sets_are_told_apart_where_joined_addresses_are_not(measure_in):
    """OBELICS joins the addresses without a sign between them."""
    sets = measure_in(Structure(), [["img:ab", "img:c"], ["img:a", "img:bc"], ["img:c", "img:ab", "img:c"]])
    first, second, third = sets["image_set"]
    assert first == third != second
