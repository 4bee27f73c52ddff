from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from drawing import encoded, picture

from cupel.operators.base import Batch
from cupel.operators.image.zero_shot import ZeroShot
from cupel.operators.images import ImageStore
from cupel.operators.pair.label_agreement import LabelAgreement

LABELS = ("cat", "dog", "bus", "couch, sofa", "hot dog", "glass", "strawberry", "horse", "vase", "knife", "suitcase")
IMAGES = [encoded(picture(seed)) for seed in range(9)]


def measured(step, texts):
    images = ImageStore({i: IMAGES[i % len(IMAGES)] for i in range(len(texts))})
    return step(Batch(pa.table({"text": texts}), images))


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("A CAT!", {"cat"}),
        ("two cats on buses", {"cat", "bus"}),
        ("concatenate", set()),
        ("hot dogs", {"dog", "hot dog"}),
        ("a dog that is hot", {"dog"}),
        ("on the Sofa", {"couch, sofa"}),
        ("strawberries in glasses", {"strawberry", "glass"}),
        ("horses, vases, knives and suitcases", {"horse", "vase", "knife", "suitcase"}),
        ("", set()),
        ("nothing of these", set()),
    ],
)
def test_what_a_caption_names(small_clip, caption, named):
    """The ranks are the zero-shot classifier's; which label is named decides which of them counts."""
    templates = ("a photo of a {}",)
    ranks = ZeroShot(model=str(small_clip), labels=LABELS, templates=templates)
    agree = LabelAgreement(model=str(small_clip), labels=LABELS, top=3)
    texts = [caption] * len(IMAGES)
    scores = np.array(measured(ranks, texts)["zero_shot_scores"].to_pylist())
    found = measured(agree, texts)
    for row, order in enumerate(np.argsort(-scores, axis=1)):
        seen = [LABELS[i] for i in order]
        assert found["labels_seen"][row] == seen[:3]
        assert found["labels_agreeing"][row] == len(named & set(seen[:3]))
        assert found["named_label_rank"][row] == min((seen.index(label) + 1 for label in named), default=None)
