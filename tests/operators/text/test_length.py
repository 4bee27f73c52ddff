from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cupel.operators.text.length import Length

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def test_every_code_point_counts_as_in_python(measure):
    texts = [f"a{character}b" for character in EVERY]
    found = measure(Length(), texts)
    assert set(found["characters"]) == {3}
    assert found["words"] == [len(text.split()) for text in texts]


@settings(deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.text(" \t\n\x1c\x85\u2028ab")))
def test_any_text_counts_as_in_python(measure, texts):
    found = measure(Length(), texts)
    assert found["characters"] == [len(text) for text in texts]
    assert found["words"] == [len(text.split()) for text in texts]


def test_datacomp_basic_filter_row_for_row(measure, captions):
    """arXiv:2304.14108, appendix N: `len(text.split()) > 2` and `len(text) > 5`, here as bounds of a `keep`."""
    found = measure(Length(), captions)
    ours = [words >= 3 and size >= 6 for words, size in zip(found["words"], found["characters"], strict=True)]
    assert ours == [len(text.split()) > 2 and len(text) > 5 for text in captions]
