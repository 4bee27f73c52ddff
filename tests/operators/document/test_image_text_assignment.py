"""The assignment against MMC4's own examples and all permutations; similarities against open_clip's towers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from drawing import encoded, picture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cupel.operators.base import Batch
from cupel.operators.document import image_text_assignment as module
from cupel.operators.document._assignment import assign
from cupel.operators.document.image_text_assignment import ImageTextAssignment
from cupel.operators.pair.clip_similarity import ClipSimilarity

# README of allenai/mmc4: taking each image's best sentence gives both the second one.
HONDA = np.array(
    [
        [0.24363446235656738, 0.31758785247802734, 0.27694183588027954],
        [0.2233106791973114, 0.3234919607639313, 0.26118797063827515],
    ]
)
IMAGES = {f"i{n}": encoded(picture(n)) for n in range(5)} | {"bad": encoded(picture(9))[:400]}


def test_the_readme_of_mmc4():
    assert HONDA.argmax(axis=1).tolist() == [1, 1]
    assert assign(HONDA).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ([[1, 1], [1.5, 1], [3, 2.6]], [0, 0, 1]),  # the unit test of its linear_assignment.py: 1.5 and 2.6
        ([[0.3]], [0]),
        ([[0.1, 0.2, 0.3]], [2]),
        ([[0.1], [0.3], [0.2]], [0, 0, 0]),
        ([[0.9, 0.8], [0.9, 0.1]], [1, 0]),
        ([[0.2, 0.2], [0.2, 0.2]], [0, 1]),
        ([[-0.1, -0.9], [-0.2, -0.3]], [0, 1]),
        ([[0.5, 0.4, 0.1], [0.5, 0.3, 0.1], [0.5, 0.2, 0.1]], [1, 0, 2]),
    ],
)
def test_by_hand(similarities, expected):
    found = assign(np.array(similarities)).tolist()
    if len(set(np.ravel(similarities).tolist())) == 1:
        assert sorted(found) == sorted(expected), "any of equals"
    else:
        assert found == expected


@given(arrays.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.integers(-8, 8).map(float)))
def test_no_other_assignment_is_better(similarities):
    images, texts = similarities.shape
    found = assign(similarities)
    least = min(images, texts)
    if images <= texts:
        assert len(set(found.tolist())) == images
        best = max(sum(similarities[range(images), order]) for order in itertools.permutations(range(texts), images))
        assert similarities[range(images), found].sum() == best
    else:
        assert set(found.tolist()) == set(range(texts)), "each sentence has an image"
        best = max(sum(similarities[order, range(texts)]) for order in itertools.permutations(range(images), texts))
        chosen = [
            rows
            for rows in itertools.combinations(range(images), least)
            if len({found[row] for row in rows}) == least and sum(similarities[row, found[row]] for row in rows) == best
        ]
        left_over = [set(range(images)) - set(rows) for rows in chosen]
        assert any(all(found[i] == similarities[i].argmax() for i in rest) for rest in left_over)


@pytest.fixture(scope="module")
def small(small_clip):
    return lambda **more: ImageTextAssignment(model=str(small_clip), **more)


def cosine(small_clip, image: str, text: str) -> float:
    """By the operator for pairs, which is held to open_clip."""
    import pyarrow as pa

    from cupel.operators.images import ImageStore

    batch = Batch(pa.table({"text": [text]}), ImageStore({0: IMAGES[image]}))
    return float(ClipSimilarity(model=str(small_clip))(batch)["clip_similarity"][0])


def test_sentences_of_paragraphs(measure_in, small, small_clip):
    document = ["A red house. A blue sea.", "img:i0", "Nothing else", "img:i1"]
    texts = ["A red house.", "A blue sea.", "Nothing else"]
    found = measure_in(small(similarity_matrix=True), [document], images=IMAGES)
    similarities = found["similarities"]
    assert similarities[0] is similarities[2] is None, "texts have none"
    assert [len(part) for part in similarities[1]] == [2, 0, 1], "by node and sentence"
    matrix = np.array([list(itertools.chain(*similarities[row])) for row in (1, 3)])
    expected = [[cosine(small_clip, image, text) for text in texts] for image in ("i0", "i1")]
    np.testing.assert_allclose(matrix, expected, atol=1e-5)
    where = [(0, 0), (0, 1), (2, 0)]
    assigned = assign(matrix)
    assert found["node_position"] == [0, 1, 2, 3]
    pairs = list(zip(found["matched_node"], found["matched_sentence"], strict=True))
    assert pairs == [(None, None), where[assigned[0]], (None, None), where[assigned[1]]]
    similarities = matrix[[0, 1], assigned]
    np.testing.assert_allclose([found["matched_similarity"][i] for i in (1, 3)], similarities)
    np.testing.assert_allclose([found["best_similarity"][i] for i in (1, 3)], matrix.max(axis=1))
    assert found["highest_similarity"] == [pytest.approx(similarities.max())]
    assert found["lowest_similarity"] == [pytest.approx(similarities.min())]


def test_similarities_go_by_document_and_node(measure_in, small):
    documents = [["A.", "img:missing", "img:i0"], ["img:i1"], ["img:i2", "A blue sea. A red house.", "img:i3", "D."]]
    found = measure_in(small(similarity_matrix=True), documents, images=IMAGES)
    kept = found["similarities"]
    assert [None if one is None else [len(part) for part in one] for one in kept] == [
        *(None, None, [1]),
        *(None,),
        *([0, 2, 0, 1], None, [0, 2, 0, 1], None),
    ]
    for row in (2, 4, 6):
        node, sentence = found["matched_node"][row], found["matched_sentence"][row]
        assert kept[row][node][sentence] == found["matched_similarity"][row]
        assert max(itertools.chain(*kept[row])) == found["best_similarity"][row]
    assert "similarities" not in {column.name for column in small().adds_to_nodes}


def test_whole_paragraphs(measure_in, small, small_clip):
    found = measure_in(small(unit="paragraph"), [["One. Two.", "img:i0"]], images=IMAGES)
    assert (found["matched_node"][1], found["matched_sentence"][1]) == (0, None)
    assert found["matched_similarity"][1] == pytest.approx(cosine(small_clip, "i0", "One. Two."), abs=1e-5)


def test_documents_do_not_touch_each_other(measure_in, small):
    documents = [["A.", "img:i0"], ["img:i1"], [], ["Only text."], ["B.", "C.", "img:i2", "img:i3", "img:i4"]]
    together = measure_in(small(), documents, images=IMAGES)
    alone = [measure_in(small(), [document], images=IMAGES) for document in documents]
    for name, values in together.items():
        for one, other in zip(values, itertools.chain(*(found[name] for found in alone)), strict=True):
            assert one == pytest.approx(other, abs=1e-4)
    assert together["well_matched_share"][1:4] == [None] * 3


def test_an_image_that_takes_no_part(measure_in, small):
    document = ["A.", "B.", "img:i0", "img:i1", "img:missing"]
    plain = measure_in(small(), [document], images=IMAGES)
    best = plain["best_similarity"]
    low, high = sorted(best[2:4])
    found = measure_in(small(min_similarity=(low + high) / 2), [document], images=IMAGES)
    assert found["best_similarity"] == best
    for row in (2, 3):
        taken = best[row] == high
        assert (
            (found["matched_similarity"][row] == pytest.approx(high)) if taken else found["matched_node"][row] is None
        )
    assert plain["matched_node"][4] is plain["best_similarity"][4] is None


def test_min_similarity_is_inclusive(measure_in, small):
    document = ["A.", "img:i0"]
    best = measure_in(small(), [document], images=IMAGES)["best_similarity"][1]
    assert measure_in(small(min_similarity=best), [document], images=IMAGES)["matched_node"][1] == 0
    above = float(np.nextafter(np.float32(best), np.float32(1)))
    assert measure_in(small(min_similarity=above), [document], images=IMAGES)["matched_node"][1] is None


def test_an_image_that_cannot_be_decoded_is_told_and_fails_nothing_else(make_nodes, small):
    nodes, starts = make_nodes([["A.", "img:bad", "img:i0", "img:missing"]], images=IMAGES)
    found = small()(nodes, starts)
    assert {row: (error.kind, error.keeps_values) for row, error in nodes.failures.items()} == {1: ("truncated", True)}
    assert found["matched_node"].to_pylist() == [None, None, 0, None]


def test_a_document_with_too_many_pairs_fails_alone(make_nodes, small, monkeypatch):
    monkeypatch.setattr(module, "MAX_PAIRS", 3)
    nodes, starts = make_nodes([["One. Two.", "img:i0", "img:i1"], ["A.", "img:i0"]], images=IMAGES)
    found = small()(nodes, starts)
    assert {row: (error.kind, error.keeps_values) for row, error in nodes.failures.items()} == {0: ("too_large", False)}
    assert found["matched_node"].to_pylist()[3:] == [None, 0]


@pytest.mark.parametrize(
    ("similarities", "share"),
    [([0.25, 0.26], 0.5), ([0.25], 0.0), ([0.3, 0.3, 0.3, 0.2], 0.75), ([], None), ([-0.1, 0.9], 0.5)],
)
def test_share_of_images_above_a_similarity(small, similarities, share):
    assert small()._shares(np.array(similarities, np.float64))[0] == share
