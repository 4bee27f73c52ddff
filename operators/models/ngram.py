"""KenLM's models: ARPA files, plain or gzip, and KenLM's own binary files, checked before KenLM reads them."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, cast

_GZIP: Final = b"\x1f\x8b"
_BINARY: Final = b"mmap lm http://kheafield.com/code"
_HEAD_BYTES: Final = 4096


class Scorer(Protocol):
    """What we use of a KenLM model."""

    def score(self, sentence: str, bos: bool = True, eos: bool = True) -> float: ...
    def __contains__(self, word: bytes) -> bool: ...


def shipped_model() -> Path:
    return Path(__file__).parent / "cupel_en" / "cupel-en.arpa.gz"


def stated_normaliser(path: Path) -> str | None:
    """The normaliser that the comment above an ARPA model states: `# cupel lm: normaliser=words order=3 ...`."""
    with _text_of(path) as file:
        head = file.read(_HEAD_BYTES)
    comments = b"\n".join(line for line in head.split(b"\\data\\")[0].split(b"\n") if line.startswith(b"#"))
    found = re.search(rb"normaliser=(\w+)", comments)
    return found[1].decode() if found else None


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, place: int, whence: int = 0, /) -> int: ...


@contextmanager
def _text_of(path: Path) -> Iterator[_Reader]:
    """The file's bytes, unpacked where it is gzip. OSError in words where that fails."""
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        try:
            yield gzip.GzipFile(fileobj=raw) if packed else raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise OSError(f"{path} is a gzip file that is cut short or damaged ({error}); fetch it again") from error


def load(path: Path) -> Scorer:
    """A model from an ARPA file, plain or gzip, or a KenLM binary file. OSError in words where it is not sound."""
    import kenlm

    config = kenlm.Config()
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    try:
        with path.open("rb") as file:
            head = file.read(len(_BINARY))
        if head.startswith(_GZIP):
            with _unpacked(path) as whole:
                _check_arpa(whole, path)
                return cast(Scorer, kenlm.Model(str(whole), config))
        if head != _BINARY:
            _check_arpa(path, path)
        return cast(Scorer, kenlm.Model(str(path), config))
    except (UnicodeDecodeError, RuntimeError, MemoryError) as error:
        raise OSError(f"{path} is no sound KenLM model; make or fetch it again ({error})") from error
    except OSError as error:
        if "Cannot read model" not in str(error):
            raise
        why = str(error).partition("(")[2].removesuffix(")")
        raise OSError(f"{path} is no sound KenLM model; make or fetch it again ({why})") from error


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """KenLM's wheels read no gzip: a temporary file, gone when the model is in memory."""
    handle, name = tempfile.mkstemp(suffix=".arpa")
    try:
        with os.fdopen(handle, "wb") as out, _text_of(path) as file:
            while block := file.read(1 << 20):
                out.write(block)
        yield Path(name)
    finally:
        Path(name).unlink()


def _check_arpa(path: Path, named: Path) -> None:
    """What KenLM would find late, or after reserving the memory that a wrong header asks for."""
    again = "make or fetch it again"
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - 64))
        tail = file.read()
    begins = [line.rstrip(b"\r") for line in head.split(b"\n") if line.strip() and not line.startswith(b"#")]
    if not begins or begins[0] != b"\\data\\":
        raise OSError(f"{named} is neither an ARPA file (no \\data\\ at its beginning) nor a KenLM binary file")
    counts = re.findall(rb"^ngram (\d+)=\s*(\d+)\s*$", head, re.MULTILINE)
    if sum(_least_bytes(counts)) > size or not tail.rstrip().endswith(b"\\end\\"):
        raise OSError(
            f"{named} is an ARPA file that is cut short ({size:,} bytes, no \\end\\ where it should be); {again}"
        )


def _least_bytes(counts: Iterable[tuple[bytes, bytes]]) -> Iterator[int]:
    """Bytes that so many n-grams take at least: a digit, a tab, words of one letter, spaces, and the line's end."""
    for order, count in counts:
        yield int(count) * (2 + 2 * int(order))
