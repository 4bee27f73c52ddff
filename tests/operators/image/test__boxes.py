from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cupel.operators.base import Batch
from cupel.operators.decode import RowError
from cupel.operators.image._boxes import fitted, places, shares, union_share
from cupel.operators.models.weights import ModelError

SIDE = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)  # many that touch, and empty ones


@given(st.lists(st.tuples(SIDE, SIDE), max_size=8))
def test_the_area_of_a_union_as_shapely_has_it(sides):
    boxes = np.array([[x0, y0, x1, y1] for (x0, x1), (y0, y1) in sides], float).reshape(-1, 4) / 8
    assert union_share(boxes) == pytest.approx(shapely.union_all(shapely.box(*boxes.T)).area)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1000, 500), (640, 320)),
        ((200, 100), (400, 200)),
        ((5000, 1), (640, 1)),
        ((1, 1), (2, 2)),
        ((3, 900), (2, 640)),
    ],
)
def test_fitted_to_a_longer_side_and_enlarged_twofold_at_most(size, expected):
    assert fitted(Image.new("L", size), 640).size == expected


@pytest.mark.parametrize(
    "listed",
    [
        [[0.1, 0.2, 0.3]],
        [[0.1, 0.2, 0.3, 0.4], [0.1]],
        [[0.1, 0.2, 0.3, None]],
        [None],
        [[0.1, 0.2, 0.3, float("nan")]],
        [[0.1, 0.2, 0.3, float("inf")]],
        [[10.0, 20.0, 300.0, 200.0]],
        [[0.1, -7.0, 0.3, 0.4]],
    ],
)
def test_what_are_no_places_in_a_picture(listed):
    with pytest.raises(RowError, match="no lists of 4 shares of width and height"):
        shares(pa.scalar(listed, pa.list_(pa.list_(pa.float64()))), 4)


def test_places_are_cut_at_the_edges():
    listed = pa.scalar([[-0.1, 0.2, 1.5, 1.0], [0.0, 0.0, 0.5, 0.25]], pa.list_(pa.list_(pa.float32())))
    assert shares(listed, 4) == pytest.approx(np.array([[0, 0.2, 1, 1], [0, 0, 0.5, 0.25]]))


def test_a_column_that_holds_no_lists_stops_the_run():
    with pytest.raises(ModelError, match="column 'face_boxes' holds string, and no lists"):
        places(Batch(pa.table({"face_boxes": ["[[0.1, 0.2, 0.3, 0.4]]"]})), "face_boxes")
