from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.document.repeated_images import RepeatedImages


def test_by_address(measure_in):
    documents = [["img:a", "text", "img:b", "img:a", "img:a"], ["img:a"], [], ["text"]]
    assert measure_in(RepeatedImages(), documents) == {
        "repeats_image": [None, None, None, 0, 0, None, None],
        "repeated_images": [2, 0, 0, 0],
    }


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(0, [None, None, None, 0, None]), (1, [None, 0, None, 0, None]), (2, [None, 0, 0, 0, None])],
)
def test_by_hash(measure_in, distance, expected):
    """At the distance, and one bit beyond it; what has no hash repeats nothing."""
    hashes = pa.array([0b000, 0b001, 0b011, 0b000, None], pa.uint64())
    found = measure_in(
        RepeatedImages(column="phash", max_distance=distance), [[f"img:{i}" for i in range(5)]], phash=hashes
    )
    assert found["repeats_image"] == expected


@given(values=st.lists(st.lists(st.integers(0, 15), max_size=6), max_size=4), distance=st.integers(1, 3))
def test_against_all_pairs(measure_in, values, distance):
    documents = [[f"img:{i}" for i in range(len(hashes))] for hashes in values]
    column = pa.array([value for hashes in values for value in hashes], pa.uint64())
    found = measure_in(RepeatedImages(column="phash", max_distance=distance), documents, phash=column)
    expected: list[int | None] = []
    for hashes in values:
        own: list[int | None] = []
        for i, value in enumerate(hashes):
            near = [j for j in range(i) if own[j] is None and bin(value ^ hashes[j]).count("1") <= distance]
            own.append(near[0] if near else None)
        expected += own
    assert found["repeats_image"] == expected


def test_only_hashes_have_a_distance(measure_in):
    with pytest.raises(ValueError, match="64-bit hashes"):
        measure_in(RepeatedImages(max_distance=1), [["img:a"]])
