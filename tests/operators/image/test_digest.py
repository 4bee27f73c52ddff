from __future__ import annotations

import subprocess

import pytest

from cupel.operators.image.digest import Digest


@pytest.mark.parametrize(
    ("data", "sha256", "md5"),
    [  # FIPS 180-4 and RFC 1321
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "d41d8cd98f00b204e9800998ecf8427e"),
        (
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "900150983cd24fb0d6963f7d28e17f72",
        ),
    ],
)
def test_published_vectors(measure, data, sha256, md5):
    assert measure(Digest(), [data]) == ({"sha256": [sha256], "md5": [md5]}, {})


def test_as_coreutils_say(measure, shared_data):
    paths = sorted((shared_data / "neardup/pdq").rglob("*.jpg"))
    columns, _ = measure(Digest(), [path.read_bytes() for path in paths])
    for program, name in (("sha256sum", "sha256"), ("md5sum", "md5")):
        lines = subprocess.run([program, *paths], capture_output=True, text=True, check=True).stdout.splitlines()
        assert columns[name] == [line.split()[0] for line in lines]
