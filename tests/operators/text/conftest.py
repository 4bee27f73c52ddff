"""What the tests of all text operators share."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cupel.operators.base import Batch, RowOperator

Measure = Callable[[RowOperator, list[str]], dict[str, list[object]]]


def _measure(operator: RowOperator, texts: list[str]) -> dict[str, list[object]]:
    found = operator(Batch(pa.table({"text": pa.array(texts, pa.string())})))
    return {
        name: (np.asarray(values) if not isinstance(values, pa.Array) else values).tolist()
        for name, values in found.items()
    }


@pytest.fixture(scope="session")
def measure() -> Measure:
    """Values of each column an operator adds, as Python lists."""
    return _measure


@pytest.fixture(scope="session")
def captions(shared_data: Path) -> list[str]:
    """16,000 real texts: textbook captions and alt texts, COCO captions, alt texts of the web in many languages."""
    found: list[str | None] = pq.read_table(shared_data / "url_lists/laion-sample/test_10000.parquet")[
        "TEXT"
    ].to_pylist()
    for line in (shared_data / "pairs/openstax/captions.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found += [row["caption"], row["alt"]]
    for line in (shared_data / "pairs/coco-mini/captions.jsonl").read_text("utf-8").splitlines():
        found += json.loads(line)["captions"]
    return [text for text in found if text is not None]


@pytest.fixture(scope="session")
def odd_texts() -> list[str]:
    """Empty, white, tiny, emoji, controls, and a text for every 256 assigned code points: all scripts."""
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    blocks = ["".join(every[start : start + 256]) for start in range(0, len(every), 256)]
    return [
        *(
            "",
            " ",
            "\n\r\t",
            "\x00",
            "\u3000\xa0",
            "a",
            "7",
            "!",
            "é",
            "A",
            "a\nb",
            "a\x00b\rc",
            "x" * 9,
            "x" * 10,
            "x" * 11,
        ),
        *(
            "👩‍👩‍👧‍👦 family 🏳️‍🌈",
            "😀" * 40,
            "1️⃣2️⃣",
            "ΟΔΟΣ ΣΑΣ Σ",
            "İstanbul ISPARTA",
            "ß ẞ ﬁ ǅ",
            "स्त्री विद्या",
            "the the the the the the the",
        ),
        *blocks,
    ]
