from __future__ import annotations

import csv

import numpy as np

from cupel.operators.image.phash import Phash


def test_tells_two_editions_of_a_figure_from_two_figures(measure, shared_data):
    """152 pairs of figures in two editions of a textbook, labelled by eye."""
    folder = shared_data / "neardup/textbook-editions"
    with (folder / "pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    first, second = (
        measure(Phash(), [(folder / pair[side]).read_bytes() for pair in pairs])[0] for side in ("file_a", "file_b")
    )
    distances = np.bitwise_count(np.array(first["phash"], np.uint64) ^ np.array(second["phash"], np.uint64))
    labels = np.array([pair["label"] for pair in pairs])
    assert np.mean(distances[labels == "near-duplicate"] <= 4) > 0.9
    assert distances[labels == "different"].min() > 10
