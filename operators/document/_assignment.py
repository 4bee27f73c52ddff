"""Which text each image of a document goes with, so that the sum of their similarities is the greatest."""

from __future__ import annotations

import numpy as np


def assign(similarities: np.ndarray) -> np.ndarray:
    """The text of each image for similarities [images, texts], all finite; at least one text.

    A text has one image at most, and as many images have a text of their own as there are texts; the images left over
    go to the text that they resemble most, of equals the first (MMC4's `compute_assignments.py`, which pads the matrix
    to a square; the result is the same).
    """
    from scipy.optimize import linear_sum_assignment

    texts: np.ndarray = np.argmax(similarities, axis=1)
    images, assigned = linear_sum_assignment(similarities, maximize=True)
    texts[images] = assigned
    return texts
