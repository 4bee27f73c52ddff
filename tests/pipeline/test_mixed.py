"""splitmix64 against its published outputs."""

from __future__ import annotations

import numpy as np

from cupel.pipeline.mixed import mixed


def test_it_is_splitmix64_from_the_seed_0():
    assert [hex(n) for n in mixed(np.arange(3)).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]
