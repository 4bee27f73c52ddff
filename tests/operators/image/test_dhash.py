from __future__ import annotations

import io

from PIL import Image, ImageOps

from cupel.operators.image.dhash import Dhash


def test_ramps(measure):
    """Brighter to the right everywhere, nowhere, and in the upper half (whose bits stand first)."""
    right = Image.linear_gradient("L").rotate(90)
    left = ImageOps.mirror(right)
    halves = right.copy()
    halves.paste(left.crop((0, 128, 256, 256)), (0, 128))
    files = []
    for image in (right, left, halves):
        files.append(io.BytesIO())
        image.save(files[-1], "PNG")
    hashes = measure(Dhash(), [file.getvalue() for file in files])[0]["dhash"]
    assert hashes == [2**64 - 1, 0, 0xFFFFFFFF << 32]
